//! Links between peers, and between clients and nodes, that can be hurt: each is a relay of our own on
//! 127.0.0.1. What connects to its port is connected to its target, and every byte passes through.
//!
//! Every node is told to reach each other node through a link of its own, so that what one node says to
//! another passes two links: as what the dialer says on its own connection, and as what the listener
//! answers on the other's. [`Network::apply`] hurts both. Faults overlap freely: a link is in the worst
//! of the conditions that are under way.

mod condition;
mod link;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

pub use condition::{Condition, Effect, Way};
pub use link::Link;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node, from 0.
    Node(usize),
    /// All clients.
    Clients,
}

/// What is said from one place to another suffers from this.
pub type Hurt = (Place, Place, Effect);

/// All links.
#[derive(Debug, Default)]
pub struct Network {
    links: BTreeMap<(Place, Place), Link>,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    next: u64,
    hurts: BTreeMap<u64, Vec<Hurt>>,
}

/// Names what [`Network::apply`] did, for [`Network::lift`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied(u64);

impl Network {
    /// Makes the link from a place to a target, and returns where to connect.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn link(&mut self, from: Place, to: Place, target: SocketAddr) -> io::Result<SocketAddr> {
        let link = Link::listen(target).await?;
        let address = link.address();
        self.links.insert((from, to), link);
        Ok(address)
    }

    /// Makes links from several places to a target behind one address, and returns it. `who` says who dials.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn shared_link(
        &mut self,
        from: &[Place],
        to: Place,
        target: SocketAddr,
        who: impl Fn(SocketAddr) -> Option<Place> + Send + 'static,
    ) -> io::Result<SocketAddr> {
        let places = from.to_vec();
        let which = move |dialer| {
            let dials = who(dialer)?;
            places.iter().position(|place| *place == dials)
        };
        let links = Link::listen_for(from.len(), target, which).await?;
        let address = links.first().map(Link::address);
        self.links.extend(from.iter().map(|from| (*from, to)).zip(links));
        address.ok_or_else(|| io::Error::other("a shared link needs somebody who dials"))
    }

    /// Hurts some directions, until they are lifted.
    pub fn apply(&self, hurts: Vec<Hurt>) -> Applied {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let number = active.next;
        active.next += 1;
        active.hurts.insert(number, hurts.clone());
        self.renew(&active);
        for (from, to, effect) in hurts {
            if effect == Effect::HalfOpen {
                self.each(from, to, |link, _| link.half_open());
            }
        }
        Applied(number)
    }

    /// Ends what was applied. Connections that lost bytes are closed: what was said on them is gone.
    pub fn lift(&self, applied: Applied) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let lifted = active.hurts.remove(&applied.0).unwrap_or_default();
        self.renew(&active);
        for (from, to, effect) in lifted {
            if effect.loses_bytes() {
                self.each(from, to, |link, _| link.reset());
            }
        }
    }

    /// In which condition what is said from one place to another is, for the report.
    pub fn way(&self, from: Place, to: Place) -> Way {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        way(&active, from, to)
    }

    /// Whether there is a link between the two.
    pub fn has(&self, from: Place, to: Place) -> bool {
        self.links.contains_key(&(from, to))
    }

    fn each(&self, from: Place, to: Place, act: impl Fn(&Link, bool)) {
        if let Some(link) = self.links.get(&(from, to)) {
            act(link, true);
        }
        if let Some(link) = self.links.get(&(to, from)) {
            act(link, false);
        }
    }

    fn renew(&self, active: &Active) {
        for ((from, to), link) in &self.links {
            link.set(Condition { out: way(active, *from, *to), back: way(active, *to, *from) });
        }
    }
}

fn way(active: &Active, from: Place, to: Place) -> Way {
    let concerned = active.hurts.values().flatten().filter(|(a, b, _)| (*a, *b) == (from, to));
    concerned.fold(Way::default(), |way, (_, _, effect)| way.with(*effect))
}

#[cfg(test)]
mod tests;
