//! What streams may cost us: time, connections in all, and connections of one client, each with its reason.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds on streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may go without a whole query. An octet does not count: a client that trickles is cut too.
    pub idle: Duration,
    /// How long the client may take to accept what is written to it at once.
    pub write: Duration,
    /// Connections in all, over every listener.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 /64.
    pub per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // RFC 7766 6.2.3 asks for "a few seconds"; ten let a resolver keep its connection through a pause.
            idle: Duration::from_secs(10),
            // 64 KiB in ten seconds: slower than that is no client, or not one that needs a stream.
            write: Duration::from_secs(10),
            // A process has 1,024 descriptors unless its limit is raised; a quarter is left for listeners, probes, the
            // control API and files, so that a flood of connections never takes the daemon's own.
            connections: 768,
            // RFC 7766 6.2.2 wants one connection of a client; a network behind one address (a NAT, a farm of resolvers, a
            // load test) has many. A sixth of all: one address cannot shut out the others.
            per_client: 128,
        }
    }
}

/// Counts connections against [`Limits`].
#[derive(Debug)]
pub struct Admission {
    connections: usize,
    per_client: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    counts: Counts,
    /// No entry is zero: what clients that have left cost us is nothing.
    by_client: HashMap<IpAddr, usize>,
}

/// What has become of connections so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that are open now.
    pub open: usize,
    /// Those that were let in, in all.
    pub admitted: u64,
    /// Those that were not, since there were too many.
    pub refused_by_server: u64,
    /// Those that were not, since their client had too many.
    pub refused_by_client: u64,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There are [`Limits::connections`] already.
    Server,
    /// This client has [`Limits::per_client`] already.
    Client,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: limits.connections,
            per_client: limits.per_client,
            open: Mutex::new(Open::default()),
        })
    }

    /// Lets a connection from `source` in, if there is room.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Place, Full> {
        let client = group(source);
        let mut open = self.lock();
        if open.all >= self.connections {
            open.counts.refused_by_server += 1;
            return Err(Full::Server);
        }
        let count = open.by_client.entry(client).or_insert(0);
        if *count >= self.per_client {
            // Not zero, unless the limit is: then the entry must not stay.
            if *count == 0 {
                open.by_client.remove(&client);
            }
            open.counts.refused_by_client += 1;
            return Err(Full::Client);
        }
        *count += 1;
        open.all += 1;
        open.counts.admitted += 1;
        Ok(Place {
            admission: self.clone(),
            client,
        })
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.lock().all
    }

    /// What has become of connections so far.
    pub fn counts(&self) -> Counts {
        let open = self.lock();
        Counts {
            open: open.all,
            ..open.counts
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        open.all -= 1;
        if let Some(count) = open.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 /64, the least that a site is given (RFC 6177).
fn group(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, per_client: usize) -> Arc<Admission> {
        Admission::new(&Limits {
            connections,
            per_client,
            ..Limits::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_only_its_share() {
        let admission = admission(10, 2);
        let (first, second) = (
            admission.admit(address("192.0.2.1")),
            admission.admit(address("192.0.2.1")),
        );
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(admission.admit(address("192.0.2.1")).err(), Some(Full::Client));
        assert!(admission.admit(address("192.0.2.2")).is_ok());
        drop(first);
        assert!(admission.admit(address("192.0.2.1")).is_ok());
        let counts = admission.counts();
        assert_eq!((counts.open, counts.admitted), (1, 4));
        assert_eq!((counts.refused_by_client, counts.refused_by_server), (1, 0));
    }

    #[test]
    fn an_ipv6_client_is_a_64() {
        let admission = admission(10, 1);
        let _first = admission.admit(address("2001:db8:0:1::1")).unwrap();
        assert_eq!(
            admission.admit(address("2001:db8:0:1:ffff::2")).err(),
            Some(Full::Client)
        );
        assert!(admission.admit(address("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn the_server_is_full_for_everyone() {
        let admission = admission(2, 2);
        let places: Vec<_> = ["192.0.2.1", "192.0.2.2"]
            .map(|a| admission.admit(address(a)).unwrap())
            .into();
        assert_eq!(admission.admit(address("192.0.2.3")).err(), Some(Full::Server));
        drop(places);
        assert_eq!(admission.open(), 0);
        assert!(admission.lock().by_client.is_empty());
    }
}
