//! The oracle: what the rules of decision say, word for word. Quoted lines are those rules; the line below each obeys it.
//!
//! It is slow and obvious on purpose, and no query is answered by it: every compiled path is held equal to it by property
//! tests, so it shares nothing with them but [`sticky`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::model::{
    Answers, Backend, Choose, Condition, Fallback, Member, MinHealthy, NodeId, NodeKind, Policy, Pool, Steering, Target,
};
use super::sticky::{self, Scored, Sticky};
use super::{Client, Family};
use crate::geo::Whereabouts;
use crate::geo::coordinates::Coordinates;
use crate::health::{Verdict, Verdicts};

/// Where draws come from; an argument, so that a test can try every outcome.
pub trait Chance {
    /// One index, in proportion to the weights, whose sum is positive. `node` is who draws.
    fn pick(&mut self, node: NodeId, weights: &[u64]) -> usize;
}

/// What a client gets from a root for a family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// No pool has the family at all: NODATA for everyone, scope 0.
    NoFamily,
    /// Backends with addresses.
    Backends {
        /// Their pool.
        pool: NodeId,
        /// Their places in the pool, in the order drawn; all of them for `answers = "all"`, in the order written, which
        /// whoever writes the answer shuffles. Each has at least one address to hand out (see [`addresses`]).
        backends: Vec<usize>,
        /// The scope prefix length.
        scope: u8,
    },
    /// A host name, for a CNAME.
    Host {
        /// Its pool.
        pool: NodeId,
        /// Its place in the pool.
        backend: usize,
        /// The scope prefix length.
        scope: u8,
    },
    /// Nothing is left, or the root wants it so.
    Servfail {
        /// The scope prefix length.
        scope: u8,
    },
}

/// What a decision believes of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds<'a> {
    /// These verdicts, and `min_healthy` counts.
    Verdicts(&'a Verdicts),
    /// What could be handed out at some moment is up, all else is down, and `min_healthy` is waived.
    Last(&'a Verdicts),
    /// Every address is up, and `min_healthy` is waived.
    Waived,
}

/// Decides for a client. `last` is what could be handed out ([`handed_out`]) at the last moment when the root was usable for the family, if
/// ever.
pub fn decide(
    steering: &Steering,
    root: NodeId,
    family: Family,
    client: &Client,
    verdicts: &Verdicts,
    last: Option<&Verdicts>,
    chance: &mut dyn Chance,
) -> Decision {
    // "No member has the family at all: NODATA for everyone (scope 0)."
    if !has_family(steering, root, family) {
        return Decision::NoFamily;
    }
    let scope = scope_length(steering, root, family, client);
    let Some((start, grounds)) = grounds(steering, root, family, client, verdicts, last) else {
        return Decision::Servfail { scope };
    };
    let (pool, backends) = Walk {
        steering,
        family,
        client,
        grounds,
    }
    .descend(start, chance);
    match backends[..] {
        [backend] if is_host(&pool_of(steering, pool).backends[backend]) => Decision::Host { pool, backend, scope },
        _ => Decision::Backends { pool, backends, scope },
    }
}

/// Whether a node is usable for a family and a client.
pub fn usable(steering: &Steering, node: NodeId, family: Family, client: &Client, verdicts: &Verdicts) -> bool {
    usable_on(Grounds::Verdicts(verdicts), steering, node, family, client)
}

fn usable_on(grounds: Grounds<'_>, steering: &Steering, node: NodeId, family: Family, client: &Client) -> bool {
    Walk {
        steering,
        family,
        client,
        grounds,
    }
    .usable(node)
}

/// What could be handed out under these verdicts: the healthy addresses of every usable pool are up, all else is down.
pub fn handed_out(steering: &Steering, verdicts: &Verdicts) -> Verdicts {
    let mut handed_out = Verdicts::default();
    for node in &steering.nodes {
        let NodeKind::Pool(pool) = &node.kind else { continue };
        for family in [Family::Ipv4, Family::Ipv6] {
            // No client is in this: a pool is usable for everybody or for nobody.
            let is_usable = pool_usable(pool, family, Grounds::Verdicts(verdicts));
            let addresses = pool
                .backends
                .iter()
                .flat_map(|backend| backend.target.addresses(family));
            for (_, id) in addresses {
                let is_up = is_usable && verdicts.healthy(id);
                handed_out.set(id, if is_up { Verdict::Up } else { Verdict::Down });
            }
        }
    }
    handed_out
}

/// Where a decision starts and what it believes: at the root by the verdicts while that is usable, else by the root's
/// fallback. None: nothing is left.
pub fn grounds<'a>(
    steering: &Steering,
    root: NodeId,
    family: Family,
    client: &Client,
    verdicts: &'a Verdicts,
    last: Option<&'a Verdicts>,
) -> Option<(NodeId, Grounds<'a>)> {
    let all = (root, Grounds::Waived);
    let way = if usable(steering, root, family, client, verdicts) {
        (root, Grounds::Verdicts(verdicts))
    } else {
        match steering.node(root).root.fallback {
            // "'all' (default): decide as if every verdict were up."
            Fallback::All => all,
            // "'last': the members that were usable at the last moment when some were." If there was none, and for a client
            // for whom there was none, all.
            Fallback::Last => match last {
                Some(last) if usable_on(Grounds::Last(last), steering, root, family, client) => {
                    (root, Grounds::Last(last))
                }
                _ => all,
            },
            // "'servfail'."
            Fallback::Servfail => return None,
            // "Or the name of a pool, then used without regard to verdicts."
            Fallback::Pool(pool) => (pool, Grounds::Waived),
        }
    };
    // "Nothing left: SERVFAIL with an extended error." So it is where `otherwise` has no backend of the family.
    let (start, grounds) = way;
    usable_on(grounds, steering, start, family, client).then_some(way)
}

/// The addresses that a chosen backend hands out, in the order written; none for a host.
pub fn addresses(backend: &Backend, family: Family, grounds: Grounds<'_>) -> Vec<IpAddr> {
    // "Healthy is a property of an address: every probe of its pool passes, or is still unknown, on that address."
    let healthy = |id| match grounds {
        Grounds::Verdicts(verdicts) | Grounds::Last(verdicts) => verdicts.healthy(id),
        Grounds::Waived => true,
    };
    let addresses = backend.target.addresses(family).into_iter();
    addresses
        .filter(|(_, id)| healthy(*id))
        .map(|(address, _)| address)
        .collect()
}

/// Whether some backend of some pool at or below the node has the family. Fallback pools do not count: they must have the
/// root's families.
pub fn has_family(steering: &Steering, node: NodeId, family: Family) -> bool {
    match &steering.node(node).kind {
        NodeKind::Pool(pool) => pool.backends.iter().any(|backend| of_family(backend, family)),
        NodeKind::Policy(policy) => policy
            .members
            .iter()
            .any(|member| has_family(steering, member.node, family)),
    }
}

/// The scope prefix length of every decision of a root for a family: one for all, since "no two scopes overlap" and verdicts
/// must not change that.
pub fn scope_length(steering: &Steering, root: NodeId, family: Family, client: &Client) -> u8 {
    // "Client-independent answers: 0."
    let mut scope = 0;
    // "Sticky: the hash granularity (/24, /56)."
    if depends_on_subnet(steering, root, family) {
        scope = scope.max(sticky::granularity(client.address));
    }
    // "Every client inside (address / scope) gets the same decision."
    if depends_on_location(steering, root, family) {
        scope = scope.max(client.shared);
    }
    scope
}

/// Whether the decision, or its distribution, may differ between client subnets for this root and family: whether a sticky
/// node that has a choice can be reached, whatever the verdicts. "Rules, nested and passed-over nodes count."
pub fn depends_on_subnet(steering: &Steering, root: NodeId, family: Family) -> bool {
    let by_fallback = match steering.node(root).root.fallback {
        Fallback::Pool(pool) => reaches_sticky(steering, pool, family),
        Fallback::All | Fallback::Last | Fallback::Servfail => false,
    };
    by_fallback || reaches_sticky(steering, root, family)
}

fn reaches_sticky(steering: &Steering, id: NodeId, family: Family) -> bool {
    let node = steering.node(id);
    match &node.kind {
        NodeKind::Pool(pool) => {
            node.sticky
                && pool
                    .backends
                    .iter()
                    .filter(|backend| of_family(backend, family))
                    .count()
                    >= 2
        }
        NodeKind::Policy(policy) => {
            let members = || policy.members.iter().map(|member| member.node);
            let chooses = node.sticky && matches!(policy.choose, Choose::Weighted);
            chooses && members().filter(|member| has_family(steering, *member, family)).count() >= 2
                || members().any(|member| reaches_sticky(steering, member, family))
        }
    }
}

/// Whether the decision may differ between locations for this root and family: whether a policy that has a choice by location can be
/// reached, whatever the verdicts. (A fallback is a pool, which has none.)
pub fn depends_on_location(steering: &Steering, id: NodeId, family: Family) -> bool {
    let NodeKind::Policy(policy) = &steering.node(id).kind else {
        return false;
    };
    let members = || {
        policy
            .members
            .iter()
            .filter(|member| has_family(steering, member.node, family))
    };
    let chooses = match &policy.choose {
        Choose::Weighted | Choose::Failover => false,
        // Members at the same places are tried in the order written, wherever the client is.
        Choose::Nearest => {
            let places = |member: &Member| {
                let points = points(steering, member.node).into_iter();
                points.map(|point| (point, member.bias)).collect::<Vec<_>>()
            };
            members()
                .skip(1)
                .any(|member| members().next().is_some_and(|first| places(first) != places(member)))
        }
        // "`otherwise`" serves whom no rule matches: a rule that leads there too, or nowhere, decides nothing.
        Choose::Rules(rules) => rules.rules.iter().any(|rule| {
            rule.member != rules.otherwise && has_family(steering, policy.members[rule.member].node, family)
        }),
    };
    chooses || members().any(|member| depends_on_location(steering, member.node, family))
}

/// Where a member of a "nearest" policy is: "to a policy member: its own `location` if given, else the least over all pools beneath it,
/// whatever their health." Each point once.
pub fn points(steering: &Steering, node: NodeId) -> Vec<Coordinates> {
    let node = steering.node(node);
    match (&node.kind, node.location) {
        (_, Some(location)) => vec![location],
        (NodeKind::Pool(_), None) => Vec::new(),
        (NodeKind::Policy(policy), None) => {
            let members = policy.members.iter().map(|member| member.node);
            let beneath = pools_beneath(steering, members.collect());
            let mut points: Vec<Coordinates> = beneath.filter_map(|pool| steering.node(pool).location).collect();
            points.sort_by(|a, b| {
                a.latitude
                    .total_cmp(&b.latitude)
                    .then(a.longitude.total_cmp(&b.longitude))
            });
            points.dedup();
            points
        }
    }
}

/// Every pool at or beneath some nodes, once: a policy may lead to another in very many ways.
fn pools_beneath(steering: &Steering, mut left: Vec<NodeId>) -> impl Iterator<Item = NodeId> {
    let mut met = BTreeSet::new();
    while let Some(node) = left.pop() {
        if let (true, NodeKind::Policy(policy)) = (met.insert(node), &steering.node(node).kind) {
            left.extend(policy.members.iter().map(|member| member.node));
        }
    }
    let is_pool = |node: &NodeId| matches!(steering.node(*node).kind, NodeKind::Pool(_));
    met.into_iter().filter(is_pool)
}

/// "Great-circle distance from client to member", in radians; "distance is multiplied" by the bias. Without a location it is infinite.
pub fn distance(steering: &Steering, member: &Member, client: Coordinates) -> f64 {
    let distances = points(steering, member.node)
        .into_iter()
        .map(|point| client.angle_to(point));
    distances.fold(f64::INFINITY, f64::min) * member.bias
}

/// One walk down the tree.
struct Walk<'a> {
    steering: &'a Steering,
    family: Family,
    client: &'a Client,
    grounds: Grounds<'a>,
}

impl Walk<'_> {
    /// From a usable node to a pool and the backends chosen there.
    fn descend(&self, node: NodeId, chance: &mut dyn Chance) -> (NodeId, Vec<usize>) {
        match &self.steering.node(node).kind {
            NodeKind::Pool(pool) => (node, self.choose_backends(node, pool, chance)),
            NodeKind::Policy(policy) => {
                let member = self.choose_member(node, policy, chance);
                self.descend(policy.members[member].node, chance)
            }
        }
    }

    /// "Usable is a property of a member for a family."
    fn usable(&self, node: NodeId) -> bool {
        match &self.steering.node(node).kind {
            NodeKind::Pool(pool) => pool_usable(pool, self.family, self.grounds),
            // "A policy is usable while some member is (for rules: some member in this client's list)."
            NodeKind::Policy(policy) => order(self.steering, policy, self.client)
                .into_iter()
                .any(|member| self.member_usable(policy, member)),
        }
    }

    fn member_usable(&self, policy: &Policy, member: usize) -> bool {
        let node = policy.members[member].node;
        // "A member without any backend of the family is passed over."
        has_family(self.steering, node, self.family) && self.usable(node)
    }

    /// The member that serves, of a usable policy.
    fn choose_member(&self, node: NodeId, policy: &Policy, chance: &mut dyn Chance) -> usize {
        match policy.choose {
            // "weighted: one draw in proportion among the usable."
            Choose::Weighted => {
                let weights = policy.members.iter().enumerate();
                let shares = shares(weights.map(|(at, member)| (member.weight, self.member_usable(policy, at))));
                let names = policy.members.iter().map(|member| member.name.as_str());
                self.draw(node, names, shares, 1, chance)[0]
            }
            // "A policy orders its members for a client; the first usable member serves."
            Choose::Failover | Choose::Nearest | Choose::Rules(_) => order(self.steering, policy, self.client)
                .into_iter()
                .find(|member| self.member_usable(policy, *member))
                .expect("a walk goes down from usable nodes only"),
        }
    }

    /// The backends in the answer, of a usable pool.
    fn choose_backends(&self, node: NodeId, pool: &Pool, chance: &mut dyn Chance) -> Vec<usize> {
        let shares = shares(
            pool.backends
                .iter()
                .map(|backend| (backend.weight, healthy(backend, self.family, self.grounds))),
        );
        let names = pool.backends.iter().map(|backend| backend.name.as_str());
        match pool.answers {
            // "Hosts and addresses do not mix; answers = 1."
            _ if pool.backends.iter().any(is_host) => self.draw(node, names, shares, 1, chance),
            // "answers = k: k distinct backends drawn without replacement by weight."
            Answers::Count(count) => self.draw(node, names, shares, usize::from(count), chance),
            // "'all': every healthy one."
            Answers::All => (0..shares.len()).filter(|at| shares[*at] > 0).collect(),
        }
    }

    /// As many different ones as wanted, or as have a share, in the order drawn.
    fn draw<'n>(
        &self,
        node: NodeId,
        names: impl Iterator<Item = &'n str>,
        mut shares: Vec<u32>,
        wanted: usize,
        chance: &mut dyn Chance,
    ) -> Vec<usize> {
        let wanted = wanted.min(shares.iter().filter(|share| **share > 0).count());
        // "sticky (weighted policies and pools): weighted rendezvous hashing."
        if self.steering.node(node).sticky {
            let sticky = Sticky::new(&self.steering.node(node).name, names);
            let mut places = vec![Scored::default(); wanted];
            let eligible = shares.into_iter().enumerate().filter(|(_, share)| *share > 0);
            sticky.ranked(&sticky.key(self.client.address), eligible, &mut places);
            return places.into_iter().map(|place| place.member).collect();
        }
        let mut drawn = Vec::new();
        while drawn.len() < wanted {
            let weights: Vec<u64> = shares.iter().copied().map(u64::from).collect();
            let at = chance.pick(node, &weights);
            shares[at] = 0;
            drawn.push(at);
        }
        drawn
    }
}

/// "A pool is usable for IPv4 while enough of its backends have a healthy IPv4 address"; never without any.
fn pool_usable(pool: &Pool, family: Family, grounds: Grounds<'_>) -> bool {
    let backends = pool.backends.iter();
    let healthy: Vec<&Backend> = backends.filter(|backend| healthy(backend, family, grounds)).collect();
    let enough = match (grounds, pool.min_healthy) {
        // "fallback waives verdicts and `min_healthy`".
        (Grounds::Waived | Grounds::Last(_), _) => true,
        // "A count of backends,"
        (Grounds::Verdicts(_), MinHealthy::Backends(count)) => healthy.len() >= count as usize,
        // "or healthy weight x 100 >= percent x configured weight, in exact integers; drained and down ones stay in the
        // denominator", and so do those without the family.
        (Grounds::Verdicts(_), MinHealthy::Percent(percent)) => {
            let healthy_weight: u64 = healthy.iter().map(|backend| u64::from(backend.weight)).sum();
            let configured_weight: u64 = pool.backends.iter().map(|backend| u64::from(backend.weight)).sum();
            healthy_weight * 100 >= u64::from(percent) * configured_weight
        }
    };
    enough && !healthy.is_empty()
}

/// Whether the backend has something of the family to hand out. A host has, always and in both families.
fn healthy(backend: &Backend, family: Family, grounds: Grounds<'_>) -> bool {
    is_host(backend) || !addresses(backend, family, grounds).is_empty()
}

/// What each weighs in a draw, from its weight and whether it is usable (or healthy).
///
/// "Weight 0 anywhere: only when nothing of positive weight is usable, then equally." Nothing at all: three answers wanted of
/// two healthy backends of positive weight and one of weight 0 are two, since who sets a weight of 0 wants no clients there
/// while others can serve them.
fn shares(members: impl Iterator<Item = (u32, bool)> + Clone) -> Vec<u32> {
    let positive = members.clone().any(|(weight, usable)| usable && weight > 0);
    let share = |(weight, usable)| match (usable, positive) {
        (false, _) => 0,
        (true, true) => weight,
        (true, false) => 1,
    };
    members.map(share).collect()
}

/// The members that may serve the client, the one to be tried first first. (A weighted policy draws instead.)
pub fn order(steering: &Steering, policy: &Policy, client: &Client) -> Vec<usize> {
    let written = 0..policy.members.len();
    match (&policy.choose, client.whereabouts.coordinates) {
        // "failover: the order written."
        (Choose::Failover | Choose::Weighted, _) => written.collect(),
        // "Clients without a known location: the order written."
        (Choose::Nearest, None) => written.collect(),
        // "Distance to a pool's location"; "ties: the order written": the sort is stable.
        (Choose::Nearest, Some(client)) => {
            let mut members: Vec<usize> = written.collect();
            let distance = |member: &usize| distance(steering, &policy.members[*member], client);
            members.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            members
        }
        // "Matching rules in the order written, then `otherwise`."
        (Choose::Rules(rules), _) => {
            let matching = rules
                .rules
                .iter()
                .filter(|rule| applies(&rule.condition, client))
                .map(|rule| rule.member);
            matching.chain([rules.otherwise]).collect()
        }
    }
}

/// Whether a rule holds for the client. "Keys inside a rule are all required, values inside a list are alternatives. An unknown location
/// fails only location keys. Networks match by containment."
pub fn applies(condition: &Condition, client: &Client) -> bool {
    let Whereabouts { place, asn, .. } = &client.whereabouts;
    condition.network_holds(client.address)
        && condition.asn_holds(*asn)
        && condition.country_holds(place)
        && condition.subdivision_holds(place)
        && condition.continent_holds(place)
}

/// Whether the backend can have something of the family to hand out, whatever the verdicts. A host belongs to both families.
fn of_family(backend: &Backend, family: Family) -> bool {
    is_host(backend) || !addresses(backend, family, Grounds::Waived).is_empty()
}

fn is_host(backend: &Backend) -> bool {
    matches!(backend.target, Target::Host(_))
}

fn pool_of(steering: &Steering, id: NodeId) -> &Pool {
    match &steering.node(id).kind {
        NodeKind::Pool(pool) => pool,
        NodeKind::Policy(_) => unreachable!("a walk ends at a pool"),
    }
}
