//! Ordered logs: what producers were told that they hold, and what consumers were told that is in them. A watch
//! of a store is a consumer, and its revisions are offsets.
//!
//! A message is what was sent as one value. Whoever is told an answer to a poll knows all of the log between where it
//! began and where it goes on: what stands there by anybody else's account has to be in it.

mod form;
mod groups;
mod order;
mod polls;
mod view;

pub use form::{LogForm, Semantics, Span};

use crate::judge::Judgement;
use crate::ledger::{Entry, Ledger};
use view::View;

/// What was asked of logs, and told.
pub type DeliveryHistory = Ledger<LogForm>;

type Of = Entry<LogForm>;

/// What a history is judged by.
#[derive(Clone, Copy, Default)]
struct Terms {
    semantics: Semantics,
    dense: bool,
}

/// Checks a history. Time grows with what polls cover, and with the number of operations as sorting does.
pub fn check_delivery(history: &DeliveryHistory) -> Judgement {
    let view = View::of(history.entries());
    let found = view.logs.iter().find_map(|(name, log)| {
        polls::check(&view, name, log)
            .or_else(|| order::check(&view, name, log))
            .or_else(|| groups::check(&view, name, log))
    });
    found.map_or(Judgement::Valid, |found| Judgement::Invalid(found.explained(history)))
}
