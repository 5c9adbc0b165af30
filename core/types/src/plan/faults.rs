//! What fails, in the words of the command line.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::NodeId;

/// Slower than this, in milliseconds, and a node is better called lost.
pub const SLOW_MS_MAX: u64 = 60_000;

/// What fails, all at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Nodes that are down. Their disks are as they were.
    pub lost: BTreeSet<NodeId>,
    /// Nodes that are down for good: what was on their disks is gone.
    pub destroyed: BTreeSet<NodeId>,
    /// Pairs of nodes, the lower first, between which nothing passes.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Nodes that are slow: what another node asks of them is answered so many milliseconds later than usual.
    pub slow: BTreeMap<NodeId, u64>,
}

/// Faults that make no sense. Nothing was predicted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FaultError {
    /// What is wrong.
    pub message: String,
    /// What to say instead.
    pub next_step: String,
}

impl FaultError {
    fn new(message: impl Into<String>, next_step: impl Into<String>) -> FaultError {
        FaultError { message: message.into(), next_step: next_step.into() }
    }
}

/// A node by its number, with or without an `n` before it.
fn node(text: &str) -> Result<NodeId, FaultError> {
    let digits = text.trim();
    let digits = digits.strip_prefix('n').unwrap_or(digits);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { digits.parse().ok() } else { None };
    number.map(NodeId).ok_or_else(|| {
        FaultError::new(format!("{text:?} is no node"), "name nodes by their numbers, as in 2 or n2")
    })
}

fn nodes(text: &str) -> Result<Vec<NodeId>, FaultError> {
    text.split(',').map(node).collect()
}

impl Faults {
    /// Loses nodes: `2` or `1,2`.
    ///
    /// # Errors
    /// When the text names none.
    pub fn lose(&mut self, text: &str) -> Result<(), FaultError> {
        self.lost.extend(nodes(text)?);
        Ok(())
    }

    /// Loses nodes with their disks: `2` or `1,2`.
    ///
    /// # Errors
    /// When the text names none.
    pub fn destroy(&mut self, text: &str) -> Result<(), FaultError> {
        self.destroyed.extend(nodes(text)?);
        Ok(())
    }

    /// Cuts the network between sides: `0,1/2`. Nodes on no side keep all their links.
    ///
    /// # Errors
    /// When there are no two sides, or a node is on two.
    pub fn split(&mut self, text: &str) -> Result<(), FaultError> {
        let sides = text.split('/').map(nodes).collect::<Result<Vec<_>, _>>()?;
        let example = "name the sides with a stroke between them, as in 0,1/2";
        if sides.len() < 2 {
            return Err(FaultError::new(format!("{text:?} is one side: nothing is cut"), example));
        }
        let mut known = BTreeSet::new();
        if let Some(twice) = sides.iter().flatten().find(|node| !known.insert(**node)) {
            return Err(FaultError::new(format!("node {twice} is there twice in {text:?}"), example));
        }
        for (at, side) in sides.iter().enumerate() {
            let others = sides[at + 1..].iter().flatten();
            let pairs = others.flat_map(|other| side.iter().map(move |own| pair(*own, *other)));
            self.cut.extend(pairs);
        }
        Ok(())
    }

    /// Makes a node slow: `2=200ms` or `2=1s`.
    ///
    /// # Errors
    /// When the text is not a node and a time within [`SLOW_MS_MAX`].
    pub fn slow_down(&mut self, text: &str) -> Result<(), FaultError> {
        let example = "say by how much, as in 2=200ms; at most a minute: a slower node is as good as lost";
        let wrong = || FaultError::new(format!("{text:?} is no slow node"), example);
        let (name, time) = text.split_once('=').ok_or_else(wrong)?;
        let name = node(name)?;
        let (digits, unit_ms) = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1),
            (None, Some(digits)) => (digits, 1_000),
            (None, None) => return Err(wrong()),
        };
        let ms = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        let ms = ms.filter(|ms| (1..=SLOW_MS_MAX).contains(ms)).ok_or_else(wrong)?;
        match self.slow.insert(name, ms) {
            Some(before) if before != ms => Err(FaultError::new(
                format!("node {name} is slow by {before} ms and by {ms} ms"),
                "say it once",
            )),
            _ => Ok(()),
        }
    }

    /// Whether a node is down.
    pub fn is_down(&self, node: NodeId) -> bool {
        self.lost.contains(&node) || self.destroyed.contains(&node)
    }

    /// Whether these faults can happen to these nodes.
    ///
    /// # Errors
    /// When a node is not one of them, when none is left, or when a node that is down is also slow.
    pub fn check(&self, nodes: &BTreeSet<NodeId>) -> Result<(), FaultError> {
        let cut = self.cut.iter().flat_map(|(one, other)| [one, other]);
        let named = self.lost.iter().chain(&self.destroyed).chain(cut).chain(self.slow.keys());
        if let Some(unknown) = named.into_iter().find(|node| !nodes.contains(node)) {
            let known = super::words::list(nodes.iter());
            return Err(FaultError::new(
                format!("there is no node {unknown}"),
                format!("the nodes are {known}"),
            ));
        }
        if let Some(node) = self.slow.keys().find(|node| self.is_down(**node)) {
            return Err(FaultError::new(
                format!("node {node} is lost and slow"),
                "a lost node answers nothing: say one of the two",
            ));
        }
        if nodes.iter().all(|node| self.is_down(*node)) {
            return Err(FaultError::new(
                "every node is lost: nothing is served until a majority is back",
                "leave one node at least",
            ));
        }
        Ok(())
    }
}

/// A link, the lower node first.
pub(super) fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}
