//! Binds the addresses that are served, UDP and TCP alike, or says of each that cannot be bound why.
//!
//! Every UDP worker has its own socket on the same address (SO_REUSEPORT: the kernel spreads clients over them). The same
//! option would let a second daemon bind the address too and silently take half of the queries; so the address is bound once
//! without it first, which fails if anybody is there.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZero;
use std::thread::available_parallelism;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Settings;

/// The kernel's buffers of a UDP socket, each way, as far as it grants them: some 4,000 queries of a burst wait in it instead
/// of being lost while a worker is not running.
const UDP_BUFFER: usize = 4 << 20;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// How often another free port is tried (for port 0) when the one found for TCP is taken for UDP.
const PORT_ATTEMPTS: usize = 32;

/// An address that is bound, nobody answering on it yet.
#[derive(Debug)]
pub struct Bound {
    /// As bound: port 0 has become the port found.
    pub address: SocketAddr,
    /// One for each worker; blocking.
    pub udp: Vec<UdpSocket>,
    /// Listening; not blocking.
    pub tcp: TcpListener,
}

/// An address that could not be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbound {
    /// The address, as configured.
    pub address: SocketAddr,
    /// Why, as far as it can be told.
    pub reason: String,
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

/// Binds every address of the settings, or says of each that cannot be why. A default address of a family that the host
/// lacks is passed over with a warning, unless nothing else is left.
pub fn bind(settings: &Settings) -> Result<Vec<Bound>, Vec<Unbound>> {
    let (bound, passed_over) = bind_all(settings)?;
    for unbound in passed_over {
        tracing::warn!("not listening on {unbound}");
    }
    Ok(bound)
}

/// Binds every address as [`bind`] would and lets it go again: what cannot be had is told before anything takes long.
pub fn try_bind(settings: &Settings) -> Result<(), Vec<Unbound>> {
    bind_all(settings).map(drop)
}

/// What is bound, and what is passed over.
fn bind_all(settings: &Settings) -> Result<(Vec<Bound>, Vec<Unbound>), Vec<Unbound>> {
    // Only Linux spreads clients over sockets with one address; elsewhere all would go to one of them.
    let workers = if cfg!(target_os = "linux") {
        workers(settings)
    } else {
        1
    };
    let (mut bound, mut faults, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
    for (place, &address) in settings.listen.iter().enumerate() {
        let earlier = settings.listen.get(..place).unwrap_or_default();
        if let Some(other) = earlier.iter().find(|other| overlaps(**other, address)) {
            let reason = if *other == address {
                "is listed twice".to_owned()
            } else {
                format!("is covered by {other}, which is listed too")
            };
            faults.push(Unbound { address, reason });
            continue;
        }
        match bind_one(address, workers) {
            Ok(one) => bound.push(one),
            Err(refusal) => {
                let family_lacks = settings.listen_is_default && refusal.is_for_want_of_the_address();
                let list = if family_lacks { &mut passed_over } else { &mut faults };
                list.push(Unbound {
                    address,
                    reason: refusal.reason(address),
                });
            }
        }
    }
    if bound.is_empty() {
        faults.append(&mut passed_over);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok((bound, passed_over))
}

/// How many UDP threads each address has, or all have under the portable engine.
pub fn workers(settings: &Settings) -> usize {
    match settings.workers {
        0 => available_parallelism().map_or(1, NonZero::get),
        count => count,
    }
}

/// Whether two addresses cannot be bound side by side. IPv6 sockets never take IPv4 (IPV6_V6ONLY), so families are apart.
fn overlaps(a: SocketAddr, b: SocketAddr) -> bool {
    let same_place = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_place
}

/// A socket call that failed, and for what.
#[derive(Debug)]
struct Refusal {
    transport: &'static str,
    error: io::Error,
}

fn bind_one(address: SocketAddr, workers: usize) -> Result<Bound, Refusal> {
    let mut attempts = if address.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp_refused = |error| Refusal {
            transport: "TCP",
            error,
        };
        // TCP first: two listeners never share an address, so of two daemons that start at once only one passes here.
        let tcp = listen_tcp(address).map_err(tcp_refused)?;
        let address = tcp.local_addr().map_err(tcp_refused)?;
        match bind_udp(address, workers) {
            Ok(udp) => return Ok(Bound { address, udp, tcp }),
            Err(error) if error.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            Err(error) => {
                return Err(Refusal {
                    transport: "UDP",
                    error,
                });
            }
        }
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // Connections of a daemon that has just stopped linger in TIME_WAIT; they must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let alone = socket(address, Type::DGRAM, Protocol::UDP)?;
    alone.bind(&address.into())?;
    drop(alone);
    (0..workers)
        .map(|_| {
            let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
            socket.set_reuse_port(true)?;
            // The kernel grants what net.core.rmem_max and wmem_max allow; less is no fault.
            let _ = socket.set_recv_buffer_size(UDP_BUFFER);
            let _ = socket.set_send_buffer_size(UDP_BUFFER);
            socket.bind(&address.into())?;
            Ok(socket.into())
        })
        .collect()
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

impl Refusal {
    /// The host has no such address, or nothing of its family.
    fn is_for_want_of_the_address(&self) -> bool {
        self.lacks_family() || self.error.kind() == ErrorKind::AddrNotAvailable
    }

    fn lacks_family(&self) -> bool {
        self.error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    }

    fn reason(&self, address: SocketAddr) -> String {
        match self.error.kind() {
            ErrorKind::PermissionDenied if (1..1024).contains(&address.port()) => {
                "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE".to_owned()
            }
            ErrorKind::AddrInUse if address.port() == 53 => {
                format!(
                    "in use by another program ({}): another name server, or systemd-resolved",
                    self.transport
                )
            }
            ErrorKind::AddrInUse => format!("in use by another program ({})", self.transport),
            ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
            _ if self.lacks_family() => {
                format!("this host has no {}", if address.is_ipv4() { "IPv4" } else { "IPv6" })
            }
            _ => format!("cannot be bound ({}): {}", self.transport, self.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &[&str]) -> Settings {
        let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        Settings {
            listen,
            listen_is_default: false,
            workers: 3,
            ..Settings::default()
        }
    }

    #[test]
    fn port_0_is_one_port_for_both_and_every_worker() {
        let bound = bind(&settings(&["127.0.0.1:0", "127.0.0.1:0"])).unwrap();
        for one in &bound {
            assert_ne!(one.address.port(), 0);
            assert_eq!(one.tcp.local_addr().unwrap(), one.address);
            assert_eq!(one.udp.len(), 3);
            assert!(one.udp.iter().all(|socket| socket.local_addr().unwrap() == one.address));
        }
        assert_ne!(bound[0].address, bound[1].address);
    }

    #[test]
    fn a_second_daemon_is_refused() {
        let first = bind(&settings(&["127.0.0.1:0"])).unwrap();
        let address = first[0].address.to_string();
        let faults = bind(&settings(&[&address])).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            format!("{address}: in use by another program (TCP)")
        );
    }

    #[test]
    fn so_is_a_program_that_has_only_the_udp_port() {
        // Found, not picked: a UDP port whose TCP twin is free.
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap().to_string();
        let faults = bind(&settings(&[&address])).unwrap_err();
        assert!(
            faults[0]
                .to_string()
                .starts_with(&format!("{address}: in use by another program (")),
            "{faults:?}"
        );
    }

    #[test]
    fn every_address_is_told() {
        let faults = bind(&settings(&["240.0.0.1:0", "127.0.0.1:0", "240.0.0.2:0"])).unwrap_err();
        let told: Vec<_> = faults.iter().map(Unbound::to_string).collect();
        assert_eq!(
            told,
            [
                "240.0.0.1:0: this host has no such address",
                "240.0.0.2:0: this host has no such address"
            ]
        );
    }

    #[test]
    fn only_default_addresses_are_passed_over() {
        let mut settings = settings(&["127.0.0.1:0", "240.0.0.1:0"]);
        assert!(bind(&settings).is_err());
        settings.listen_is_default = true;
        assert_eq!(bind(&settings).unwrap().len(), 1);
        settings.listen.remove(0);
        assert!(bind(&settings).is_err());
    }

    #[test]
    fn overlaps_are_not_another_programs_fault() {
        let overlaps = |a: &str, b: &str| overlaps(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlaps("127.0.0.1:53", "127.0.0.1:53"));
        assert!(overlaps("0.0.0.0:53", "127.0.0.1:53"));
        assert!(overlaps("[::1]:53", "[::]:53"));
        assert!(!overlaps("0.0.0.0:53", "[::]:53"));
        assert!(!overlaps("127.0.0.1:53", "127.0.0.1:54"));
        assert!(!overlaps("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn reasons_name_the_likely_cause() {
        let reason = |kind: ErrorKind, address: &str| {
            Refusal {
                transport: "UDP",
                error: kind.into(),
            }
            .reason(address.parse().unwrap())
        };
        assert_eq!(
            reason(ErrorKind::PermissionDenied, "127.0.0.1:53"),
            "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE"
        );
        assert!(reason(ErrorKind::AddrInUse, "0.0.0.0:53").contains("systemd-resolved"));
        let lacks = Refusal {
            transport: "TCP",
            error: io::Error::from_raw_os_error(libc::EAFNOSUPPORT),
        };
        assert_eq!(lacks.reason("[::1]:53".parse().unwrap()), "this host has no IPv6");
    }
}
