//! Keyspaces of typed values: which operations and reads each takes.

use keyspace::{Command, Query, Txn, TxnOp};
use types::{ErrorCode, Problem, contract::Values};
use values::{Operation, Part};

use crate::{
    api::{Op, Request},
    group::Group,
    node::Node,
};

impl Node {
    /// What an entry must say of its keyspace's values.
    pub(crate) fn values_of(&self, group: &Group, command: &Command) -> Option<Values> {
        let Command::Operate { .. } = command else { return None };
        self.keyspaces.get(&group.name).map(|keyspace| keyspace.contract.values)
    }

    /// The refusal of a request that its keyspace's kind of values does not have. The leader decides; a node that
    /// only passes it on says so sooner.
    pub(crate) fn refuse_other_kind(&self, request: &Request) -> Option<Problem> {
        let keyspace = self.keyspaces.get(&request.keyspace)?;
        let kind = keyspace.contract.values;
        match &request.op {
            Op::Command(command) | Op::Once(_, command) => refuse_command(kind, command),
            Op::Query(Query::Value { part, .. }) => refuse_part(kind, part),
            // The key of a lock holds what its holder says, and no value.
            Op::Query(_) | Op::Catalog(_) | Op::Lost(_) | Op::Acquire(_) => None,
        }
    }
}

fn refuse_command(kind: Values, command: &Command) -> Option<Problem> {
    let names = Operation::names_of(kind);
    match command {
        Command::Operate { operations, .. } => {
            let other = operations.iter().find(|operation| !operation.is_of(kind))?;
            Some(refusal(
                format!("{} is no operation of a {kind}: the keyspace has values = {kind}", other.name()),
                format!("its operations are: {names}"),
            ))
        }
        Command::Put { .. } if kind != Values::Register => Some(plain_write(kind, names)),
        Command::Txn(txn) if kind != Values::Register && writes(txn) => Some(plain_write(kind, names)),
        _ => None,
    }
}

fn plain_write(kind: Values, names: &str) -> Problem {
    refusal(
        format!("a plain write cannot make a {kind}, and the keyspace has values = {kind}"),
        format!("POST operations to /v1/keyspaces/{{keyspace}}/values/{{key}}: {names}"),
    )
}

fn refuse_part(kind: Values, part: &Part) -> Option<Problem> {
    if kind == Values::Register {
        return Some(refusal(
            "a register has no parts: the keyspace has values = register".into(),
            "read it with GET /v1/keyspaces/{keyspace}/keys/{key}".into(),
        ));
    }
    if part.is_of(kind) {
        return None;
    }
    let parts = match kind {
        Values::Register | Values::Counter => "all of it",
        Values::Set => "all of it, members, or one member",
        Values::Map => "all of it, or one field",
        Values::SortedSet => "all of it, members by rank or score, or one member",
    };
    Some(refusal(format!("a {kind} has no such part"), format!("of a {kind} can be read: {parts}")))
}

/// Whether a transaction sets keys; it may remove them.
fn writes(txn: &Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(|op| match op {
        TxnOp::Put { .. } | TxnOp::Increment { .. } => true,
        TxnOp::Get { .. } | TxnOp::Range { .. } | TxnOp::Delete { .. } => false,
        TxnOp::Txn(txn) => writes(txn),
    })
}

fn refusal(message: String, next_step: String) -> Problem {
    Problem::not_applied(ErrorCode::InvalidArgument, message, next_step)
}
