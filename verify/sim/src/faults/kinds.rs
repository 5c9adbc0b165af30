//! The kinds of fault that are injected at a moment: one table of what each is, its name and what it hits.

use std::{fmt, str::FromStr};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Links, between nodes and to clients.
    Network,
    /// Processes, and the machines that they run on.
    Process,
    /// Clocks.
    Clock,
    /// Disks.
    Disk,
    /// What a member remembers: see [`super::forget`].
    Memory,
    /// Nothing: it is a load, or a moment at which the cluster is busy.
    Load,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $family:ident,)*) => {
        /// A kind of fault that is injected at a moment. The network's everyday faults are in
        /// [`NetworkPlan`](crate::plan::NetworkPlan).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $($(#[$doc])* $kind,)*
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &[FaultKind] = &[$(FaultKind::$kind,)*];

            /// The name in scenarios, summaries and traces.
            pub fn name(self) -> &'static str {
                match self {
                    $(FaultKind::$kind => $name,)*
                }
            }

            /// What it hits.
            pub fn family(self) -> Family {
                match self {
                    $(FaultKind::$kind => Family::$family,)*
                }
            }
        }
    };
}

kinds! {
    /// A machine loses power: unsynced bytes are lost or torn.
    PowerLoss "power_loss" Process,
    /// A process is killed; the machine keeps what was written.
    Kill "kill" Process,
    /// Power is lost in the middle of a disk operation.
    PowerLossInWrite "power_loss_in_write" Process,
    /// Some machines lose power at once.
    PowerLossOfRack "power_loss_of_rack" Process,
    /// Every machine loses power at once.
    PowerLossEverywhere "power_loss_everywhere" Process,
    /// Power is lost again while a node recovers.
    PowerLossInRecovery "power_loss_in_recovery" Process,
    /// A process is killed while it starts.
    KillInStart "kill_in_start" Process,
    /// A process stands still for a while.
    Pause "pause" Process,
    /// A process stands still, and is killed before it goes on.
    PauseThenKill "pause_then_kill" Process,
    /// A process dies and starts, again and again.
    CrashLoop "crash_loop" Process,
    /// The network splits in two.
    Split "split" Network,
    /// Every node hears a majority, and no two the same one.
    MajorityRing "majority_ring" Network,
    /// The network splits in two, and one node is on both sides.
    Bridge "bridge" Network,
    /// Some pairs of nodes do not hear each other.
    Partial "partial" Network,
    /// Messages pass in one direction only.
    OneWay "one_way" Network,
    /// The leader of a group is cut off.
    IsolateLeader "isolate_leader" Network,
    /// The leader of a group and one other do not hear each other.
    LostLink "lost_link" Network,
    /// The network splits in two and comes together many times a second.
    Flapping "flapping" Network,
    /// A node believes a connection to be up, and what it sends there vanishes until it notices.
    HalfOpen "half_open" Network,
    /// What is sent to a node arrives late.
    LateLinks "late_links" Network,
    /// Every frame takes longer for a while.
    Latency "latency" Network,
    /// Frames take very different times for a while.
    Jitter "jitter" Network,
    /// Many frames are lost for a while.
    Loss "loss" Network,
    /// Many frames arrive twice for a while.
    Duplication "duplication" Network,
    /// Many frames are overtaken for a while.
    Reordering "reordering" Network,
    /// Many frames are damaged for a while.
    Corruption "corruption" Network,
    /// Links carry few bytes in a second for a while, and drop what their queues do not hold.
    Throttle "throttle" Network,
    /// Clients do not reach a node, which others reach.
    ClientCut "client_cut" Network,
    /// What a node answers to clients is lost on the way back.
    LostAnswers "lost_answers" Network,
    /// The wall clock is set to another time, and stays there.
    WallJump "wall_jump" Clock,
    /// The wall clock is off for a while.
    ClockSkew "clock_skew" Clock,
    /// The wall clock jumps forth and back, many times a second.
    ClockStrobe "clock_strobe" Clock,
    /// The monotonic clock goes faster or slower, as far as contracts allow for; the wall clock at another rate altogether.
    ClockDrift "clock_drift" Clock,
    /// A read from the disk fails (EIO).
    ReadError "read_error" Disk,
    /// A write to the disk fails (EIO).
    WriteError "write_error" Disk,
    /// A sync fails.
    SyncFailure "sync_failure" Disk,
    /// The disk is full for a while.
    DiskFull "disk_full" Disk,
    /// A byte of the log rots while the node is down.
    BitRot "bit_rot" Disk,
    /// A byte of a value in the state store rots while the node is down.
    StoreRot "store_rot" Disk,
    /// A file is cut short while the node is down.
    TruncatedFile "truncated_file" Disk,
    /// A disk is slow for a while.
    SlowDisk "slow_disk" Disk,
    /// A disk does nothing for seconds; then it goes on.
    StalledDisk "stalled_disk" Disk,
    /// A disk says that it synced, and did not; then the power is lost.
    LyingSync "lying_sync" Memory,
    /// A write to the log lands elsewhere in its file.
    MisdirectedWrite "misdirected_write" Memory,
    /// The end of the log is gone as if it had never been written.
    LostTail "lost_tail" Memory,
    /// A disk goes back to an older image of itself.
    StaleRestore "stale_restore" Memory,
    /// A disk is lost as a whole: its machine with it, or it comes back empty.
    DiskLoss "disk_loss" Memory,
    /// A leader hands over, for want of room.
    LeaderTransfer "leader_transfer" Load,
    /// Power is lost while a snapshot is sent, received or installed.
    SnapshotCrash "snapshot_crash" Load,
    /// Everybody asks for compaction, clients hurry, and the store's jobs take long.
    CompactionUnderLoad "compaction_under_load" Load,
    /// Nearly all operations go to one key for a while.
    HotKey "hot_key" Load,
    /// Values are as long as the log takes them for a while.
    HugeValue "huge_value" Load,
    /// Clients reach nobody for a while; then all try again at the same moment.
    RetryStorm "retry_storm" Load,
    /// Watching clients take nothing of what they are told for a while.
    SlowConsumer "slow_consumer" Load,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<FaultKind, String> {
        let known = FaultKind::ALL.iter().copied();
        known.clone().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = known.map(FaultKind::name).collect();
            format!("{name:?} is no fault; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_is_found_by_its_name_and_no_other() {
        let names: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
        for kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert!("earthquake".parse::<FaultKind>().unwrap_err().contains("power_loss_in_write"));
    }
}
