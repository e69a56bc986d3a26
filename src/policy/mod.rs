//! Which backends to hand out to a client. Sees backends, locations and verdicts; hands out ids and addresses, never messages.

pub mod alias;
pub mod backends;
pub mod build;
pub mod check;
pub mod client;
pub mod decide;
pub mod model;
pub mod names;
pub mod order;
pub mod pool;
pub mod roots;
pub mod sticky;
pub mod trace;
pub mod tree;

use std::net::IpAddr;

/// The family of addresses that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// A.
    Ipv4,
    /// AAAA.
    Ipv6,
}

/// Who asks, as far as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address of the client subnet, zero-extended, or else the resolver's (RFC 7871 7.1.2).
    pub address: IpAddr,
}
