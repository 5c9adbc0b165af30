//! Clocks against random message histories, whose happened-before is computed apart. A failure prints its seed and
//! a shrunk case.

use proptest::{collection::vec, prelude::*};
use types::{
    Hlc, HybridClock, NodeId,
    clock::{
        Causality, Dot, HLC_DRIFT_MS_MAX, Lamport, LamportClock, VERSION_VECTOR_ACTORS_MAX, VersionVector,
    },
};

const NODES: usize = 4;

/// One step of a history: a node, how its wall clock moved, and the message it receives, counted back from the
/// newest (0: none, an event of its own). Every event sends a message.
type Step = (usize, i64, usize);

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let moves = prop_oneof![5 => 0..5_i64, 1 => -20_000..20_000_i64];
    vec((0..NODES, moves, 0..6_usize), 0..60)
}

/// For each event, the events before it: its node's earlier ones, those of the message that it received, and
/// whatever is before those.
fn happened_before(steps: &[Step]) -> Vec<Vec<bool>> {
    let mut before: Vec<Vec<bool>> = Vec::new();
    for (at, (node, _, back)) in steps.iter().enumerate() {
        let own = (0..at).rev().find(|earlier| steps[*earlier].0 == *node);
        let causes = own.into_iter().chain(received(at, *back));
        let mut known = vec![false; steps.len()];
        for cause in causes.collect::<Vec<_>>() {
            known[cause] = true;
            for earlier in 0..cause {
                known[earlier] |= before[cause][earlier];
            }
        }
        before.push(known);
    }
    before
}

/// The event whose message this one receives.
fn received(at: usize, back: usize) -> Option<usize> {
    (back > 0).then(|| at.checked_sub(back)).flatten()
}

fn vectors() -> impl Strategy<Value = VersionVector> {
    vec((0..5_u64, 1..6_u64), 0..6).prop_map(|pairs| {
        let mut vector = VersionVector::default();
        pairs.into_iter().for_each(|(actor, counter)| vector.add(Dot { actor, counter }).unwrap());
        vector
    })
}

fn joined(one: &VersionVector, other: &VersionVector) -> VersionVector {
    let mut joined = one.clone();
    joined.join(other).unwrap();
    joined
}

proptest! {
    #[test]
    fn what_happened_before_is_smaller(steps in histories()) {
        let before = happened_before(&steps);
        let mut wall_ms = [1_000_000_i64; NODES];
        let mut hybrids = [HybridClock::default(); NODES];
        let mut lamports: Vec<LamportClock> = (0..NODES as u64).map(|id| LamportClock::new(NodeId(id))).collect();
        let mut vectors = vec![VersionVector::default(); NODES];
        let mut events: Vec<(Hlc, Lamport, VersionVector)> = Vec::new();
        for (at, (node, moved, back)) in steps.iter().enumerate() {
            wall_ms[*node] = (wall_ms[*node] + moved).max(0);
            let now_ms = wall_ms[*node] as u64;
            let (hlc, lamport) = match received(at, *back) {
                None => (hybrids[*node].tick(now_ms), lamports[*node].tick().unwrap()),
                Some(cause) => {
                    let (hlc, lamport, vector) = &events[cause];
                    vectors[*node].join(vector).unwrap();
                    // Each history stays within the bound, so nothing is refused.
                    let hlc = hybrids[*node].observe(*hlc, now_ms);
                    prop_assume!(hlc.is_ok());
                    (hlc.unwrap(), lamports[*node].receive(*lamport).unwrap())
                }
            };
            vectors[*node].event(*node as u64).unwrap();
            events.push((hlc, lamport, vectors[*node].clone()));
        }
        for (b, (hlc_b, lamport_b, vector_b)) in events.iter().enumerate() {
            for (a, (hlc_a, lamport_a, vector_a)) in events[..b].iter().enumerate() {
                let expected = if before[b][a] { Causality::Before } else { Causality::Concurrent };
                prop_assert_eq!(vector_a.compare(vector_b), expected);
                prop_assert_ne!(lamport_a, lamport_b, "a total order");
                if before[b][a] {
                    prop_assert!(hlc_a < hlc_b);
                    prop_assert!(lamport_a < lamport_b);
                }
            }
        }
    }

    /// Whatever it is told by peers and wall clocks: it rises, and is ahead of the greatest wall clock reading by no
    /// more than the bound and the events that it counted.
    #[test]
    fn a_hybrid_clock_keeps_its_bound(
        events in vec((any::<bool>(), prop_oneof![0..200_000_u64, any::<u64>()], 0..200_000_u64), 0..60),
    ) {
        let (mut clock, mut wall_ms_max, mut count) = (HybridClock::default(), 0, 0);
        for (told, remote, wall_ms) in events {
            let before = clock.last();
            wall_ms_max = wall_ms_max.max(wall_ms);
            let remote = if remote < 200_000 { Hlc::at_ms(remote) } else { Hlc(remote) };
            let given = if told { clock.observe(remote, wall_ms) } else { Ok(clock.tick(wall_ms)) };
            match given {
                Ok(hlc) => {
                    count += 1;
                    prop_assert!(hlc > before && hlc == clock.last() && (!told || hlc > remote));
                    prop_assert!(hlc >= Hlc::at_ms(wall_ms));
                }
                Err(_) => {
                    prop_assert!(told && remote.wall_ms() > wall_ms_max + HLC_DRIFT_MS_MAX);
                    prop_assert_eq!(clock.last(), before);
                }
            }
            let most = Hlc::at_ms(wall_ms_max + HLC_DRIFT_MS_MAX + 1).0 + count;
            prop_assert!(clock.last().0 < most, "{} is too far ahead of {wall_ms_max}", clock.last());
        }
    }

    /// A counter from a peer is followed or refused; none stops the clock.
    #[test]
    fn a_lamport_clock_survives_its_peers(counters in vec(prop_oneof![0..9_u64, any::<u64>(), Just(u64::MAX)], 0..20)) {
        let mut clock = LamportClock::new(NodeId(1));
        let mut last = 0;
        for counter in counters {
            let remote = Lamport { counter, node: NodeId(0) };
            if let Ok(event) = clock.receive(remote) {
                prop_assert!(event.counter > last && event > remote);
                last = event.counter;
            } else {
                prop_assert!(counter >= u64::MAX - 2);
            }
        }
        let next = clock.tick().map(|event| event.counter);
        prop_assert!(next == Ok(last + 1) || last >= u64::MAX - 2);
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(a in vectors(), b in vectors(), c in vectors()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a.clone());
        // The join is the least history that both are part of.
        let both = joined(&a, &b);
        prop_assert!(a <= both && b <= both);
        prop_assert!(!(a <= c && b <= c) || both <= c);
    }

    #[test]
    fn a_vector_is_its_text_and_its_bytes(vector in vectors()) {
        prop_assert_eq!(vector.to_string().parse::<VersionVector>(), Ok(vector.clone()));
        prop_assert_eq!(VersionVector::from_bytes(&vector.to_bytes()), Ok(vector.clone()));
    }

    /// Bytes and texts from anywhere are a vector, in its one spelling, or an error.
    #[test]
    fn what_is_read_has_one_spelling(bytes in vec(0..3_u8, 0..64), text in "[0-9:,.-]{0,24}") {
        if let Ok(vector) = VersionVector::from_bytes(&bytes) {
            prop_assert_eq!(vector.to_bytes(), bytes);
        }
        if let Ok(vector) = text.parse::<VersionVector>() {
            prop_assert_eq!(vector.to_string(), text.clone());
        }
        if let Ok(hlc) = text.parse::<Hlc>() {
            prop_assert_eq!(hlc.to_string(), text);
        }
    }
}

#[test]
fn a_vector_is_bounded() {
    let mut full = VersionVector::default();
    for actor in 0..VERSION_VECTOR_ACTORS_MAX as u64 {
        full.event(actor).unwrap();
    }
    let before = full.clone();
    assert!(full.event(u64::MAX).is_err() && full.event(7).is_ok());
    let other: VersionVector = "5000:1".parse().unwrap();
    assert!(full.join(&other).is_err() && full.join(&before).is_ok());
    assert_eq!(full.get(7), 2);
    assert_eq!(VersionVector::from_bytes(&full.to_bytes()), Ok(full.clone()));
    let longer = [full.to_bytes(), other.to_bytes()].concat();
    assert!(VersionVector::from_bytes(&longer).is_err());
    assert!(format!("{full},5000:1").parse::<VersionVector>().is_err());
}
