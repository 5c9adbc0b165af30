//! What a drawing of a counterexample shows between its bars: an arrow from each transaction to one that has
//! to come after it, with the reason and the key beside it. Downward arrows keep to the left of the bars and
//! upward ones to the right, so that those of a cycle do not lie on each other.

use std::collections::BTreeMap;

use crate::history::OpId;
use crate::timeline::escape;

/// Longest text beside an arrow, in characters; the whole is its tooltip.
const LABEL_MAX: usize = 24;
/// How far an arrow within a lane bends out of it.
const BEND: usize = 18;

/// One has to come before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The earlier one.
    pub from: OpId,
    /// The later one.
    pub to: OpId,
    /// Why, in a word or two.
    pub label: String,
}

/// Where a bar is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub left: usize,
    pub right: usize,
    pub top: usize,
    pub bottom: usize,
}

/// Draws the arrows whose two bars are drawn.
pub(crate) fn draw(arrows: &[Arrow], bars: &BTreeMap<OpId, Place>) -> Vec<String> {
    let mut elements = Vec::new();
    if !arrows.is_empty() {
        elements.push(
            r##"<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8Z" fill="#5b3a8c"/></marker></defs>"##
                .to_owned(),
        );
    }
    for arrow in arrows {
        if let (Some(&from), Some(&to)) = (bars.get(&arrow.from), bars.get(&arrow.to)) {
            elements.push(one(arrow, from, to));
        }
    }
    elements
}

fn one(arrow: &Arrow, from: Place, to: Place) -> String {
    let down = from.top < to.top || (from.top == to.top && from.left <= to.left);
    let along = |bar: Place| bar.left + (bar.right - bar.left) * if down { 3 } else { 7 } / 10;
    let (x1, x2) = (along(from), along(to));
    let (line, y) = if from.top == to.top {
        let (y, bend) = if down { (from.top, from.top - BEND) } else { (from.bottom, from.bottom + BEND) };
        (format!("M{x1} {y}C{x1} {bend} {x2} {bend} {x2} {y}"), bend)
    } else {
        let (y1, y2) = if down { (from.bottom, to.top) } else { (from.top, to.bottom) };
        let middle = usize::midpoint(y1, y2);
        (format!("M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"), middle + 4)
    };
    let short = if arrow.label.chars().count() <= LABEL_MAX {
        arrow.label.clone()
    } else {
        arrow.label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
    };
    let (tooltip, label, x) = (escape(&arrow.label), escape(&short), usize::midpoint(x1, x2) + 5);
    format!(
        r##"<g><title>{tooltip}</title><path d="{line}" fill="none" stroke="#5b3a8c" stroke-width="1.5" marker-end="url(#head)"/><text x="{x}" y="{y}" font-size="10" fill="#5b3a8c" stroke="#ffffff" stroke-width="3" paint-order="stroke">{label}</text></g>"##
    )
}
