//! Pages of several shards, put together as one.

use types::limits::{RANGE_BYTES_MAX, RANGE_ITEMS_MAX};

use crate::command::Item;

/// A page of one shard: its items in key order, and where its next page starts.
pub type Page = (Vec<Item>, Option<Vec<u8>>);

/// Puts the first pages of every shard together: the items that surely come first of all, in key order,
/// within the limits of a page, and where the next page starts. Has an item if any of them has.
pub fn merge_pages(pages: Vec<Page>, limit: u32) -> Page {
    // From there on a shard may have keys that its page does not show.
    let unknown_from = pages.iter().filter_map(|(_, next)| next.clone()).min();
    let mut items: Vec<Item> = pages.into_iter().flat_map(|(items, _)| items).collect();
    items.sort_by(|one, other| one.key.cmp(&other.key));
    if let Some(from) = &unknown_from {
        items.truncate(items.partition_point(|item| item.key < *from));
    }
    let items_max = limit.clamp(1, RANGE_ITEMS_MAX) as usize;
    let mut bytes = 0;
    let fits = |item: &Item| {
        bytes += item.key.len() + item.row.value.len();
        bytes <= RANGE_BYTES_MAX
    };
    let fitting = items.iter().map(fits).take_while(|fits| *fits).count();
    let taken = fitting.clamp(1, items_max).min(items.len());
    let next = items.get(taken).map(|item| item.key.clone()).or(unknown_from);
    items.truncate(taken);
    (items, next)
}

/// How many items to ask of each shard for a page of `limit` items: a few more than its share, since
/// keys are not spread evenly.
pub fn shard_limit(limit: u32, shards: u32) -> u32 {
    let share = limit.div_ceil(shards.max(1));
    share.saturating_add(share / 2).saturating_add(4).min(limit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use storage::Row;

    use super::*;

    fn item(key: Vec<u8>) -> Item {
        let row = Row { create_revision: 1, mod_revision: 1, version: 1, value: Vec::new() };
        Item { key, row, value_bytes: 0 }
    }

    proptest! {
        /// Reading page after page gives every key of every shard once, in order.
        #[test]
        fn pages_give_every_key_once(
            keys in prop::collection::btree_set(prop::collection::vec(0..4_u8, 1..5), 0..60),
            shards in 1..6_u32,
            limit in 1..20_u32,
        ) {
            let of_shard = |shard: u32, start: &[u8]| -> Page {
                let mut found = keys
                    .iter()
                    .filter(|key| key.as_slice() >= start && types::shard_of(key, shards) == shard);
                let items = found.by_ref().take(shard_limit(limit, shards) as usize).cloned().map(item).collect();
                (items, found.next().cloned())
            };
            let (mut read, mut start) = (Vec::new(), Vec::new());
            loop {
                let pages = (0..shards).map(|shard| of_shard(shard, &start)).collect();
                let (items, next) = merge_pages(pages, limit);
                prop_assert!(items.len() <= limit as usize);
                prop_assert!(!items.is_empty() || next.is_none(), "a page without progress");
                read.extend(items.into_iter().map(|item| item.key));
                match next {
                    Some(next) => start = next,
                    None => break,
                }
            }
            let all: BTreeSet<Vec<u8>> = read.iter().cloned().collect();
            prop_assert_eq!(read.len(), all.len());
            prop_assert_eq!(all, keys);
        }
    }
}
