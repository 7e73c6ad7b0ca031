//! How many connections a server takes: as many as it has descriptors for, and not all from one peer.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Open connections at once, where there are descriptors for as many.
const CONNECTIONS: usize = 1024;

/// Counts connections.
pub(crate) struct Capacity {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place.
pub(crate) struct Place {
    of: Arc<Capacity>,
    peer: IpAddr,
}

impl Capacity {
    /// By the process's limit on open files: a quarter of it and 16 more are left to files and calls of other servers.
    pub(crate) fn of_process() -> Self {
        let files = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| open_files(&limits));
        Self::new(files.map_or(CONNECTIONS, |n| n.saturating_sub(n / 4 + 16).clamp(8, CONNECTIONS)))
    }

    fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// A place for one more connection of `peer`, who gets at most half of all.
    pub(crate) fn place(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.by_peer.get(&peer).copied().unwrap_or(0);
        if open.all >= self.most || own >= self.most.div_ceil(2) {
            return None;
        }
        open.all += 1;
        open.by_peer.insert(peer, own + 1);
        Some(Place { of: self.clone(), peer })
    }
}

/// Whose an address is: of IPv6 the network of 64 bits, of which one peer has as many addresses as it likes.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(own) = open.by_peer.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

/// The soft limit in the text of `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_half_to_others() {
        let capacity = Arc::new(Capacity::new(6));
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([127, 0, 0, n]));
        let mut places: Vec<_> = (0..5).filter_map(|_| capacity.place(a)).collect();
        assert_eq!(places.len(), 3);
        places.extend((0..5).filter_map(|_| capacity.place(b)));
        assert_eq!(places.len(), 6);
        assert!(capacity.place(c).is_none(), "all are taken");
        places.pop();
        assert!(capacity.place(a).is_none() && capacity.place(c).is_some());
        drop(places);
        let open = capacity.open.lock().unwrap();
        assert_eq!((open.all, open.by_peer.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let capacity = Arc::new(Capacity::new(6));
        let places: Vec<_> =
            (1..=6).filter_map(|n| capacity.place(format!("2001:db8::{n}:{n}").parse().unwrap())).collect();
        assert_eq!(places.len(), 3);
        assert!(capacity.place("2001:db8:0:1::1".parse().unwrap()).is_some(), "that is another");
        assert!(capacity.place("::ffff:7f00:1".parse::<IpAddr>().unwrap().to_canonical()).is_some());
    }

    #[test]
    fn the_limit_is_the_soft_one() {
        let text = "Limit        Soft Limit  Hard Limit  Units\nMax open files            64                   1048576              files\n";
        assert_eq!(open_files(text), Some(64));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), None);
    }
}
