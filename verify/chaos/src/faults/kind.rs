//! The faults that real processes can suffer, by the names that scenarios use, and why others cannot be had here.

use std::fmt;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9`, and a start later.
    Kill,
    /// SIGTERM, and a start later.
    Restart,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// SIGSTOP, `kill -9` while it stands, and a start.
    PauseThenKill,
    /// `kill -9` and a start at once, several times.
    CrashLoop,
    /// `kill -9` for all at once.
    KillAll,
    /// Every node in turn: SIGTERM, and a start.
    RollingRestart,
    /// Two sides that do not hear each other.
    Split,
    /// One node is not heard, or hears nothing.
    OneWay,
    /// The leader and the others do not hear each other.
    IsolateLeader,
    /// Two nodes, one of them the leader if there is one, do not hear each other.
    LostLink,
    /// Some pairs of nodes do not hear each other.
    Partial,
    /// Every node hears a majority, and no two the same one.
    MajorityRing,
    /// Two halves that share one node.
    Bridge,
    /// A split that comes and goes.
    Flapping,
    /// No client reaches one node; its peers do.
    ClientCut,
    /// What one node answers to clients does not arrive.
    LostAnswers,
    /// What is said to and by one node comes late.
    LateLinks,
    /// Everything between peers comes later by the same time.
    Latency,
    /// All links are late by differing times.
    Jitter,
    /// What is said to and by one node passes slowly.
    Throttle,
    /// One node's connections stay open, and nobody is behind them.
    HalfOpen,
    /// All connections between peers are closed, and refused for a while.
    Reset,
    /// Bits flip between peers; TLS must notice.
    Corrupt,
    /// A node's disk is full.
    DiskFull,
    /// A node's wall clock jumps, and comes back.
    ClockJump,
    /// A node's wall clock is off by a little.
    ClockSkew,
    /// A node's wall clock jumps to and fro.
    ClockStrobe,
}

use Fault as F;

impl Fault {
    /// All.
    pub const ALL: [Fault; 28] = [
        F::Kill,
        F::Restart,
        F::Pause,
        F::PauseThenKill,
        F::CrashLoop,
        F::KillAll,
        F::RollingRestart,
        F::Split,
        F::OneWay,
        F::IsolateLeader,
        F::LostLink,
        F::Partial,
        F::MajorityRing,
        F::Bridge,
        F::Flapping,
        F::ClientCut,
        F::LostAnswers,
        F::LateLinks,
        F::Latency,
        F::Jitter,
        F::Throttle,
        F::HalfOpen,
        F::Reset,
        F::Corrupt,
        F::DiskFull,
        F::ClockJump,
        F::ClockSkew,
        F::ClockStrobe,
    ];

    /// What scenarios call it.
    pub fn name(self) -> &'static str {
        match self {
            F::Kill => "kill",
            F::Restart => "restart",
            F::Pause => "pause",
            F::PauseThenKill => "pause_then_kill",
            F::CrashLoop => "crash_loop",
            F::KillAll => "kill_everywhere",
            F::RollingRestart => "rolling_restart",
            F::Split => "split",
            F::OneWay => "one_way",
            F::IsolateLeader => "isolate_leader",
            F::LostLink => "lost_link",
            F::Partial => "partial",
            F::MajorityRing => "majority_ring",
            F::Bridge => "bridge",
            F::Flapping => "flapping",
            F::ClientCut => "client_cut",
            F::LostAnswers => "lost_answers",
            F::LateLinks => "late_links",
            F::Latency => "latency",
            F::Jitter => "jitter",
            F::Throttle => "throttle",
            F::HalfOpen => "half_open",
            F::Reset => "reset",
            F::Corrupt => "corruption",
            F::DiskFull => "disk_full",
            F::ClockJump => "wall_jump",
            F::ClockSkew => "clock_skew",
            F::ClockStrobe => "clock_strobe",
        }
    }

    /// What it does, in a line.
    pub fn about(self) -> &'static str {
        match self {
            F::Kill => "kill -9 of one node, which starts again later",
            F::Restart => "SIGTERM to one node, which starts again later",
            F::Pause => "SIGSTOP to one node, SIGCONT later",
            F::PauseThenKill => "SIGSTOP to one node, kill -9 while it stands still, and a start",
            F::CrashLoop => "kill -9 and a start at once, several times in a row",
            F::KillAll => "kill -9 of all nodes at the same moment",
            F::RollingRestart => "every node in turn: SIGTERM, and a start",
            F::Split => "two sides that do not hear each other",
            F::OneWay => "one node is not heard, or hears nothing",
            F::IsolateLeader => "the leader and all others do not hear each other",
            F::LostLink => "a leader and one other node do not hear each other",
            F::Partial => "some pairs of nodes do not hear each other",
            F::MajorityRing => "every node hears a majority, and no two the same one",
            F::Bridge => "two halves that share one node",
            F::Flapping => "a split that comes and goes",
            F::ClientCut => "no client reaches one node, its peers do",
            F::LostAnswers => "what one node answers to clients does not arrive",
            F::LateLinks => "what one node says and hears comes up to 0.6 s late",
            F::Latency => "everything between peers comes later by the same time",
            F::Jitter => "everything between peers comes late by differing times",
            F::Throttle => "what one node says and hears passes slowly",
            F::HalfOpen => "one node's connections stay open, and nobody is behind them",
            F::Reset => "all connections between peers are closed, and refused for a while",
            F::Corrupt => "bits flip between peers, below TLS",
            F::DiskFull => "a node's disk is full",
            F::ClockJump => "a node's wall clock jumps by up to an hour, and comes back",
            F::ClockSkew => "a node's wall clock is off by up to 5 s for a while",
            F::ClockStrobe => "a node's wall clock jumps to and fro",
        }
    }

    /// Whether it is done to processes that were started here.
    pub fn needs_processes(self) -> bool {
        let processes = [F::Kill, F::Restart, F::Pause, F::PauseThenKill, F::CrashLoop, F::KillAll];
        processes.contains(&self) || matches!(self, F::RollingRestart | F::DiskFull) || self.needs_clocks()
    }

    /// Whether it is done to links between peers.
    pub fn needs_links(self) -> bool {
        !self.needs_processes()
    }

    /// Whether it sets clocks.
    pub fn needs_clocks(self) -> bool {
        matches!(self, F::ClockJump | F::ClockSkew | F::ClockStrobe)
    }

    /// Whether it sets wall clocks further apart than hybrid clocks follow.
    pub fn sets_clocks_far(self) -> bool {
        matches!(self, F::ClockJump | F::ClockStrobe)
    }

    /// How many nodes it takes to make sense.
    pub fn nodes_min(self) -> usize {
        match self {
            F::MajorityRing | F::Bridge => 5,
            F::Partial => 3,
            F::ClientCut | F::LostAnswers => 1,
            fault if fault.needs_links() => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a name in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// It is this.
    Same(Fault),
    /// The simulator's fault has no counterpart; this is what comes nearest.
    Nearest(Fault, &'static str),
    /// Real processes cannot have it here.
    Never(&'static str),
}

const PAGE_CACHE: &str = "a process can be killed, but the machine keeps what it wrote: done as kill -9";
const IN_DISK: &str = "needs a disk that fails on demand; the simulator has one";
const LOAD: &str =
    "it is a load that the simulator's clients and nodes make; here clients do what the workload says";
const TCP: &str = "TCP repairs it before a node could see it; the simulator has frames that suffer it";

/// What a name in a scenario means here. `None`: there is no such name.
pub fn meant(name: &str) -> Option<Meant> {
    use Meant::{Nearest, Never, Same};
    if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.name() == name) {
        return Some(Same(fault));
    }
    Some(match name {
        "power_loss" | "power_loss_in_write" => Nearest(F::Kill, PAGE_CACHE),
        "power_loss_in_recovery" => Nearest(F::CrashLoop, PAGE_CACHE),
        "kill_in_start" => {
            Nearest(F::CrashLoop, "done as kills at times drawn by chance, some of which meet a start")
        }
        "power_loss_everywhere" | "power_loss_of_rack" => Nearest(F::KillAll, PAGE_CACHE),
        "sync_failure" | "bit_rot" | "slow_disk" | "read_error" | "write_error" | "stalled_disk"
        | "store_rot" | "truncated_file" | "lying_sync" | "misdirected_write" | "lost_tail"
        | "stale_restore" | "disk_loss" => Never(IN_DISK),
        "leader_transfer"
        | "snapshot_crash"
        | "compaction_under_load"
        | "hot_key"
        | "huge_value"
        | "retry_storm"
        | "slow_consumer" => Never(LOAD),
        "loss" | "duplication" | "reordering" => Never(TCP),
        "clock_drift" => Never("needs monotonic clocks of different speeds; the simulator has them"),
        _ => return None,
    })
}
