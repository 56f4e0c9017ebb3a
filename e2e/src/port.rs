//! Ports on loopback that no other test takes.
//!
//! Servers are told their port before they bind it, so a port that was merely seen free can be
//! gone a moment later. A lease therefore holds a file lock for as long as the server lives, and
//! comes from below the range from which the system picks ports for outgoing connections.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::Random;
use crate::{Error, Result};

const FIRST: u16 = 20_000;
const LAST: u16 = 29_999;
const TRIES: usize = 1_000;

/// Makes each lease of a process start its search elsewhere.
static LEASE_COUNT: AtomicU64 = AtomicU64::new(0);

/// A port on loopback that no other lease has until this one is dropped. Nothing listens on it
/// unless its holder does.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    /// Released by the system when the process ends, however it ends.
    _lock: File,
}

impl PortLease {
    /// Leases a port that nobody listens on.
    ///
    /// # Errors
    /// When the lock folder cannot be written, or no port is free.
    pub fn take() -> Result<Self> {
        let folder = std::env::temp_dir().join("tidegate-test-ports");
        std::fs::create_dir_all(&folder).map_err(|e| Error::file("create", &folder, e))?;
        let lease_index = LEASE_COUNT.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::seeded(u64::from(std::process::id()) << 32 | lease_index);
        for _ in 0..TRIES {
            let port = FIRST + random.below(u64::from(LAST - FIRST) + 1) as u16;
            let path = folder.join(port.to_string());
            let lock = File::create(&path).map_err(|e| Error::file("create", &path, e))?;
            let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if lock.try_lock().is_ok() && is_free() {
                return Ok(Self { port, _lock: lock });
            }
        }
        Err(Error::NoPort {
            first: FIRST,
            last: LAST,
        })
    }

    /// The leased port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leased_port_is_not_leased_again() {
        let leases: Vec<PortLease> = (0..64).map(|_| PortLease::take().unwrap()).collect();
        let mut ports: Vec<u16> = leases.iter().map(PortLease::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), leases.len());
    }
}
