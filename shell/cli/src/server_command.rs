//! `quorate server`: one node in this process.

use std::{
    io::{self, IsTerminal, Read, Write},
    thread,
};

use serde_json::json;
use server::config::{Member, ServerConfig, TlsFiles};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;
use types::ClusterId;

use crate::{args::Server, failure::Failure};

/// Runs the node until it is told to stop.
///
/// # Errors
/// If the configuration makes no sense or the node cannot start or go on.
pub async fn run(args: Server) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| Failure::usage(format!("--log: {error}")).next("for example --log info"))?;
    let colour = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour).init();
    let config = configuration(&args)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let gone = args.exit_on_stdin_close.then(stdin_closed);
    let shutdown = async move {
        let gone = async {
            match gone {
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("stopping: interrupted"),
            _ = terminate.recv() => tracing::info!("stopping: terminated"),
            () = gone => tracing::info!("stopping: whoever started this node is gone"),
        }
    };
    let node = config.node;
    let ready_json = args.ready_json;
    let ready = move |ready: server::Ready| {
        tracing::info!(node, http = %ready.http, "ready");
        if ready_json {
            let http = format!("http://{}", ready.http);
            let event = json!({ "event": "ready", "node": node, "pid": ready.pid, "http": http });
            // If nobody reads it any more, the closed standard input says so as well.
            let _ = writeln!(io::stdout(), "{event}");
        }
    };
    server::run(config, shutdown, ready).await.map_err(|error| Failure::error(error.to_string()))
}

/// The configuration file, overridden by flags.
fn configuration(args: &Server) -> Result<ServerConfig, Failure> {
    let failure = |error: server::config::ConfigError| Failure::usage(error.to_string());
    let mut config = match (&args.config, &args.data_dir, args.cluster_id) {
        (Some(path), _, _) => ServerConfig::from_file(path).map_err(failure)?,
        (None, Some(data_dir), Some(cluster)) => ServerConfig::single(cluster, data_dir.clone()),
        (None, None, _) => {
            return Err(Failure::usage("neither --config nor --data-dir is given")
                .next("see `quorate server --help`; for a first try, `quorate dev`"));
        }
        (None, Some(_), None) => {
            let mut id = [0; 16];
            id.fill_with(|| fastrand::u8(..));
            let id = ClusterId(id);
            return Err(Failure::usage("no --cluster-id is given")
                .next(format!("for a new cluster, give all its nodes the same; this one is free: {id}")));
        }
    };
    if let Some(cluster) = args.cluster_id {
        config.cluster = cluster.to_string();
    }
    if let Some(node) = args.node {
        config.node = node;
    }
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(http) = args.http {
        config.http = http.to_string();
    }
    if let Some(listen) = args.peer_listen {
        config.peer_listen = Some(listen.to_string());
    }
    if !args.members.is_empty() {
        let member =
            |(node, peer): &(u64, String)| Member { node: *node, peer: Some(peer.clone()), http: None };
        config.members = args.members.iter().map(member).collect();
    }
    match (&args.tls_ca, &args.tls_cert, &args.tls_key) {
        (None, None, None) => {}
        (Some(authority), Some(certificate), Some(key)) => {
            let (authority, certificate, key) = (authority.clone(), certificate.clone(), key.clone());
            config.tls = Some(TlsFiles { authority, certificate, key });
        }
        _ => {
            return Err(
                Failure::usage("--tls-ca, --tls-cert and --tls-key go together").next("give all three")
            );
        }
    }
    config.check().map_err(failure)?;
    Ok(config)
}

/// Completes when standard input ends. A thread of its own: a read of standard input cannot be given up.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        // The node may have stopped already.
        let _ = closed.send(());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &str) -> Result<ServerConfig, Failure> {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("parses");
        let Command::Server(server) = cli.command else { panic!("the server command") };
        configuration(&server)
    }

    const CLUSTER: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn flags_make_a_configuration() {
        let config = parse(&format!(
            "quorate server --cluster-id {CLUSTER} --data-dir d --node 1 --http 127.0.0.1:9 --member 0=a:1 \
             --member 1=b:2 --tls-ca ca --tls-cert c --tls-key k"
        ))
        .expect("valid");
        assert_eq!((config.node, config.members.len(), config.http.as_str()), (1, 2, "127.0.0.1:9"));
        assert_eq!(config.peer_listen_address(), Some("b:2"));
    }

    #[test]
    fn a_single_node_needs_a_directory_and_an_id() {
        assert!(parse(&format!("quorate server --cluster-id {CLUSTER} --data-dir d")).is_ok());
        let failure = parse("quorate server --data-dir d").expect_err("no id");
        assert!(failure.next_step.expect("advice").contains("this one is free"));
        assert!(parse("quorate server").is_err());
    }

    #[test]
    fn certificates_go_together() {
        assert!(parse(&format!("quorate server --cluster-id {CLUSTER} --data-dir d --tls-ca ca")).is_err());
    }
}
