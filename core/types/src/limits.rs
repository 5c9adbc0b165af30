//! Every bound that a user or a peer can run into, in one place, with its default and reason.

/// Longest key, in bytes. Keys live in index pages and in memory; etcd and Redis users stay far below.
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// Largest value, in bytes: one entry must fit a peer frame with room to spare.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Most items in one page of a range read.
pub const RANGE_ITEMS_MAX: u32 = 1_000;
/// Most bytes of keys and values in one page of a range read (one item is always returned).
pub const RANGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most compares, and most operations in each of its branches, of one transaction: what etcd allows.
pub const TXN_OPS_MAX: usize = 128;
/// Most compares and operations of one transaction, those of nested ones counted: bounds the time for
/// which applying it holds up others.
pub const TXN_PARTS_MAX: usize = 512;
/// How deep transactions nest, the outermost counted. Nobody is known to need more than two.
pub const TXN_DEPTH_MAX: usize = 4;
/// Most bytes of keys, values and bounds in one transaction: it is one log entry, must fit a segment and a
/// peer frame, and shares them with others.
pub const TXN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most keys that one transaction compares in ranges, lists or deletes: bounds the time to apply it.
pub const TXN_KEYS_MAX: u64 = 10_000;
/// Most bytes of keys and values that one transaction reads, to answer them or to compare values: the
/// answer must fit a peer frame.
pub const TXN_READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most bytes of values that one transaction replaces or deletes: they move to the history, through memory.
pub const TXN_SUPERSEDED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most bytes of values before the change that one revision tells its watchers. Those beyond are left out, and
/// can be read at the revision before.
pub const WATCH_PREV_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of changes on their way to one watcher that has not taken them: beyond it, the watcher is kept at its
/// position, which costs nothing. A revision is told as a whole, so one may exceed it.
pub const WATCH_BUFFER_BYTES_MAX: u64 = 64 * 1024;
/// Changes of a group of which its watchers have a copy in common, in bytes. Who is further behind reads the
/// history in the state store.
pub const WATCH_RECENT_BYTES_MAX: usize = 1024 * 1024;
/// Shortest time to live of a lease, in milliseconds: ten ticks of a node, within which it can be renewed.
pub const LEASE_TTL_MS_MIN: u64 = 200;
/// Longest time to live of a lease, in milliseconds: a year.
pub const LEASE_TTL_MS_MAX: u64 = 365 * 24 * 3_600_000;
/// Most leases of a group: a new leader reads them all before it renews the first.
pub const LEASES_MAX: u64 = 16_384;
/// Most keys of one lease: they are removed by one entry.
pub const LEASE_KEYS_MAX: u64 = 1_024;
/// Longest key that may be bound to a lease, in bytes: records repeat it behind a prefix.
pub const LEASED_KEY_BYTES_MAX: usize = 4_000;
/// Most requests that wait at a group's leader for a lock or for news of an election.
pub const LOCK_WAITS_MAX: usize = 1_024;
/// Most waiters of a lock that an answer counts.
pub const LOCK_QUEUE_COUNT_MAX: u64 = 1_000;
/// Longest name of a lock, in bytes: its keys have up to 17 more.
pub const LOCK_NAME_BYTES_MAX: usize = 1_024;
/// For how long a node gives no vote once it has heard from a leader, and once it started, in milliseconds of its own
/// clock: what a leader's lease rests on. Part of the protocol, so that no configuration can set two nodes apart: it is
/// the same on every node. Two ticks shorter than the usual election timeout, so that it delays no usual election.
pub const VOTE_REFUSAL_MS: u64 = 360;
/// The clocks of two nodes may differ in speed by one part in this many before a read by lease can be stale. Real
/// ones differ by less than one in 5,000.
pub const READ_LEASE_DRIFT: u64 = 10;
/// Longest keyspace name, in bytes.
pub const KEYSPACE_NAME_BYTES_MAX: usize = 64;
/// Most keyspaces of a cluster. Each is a Raft group on every node, with timers and heartbeats of its own: what a
/// node does while nothing is asked of it grows with their number.
pub const KEYSPACES_MAX: usize = 256;
/// Most groups of a cluster's keyspaces, those of all shards counted: see [`KEYSPACES_MAX`].
pub const GROUPS_MAX: u64 = 1_024;
/// Most shards of a keyspace: each is a group with timers and a log of its own on every node. Group numbers
/// are spaced by it, so it is part of the format of a cluster's data: it never changes.
pub const SHARDS_MAX: u32 = 64;
/// Largest peer frame, in bytes, after decompression as well as before.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most peer messages in one frame.
pub const FRAME_MESSAGES_MAX: usize = 4_096;
/// Uncompressed bytes of one snapshot chunk.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Longest idempotency key, in bytes; a UUID has 36. The record is a row, which repeats it twice.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest encoded outcome that is remembered under an idempotency key, in bytes: it is kept in rows of
/// some tens of bytes each.
pub const OUTCOME_BYTES_MAX: usize = 4 * 1024;
/// Keys that begin so are the group's own records and no client's. They sort behind all others, and no
/// text in UTF-8 has the byte `0xff`.
pub const RESERVED_KEY_PREFIX: [u8; 8] = [0xff; 8];

/// Whether a key is kept for the group's own records: see [`RESERVED_KEY_PREFIX`].
pub fn is_reserved_key(key: &[u8]) -> bool {
    key.starts_with(&RESERVED_KEY_PREFIX)
}

/// Whether a key is of a record of the group's history: written once, at a revision of its own, by the entry
/// that changes a client's key. It may be longer than a client's key, and its value as long as a client's.
pub fn is_history_key(key: &[u8]) -> bool {
    key.strip_prefix(&RESERVED_KEY_PREFIX).is_some_and(|rest| matches!(rest, [b'h' | b'v', ..]))
}

/// Longest key of a row, in bytes: that of a version in the history, whose key is escaped (twice as long at
/// most, and an end of 2 bytes) between its prefix of 9 bytes and its revision of 8.
pub const ROW_KEY_BYTES_MAX: usize = RESERVED_KEY_PREFIX.len() + 1 + 2 * KEY_BYTES_MAX + 2 + 8;

/// Bounds that depend on the machine; the simulator uses small ones to reach rare paths quickly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entry bytes that one group keeps in memory for followers that lag. A follower further behind
    /// gets a snapshot.
    pub log_cache_bytes_max: u64,
    /// Entry bytes proposed and not yet applied, per group; beyond it proposals are `OVERLOADED`.
    pub unapplied_bytes_max: u64,
    /// Client requests waiting on one node; beyond it they are `OVERLOADED`.
    pub pending_requests_max: usize,
    /// Bytes of applied writes in memory before a checkpoint begins.
    pub overlay_bytes: u64,
    /// Entry bytes written since the last checkpoint before the next begins, so that overwriting one
    /// key forever still frees log segments.
    pub log_bytes_per_checkpoint: u64,
    /// Bytes of one write-ahead log segment file.
    pub segment_bytes: u64,
    /// Memory for the state store's page cache, in bytes.
    pub store_cache_bytes: usize,
    /// Client writes are refused with `NO_SPACE` while the disk has less than this free.
    pub disk_free_bytes_min: u64,
    /// Most idempotency keys that a group remembers.
    pub idempotency_keys_max: u64,
    /// Most revisions of a group that can be watched; the oldest go first, however young.
    pub history_revisions_max: u64,
    /// Most watches that one node serves; beyond it they are `OVERLOADED`.
    pub watchers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Limits {
            log_cache_bytes_max: 128 * MIB,
            unapplied_bytes_max: 32 * MIB,
            pending_requests_max: 16_384,
            overlay_bytes: 32 * MIB,
            log_bytes_per_checkpoint: 64 * MIB,
            segment_bytes: 32 * MIB,
            store_cache_bytes: 128 * MIB as usize,
            disk_free_bytes_min: 128 * MIB,
            idempotency_keys_max: 100_000,
            history_revisions_max: 1_000_000,
            watchers_max: 4_096,
        }
    }
}
