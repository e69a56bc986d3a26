//! Pools and policies, checked: one forest of nodes in which every member comes before the policies that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Family;
use crate::geo::coordinates::Coordinates;
use crate::geo::record::{Place, Subdivision};
use crate::health::AddressId;
use crate::wire::name::Name;
use crate::zone::model::{Steer, SteerTtl};

/// The greatest weight of a backend or a member: 2^20 - 1.
pub const WEIGHT_MAX: u32 = (1 << 20) - 1;

/// The most backends of one pool, and the most members of one policy: beyond it a DNS answer is the wrong tool, and choices
/// are kept in 16 bits.
pub const MEMBERS_MAX: usize = 4096;

/// The most backends that `answers` may ask for by number: far more than a client tries. "all" has no such bound.
pub const ANSWERS_MAX: usize = 256;

/// A pool or policy, by its place in [`Steering::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Every pool and policy of every zone.
#[derive(Debug, Clone, Default)]
pub struct Steering {
    /// Members before the policies that name them; so there are no cycles.
    pub nodes: Vec<Node>,
    /// By full name: `ORIGIN/NAME` (the origin without its last dot), or `NAME` for those of windrose.toml.
    pub by_name: BTreeMap<String, NodeId>,
    /// How many addresses there are over all pools: [`AddressId`]s are below it.
    pub addresses: u32,
}

impl Steering {
    /// The node of an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The pools that a root can lead to, each once: in the order in which they are named, that of its fallback last.
    pub fn pools_of(&self, root: NodeId) -> Vec<NodeId> {
        let fallback = match self.node(root).root.fallback {
            Fallback::Pool(pool) => Some(pool),
            Fallback::All | Fallback::Last | Fallback::Servfail => None,
        };
        let mut open: Vec<NodeId> = fallback.into_iter().chain([root]).collect();
        let (mut seen, mut pools) = (BTreeSet::new(), Vec::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            match &self.node(id).kind {
                NodeKind::Pool(_) => pools.push(id),
                NodeKind::Policy(policy) => open.extend(policy.members.iter().rev().map(|member| member.node)),
            }
        }
        pools
    }

    /// The TTL of what a record with this root answers: the owner's, else the root's, else the default.
    pub fn ttl(&self, steer: &Steer, root: NodeId) -> SteerTtl {
        steer.ttl.or(self.node(root).root.ttl).unwrap_or(SteerTtl::DEFAULT)
    }
}

/// A pool or a policy, with what holds for both.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its full name.
    pub name: String,
    /// Where it is, if said: pools and policies may both have a location.
    pub location: Option<Coordinates>,
    /// Whether a client keeps its choice (weighted policies and pools).
    pub sticky: bool,
    /// What counts when a record names this node.
    pub root: Root,
    /// What it is.
    pub kind: NodeKind,
}

/// What counts only where a record names the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// What happens when nothing is usable.
    pub fallback: Fallback,
    /// The TTL of its answers.
    pub ttl: Option<SteerTtl>,
}

/// What a root does when nothing is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// Decide as if every verdict were up.
    #[default]
    All,
    /// The members that were usable at the last moment when some were.
    Last,
    /// Say that the server failed.
    Servfail,
    /// This pool, without regard to verdicts.
    Pool(NodeId),
}

/// A pool or a policy.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Backends.
    Pool(Pool),
    /// Members in an order.
    Policy(Policy),
}

/// Backends that serve alike.
#[derive(Debug, Clone)]
pub struct Pool {
    /// How many of them stand in one answer.
    pub answers: Answers,
    /// When it is usable.
    pub min_healthy: MinHealthy,
    /// In the order written; all with addresses, or all with a host.
    pub backends: Vec<Backend>,
    /// The full names of the probes that judge it.
    pub probes: Vec<String>,
}

/// How many backends stand in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// So many different ones: 1 to [`ANSWERS_MAX`].
    Count(u16),
    /// All that are healthy, in random order.
    All,
}

/// When a pool is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinHealthy {
    /// While so many backends are healthy; at least one.
    Backends(u32),
    /// While healthy weight x 100 is at least so many percent (1 to 100) of the configured weight.
    Percent(u8),
}

/// One machine of a pool.
#[derive(Debug, Clone)]
pub struct Backend {
    /// As named, or else its first address or host.
    pub name: String,
    /// 0 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// What is handed out.
    pub target: Target,
}

/// What is handed out for a backend.
#[derive(Debug, Clone)]
pub enum Target {
    /// Addresses of both families, at least one in all, each with the id of its verdict.
    Addresses {
        /// For A.
        ipv4: Vec<(Ipv4Addr, AddressId)>,
        /// For AAAA.
        ipv6: Vec<(Ipv6Addr, AddressId)>,
    },
    /// A host name, answered as a CNAME; it has no verdict and counts as healthy in both families.
    Host(Name),
}

impl Pool {
    /// The ids of all addresses of all its backends.
    pub fn addresses(&self) -> impl Iterator<Item = AddressId> {
        let targets = self.backends.iter().map(|backend| match &backend.target {
            Target::Addresses { ipv4, ipv6 } => (ipv4.as_slice(), ipv6.as_slice()),
            Target::Host(_) => (&[][..], &[][..]),
        });
        targets.flat_map(|(ipv4, ipv6)| {
            let ipv4 = ipv4.iter().map(|(_, id)| *id);
            ipv4.chain(ipv6.iter().map(|(_, id)| *id))
        })
    }
}

impl Target {
    /// What is handed out in answers of a family, with the ids of the verdicts: the addresses in the order written, none for a host.
    pub fn addresses(&self, family: Family) -> Vec<(IpAddr, AddressId)> {
        match (self, family) {
            (Target::Host(_), _) => Vec::new(),
            (Target::Addresses { ipv4, .. }, Family::Ipv4) => {
                ipv4.iter().map(|(address, id)| (IpAddr::V4(*address), *id)).collect()
            }
            (Target::Addresses { ipv6, .. }, Family::Ipv6) => {
                ipv6.iter().map(|(address, id)| (IpAddr::V6(*address), *id)).collect()
            }
        }
    }

    /// Whether it can be handed out in answers of a family.
    pub fn has_family(&self, family: Family) -> bool {
        match (self, family) {
            (Target::Host(_), _) => true,
            (Target::Addresses { ipv4, .. }, Family::Ipv4) => !ipv4.is_empty(),
            (Target::Addresses { ipv6, .. }, Family::Ipv6) => !ipv6.is_empty(),
        }
    }
}

/// Members in an order of preference that may depend on the client.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How they are ordered.
    pub choose: Choose,
    /// In the order written, each once. For rules: every node that some rule or `otherwise` uses.
    pub members: Vec<Member>,
}

/// A member of a policy.
#[derive(Debug, Clone)]
pub struct Member {
    /// The pool or policy.
    pub node: NodeId,
    /// As the policy names it.
    pub name: String,
    /// For weighted policies: 0 to [`WEIGHT_MAX`]. Else 1.
    pub weight: u32,
    /// For nearest: its distance is multiplied by this. Else 1.
    pub bias: f64,
}

/// How a policy orders its members.
#[derive(Debug, Clone)]
pub enum Choose {
    /// By a draw in proportion to weight among the usable.
    Weighted,
    /// As written.
    Failover,
    /// By great-circle distance.
    Nearest,
    /// By the rules that match, in the order written, then `otherwise`.
    Rules(Rules),
}

/// The rules of a policy.
#[derive(Debug, Clone)]
pub struct Rules {
    /// In the order written.
    pub rules: Vec<Rule>,
    /// Index into the members: for whom no rule matches, or no match is usable.
    pub otherwise: usize,
}

/// One rule.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// For whom it is.
    pub condition: Condition,
    /// Index into the policy's members.
    pub member: usize,
}

/// What a rule asks of a client: every key given must hold; in a key, any of its values may. An empty list is a key not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// Networks that contain the client.
    pub network: Vec<IpNet>,
    /// Autonomous system numbers.
    pub asn: Vec<u32>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Vec<String>,
    /// ISO 3166-2, or a name.
    pub subdivision: Vec<String>,
    /// AF AN AS EU NA OC SA.
    pub continent: Vec<String>,
}

impl Condition {
    /// Whether the client's network will do: it is in one of those given, or none is.
    pub fn network_holds(&self, address: IpAddr) -> bool {
        self.network.is_empty() || self.network.iter().any(|network| network.contains(&address))
    }

    /// Whether the client's autonomous system will do.
    pub fn asn_holds(&self, asn: Option<u32>) -> bool {
        self.asn.is_empty() || asn.is_some_and(|asn| self.asn.contains(&asn))
    }

    /// Whether the client's country will do.
    pub fn country_holds(&self, place: &Place) -> bool {
        self.country.is_empty()
            || place
                .country
                .as_ref()
                .is_some_and(|country| self.country.contains(country))
    }

    /// Whether one of the client's subdivisions will do.
    pub fn subdivision_holds(&self, place: &Place) -> bool {
        let named = |own: &Subdivision| self.subdivision.iter().any(|written| own.is(written));
        self.subdivision.is_empty() || place.subdivisions.iter().any(named)
    }

    /// Whether the client's continent will do.
    pub fn continent_holds(&self, place: &Place) -> bool {
        self.continent.is_empty()
            || place
                .continent
                .as_ref()
                .is_some_and(|continent| self.continent.contains(continent))
    }

    /// Whether it asks for a country, a subdivision or a continent.
    pub fn asks_for_places(&self) -> bool {
        !(self.country.is_empty() && self.subdivision.is_empty() && self.continent.is_empty())
    }
}
