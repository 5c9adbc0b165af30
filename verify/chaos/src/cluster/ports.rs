//! Free ports that stay ours to use: below those that the system gives to outgoing connections, so that none
//! of these takes the port of a node that is down.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

use crate::ChaosError;

/// Below Linux's default for outgoing connections, which begins at 32768.
const PORTS: Range<u16> = 12_000..32_000;

/// So many addresses on 127.0.0.1 that nobody listens on. Runs that begin at once look at different places first.
///
/// # Errors
/// If there are not enough.
pub fn free(count: usize) -> Result<Vec<SocketAddr>, ChaosError> {
    let mut held = Vec::new();
    let width = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(64) % width;
    for offset in 0..width {
        let port = PORTS.start + u16::try_from((first + offset) % width).expect("below the width");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((SocketAddr::from((Ipv4Addr::LOCALHOST, port)), listener));
        }
        if held.len() == count {
            return Ok(held.into_iter().map(|(address, _)| address).collect());
        }
    }
    Err(ChaosError::start(format!("there are no {count} free ports on 127.0.0.1 in {PORTS:?}")))
}
