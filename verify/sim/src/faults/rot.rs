//! A byte of the log that rots while its node is down, where it cannot be taken for a torn tail.

use storage::{Files, MemFiles, wal::SEGMENT_HEADER_BYTES};

use crate::dice::Dice;

const STATE_FILE: &str = "state.redb";
/// A run of so many bytes of filler is of a value.
const FILLER: usize = 16;
const FRAME_HEADER_BYTES: u64 = storage::wal::FRAME_HEADER_BYTES;

/// Where a byte was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rot {
    /// The segment.
    pub file: String,
    /// The byte.
    pub offset: u64,
    mask: u8,
    /// All files, as they were with the rot in them.
    image: Vec<(String, Option<Vec<u8>>)>,
}

impl Rot {
    /// Flips bits of one byte in a frame that others follow; `None` if the log has none.
    pub fn inject(files: &MemFiles, dice: &mut Dice) -> Option<Rot> {
        let mut places = Vec::new();
        let segments: Vec<String> = files
            .list()
            .ok()?
            .into_iter()
            .filter(|name| name.ends_with(".log") && name.starts_with("wal-"))
            .collect();
        for (number, name) in segments.iter().enumerate() {
            let bytes = files.contents(name)?;
            let frames = frames(&bytes);
            // The newest segment's last frame may be torn; its first is always whole.
            let sure = if number + 1 == segments.len() { frames.len().min(1) } else { frames.len() };
            places.extend(frames[..sure].iter().map(|frame| (name, *frame)));
        }
        if places.is_empty() {
            return None;
        }
        let (file, (at, bytes)) = places[dice.below(places.len() as u64) as usize];
        let offset = at + dice.below(bytes);
        let mask = 1 << dice.below(8);
        files.flip(file, offset, mask);
        Some(Rot { file: file.clone(), offset, mask, image: image(files) })
    }

    /// Whether every file is still as the rot left it.
    pub fn untouched(&self, files: &MemFiles) -> bool {
        self.image == image(files)
    }

    /// The operator brings the byte back from a backup.
    pub fn repair(self, files: &MemFiles) {
        files.flip(&self.file, self.offset, self.mask);
    }
}

/// Zeroes the last frames of the newest segment, so that they look as if they had never been written.
pub(super) fn lose_tail(files: &MemFiles, dice: &mut Dice) -> bool {
    let Some((name, mut bytes)) = segments(files).pop() else { return false };
    let frames = frames(&bytes);
    let lost = dice.between(1, 8).min(frames.len().saturating_sub(1) as u64) as usize;
    if lost == 0 {
        return false;
    }
    let from = frames[frames.len() - lost].0 as usize;
    bytes[from..].fill(0);
    files.set_contents(&name, bytes);
    true
}

/// The log's files, oldest first.
fn segments(files: &MemFiles) -> Vec<(String, Vec<u8>)> {
    let names = files.list().unwrap_or_default().into_iter();
    let logs = names.filter(|name| name.ends_with(".log") && name.starts_with("wal-"));
    logs.filter_map(|name| files.contents(&name).map(|bytes| (name, bytes))).collect()
}

/// Flips a bit in the middle of a value in the state store; `None` if there is no value of some length.
pub(super) fn rot_store(files: &MemFiles, dice: &mut Dice) -> Option<String> {
    let bytes = files.contents(STATE_FILE)?;
    // The filler of clients' values: no page of the database has so many of these for another reason.
    let places: Vec<usize> = (0..bytes.len().saturating_sub(FILLER)).step_by(FILLER / 2).collect();
    let inside = |at: &&usize| bytes[**at..**at + FILLER].iter().all(|byte| *byte == b'.');
    let values: Vec<usize> = places.iter().filter(inside).copied().collect();
    if values.is_empty() {
        return None;
    }
    let at = dice.pick(&values) + dice.below(FILLER as u64) as usize;
    files.flip(STATE_FILE, at as u64, 1 << dice.below(8));
    Some(STATE_FILE.into())
}

/// Cuts a file of the log, or the state store, short.
pub(super) fn truncate(files: &MemFiles, dice: &mut Dice) -> Option<String> {
    let mut names: Vec<String> = segments(files).into_iter().map(|(name, _)| name).collect();
    names.push(STATE_FILE.into());
    let name = names.swap_remove(dice.below(names.len() as u64) as usize);
    let mut bytes = files.contents(&name).filter(|bytes| !bytes.is_empty())?;
    bytes.truncate(dice.below(bytes.len() as u64) as usize);
    files.set_contents(&name, bytes);
    Some(name)
}

fn image(files: &MemFiles) -> Vec<(String, Option<Vec<u8>>)> {
    let names = files.list().unwrap_or_default();
    names.into_iter().map(|name| (name.clone(), files.contents(&name))).collect()
}

/// Offset and length, header included and padding not, of every frame up to the one that ends the segment.
fn frames(segment: &[u8]) -> Vec<(u64, u64)> {
    let mut frames = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(header) = segment.get(at as usize..(at + FRAME_HEADER_BYTES) as usize)
        && header[..4] == *b"QFRM"
    {
        let payload_bytes = u64::from(u32::from_le_bytes([header[4], header[5], header[6], header[7]]));
        frames.push((at, FRAME_HEADER_BYTES + payload_bytes));
        at += FRAME_HEADER_BYTES + payload_bytes.next_multiple_of(8);
    }
    frames
}
