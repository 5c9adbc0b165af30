//! Prefixes as ranges.

use crate::command::KeyRange;

/// All keys that begin with `prefix`; all keys when it is empty.
///
/// The end is the prefix with its last byte below `0xff` raised by one and everything behind it cut
/// off. A prefix of `0xff` bytes alone has no such byte: its range runs to the last key.
pub fn prefix_range(prefix: &[u8]) -> KeyRange {
    let end = prefix.iter().rposition(|&byte| byte != 0xff).map(|last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        end
    });
    KeyRange { start: prefix.to_vec(), end }
}
