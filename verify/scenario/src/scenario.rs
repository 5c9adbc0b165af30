//! What a scenario can say. Every field that may be left out is an `Option`; the bounds of each are in `bounds.rs`.

use serde::Deserialize;

/// A scenario. Its default leaves everything out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name of its file, without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in one sentence.
    pub about: String,
    /// The nodes.
    #[serde(default)]
    pub cluster: Cluster,
    /// What clients do.
    #[serde(default)]
    pub workload: Workload,
    /// What goes wrong at moments.
    #[serde(default)]
    pub faults: Faults,
    /// What the network does all the time.
    #[serde(default)]
    pub network: Network,
    /// How disks and the files on them are. Real processes have disks of their own and do not look at it.
    #[serde(default)]
    pub disk: Disk,
    /// How long it takes.
    #[serde(default)]
    pub duration: Duration,
    /// Who judges.
    #[serde(default)]
    pub checkers: Checkers,
}

/// Numbers from `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The smallest.
    pub from: u64,
    /// The largest.
    pub to: u64,
}

/// The nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// One of these is how many there are.
    pub nodes: Option<Vec<u64>>,
    /// By up to one of these, in parts per million, the nodes' monotonic clocks are wrong.
    pub clock_drift_ppm: Option<Vec<u64>>,
}

/// What clients do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Groups of clients and kinds of operation that there are, no others.
    pub kinds: Option<Vec<Kind>>,
    /// Ordinary clients.
    pub clients: Option<Span>,
    /// Keys per keyspace.
    pub keys: Option<Span>,
    /// One of these is the longest usual value.
    pub value_bytes: Option<Vec<u64>>,
    /// Mean pause of a client between operations.
    pub think_ms: Option<Span>,
    /// Keyspaces that come and go.
    pub keyspaces: Option<Span>,
    /// Of a thousand operations so many go to one key.
    pub hot_key_per_mille: Option<u64>,
}

/// A kind of thing that clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Puts, gets, deletes, compare-and-set and ranges.
    Registers,
    /// Transactions: over keys that only they change, and between accounts.
    Transactions,
    /// Reads that need not be new, and sessions that are lost and handed on.
    Sessions,
    /// Leases, locks and writes under fencing tokens.
    Locks,
    /// Values with operations: counters and sets.
    Counters,
    /// Watches, reads of the past and compaction.
    Watches,
    /// Keyspaces that are created and deleted.
    Keyspaces,
    /// Writes that are acknowledged before they are committed.
    EarlyAcks,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::Registers,
        Kind::Transactions,
        Kind::Sessions,
        Kind::Locks,
        Kind::Counters,
        Kind::Watches,
        Kind::Keyspaces,
        Kind::EarlyAcks,
    ];

    /// Its name in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Registers => "registers",
            Kind::Transactions => "transactions",
            Kind::Sessions => "sessions",
            Kind::Locks => "locks",
            Kind::Counters => "counters",
            Kind::Watches => "watches",
            Kind::Keyspaces => "keyspaces",
            Kind::EarlyAcks => "early_acks",
        }
    }
}

/// What goes wrong at moments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Kinds of fault that happen. An empty list is a quiet run, in which the network loses nothing either, unless
    /// `[network]` says so.
    pub kinds: Option<Vec<String>>,
    /// Mean time between two.
    pub every_ms: Option<Span>,
    /// How many kinds may be under way at once.
    pub together: Option<u64>,
}

/// What the network does all the time, until everything heals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// One of these is the usual one-way delay.
    pub latency_us: Option<Vec<u64>>,
    /// By up to one of these a message comes later than usual.
    pub jitter_us: Option<Vec<u64>>,
    /// One of these passes each link in a second; 0 is any number.
    pub bytes_per_s: Option<Vec<u64>>,
    /// Of a thousand messages so many are lost.
    pub loss_per_mille: Option<Span>,
    /// Of a thousand messages so many arrive twice.
    pub duplicate_per_mille: Option<Span>,
    /// Of a thousand messages so many are overtaken.
    pub reorder_per_mille: Option<Span>,
    /// Of a thousand messages so many arrive with a flipped bit.
    pub corrupt_per_mille: Option<Span>,
}

/// How disks are, and how much the nodes put into one file or keep in memory. One of each list is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// Mean time of an append to the log.
    pub write_us: Option<Vec<u64>>,
    /// Mean time of a checkpoint or installation.
    pub job_us: Option<Vec<u64>>,
    /// Entries kept in memory for followers that are behind: who is further behind is sent a snapshot.
    pub log_cache_kib: Option<Vec<u64>>,
    /// Log after which a checkpoint is due.
    pub checkpoint_kib: Option<Vec<u64>>,
    /// Changes in memory after which one is due.
    pub overlay_kib: Option<Vec<u64>>,
    /// One file of the log.
    pub segment_kib: Option<Vec<u64>>,
    /// Revisions that a history keeps at most.
    pub history_revisions: Option<Vec<u64>>,
}

/// How long it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Duration {
    /// For how long faults happen.
    pub chaos_s: Option<Span>,
    /// Within this time after the last fault every node must serve, and all must be in one state.
    pub progress_within_s: Option<u64>,
}

/// Who judges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkers {
    /// Names of checkers or families of them; empty: all.
    pub names: Vec<String>,
}
