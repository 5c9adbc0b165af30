//! Which keyspaces there are: what clients were told, and what each node believes. A name has one group and one
//! contract for ever, a group one name, and is created once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use node::{KeyspaceInfo, Node};
use types::{GroupId, NodeId};

use crate::{failure::Broken, host::Host, plan::KEYSPACES};

/// See the module.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name, as first seen anywhere.
    groups: BTreeMap<String, GroupId>,
    /// As acknowledged to clients.
    acknowledged: BTreeMap<String, KeyspaceInfo>,
    /// Names whose creation was acknowledged as such.
    created: BTreeSet<String>,
}

impl Catalog {
    /// A node may have started a keyspace's group.
    pub fn after_poll(&mut self, node: NodeId, state: &Node) -> Result<(), Broken> {
        for name in KEYSPACES {
            if let Some(group) = state.known_keyspace_group(name) {
                self.see(&format_args!("node {node}"), name, group)?;
            }
        }
        Ok(())
    }

    /// The group of a keyspace's first shard, if any node has it.
    pub fn group(&self, name: &str) -> Option<GroupId> {
        self.groups.get(name).copied()
    }

    /// A client is told that a keyspace exists, and whether it was created for it.
    pub fn on_created(&mut self, keyspace: &KeyspaceInfo, created: bool) -> Result<(), Broken> {
        self.see(&"an answer", &keyspace.name, keyspace.group)?;
        if created && !self.created.insert(keyspace.name.clone()) {
            return Err(broken("keyspaces_are_created_once", format!("{:?} was, twice", keyspace.name)));
        }
        let known = self.acknowledged.entry(keyspace.name.clone()).or_insert_with(|| keyspace.clone());
        if known != keyspace {
            return Err(broken("contracts_stay", format!("{keyspace:?} was acknowledged as {known:?}")));
        }
        Ok(())
    }

    /// All is healed and settled: every node knows the same keyspaces, those that were acknowledged among them.
    pub fn check_healed(&self, hosts: &[Host]) -> Result<(), Broken> {
        let mut first: Option<Vec<KeyspaceInfo>> = None;
        for host in hosts {
            let Some(process) = &host.process else { continue };
            let found = process.node.known_keyspaces();
            let found = found.map_err(|reason| broken("contracts_are_understood", reason))?;
            for keyspace in self.acknowledged.values() {
                let runs = process.node.keyspace_group(&keyspace.name).ok() == Some(keyspace.group);
                if !found.contains(keyspace) || !runs {
                    let message =
                        format!("node {} lacks {keyspace:?}, which was acknowledged: {found:?}", host.id);
                    return Err(broken("acknowledged_keyspaces_exist", message));
                }
            }
            let first = first.get_or_insert_with(|| found.clone());
            if *first != found {
                let message = format!("node {} has {found:?}, another {first:?}", host.id);
                return Err(broken("nodes_know_the_same_keyspaces", message));
            }
        }
        Ok(())
    }

    fn see(&mut self, who: &dyn fmt::Display, name: &str, group: GroupId) -> Result<(), Broken> {
        let known = match self.groups.get(name) {
            Some(known) => *known,
            None => *self.groups.entry(name.to_string()).or_insert(group),
        };
        let other = self.groups.iter().find(|(other, of)| **of == group && other.as_str() != name);
        if known == group && other.is_none() {
            return Ok(());
        }
        let message = format!("{who} has {name:?} in group {group}, elsewhere it is {known}; {other:?}");
        Err(broken("a_keyspace_is_one_group", message))
    }
}

fn broken(invariant: &'static str, message: String) -> Broken {
    Broken::safety(invariant, message)
}
