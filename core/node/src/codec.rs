//! Requests and answers as they travel between nodes, inside [`wire::message::Forward`] and its reply.
//! Protocol Buffers, so that fields can be added; numbers are never reused.

use keyspace::codec::{
    DecodeError, decode_answer, decode_command, decode_outcome, decode_query, encode_answer, encode_command,
    encode_outcome, encode_query,
};
use keyspace::{Fence, IdempotencyKey};
use prost::Message;
use types::{Acks, Applied, ErrorCode, Guarantee, Hlc, NodeId, Problem, ReadLease, Receipt, Role};

use crate::api::{Op, Options, Reply, ReplyBody, Request};

#[derive(Clone, PartialEq, Message)]
struct WireRequest {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(oneof = "WireOp", tags = "2, 3, 4")]
    op: Option<WireOp>,
    #[prost(message, optional, tag = "5")]
    options: Option<WireOptions>,
}

/// Absent: as the contract says. Words are as in contracts.
#[derive(Clone, PartialEq, Message)]
struct WireOptions {
    #[prost(string, optional, tag = "1")]
    ack: Option<String>,
    #[prost(string, optional, tag = "2")]
    read: Option<String>,
    #[prost(string, tag = "3")]
    session: String,
    #[prost(string, tag = "40")]
    client: String,
    #[prost(string, tag = "41")]
    request_id: String,
    #[prost(message, optional, tag = "7")]
    fence: Option<WireFence>,
}

#[derive(Clone, PartialEq, Message)]
struct WireFence {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(uint64, tag = "2")]
    token: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WireOp {
    #[prost(bytes, tag = "2")]
    Command(Vec<u8>),
    #[prost(bytes, tag = "3")]
    Query(Vec<u8>),
    #[prost(message, tag = "4")]
    Once(WireOnce),
}

#[derive(Clone, PartialEq, Message)]
struct WireOnce {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    command: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireReply {
    #[prost(message, optional, tag = "1")]
    receipt: Option<WireReceipt>,
    #[prost(oneof = "WireBody", tags = "2, 3, 4, 40")]
    body: Option<WireBody>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WireBody {
    #[prost(bytes, tag = "2")]
    Outcome(Vec<u8>),
    #[prost(bytes, tag = "3")]
    Answer(Vec<u8>),
    #[prost(message, tag = "4")]
    Problem(WireProblem),
    #[prost(message, tag = "40")]
    Accepted(WireAccepted),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireAccepted {}

#[derive(Clone, PartialEq, Message)]
struct WireReceipt {
    #[prost(string, tag = "1")]
    keyspace: String,
    #[prost(uint64, optional, tag = "2")]
    revision: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    staleness_ms: Option<u64>,
    #[prost(uint32, tag = "4")]
    acks_required: u32,
    #[prost(uint32, tag = "5")]
    acks_got: u32,
    #[prost(uint32, tag = "6")]
    acks_of: u32,
    #[prost(uint32, tag = "7")]
    acks_durable: u32,
    #[prost(uint64, tag = "8")]
    served_by: u64,
    #[prost(string, tag = "9")]
    role: String,
    #[prost(uint64, tag = "10")]
    term: u64,
    #[prost(uint32, tag = "11")]
    attempts: u32,
    #[prost(string, tag = "12")]
    requested: String,
    #[prost(string, tag = "13")]
    delivered: String,
    #[prost(bool, tag = "14")]
    deduplicated: bool,
    #[prost(string, tag = "15")]
    session: String,
    #[prost(fixed64, tag = "50")]
    hlc: u64,
    #[prost(message, optional, tag = "70")]
    read_lease: Option<WireReadLease>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireReadLease {
    #[prost(uint64, tag = "1")]
    left_ms: u64,
    #[prost(uint32, tag = "2")]
    clock_drift_percent_max: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireProblem {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    applied: String,
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    next_step: String,
    #[prost(uint64, optional, tag = "5")]
    current_revision: Option<u64>,
    #[prost(uint64, optional, tag = "20")]
    oldest_revision: Option<u64>,
}

/// Encodes a request for [`wire::message::Forward`].
pub fn encode_request(request: &Request) -> Vec<u8> {
    let op = match &request.op {
        Op::Command(command) => WireOp::Command(encode_command(command)),
        Op::Once(key, command) => {
            WireOp::Once(WireOnce { key: key.as_bytes().to_vec(), command: encode_command(command) })
        }
        Op::Query(query) => WireOp::Query(encode_query(query)),
        Op::Catalog(_) | Op::Lost(_) | Op::Acquire(_) => {
            unreachable!("the node asked turns it into requests to the meta group")
        }
    };
    let options = encode_options(&request.options);
    WireRequest { keyspace: request.keyspace.clone(), op: Some(op), options }.encode_to_vec()
}

/// Decodes a forwarded request.
///
/// # Errors
/// When the bytes are not a request that this version knows. Nothing was done.
pub fn decode_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let wire = WireRequest::decode(bytes).map_err(|error| malformed(error.to_string()))?;
    let op = match wire.op {
        Some(WireOp::Command(bytes)) => Op::Command(decode_command(&bytes)?),
        Some(WireOp::Query(bytes)) => Op::Query(decode_query(&bytes)?),
        Some(WireOp::Once(once)) => {
            let key = IdempotencyKey::new(once.key).map_err(|problem| malformed(problem.message))?;
            Op::Once(key, decode_command(&once.command)?)
        }
        None => return Err(malformed("request of an unknown kind")),
    };
    let options = wire.options.map(decode_options).transpose()?.unwrap_or_default();
    Ok(Request { keyspace: wire.keyspace, op, options })
}

fn encode_options(options: &Options) -> Option<WireOptions> {
    if *options == Options::default() {
        return None;
    }
    let Options { ack, read, session, client, request_id, fence } = options;
    let (ack, read) = (ack.map(|ack| ack.to_string()), read.map(|read| read.to_string()));
    let (client, request_id) = (client.clone(), request_id.clone());
    let fence = fence.as_ref().map(|fence| WireFence { name: fence.name.clone(), token: fence.token });
    Some(WireOptions { ack, read, session: session.to_string(), client, request_id, fence })
}

fn decode_options(wire: WireOptions) -> Result<Options, DecodeError> {
    let ack = wire.ack.map(|word| word.parse()).transpose().map_err(malformed)?;
    let read = wire.read.map(|word| word.parse()).transpose().map_err(malformed)?;
    let session = wire
        .session
        .parse()
        .map_err(|error: types::session::SessionTokenError| malformed(error.to_string()))?;
    let fence = wire.fence.map(|fence| Fence { name: fence.name, token: fence.token });
    Ok(Options { ack, read, session, client: wire.client, request_id: wire.request_id, fence })
}

/// Encodes an answer for [`wire::message::ForwardReply`].
pub fn encode_reply(result: &Result<Reply, Problem>) -> Vec<u8> {
    let wire = match result {
        Ok(reply) => WireReply {
            receipt: Some(encode_receipt(&reply.receipt)),
            body: Some(match &reply.body {
                ReplyBody::Outcome(outcome) => WireBody::Outcome(encode_outcome(outcome)),
                ReplyBody::Answer(answer) => WireBody::Answer(encode_answer(answer)),
                ReplyBody::Accepted => WireBody::Accepted(WireAccepted {}),
                ReplyBody::Catalog(_) | ReplyBody::Lost(_) | ReplyBody::Acquired(_) => {
                    unreachable!("only the node asked gives such an answer")
                }
            }),
        },
        Err(problem) => WireReply {
            receipt: None,
            body: Some(WireBody::Problem(WireProblem {
                code: problem.code.name().into(),
                applied: applied_name(problem.applied).into(),
                message: problem.message.clone(),
                next_step: problem.next_step.clone(),
                current_revision: problem.current_revision,
                oldest_revision: problem.oldest_revision,
            })),
        },
    };
    wire.encode_to_vec()
}

/// Decodes an answer.
///
/// # Errors
/// When the bytes are not an answer that this version knows. The outcome is then unknown.
pub fn decode_reply(bytes: &[u8]) -> Result<Result<Reply, Problem>, DecodeError> {
    let wire = WireReply::decode(bytes).map_err(|error| malformed(error.to_string()))?;
    let body = match wire.body {
        Some(WireBody::Outcome(bytes)) => ReplyBody::Outcome(decode_outcome(&bytes)?),
        Some(WireBody::Answer(bytes)) => ReplyBody::Answer(decode_answer(&bytes)?),
        Some(WireBody::Accepted(_)) => ReplyBody::Accepted,
        Some(WireBody::Problem(problem)) => return Ok(Err(decode_problem(problem)?)),
        None => return Err(malformed("answer of an unknown kind")),
    };
    let receipt = wire.receipt.ok_or_else(|| malformed("answer without a receipt"))?;
    Ok(Ok(Reply { body, receipt: decode_receipt(receipt)? }))
}

fn encode_receipt(receipt: &Receipt) -> WireReceipt {
    WireReceipt {
        keyspace: receipt.keyspace.clone(),
        revision: receipt.revision,
        staleness_ms: receipt.staleness_ms,
        acks_required: receipt.acks.required,
        acks_got: receipt.acks.got,
        acks_of: receipt.acks.of,
        acks_durable: receipt.acks.durable,
        served_by: receipt.served_by.0,
        role: receipt.role.name().into(),
        term: receipt.term,
        attempts: receipt.attempts,
        requested: receipt.requested.name().into(),
        delivered: receipt.delivered.name().into(),
        deduplicated: receipt.deduplicated,
        session: receipt.session.to_string(),
        hlc: receipt.hlc.0,
        read_lease: receipt.read_lease.map(|lease| WireReadLease {
            left_ms: lease.left_ms,
            clock_drift_percent_max: lease.clock_drift_percent_max,
        }),
    }
}

fn decode_receipt(wire: WireReceipt) -> Result<Receipt, DecodeError> {
    let role =
        [Role::Leader, Role::Follower, Role::Candidate].into_iter().find(|role| role.name() == wire.role);
    Ok(Receipt {
        requested: decode_guarantee(&wire.requested)?,
        delivered: decode_guarantee(&wire.delivered)?,
        role: role.ok_or_else(|| malformed(format!("unknown role {:?}", wire.role)))?,
        keyspace: wire.keyspace,
        revision: wire.revision,
        staleness_ms: wire.staleness_ms,
        acks: Acks {
            required: wire.acks_required,
            got: wire.acks_got,
            of: wire.acks_of,
            durable: wire.acks_durable,
        },
        served_by: NodeId(wire.served_by),
        term: wire.term,
        attempts: wire.attempts,
        deduplicated: wire.deduplicated,
        session: wire.session.parse().map_err(|_| malformed("a receipt's session token"))?,
        hlc: Hlc(wire.hlc),
        degraded: None,
        shards: None,
        read_lease: wire.read_lease.map(|lease| ReadLease {
            left_ms: lease.left_ms,
            clock_drift_percent_max: lease.clock_drift_percent_max,
        }),
    })
}

fn decode_guarantee(name: &str) -> Result<Guarantee, DecodeError> {
    let known = Guarantee::ALL.into_iter().find(|guarantee| guarantee.name() == name);
    known.ok_or_else(|| malformed(format!("unknown guarantee {name:?}")))
}

fn decode_problem(wire: WireProblem) -> Result<Problem, DecodeError> {
    let code = ErrorCode::from_name(&wire.code)
        .ok_or_else(|| malformed(format!("unknown error code {:?}", wire.code)))?;
    let applied = [Applied::NotApplied, Applied::Applied, Applied::Unknown]
        .into_iter()
        .find(|applied| applied_name(*applied) == wire.applied)
        .ok_or_else(|| malformed(format!("unknown effect {:?}", wire.applied)))?;
    Ok(Problem {
        code,
        applied,
        message: wire.message,
        next_step: wire.next_step,
        current_revision: wire.current_revision,
        oldest_revision: wire.oldest_revision,
    })
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { what: "forwarded message", reason: reason.into() }
}

fn applied_name(applied: Applied) -> &'static str {
    match applied {
        Applied::NotApplied => "not_applied",
        Applied::Applied => "applied",
        Applied::Unknown => "unknown",
    }
}
