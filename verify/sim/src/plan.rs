//! What one seed's world looks like: its size, its speeds and the faults it suffers.

use std::collections::BTreeSet;

use node::Timing;
use scenario::Kind;
use types::Limits;

pub use crate::faults::kinds::FaultKind;
use crate::{constrain::Constraints, dice::Dice};

/// Keyspaces of every world: those of the configuration, then those that clients create.
pub const KEYSPACES: [&str; 5] = ["default", "second", "made-a", "made-b", "tallies"];
/// How many of them take plain writes.
pub const PLAIN: usize = 4;
/// The one that is created with values = map.
pub const TALLIED: usize = 4;
/// How many of them are in the configuration.
pub const CONFIGURED: usize = 2;
/// The one that is created with several shards.
pub const SHARDED: usize = 3;
/// Its shards.
pub const SHARDS: u32 = 2;
/// The one that is created with a quota.
pub const LIMITED: usize = 2;
/// Its quota.
pub const QUOTA_BYTES: u64 = 1_000;
/// Keyspaces that come and go in any world.
pub const BRIEFS: usize = 2;
/// For how long histories are kept in keyspaces that clients create, in seconds.
pub const HISTORY_TTL_S: u64 = 2;
/// By how much monotonic clocks are wrong, in parts per million.
pub const CLOCK_DRIFT_PPM: u64 = 10_000;
/// The same in worlds without clients that go by it: two such clocks differ by less than one part in
/// [`types::limits::READ_LEASE_DRIFT`].
pub const WIDE_CLOCK_DRIFT_PPM: u64 = 50_000;
/// Within this virtual time a healed cluster must have come together, unless a scenario says otherwise.
pub const PROGRESS_US: u64 = 20 * SECOND;
/// Microseconds in a millisecond.
pub const MS: u64 = 1_000;
/// Microseconds in a second.
pub const SECOND: u64 = 1_000_000;

/// What the network does to every message, until the world heals; or what it does beyond that while a fault lasts. Rates
/// are per thousand frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkPlan {
    /// Usual one-way delay.
    pub latency_us: u64,
    /// Up to so much is added to each frame's delay.
    pub jitter_us: u64,
    /// What each link carries; 0: whatever it is given.
    pub bytes_per_s: u64,
    /// Frames lost.
    pub loss_per_mille: u64,
    /// Frames delivered twice.
    pub duplicate_per_mille: u64,
    /// Frames delayed by far more than usual, so that later ones overtake them.
    pub reorder_per_mille: u64,
    /// Frames with a flipped bit.
    pub corrupt_per_mille: u64,
    /// Every frame takes the same time, so that none is overtaken: what one connection does.
    pub in_order: bool,
}

impl NetworkPlan {
    /// Both at once.
    pub fn and(self, other: NetworkPlan) -> NetworkPlan {
        let slower =
            |one: u64, other: u64| if one == 0 || other == 0 { one.max(other) } else { one.min(other) };
        NetworkPlan {
            latency_us: self.latency_us + other.latency_us,
            jitter_us: self.jitter_us + other.jitter_us,
            bytes_per_s: slower(self.bytes_per_s, other.bytes_per_s),
            loss_per_mille: self.loss_per_mille + other.loss_per_mille,
            duplicate_per_mille: self.duplicate_per_mille + other.duplicate_per_mille,
            reorder_per_mille: self.reorder_per_mille + other.reorder_per_mille,
            corrupt_per_mille: self.corrupt_per_mille + other.corrupt_per_mille,
            in_order: self.in_order || other.in_order,
        }
    }
}

/// A world, before anything happened in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes.
    pub nodes: u64,
    /// How long faults go on.
    pub chaos_us: u64,
    /// Kinds of fault that happen; empty in a quiet world.
    pub faults: Vec<FaultKind>,
    /// Mean time between faults.
    pub fault_every_us: u64,
    /// How many kinds of them may be under way at once.
    pub together: u64,
    /// Everyday network faults.
    pub network: NetworkPlan,
    /// Mean time of a log write.
    pub write_us: u64,
    /// Mean time of a store job.
    pub job_us: u64,
    /// Clients.
    pub clients: u64,
    /// Clients beside them that hold locks.
    pub holders: u64,
    /// Clients beside them that count.
    pub talliers: u64,
    /// Keys per keyspace.
    pub keys: u64,
    /// Mean pause of a client between operations.
    pub think_us: u64,
    /// Parts per million by which a monotonic clock may be wrong: usually the hundredth that ages and leases of clients
    /// allow for; in some worlds, without such clients, nearly as much as reads by lease do.
    pub clock_drift_ppm: u64,
    /// Whether clients run transactions. Without them the log is read a second time to its end.
    pub transactions: bool,
    /// Kinds of thing that clients do not do.
    pub idle: BTreeSet<Kind>,
    /// Of a thousand operations so many go to one key of one keyspace.
    pub hot_key_per_mille: u64,
    /// Keyspaces that come and go.
    pub briefs: usize,
    /// Longest usual value, in bytes.
    pub value_bytes: u64,
    /// Once all is healed, everything that is owed comes within this time.
    pub progress_us: u64,
    /// Nodes' bounds.
    pub limits: Limits,
    /// Nodes' speeds.
    pub timing: Timing,
}

impl Plan {
    /// A plan that a scenario allows: what it leaves out is drawn as for any world.
    pub fn draw(dice: &mut Dice, constraints: &Constraints) -> Plan {
        let own = dice.fork();
        let mut plan = Plan::any(dice);
        constraints.apply(&mut plan, own);
        plan
    }

    fn any(dice: &mut Dice) -> Plan {
        const KIB: u64 = 1024;
        let quiet = dice.chance(80);
        let mut faults = FaultKind::ALL.to_vec();
        faults.retain(|_| !quiet && dice.chance(450));
        let mut rate = |per_mille: u64, most: u64| {
            if !quiet && dice.chance(per_mille) { dice.between(1, most) } else { 0 }
        };
        let (loss, duplicate, reorder, corrupt) =
            (rate(500, 60), rate(500, 80), rate(600, 150), rate(250, 15));
        let limits = Limits {
            log_cache_bytes_max: dice.pick(&[4, 16, 64]) * KIB,
            unapplied_bytes_max: dice.pick(&[16, 64, 1024]) * KIB,
            pending_requests_max: dice.pick(&[4, 64, 1024]) as usize,
            overlay_bytes: dice.pick(&[8, 16, 64]) * KIB,
            log_bytes_per_checkpoint: dice.pick(&[16, 32, 128]) * KIB,
            segment_bytes: dice.pick(&[32, 64, 128]) * KIB,
            store_cache_bytes: 256 * KIB as usize,
            disk_free_bytes_min: 64 * KIB,
            idempotency_keys_max: 100_000,
            history_revisions_max: dice.pick(&[20, 100, 1_000]),
            watchers_max: dice.pick(&[4, 100]) as usize,
        };
        let clock_drift_ppm = dice.pick(&[CLOCK_DRIFT_PPM, CLOCK_DRIFT_PPM, WIDE_CLOCK_DRIFT_PPM]);
        let wide = clock_drift_ppm > CLOCK_DRIFT_PPM;
        Plan {
            nodes: dice.pick(&[1, 3, 3, 3, 3, 3, 5, 5]),
            chaos_us: dice.between(6, 24) * SECOND,
            faults,
            fault_every_us: dice.between(100, 1_200) * MS,
            together: dice.pick(&[1, 2, u64::MAX, u64::MAX]),
            network: NetworkPlan {
                latency_us: dice.pick(&[200, 1_000, 5_000]),
                jitter_us: 0,
                bytes_per_s: 0,
                loss_per_mille: loss,
                duplicate_per_mille: duplicate,
                reorder_per_mille: reorder,
                corrupt_per_mille: corrupt,
                in_order: false,
            },
            write_us: dice.pick(&[150, 1_000, 5_000]),
            job_us: dice.pick(&[2_000, 20_000, 100_000]),
            clients: dice.between(2, 8),
            holders: if wide { 0 } else { dice.pick(&[0, 2, 3]) },
            talliers: dice.pick(&[0, 2, 3]),
            keys: dice.between(1, 6),
            think_us: dice.between(5, 40) * MS,
            clock_drift_ppm,
            transactions: dice.chance(500),
            idle: BTreeSet::new(),
            hot_key_per_mille: 0,
            briefs: BRIEFS,
            value_bytes: dice.pick(&[40, 400, 4_000]),
            progress_us: PROGRESS_US,
            limits,
            timing: Timing::default(),
        }
    }
}
