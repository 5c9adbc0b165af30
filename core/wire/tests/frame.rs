//! Frames from outside: what goes in comes out, under any split; what was damaged or hostile is
//! refused.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use types::limits::{FRAME_BYTES_MAX, FRAME_MESSAGES_MAX};
use wire::{
    Decoder, Features, FrameBuilder, FrameError, PeerBody, PeerMessage, Push, encode_frame,
    frame::{FRAME_ITEMS_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX},
    message::{Forward, ForwardReply, RaftKind, RaftMessage, SnapshotAck, SnapshotChunk, WireEntry},
};

fn raft(entries: Vec<WireEntry>) -> PeerMessage {
    let body = RaftMessage {
        kind: RaftKind::Append as i32,
        term: 7,
        log_term: 6,
        index: 41,
        entries,
        ..Default::default()
    };
    PeerMessage { group: 1, body: Some(PeerBody::Raft(body)), ..Default::default() }
}

fn forward(request: Vec<u8>) -> PeerMessage {
    let body = Forward { id: 3, timeout_ms: 500, request: request.into(), attempt: 1, ..Default::default() };
    PeerMessage { group: 2, body: Some(PeerBody::Forward(body)), ..Default::default() }
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    // Random bytes, and runs, which compress.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
        (any::<u8>(), 0..4_000usize).prop_map(|(byte, count)| Bytes::from(vec![byte; count])),
    ]
}

fn any_message() -> impl Strategy<Value = PeerMessage> {
    let entry = (any::<u64>(), any::<u64>(), any_bytes()).prop_map(|(index, term, data)| WireEntry {
        index,
        term,
        data,
    });
    let raft = (
        1..12i32,
        any::<u64>(),
        prop::collection::vec(entry, 0..5),
        prop::collection::vec(any::<u64>(), 0..5),
    )
        .prop_map(|(kind, term, entries, snapshot_voters)| RaftMessage {
            kind,
            term,
            entries,
            snapshot_voters,
            ..Default::default()
        })
        .boxed();
    let body = prop_oneof![
        raft.clone().prop_map(PeerBody::Raft),
        (any::<u64>(), any_bytes()).prop_map(|(id, request)| PeerBody::Forward(Forward {
            id,
            timeout_ms: 9,
            request,
            ..Default::default()
        })),
        (any::<u64>(), any_bytes()).prop_map(|(id, reply)| PeerBody::ForwardReply(ForwardReply {
            id,
            reply,
            ..Default::default()
        })),
        (any::<u64>(), any_bytes(), prop::option::of(raft)).prop_map(|(transfer, data, announce)| {
            PeerBody::SnapshotChunk(SnapshotChunk { transfer, number: 2, data, last: true, announce })
        }),
        any::<u64>().prop_map(|transfer| PeerBody::SnapshotAck(SnapshotAck {
            transfer,
            next: 1,
            failed: false,
            done: true
        })),
    ];
    (any::<u64>(), any::<u64>(), prop::option::of(body)).prop_map(|(group, hlc, body)| PeerMessage {
        group,
        body,
        hlc,
    })
}

/// All frames in `bytes`, fed in pieces of the given sizes, over and over.
fn decode_all(
    bytes: &[u8],
    pieces: &[usize],
    features: Features,
) -> Result<Vec<Vec<PeerMessage>>, FrameError> {
    let mut decoder = Decoder::new(features);
    let mut frames = Vec::new();
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (mut input, later) = rest.split_at((*piece).min(rest.len()));
        rest = later;
        while let Some(messages) = decoder.decode(&mut input)? {
            frames.push(messages);
        }
        assert!(input.is_empty(), "the decoder left input behind");
        if rest.is_empty() {
            return Ok(frames);
        }
    }
    unreachable!("pieces are never empty")
}

fn header(length: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&[flags]);
    hasher.update(payload);
    [&length.to_le_bytes()[..], &hasher.finalize().to_le_bytes(), &[flags]].concat()
}

/// A frame with a right checksum around any payload.
fn sealed(flags: u8, payload: &[u8]) -> Vec<u8> {
    [&header(payload.len() as u32, flags, payload)[..], payload].concat()
}

fn refused(bytes: &[u8], features: Features) -> FrameError {
    decode_all(bytes, &[4_096], features).expect_err("the frame should be refused")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn frames_survive_any_split(
        frames in prop::collection::vec(prop::collection::vec(any_message(), 1..6), 1..5),
        pieces in prop::collection::vec(1..3_000usize, 1..20),
        lz4 in any::<bool>(),
    ) {
        let features = if lz4 { Features::LZ4 } else { Features::NONE };
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend(encode_frame(frame, features).unwrap().unwrap().bytes);
        }
        prop_assert_eq!(decode_all(&bytes, &pieces, features), Ok(frames));
    }

    #[test]
    fn any_bytes_are_an_error_or_incomplete(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        pieces in prop::collection::vec(1..50usize, 1..5),
    ) {
        // Random bytes do not pass the checksum but with a chance of 2^-32.
        prop_assert!(decode_all(&bytes, &pieces, Features::ALL).is_err() || bytes.len() < HEADER_BYTES + PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn any_payload_behind_a_right_checksum_never_panics(
        payload in prop::collection::vec(any::<u8>(), 1..400),
        lz4 in any::<bool>(),
    ) {
        // Whatever is decoded can be encoded again: nothing outside the limits came through.
        if let Ok(frames) = decode_all(&sealed(u8::from(lz4), &payload), &[77], Features::ALL) {
            for frame in frames {
                encode_frame(&frame, Features::NONE).expect("within the limits");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_never_another_message(
        frame in prop::collection::vec(any_message(), 1..4),
        position in any::<prop::sample::Index>(),
        bit in 0..8u32,
        lz4 in any::<bool>(),
    ) {
        let features = if lz4 { Features::LZ4 } else { Features::NONE };
        let mut bytes = encode_frame(&frame, features).unwrap().unwrap().bytes;
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // An error, or incomplete (a longer length): never a frame.
        prop_assert_eq!(decode_all(&bytes, &[bytes.len()], features).unwrap_or_default(), Vec::<Vec<_>>::new());
    }
}

#[test]
fn golden_bytes_of_a_frame() {
    // Changing these bytes breaks mixed-version clusters: it needs a new protocol number.
    let entry = WireEntry { index: 42, term: 7, data: Bytes::from_static(b"put") };
    let frame = encode_frame(&[raft(vec![entry])], Features::NONE).unwrap().unwrap();
    let golden = [
        &[25, 0, 0, 0][..],              // length
        &GOLDEN_FRAME_CRC.to_le_bytes(), // crc32
        &[0],                            // flags
        &[0x0a, 23],                     // Frame.messages
        &[0x08, 1, 0x12, 19],            // group 1, raft
        &[0x08, 1, 0x10, 7, 0x18, 6],    // kind append, term 7, log_term 6
        &[0x20, 41],                     // index 41
        &[0x2a, 9, 0x08, 42, 0x10, 7],   // entry: index 42, term 7
        &[0x1a, 3, b'p', b'u', b't'],    // its data
    ]
    .concat();
    assert_eq!(frame.bytes, golden, "{:02x?}", frame.bytes);
}

/// CRC-32 (IEEE) of the golden frame's length, flags and payload.
const GOLDEN_FRAME_CRC: u32 = 0x600d546a;

#[test]
fn compression_is_used_when_negotiated_long_enough_and_shorter() {
    let long = [forward(vec![b'a'; 100_000])];
    let plain = encode_frame(&long, Features::NONE).unwrap().unwrap();
    assert_eq!(plain.bytes.len(), HEADER_BYTES + plain.payload_bytes);
    let compressed = encode_frame(&long, Features::LZ4).unwrap().unwrap();
    assert_eq!(compressed.payload_bytes, plain.payload_bytes);
    assert!(compressed.bytes.len() < plain.bytes.len() / 10);
    assert_eq!(compressed.bytes[8], 1);

    let short = encode_frame(&[forward(vec![b'a'; 100])], Features::LZ4).unwrap().unwrap();
    assert_eq!(short.bytes[8], 0, "too short to be worth it");

    let noise: Vec<u8> = (0..2_000u32).map(|i| crc32fast::hash(&i.to_le_bytes()) as u8).collect();
    let noise = encode_frame(&[forward(noise)], Features::LZ4).unwrap().unwrap();
    assert_eq!(noise.bytes[8], 0, "does not shrink");
}

#[test]
fn the_builder_says_when_it_is_full() {
    let mut builder = FrameBuilder::new(Features::NONE);
    assert!(FrameBuilder::new(Features::ALL).finish().is_none(), "nothing to send");
    for _ in 0..FRAME_MESSAGES_MAX {
        assert_eq!(builder.push(&raft(vec![])), Ok(Push::Added));
    }
    assert_eq!(builder.push(&raft(vec![])), Ok(Push::Full));
    let frame = builder.finish().unwrap();
    assert_eq!(frame.messages, FRAME_MESSAGES_MAX);
    assert_eq!(decode_all(&frame.bytes, &[1_000], Features::NONE).unwrap()[0].len(), FRAME_MESSAGES_MAX);

    let mut builder = FrameBuilder::new(Features::NONE);
    let message = forward(vec![1; 1_300 * 1024]);
    let mut count = 0;
    while builder.push(&message) == Ok(Push::Added) {
        count += 1;
    }
    assert_eq!(count, 6, "six snapshot chunks of 1.3 MiB fit 8 MiB");
    let frame = builder.finish().unwrap();
    assert!(frame.bytes.len() <= FRAME_BYTES_MAX);
    assert_eq!(decode_all(&frame.bytes, &[65_536], Features::NONE).unwrap()[0].len(), 6);
}

#[test]
fn the_largest_message_fits_and_the_next_is_refused() {
    let overhead = forward(vec![1; 7_000_000]).encoded_len() - 7_000_000 + 1 + 4;
    let mut builder = FrameBuilder::new(Features::NONE);
    assert_eq!(builder.push(&forward(vec![1; PAYLOAD_BYTES_MAX - overhead])), Ok(Push::Added));
    let frame = builder.finish().unwrap();
    assert_eq!(frame.bytes.len(), FRAME_BYTES_MAX);
    assert_eq!(decode_all(&frame.bytes, &[65_536], Features::NONE).unwrap().len(), 1);

    let error = FrameBuilder::new(Features::NONE)
        .push(&forward(vec![1; PAYLOAD_BYTES_MAX - overhead + 1]))
        .unwrap_err();
    assert_eq!(error.bytes, PAYLOAD_BYTES_MAX - 4, "an encoded message, without its key and length");
}

#[test]
fn entries_are_bounded_on_both_sides() {
    let most = raft(vec![WireEntry::default(); FRAME_ITEMS_MAX]);
    let frame = encode_frame(std::slice::from_ref(&most), Features::NONE).unwrap().unwrap();
    assert_eq!(decode_all(&frame.bytes, &[65_536], Features::NONE), Ok(vec![vec![most]]));

    let over = raft(vec![WireEntry::default(); FRAME_ITEMS_MAX + 1]);
    assert_eq!(
        encode_frame(std::slice::from_ref(&over), Features::NONE).unwrap_err().items,
        FRAME_ITEMS_MAX + 1
    );
    let mut payload = vec![0x0a];
    over.encode_length_delimited(&mut payload).unwrap();
    assert_eq!(
        refused(&sealed(0, &payload), Features::NONE),
        FrameError::TooManyItems { items: FRAME_ITEMS_MAX + 1 }
    );
}

#[test]
fn hostile_frames_are_refused_by_name() {
    let no_payload = header(0, 0, &[]);
    assert_eq!(refused(&no_payload, Features::ALL), FrameError::BadLength);

    // Refused from the header alone, before the payload is waited for.
    let huge = header(u32::MAX, 0, &[]);
    assert_eq!(refused(&huge, Features::ALL), FrameError::TooLarge { bytes: u32::MAX.into() });
    let over = header(PAYLOAD_BYTES_MAX as u32 + 1, 0, &[]);
    assert_eq!(refused(&over, Features::ALL), FrameError::TooLarge { bytes: PAYLOAD_BYTES_MAX as u64 + 1 });

    assert_eq!(refused(&sealed(2, b"x"), Features::ALL), FrameError::UnknownFlags { flags: 2 });
    assert_eq!(refused(&sealed(1, b"x"), Features::NONE), FrameError::NotNegotiated);
    assert_eq!(refused(&sealed(0, b"\xff\xff"), Features::ALL), FrameError::Malformed);
    assert_eq!(refused(&sealed(0, b"\x0a\x05ab"), Features::ALL), FrameError::Malformed);

    let too_many: Vec<u8> = [0x0a, 0].repeat(FRAME_MESSAGES_MAX + 1);
    assert_eq!(refused(&sealed(0, &too_many), Features::ALL), FrameError::TooManyMessages);

    // Decompression bombs: a size over the limit; one that the block cannot reach; a wrong one.
    let bomb = |size: u32, block: &[u8]| sealed(1, &[&size.to_le_bytes()[..], block].concat());
    let block = lz4_flex::block::compress(&[0; 1_000]);
    assert_eq!(
        refused(&bomb(u32::MAX, &block), Features::ALL),
        FrameError::TooLarge { bytes: u32::MAX.into() }
    );
    assert_eq!(refused(&bomb(PAYLOAD_BYTES_MAX as u32, &block), Features::ALL), FrameError::BadCompression);
    assert_eq!(refused(&bomb(999, &block), Features::ALL), FrameError::BadCompression);
    assert_eq!(refused(&bomb(1_001, &block), Features::ALL), FrameError::BadCompression);
    assert_eq!(refused(&bomb(0, &block), Features::ALL), FrameError::BadCompression);
    assert_eq!(refused(&sealed(1, &[1, 0]), Features::ALL), FrameError::BadCompression);
}

#[test]
fn after_an_error_the_decoder_stays_closed() {
    let good = encode_frame(&[forward(vec![1])], Features::NONE).unwrap().unwrap().bytes;
    let mut decoder = Decoder::new(Features::NONE);
    let error = decoder.decode(&mut &sealed(2, b"x")[..]).unwrap_err();
    assert_eq!(decoder.decode(&mut &good[..]), Err(error));
}

#[test]
fn fields_of_a_newer_peer_are_skipped() {
    let message = forward(b"request".to_vec());
    let mut payload = vec![0x78, 5, 0x0a]; // Frame field 15, varint; then a message
    let mut bytes = message.encode_to_vec();
    bytes.extend([0xa2, 0x06, 2, 9, 9]); // its field 100, two bytes
    payload.push(bytes.len() as u8);
    payload.extend(bytes);
    assert_eq!(decode_all(&sealed(0, &payload), &[3], Features::NONE), Ok(vec![vec![message]]));
}
