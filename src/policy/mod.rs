//! Which backends to hand out to a client. Sees backends, locations and verdicts; hands out ids and addresses, never messages.

pub mod alias;
pub mod backends;
pub mod build;
pub mod check;
pub mod classes;
pub mod client;
pub mod client_map;
pub mod decide;
pub mod last;
pub mod model;
pub mod names;
pub mod order;
pub mod policy_table;
pub mod pool;
pub mod questions;
pub mod roots;
pub mod sticky;
pub mod targets;
pub mod trace;
pub mod tree;
pub mod unsatisfied;
pub mod usable;

use std::net::IpAddr;

use crate::geo::Whereabouts;

/// The family of addresses that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// A.
    Ipv4,
    /// AAAA.
    Ipv6,
}

/// Who asks, as far as decisions see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The address of the client subnet, zero-extended, or else the resolver's (RFC 7871 7.1.2).
    pub address: IpAddr,
    /// What is known of where it is.
    pub whereabouts: Whereabouts,
    /// The length of the shortest prefix of its address in which nothing that any policy asks of a location differs; 0 if that is so of all
    /// addresses of both families.
    pub shared: u8,
}
