//! Flags of `dev` and `server`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args};

use super::connection::DEV_HTTP_PORT;

/// Most nodes of a cluster on one machine: further ones would serve HTTP where peers listen.
pub const DEV_NODES_MAX: u16 = 99;
/// Node i listens for peers this far above its HTTP port.
pub const PEER_PORT_OFFSET: u16 = 100;

/// `quorate dev`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate dev                               three nodes, data in ./quorate-data
  quorate dev --nodes 1                     one node, no replication
  quorate dev --data-dir /tmp/q --http-port 9000
  quorate dev --json                        one JSON object per event

Node i (from 0) serves HTTP on 127.0.0.1:(BASE + i) and listens for peers on BASE + 100 + i.
The directory holds cluster.toml, the certificate authority in tls/, each node's data in node-i/
and its log in node-i.log. Started again with the same directory, the cluster is the same.
A node that dies is started again; one that fails to start 5 times in a row is left alone.
Ctrl-C stops all nodes; their data stays. A second Ctrl-C kills them.")]
pub struct Dev {
    /// How many nodes [default: as many as the directory has; 3 in a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(DEV_NODES_MAX)))]
    pub nodes: Option<u16>,
    /// Where the cluster lives; created if it does not exist
    #[arg(long, value_name = "DIR", default_value = "quorate-data")]
    pub data_dir: PathBuf,
    /// HTTP port of node 0
    #[arg(long, value_name = "BASE", default_value_t = DEV_HTTP_PORT, value_parser = clap::value_parser!(u16).range(1..=65_336))]
    pub http_port: u16,
    /// Report a node that dies, but do not start it again
    #[arg(long)]
    pub no_restart: bool,
}

/// `quorate server`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  quorate server --config /etc/quorate/server.toml
  quorate server --data-dir /var/lib/quorate --http 127.0.0.1:7400       a single node

  quorate server --node 0 --data-dir /var/lib/quorate --http 10.0.0.1:7400 \\
      --peer-listen 10.0.0.1:7500 --member 0=10.0.0.1:7500 --member 1=10.0.0.2:7500 \\
      --member 2=10.0.0.3:7500 --cluster-id 6f1c…(32 hexadecimal digits) \\
      --tls-ca ca.pem --tls-cert node-0.pem --tls-key node-0.key

A flag overrides the configuration file. Logs go to standard error. SIGTERM and Ctrl-C stop it
after it has answered what it accepted.")]
pub struct Server {
    /// Configuration file (TOML); limits and timing can be set only there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's number, from 0; fixed for the life of its data directory
    #[arg(long, value_name = "ID")]
    pub node: Option<u64>,
    /// Where this node keeps its data
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to serve HTTP
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Where to listen for peers
    #[arg(long, value_name = "ADDR:PORT")]
    pub peer_listen: Option<SocketAddr>,
    /// A member and where its peers reach it, this node included; repeat for each
    #[arg(long = "member", value_name = "ID=HOST:PORT", action = ArgAction::Append, value_parser = parse_member)]
    pub members: Vec<(u64, String)>,
    /// The cluster, 32 hexadecimal digits, the same on every node
    #[arg(long, value_name = "HEX")]
    pub cluster_id: Option<types::ClusterId>,
    /// Certificate authority that peers' certificates must come from (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// This node's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// This node's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// What to log, as a filter such as `info` or `server=debug,warn`
    #[arg(long, value_name = "FILTER", env = "QUORATE_LOG", default_value = "info")]
    pub log: String,
    /// Print one JSON object on standard output when ready, or when the node fails.
    #[arg(long, hide = true)]
    pub ready_json: bool,
    /// Stop when standard input ends: whoever started this process is gone.
    #[arg(long, hide = true)]
    pub exit_on_stdin_close: bool,
}

fn parse_member(text: &str) -> Result<(u64, String), String> {
    let form = || format!("`{text}` is not ID=HOST:PORT, for example 0=10.0.0.1:7500");
    let (id, address) = text.split_once('=').ok_or_else(form)?;
    let id = id.parse().map_err(|_| form())?;
    let (host, port) = address.rsplit_once(':').ok_or_else(form)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(form());
    }
    Ok((id, address.to_owned()))
}
