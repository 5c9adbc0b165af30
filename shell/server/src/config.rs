//! What a server is told when it starts: a TOML file, or the same values from the command line.
//!
//! A key that is not known is an error that names the nearest known one; nothing is ignored.

mod overrides;
#[cfg(test)]
mod tests;
mod unknown;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use types::{ClusterId, NodeId};

pub use overrides::{LimitsConfig, TimingConfig};

/// Where a node serves HTTP unless told otherwise. The port after it is the next local node's.
pub const HTTP_PORT_DEFAULT: u16 = 7400;
/// Most HTTP connections at once, unless told otherwise.
pub const HTTP_CONNECTIONS_MAX_DEFAULT: usize = 4_096;
/// The keyspace of a new cluster.
pub const KEYSPACE_DEFAULT: &str = "default";

/// Why a configuration cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The text is not TOML, or a value is of the wrong kind.
    #[error("configuration: {0}")]
    Parse(#[from] toml::de::Error),
    /// No such key.
    #[error("configuration: there is no key `{key}`; {advice}")]
    UnknownKey {
        /// The key as written, with its tables.
        key: String,
        /// The nearest known key, or all of them.
        advice: String,
    },
    /// A value makes no sense.
    #[error("configuration: {key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

/// A member of the cluster, as the others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub node: u64,
    /// `host:port` for other members. Needed when there is more than one.
    pub peer: Option<String>,
    /// `host:port` for clients; shown in status.
    pub http: Option<String>,
}

/// Files of this node's identity among its peers, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate of the cluster's authority.
    pub authority: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Everything that a server is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// Which member this is.
    pub node: u64,
    /// Where its files are. Made if it does not exist.
    pub data_dir: PathBuf,
    /// Where to serve HTTP, `host:port`; port 0 takes a free one.
    #[serde(default = "http_default")]
    pub http: String,
    /// Most HTTP connections at once; more wait to be accepted.
    #[serde(default = "http_connections_max_default")]
    pub http_connections_max: usize,
    /// Where to listen for peers, `host:port`. Without it: this node's `peer` among `members`.
    pub peer_listen: Option<String>,
    /// Compress what goes to peers (LZ4).
    #[serde(default)]
    pub compress: bool,
    /// Keyspaces that a new cluster begins with.
    #[serde(default = "keyspaces_default")]
    pub keyspaces: Vec<String>,
    /// All members, this one included. Empty: this node alone.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Certificates; needed when there is more than one member.
    pub tls: Option<TlsFiles>,
    /// Bounds other than the defaults.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Speeds other than the defaults.
    #[serde(default)]
    pub timing: TimingConfig,
}

fn http_default() -> String {
    format!("127.0.0.1:{HTTP_PORT_DEFAULT}")
}

fn http_connections_max_default() -> usize {
    HTTP_CONNECTIONS_MAX_DEFAULT
}

fn keyspaces_default() -> Vec<String> {
    vec![KEYSPACE_DEFAULT.to_owned()]
}

impl ServerConfig {
    /// A cluster of one with defaults for everything else.
    pub fn single(cluster: ClusterId, data_dir: PathBuf) -> ServerConfig {
        ServerConfig {
            cluster: cluster.to_string(),
            node: 0,
            data_dir,
            http: http_default(),
            http_connections_max: HTTP_CONNECTIONS_MAX_DEFAULT,
            peer_listen: None,
            compress: false,
            keyspaces: keyspaces_default(),
            members: Vec::new(),
            tls: None,
            limits: LimitsConfig::default(),
            timing: TimingConfig::default(),
        }
    }

    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<ServerConfig, ConfigError> {
        let text = fs::read_to_string(path);
        ServerConfig::from_toml(&text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?)
    }

    /// Reads TOML.
    pub fn from_toml(text: &str) -> Result<ServerConfig, ConfigError> {
        unknown::check(&text.parse()?)?;
        let config: ServerConfig = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// The cluster.
    pub fn cluster_id(&self) -> Result<ClusterId, ConfigError> {
        self.cluster.parse().map_err(|error: types::ids::ClusterIdError| value("cluster", error.to_string()))
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.node)
    }

    /// All members, this one included, sorted.
    pub fn member_ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.members.iter().map(|member| NodeId(member.node)).collect();
        if ids.is_empty() {
            ids.push(self.node_id());
        }
        ids.sort();
        ids
    }

    /// Whether there are peers to talk to.
    pub fn has_peers(&self) -> bool {
        self.members.len() > 1
    }

    /// Where to listen for peers.
    pub fn peer_listen_address(&self) -> Option<&str> {
        let own = self.members.iter().find(|member| member.node == self.node);
        self.peer_listen.as_deref().or_else(|| own?.peer.as_deref())
    }

    /// Whether the values make sense together.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.cluster_id()?;
        let ids = self.member_ids();
        if !ids.contains(&self.node_id()) {
            return Err(value("members", format!("node {} is not among them; add it", self.node)));
        }
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(value(
                "members",
                format!("node {} is there twice; each has its own number", pair[0]),
            ));
        }
        if self.has_peers() {
            if let Some(member) = self.members.iter().find(|member| member.peer.is_none()) {
                let reason =
                    format!("node {} has no `peer` address; the others could not reach it", member.node);
                return Err(value("members", reason));
            }
            if self.tls.is_none() {
                let reason =
                    "a cluster of several nodes needs certificates: set authority, certificate and key";
                return Err(value("tls", reason.to_owned()));
            }
        }
        if self.keyspaces.is_empty() {
            return Err(value("keyspaces", "name at least one".to_owned()));
        }
        for name in &self.keyspaces {
            check_keyspace(name)?;
        }
        let most = types::limits::KEYSPACES_MAX;
        if self.keyspaces.len() > most {
            return Err(value("keyspaces", format!("name at most {most}, the limit of a cluster")));
        }
        if self.http_connections_max == 0 {
            return Err(value("http_connections_max", "must be at least 1".to_owned()));
        }
        self.limits.check()?;
        self.timing.check()
    }
}

fn check_keyspace(name: &str) -> Result<(), ConfigError> {
    types::contract::check_name(name).map_err(|problem| {
        let reason = format!("{name:?} cannot name a keyspace: {}; {}", problem.message, problem.next_step);
        value("keyspaces", reason)
    })
}

fn value(key: &'static str, reason: String) -> ConfigError {
    ConfigError::Value { key, reason }
}
