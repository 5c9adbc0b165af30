//! The handshake: the first bytes on a connection, in each direction.
//!
//! ```text
//! offset  bytes  field
//!      0      4  magic   "QRTE": garbage is recognised at its first byte
//!      4      4  length  of the body, little-endian; 1 to BODY_BYTES_MAX
//!      8      4  crc32   little-endian, over length and body
//!     12      n  body    protobuf, see [`Hello`]
//! ```
//!
//! How versions evolve: this layout and the meaning of the body's fields never change; fields may be
//! added and are skipped by those who do not know them. Everything after the hello may change with the
//! protocol number. A build speaks a range of numbers, and both sides use the highest that they share;
//! a release still speaks the number of the release before it, so that a cluster is upgraded one node
//! at a time. What is merely optional is a [`Features`] bit and needs no new number.

use prost::Message;
use types::{ClusterId, NodeId};

use crate::Features;

/// The first bytes of every connection.
pub const MAGIC: [u8; 4] = *b"QRTE";
/// Bytes before the body.
pub const HEADER_BYTES: usize = 12;
/// Largest hello, in bytes, with its header. Today's takes about a tenth.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = HELLO_BYTES_MAX - HEADER_BYTES;
/// Longest build text, in bytes.
pub const BUILD_BYTES_MAX: usize = 64;
/// Oldest protocol that this build speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Newest protocol that this build speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Who speaks, and what it understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest protocol spoken.
    pub protocol_min: u32,
    /// Newest protocol spoken; at least `protocol_min`.
    pub protocol_max: u32,
    /// Features offered.
    pub features: Features,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Which member it is.
    pub node: NodeId,
    /// Its release, for people; at most [`BUILD_BYTES_MAX`] bytes.
    pub build: String,
    /// Drawn at random when the process started: tells a restart from a new connection.
    pub boot: u64,
}

/// What two hellos agreed on; holds for the connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The highest protocol that both speak.
    pub protocol: u32,
    /// The features that both offer.
    pub features: Features,
}

/// Why a connection was refused at its hello. No message was exchanged; close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The bytes do not begin as a hello does: something else is talking to this port.
    #[error(
        "this is not a Quorate peer: its first bytes are no hello; check that the address is a node's peer port"
    )]
    NotHello,
    /// The announced length is 0 or over the limit.
    #[error("the hello has a body of {bytes} bytes; 1 to {BODY_BYTES_MAX} are allowed")]
    BadLength {
        /// Bytes announced.
        bytes: u32,
    },
    /// Damaged on the way.
    #[error("the hello fails its checksum: it was damaged on the way")]
    BadChecksum,
    /// The body is not what the protocol says.
    #[error("the hello is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A node of another cluster.
    #[error(
        "the peer belongs to cluster {theirs}, this node to {ours}; check the peer's address and data directory"
    )]
    WrongCluster {
        /// This node's cluster.
        ours: ClusterId,
        /// The peer's.
        theirs: ClusterId,
    },
    /// Another node than the address, or the certificate, says.
    #[error(
        "the peer says it is node {got}, expected node {expected}; check the peer's address and certificate"
    )]
    WrongNode {
        /// Who it had to be.
        expected: NodeId,
        /// Who it says it is.
        got: NodeId,
    },
    /// No protocol number is spoken by both.
    #[error(
        "no common protocol: this node speaks {} to {}, the peer {} to {}; upgrade the older one, one release at a time",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    NoCommonVersion {
        /// Oldest and newest that this node speaks.
        ours: (u32, u32),
        /// Oldest and newest that the peer speaks.
        theirs: (u32, u32),
    },
}

/// The body on the wire. Field numbers are never reused.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    protocol_min: u32,
    #[prost(uint32, tag = "2")]
    protocol_max: u32,
    #[prost(uint64, tag = "3")]
    features: u64,
    #[prost(bytes = "vec", tag = "4")]
    cluster_id: Vec<u8>,
    #[prost(uint64, tag = "5")]
    node_id: u64,
    #[prost(string, tag = "6")]
    build: String,
    #[prost(fixed64, tag = "7")]
    boot_id: u64,
}

impl Hello {
    /// The bytes to send.
    ///
    /// # Panics
    /// If `build` is over [`BUILD_BYTES_MAX`], or the protocol range is empty.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.build.len() <= BUILD_BYTES_MAX, "the build text is too long");
        assert!(self.protocol_min <= self.protocol_max, "the protocol range is empty");
        let body = Body {
            protocol_min: self.protocol_min,
            protocol_max: self.protocol_max,
            features: self.features.0,
            cluster_id: self.cluster.0.to_vec(),
            node_id: self.node.0,
            build: self.build.clone(),
            boot_id: self.boot,
        }
        .encode_to_vec();
        let length = u32::try_from(body.len()).expect("a hello is short").to_le_bytes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&checksum(length, &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        assert!(bytes.len() <= HELLO_BYTES_MAX);
        bytes
    }

    /// Reads a hello off the front of `received`. Answers it with the bytes it took; what follows
    /// belongs to the first frame. `None` means that more bytes are needed: at most
    /// [`HELLO_BYTES_MAX`] in all.
    ///
    /// # Errors
    /// [`HelloError::NotHello`] at the first byte that is not the magic's, `BadLength`,
    /// `BadChecksum`, `Malformed`.
    pub fn decode(received: &[u8]) -> Result<Option<(Hello, usize)>, HelloError> {
        let begun = received.len().min(MAGIC.len());
        if received[..begun] != MAGIC[..begun] {
            return Err(HelloError::NotHello);
        }
        let Some((header, rest)) = received.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length: [u8; 4] = header[4..8].try_into().expect("four bytes");
        let crc: [u8; 4] = header[8..12].try_into().expect("four bytes");
        let bytes = u32::from_le_bytes(length);
        if bytes == 0 || bytes as usize > BODY_BYTES_MAX {
            return Err(HelloError::BadLength { bytes });
        }
        let Some(body) = rest.get(..bytes as usize) else {
            return Ok(None);
        };
        if checksum(length, body) != u32::from_le_bytes(crc) {
            return Err(HelloError::BadChecksum);
        }
        Ok(Some((Hello::from_body(body)?, HEADER_BYTES + body.len())))
    }

    fn from_body(body: &[u8]) -> Result<Hello, HelloError> {
        let malformed = |what| HelloError::Malformed { what };
        let body = Body::decode(body).map_err(|_| malformed("its body cannot be decoded"))?;
        let cluster = body.cluster_id.try_into().map_err(|_| malformed("a cluster id has 16 bytes"))?;
        if body.protocol_min > body.protocol_max {
            return Err(malformed("its protocol range is empty"));
        }
        if body.build.len() > BUILD_BYTES_MAX {
            return Err(malformed("its build text is too long"));
        }
        Ok(Hello {
            protocol_min: body.protocol_min,
            protocol_max: body.protocol_max,
            features: Features(body.features),
            cluster: ClusterId(cluster),
            node: NodeId(body.node_id),
            build: body.build,
            boot: body.boot_id,
        })
    }
}

/// What a connection between `ours` and `theirs` speaks. Both sides come to the same answer.
/// `expected` is who the peer has to be: the node that was dialed, or the one its certificate names.
///
/// # Errors
/// [`HelloError`] `WrongCluster`, `WrongNode`, `NoCommonVersion`, in this order.
pub fn negotiate(ours: &Hello, theirs: &Hello, expected: NodeId) -> Result<Session, HelloError> {
    if theirs.cluster != ours.cluster {
        return Err(HelloError::WrongCluster { ours: ours.cluster, theirs: theirs.cluster });
    }
    if theirs.node != expected {
        return Err(HelloError::WrongNode { expected, got: theirs.node });
    }
    let protocol = ours.protocol_max.min(theirs.protocol_max);
    if protocol < ours.protocol_min.max(theirs.protocol_min) {
        return Err(HelloError::NoCommonVersion {
            ours: (ours.protocol_min, ours.protocol_max),
            theirs: (theirs.protocol_min, theirs.protocol_max),
        });
    }
    Ok(Session { protocol, features: ours.features & theirs.features })
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}
