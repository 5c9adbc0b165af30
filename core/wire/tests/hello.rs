//! The handshake from outside.

use proptest::prelude::*;
use types::{ClusterId, NodeId};
use wire::{Features, Hello, HelloError, Session, hello::HELLO_BYTES_MAX, negotiate};

fn hello() -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        features: Features::LZ4,
        cluster: ClusterId(*b"0123456789abcdef"),
        node: NodeId(2),
        build: "0.1.0".into(),
        boot: 0x1122_3344_5566_7788,
    }
}

#[test]
fn golden_bytes_of_a_hello() {
    // These bytes never change meaning, in any version.
    let golden = [
        &b"QRTE"[..],
        &[42, 0, 0, 0],                  // length
        &GOLDEN_HELLO_CRC.to_le_bytes(), // crc32
        &[0x08, 1, 0x10, 1],             // protocols 1 to 1
        &[0x18, 1],                      // features: LZ4
        &[0x22, 16],                     // cluster
        b"0123456789abcdef",
        &[0x28, 2], // node 2
        &[0x32, 5], // build
        b"0.1.0",
        &[0x39, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11], // boot
    ]
    .concat();
    assert_eq!(hello().encode(), golden, "{:02x?}", hello().encode());
    assert_eq!(Hello::decode(&golden), Ok(Some((hello(), golden.len()))));
}

/// CRC-32 (IEEE) of the golden hello's length and body.
const GOLDEN_HELLO_CRC: u32 = 0x89af2c94;

#[test]
fn a_hello_may_come_in_pieces_and_leaves_what_follows() {
    let bytes = hello().encode();
    for end in 0..bytes.len() {
        assert_eq!(Hello::decode(&bytes[..end]), Ok(None), "{end} bytes");
    }
    let followed = [&bytes[..], b"frame"].concat();
    assert_eq!(Hello::decode(&followed), Ok(Some((hello(), bytes.len()))));
}

#[test]
fn garbage_is_recognised_at_once() {
    for garbage in [&b"G"[..], b"GET / HTTP/1.1\r\n", b"QRTX", b"\0", b"QQ"] {
        assert_eq!(Hello::decode(garbage), Err(HelloError::NotHello));
    }
}

#[test]
fn a_length_over_the_limit_is_not_waited_for() {
    let mut bytes = hello().encode();
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Hello::decode(&bytes), Err(HelloError::BadLength { bytes: u32::MAX }));
    bytes[4..8].copy_from_slice(&0u32.to_le_bytes());
    assert_eq!(Hello::decode(&bytes), Err(HelloError::BadLength { bytes: 0 }));
}

#[test]
fn sessions_are_agreed_or_refused_by_name() {
    let ours = hello();
    let peer = |change: fn(&mut Hello)| {
        let mut theirs = Hello { node: NodeId(1), ..hello() };
        change(&mut theirs);
        negotiate(&ours, &theirs, NodeId(1))
    };
    assert_eq!(peer(|_| ()), Ok(Session { protocol: 1, features: Features::LZ4 }));
    assert_eq!(peer(|h| h.features = Features(6)), Ok(Session { protocol: 1, features: Features::NONE }));
    assert_eq!(peer(|h| h.protocol_max = 9), Ok(Session { protocol: 1, features: Features::LZ4 }));
    assert_eq!(
        peer(|h| h.cluster = ClusterId([0; 16])),
        Err(HelloError::WrongCluster { ours: ours.cluster, theirs: ClusterId([0; 16]) })
    );
    assert_eq!(
        peer(|h| h.node = NodeId(0)),
        Err(HelloError::WrongNode { expected: NodeId(1), got: NodeId(0) })
    );
    let newer = |h: &mut Hello| (h.protocol_min, h.protocol_max) = (2, 3);
    assert_eq!(peer(newer), Err(HelloError::NoCommonVersion { ours: (1, 1), theirs: (2, 3) }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn both_sides_agree(ranges in prop::array::uniform4(0..6u32), features in any::<[u64; 2]>()) {
        let side = |a: u32, b: u32, features, node| Hello {
            protocol_min: a.min(b), protocol_max: a.max(b), features: Features(features), node: NodeId(node), ..hello()
        };
        let (one, two) = (side(ranges[0], ranges[1], features[0], 1), side(ranges[2], ranges[3], features[1], 2));
        match (negotiate(&one, &two, NodeId(2)), negotiate(&two, &one, NodeId(1))) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(a, b);
                for hello in [&one, &two] {
                    prop_assert!((hello.protocol_min..=hello.protocol_max).contains(&a.protocol));
                    prop_assert!(hello.features.contains(a.features));
                }
            }
            (Err(_), Err(_)) => prop_assert!(one.protocol_max < two.protocol_min || two.protocol_max < one.protocol_min),
            (a, b) => prop_assert!(false, "{a:?} {b:?}"),
        }
    }

    #[test]
    fn hellos_round_trip(features in any::<u64>(), cluster in any::<[u8; 16]>(), node in any::<u64>(), build in "[ -~]{0,64}", boot in any::<u64>()) {
        let hello = Hello { features: Features(features), cluster: ClusterId(cluster), node: NodeId(node), build, boot, ..hello() };
        let bytes = hello.encode();
        prop_assert!(bytes.len() <= HELLO_BYTES_MAX);
        prop_assert_eq!(Hello::decode(&bytes), Ok(Some((hello, bytes.len()))));
    }

    #[test]
    fn a_flipped_bit_is_never_another_hello(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = hello().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(!matches!(Hello::decode(&bytes), Ok(Some(_))));
    }

    #[test]
    fn any_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), sealed in any::<bool>()) {
        let length = (body.len() as u32).to_le_bytes();
        let crc = if sealed { crc32fast::hash(&[&length[..], &body].concat()) } else { 0 };
        let bytes = [&b"QRTE"[..], &length, &crc.to_le_bytes(), &body].concat();
        if let Ok(Some((hello, _))) = Hello::decode(&bytes) {
            hello.encode();
        }
        let _ = Hello::decode(&body);
    }
}
