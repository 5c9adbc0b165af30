//! From a locked data directory to a node, its log and its store. Blocks for as long as reading takes.

use std::sync::Arc;

use node::{Node, NodeConfig};
use storage::{
    Files, Identity, Store, StoreOptions,
    wal::{Wal, WalOptions},
};

use super::clock::Clock;
use crate::{config::ServerConfig, error::ServerError};

/// What recovery makes.
pub(crate) struct Recovered {
    pub(crate) node: Node,
    pub(crate) wal: Wal,
}

/// Opens everything in the order in which mistakes are found earliest: whose directory it is, the log,
/// the store, then whether they fit together.
pub(crate) fn recover(
    config: &ServerConfig,
    files: Arc<dyn Files>,
    clock: Clock,
) -> Result<Recovered, ServerError> {
    let data_dir = || config.data_dir.display().to_string();
    let identity = Identity { cluster: config.cluster_id()?, node: config.node_id() };
    Identity::load_or_create(&*files, &identity)
        .map_err(|source| ServerError::Identity { data_dir: data_dir(), source })?;
    let limits = config.limits.limits();
    let options = WalOptions {
        segment_bytes: limits.segment_bytes,
        entry_reserve_bytes: config.limits.entry_reserve_bytes(),
        boot_nonce: getrandom::u64().map_err(ServerError::Entropy)?,
    };
    let (wal, recovered) = Wal::open(files.clone(), &identity, options)
        .map_err(|source| ServerError::Log { data_dir: data_dir(), source })?;
    if let Some(torn) = &recovered.truncated {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            bytes = torn.bytes,
            "the last, unacknowledged write to the log was interrupted and is cut off"
        );
    }
    let store = Store::open(files, StoreOptions { cache_bytes: limits.store_cache_bytes })
        .map_err(|source| ServerError::Store { data_dir: data_dir(), source })?;
    let mut node_config = NodeConfig::new(
        identity.cluster,
        identity.node,
        config.member_ids(),
        getrandom::u64().map_err(ServerError::Entropy)?,
    );
    node_config.keyspaces.clone_from(&config.keyspaces);
    node_config.timing = config.timing.timing();
    node_config.limits = limits;
    let node = Node::recover(clock.now(), node_config, recovered, store)
        .map_err(|source| ServerError::Recover { data_dir: data_dir(), source })?;
    Ok(Recovered { node, wal })
}
