//! A byte of the log that rots while its node is down, where it cannot be taken for a torn tail.

use storage::{Files, MemFiles, wal::SEGMENT_HEADER_BYTES};

use crate::dice::Dice;

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
