//! The meta group's rows: which keyspaces exist, under which contract. The meta group is itself a
//! keyspace, so that its facts are revisioned, hashed and snapshotted like any other.

use keyspace::{Command, Expect};
use prost::Message;
use storage::Row;
use types::{Contract, GroupId};

use crate::catalog::KeyspaceInfo;

const KEYSPACES: &[u8] = b"keyspaces/";

/// One keyspace, as the meta group records it under `keyspaces/<name>`. Its version is the row's. Fields are
/// only ever added: a record without the later ones was written before contracts had them, and means
/// their defaults. Words are as in contracts.
#[derive(Clone, PartialEq, Message)]
struct KeyspaceRecord {
    #[prost(string, tag = "1")]
    replication: String,
    #[prost(string, tag = "2")]
    on_partition: String,
    /// Number of shards, each a Raft group.
    #[prost(uint32, tag = "3")]
    shards: u32,
    /// The whole contract, as JSON. It says the same as the fields above, which older versions read.
    #[prost(string, optional, tag = "4")]
    contract: Option<String>,
}

/// The bytes that record a contract in which everything is spelled out.
pub(crate) fn encode_contract(contract: &Contract) -> Vec<u8> {
    let record = KeyspaceRecord {
        replication: contract.replication.to_string(),
        on_partition: contract.on_partition.to_string(),
        shards: contract.shards,
        contract: Some(serde_json::to_string(contract).expect("a contract is plain data")),
    };
    record.encode_to_vec()
}

/// The contract in a record.
///
/// # Errors
/// When this version does not understand it.
pub(crate) fn decode_contract(bytes: &[u8], nodes: u32) -> Result<Contract, String> {
    let record = KeyspaceRecord::decode(bytes).map_err(|error| error.to_string())?;
    let contract = match &record.contract {
        Some(json) => serde_json::from_str(json).map_err(|error| error.to_string())?,
        None if record.replication == "raft" && record.on_partition == "reject" && record.shards == 1 => {
            Contract::default()
        }
        None => return Err(format!("{record:?} is of no version that this one knows")),
    };
    Ok(contract.resolved(nodes))
}

/// The change that creates a keyspace, unless one of the name exists.
pub(crate) fn create(name: &str, contract: &Contract) -> Command {
    Command::Put {
        key: keyspace_key(name),
        value: encode_contract(contract),
        expect: Expect::Absent,
        lease: None,
    }
}

/// The change that gives a keyspace another contract, if its record is still of this revision.
pub(crate) fn alter(name: &str, contract: &Contract, revision: u64) -> Command {
    let expect = Expect::Revision(revision);
    Command::Put { key: keyspace_key(name), value: encode_contract(contract), expect, lease: None }
}

/// The change that deletes a keyspace, if its record is still of this revision.
pub(crate) fn delete(name: &str, revision: u64) -> Command {
    Command::Delete { key: keyspace_key(name), expect: Expect::Revision(revision) }
}

/// Whether a change to the meta group alters or deletes a keyspace that exists.
pub(crate) fn alters(command: &Command) -> bool {
    match command {
        Command::Put { key, expect: Expect::Revision(_), .. }
        | Command::Delete { key, expect: Expect::Revision(_) } => key.starts_with(KEYSPACES),
        _ => false,
    }
}

/// The keyspace that a change deletes.
pub(crate) fn deletes(command: &Command) -> Option<&str> {
    let Command::Delete { key, .. } = command else { return None };
    std::str::from_utf8(key.strip_prefix(KEYSPACES)?).ok()
}

/// Whether a change to the meta group creates a keyspace.
pub(crate) fn creates(command: &Command) -> bool {
    matches!(command, Command::Put { key, expect: Expect::Absent, .. } if key.starts_with(KEYSPACES))
}

/// Shards of the keyspace that a change creates.
pub(crate) fn shards(creation: &Command) -> u32 {
    let Command::Put { value, .. } = creation else { return 1 };
    KeyspaceRecord::decode(value.as_slice()).map_or(1, |record| record.shards)
}

/// The row that records a keyspace.
pub(crate) fn keyspace_key(name: &str) -> Vec<u8> {
    [KEYSPACES, name.as_bytes()].concat()
}

/// The rows of all keyspaces.
pub(crate) fn all_keyspaces() -> keyspace::KeyRange {
    keyspace::prefix_range(KEYSPACES)
}

/// What a row says of a keyspace.
///
/// # Errors
/// When this version does not understand its record.
pub(crate) fn info(key: &[u8], row: &Row, nodes: u32) -> Result<KeyspaceInfo, String> {
    let name = String::from_utf8_lossy(key.get(KEYSPACES.len()..).unwrap_or_default()).into_owned();
    let contract =
        decode_contract(&row.value, nodes).map_err(|reason| format!("keyspace {name:?}: {reason}"))?;
    Ok(KeyspaceInfo {
        name,
        group: GroupId::of_keyspace(row.create_revision),
        version: row.version,
        contract,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_contract_means_the_default() {
        let old = KeyspaceRecord {
            replication: "raft".into(),
            on_partition: "reject".into(),
            shards: 1,
            contract: None,
        };
        assert_eq!(decode_contract(&old.encode_to_vec(), 3), Ok(Contract::default().resolved(3)));
        let unknown = KeyspaceRecord { replication: "chain".into(), ..old };
        assert!(decode_contract(&unknown.encode_to_vec(), 3).is_err());
        assert!(decode_contract(&[0xff], 3).is_err());
    }

    #[test]
    fn a_contract_survives_its_record() {
        let contract = Contract { idempotency_ttl_s: 60, ..Contract::default() }.resolved(3);
        assert_eq!(decode_contract(&encode_contract(&contract), 3), Ok(contract));
    }
}
