//! What the policies ask of a client's location: which places are nearer, and which conditions of rules hold.
//!
//! All of an image's policies ask together, so that one map from addresses to classes answers all of them. The questions are in an order
//! of their own, whatever the order of the policies: those of two loads can be compared.

use std::cmp::Ordering;

use super::model::{Choose, Condition, NodeKind, Policy, Steering};
use crate::geo::coordinates::Coordinates;

/// The most places that are ordered by distance, of all policies together: each of some hundred thousand points of a city database is
/// ordered against each of them, at every load that changes them.
pub const SITES_MAX: usize = 512;

/// A place that is compared with others by distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site {
    /// Where it is.
    pub coordinates: Coordinates,
    /// Distance is multiplied by this.
    pub bias: f64,
}

/// Everything that is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions {
    /// The places of policies without bias, all in one set; and a set for each different bias of members.
    pub sets: Vec<Vec<Site>>,
    /// What rules ask for, each once.
    pub conditions: Vec<Condition>,
}

/// What one pool or policy asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: a pool, or a policy that does not look at locations.
    Nothing,
    /// Which member is nearest.
    Nearest {
        /// By place in [`Questions::sets`].
        set: u32,
        /// Of each member its places in the set.
        members: Vec<Vec<u16>>,
    },
    /// Which rules hold: of each its place in [`Questions::conditions`].
    Rules(Vec<u32>),
}

impl Questions {
    /// What these policies ask, all together and each.
    pub fn of(steering: &Steering) -> (Self, Vec<Asked>) {
        let points = points(steering);
        let sites = |policy: &Policy| all_sites(&points, policy);
        let mut questions = Self::default();
        let mut unbiased = Vec::new();
        for policy in policies(steering) {
            match &policy.choose {
                Choose::Nearest if is_biased(policy) => questions.sets.push(sorted(sites(policy))),
                Choose::Nearest => unbiased.extend(sites(policy)),
                Choose::Rules(rules) => {
                    let conditions = rules.rules.iter().map(|rule| rule.condition.clone());
                    questions.conditions.extend(conditions);
                }
                Choose::Weighted | Choose::Failover => {}
            }
        }
        questions.conditions.sort_unstable();
        questions.conditions.dedup();
        questions.sets.push(sorted(unbiased));
        questions.sets.retain(|set| !set.is_empty());
        questions.sets.sort_by(|a, b| compare_sets(a, b));
        questions.sets.dedup();
        let asked = steering.nodes.iter().map(|node| match &node.kind {
            NodeKind::Pool(_) => Asked::Nothing,
            NodeKind::Policy(policy) => questions.asked_by(&points, policy),
        });
        let asked = asked.collect();
        (questions, asked)
    }

    fn asked_by(&self, points: &[Vec<Coordinates>], policy: &Policy) -> Asked {
        match &policy.choose {
            Choose::Weighted | Choose::Failover => Asked::Nothing,
            Choose::Nearest => {
                // One without bias is in the set that holds them all; a set with bias is that of its policy alone.
                let own = sorted(all_sites(points, policy));
                let is_own = |set: &&Vec<Site>| match is_biased(policy) {
                    true => **set == own,
                    false => own.iter().all(|site| place(set, site).is_some()),
                };
                let Some((at, set)) = self.sets.iter().enumerate().find(|(_, set)| is_own(set)) else {
                    return Asked::Nothing;
                };
                let of_member = |member| {
                    sites_of(points, policy, member)
                        .filter_map(|site| place(set, &site))
                        .collect()
                };
                Asked::Nearest {
                    set: at as u32,
                    members: (0..policy.members.len()).map(of_member).collect(),
                }
            }
            Choose::Rules(rules) => {
                let place = |condition: &Condition| self.conditions.binary_search(condition).unwrap_or_default() as u32;
                Asked::Rules(rules.rules.iter().map(|rule| place(&rule.condition)).collect())
            }
        }
    }

    /// How many places are compared.
    pub fn sites(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    /// Whether any answer depends on a database of places.
    pub fn ask_for_places(&self) -> bool {
        !self.sets.is_empty() || self.conditions.iter().any(Condition::asks_for_places)
    }

    /// Whether any answer depends on a database of AS numbers.
    pub fn ask_for_asns(&self) -> bool {
        self.conditions.iter().any(|condition| !condition.asn.is_empty())
    }
}

fn policies(steering: &Steering) -> impl Iterator<Item = &Policy> {
    steering.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Pool(_) => None,
        NodeKind::Policy(policy) => Some(policy),
    })
}

/// Whether distances are multiplied, and not all alike.
fn is_biased(policy: &Policy) -> bool {
    policy.members.windows(2).any(|pair| pair[0].bias != pair[1].bias)
}

/// Where each node is: at its own location, or wherever the pools beneath it are. Members come before the policies that name them.
fn points(steering: &Steering) -> Vec<Vec<Coordinates>> {
    // Of all pools beneath a node, whatever it says of itself.
    let mut beneath: Vec<Vec<Coordinates>> = Vec::with_capacity(steering.nodes.len());
    for node in &steering.nodes {
        let mut points = match &node.kind {
            NodeKind::Pool(_) => node.location.into_iter().collect(),
            NodeKind::Policy(policy) => {
                let members = policy.members.iter();
                members
                    .flat_map(|member| beneath[member.node.0 as usize].iter().copied())
                    .collect::<Vec<_>>()
            }
        };
        points.sort_by(compare_points);
        points.dedup();
        beneath.push(points);
    }
    let own = steering.nodes.iter().map(|node| node.location);
    own.zip(beneath)
        .map(|(own, beneath)| own.map_or(beneath, |own| vec![own]))
        .collect()
}

/// Every place of a policy's members.
fn all_sites(points: &[Vec<Coordinates>], policy: &Policy) -> Vec<Site> {
    (0..policy.members.len())
        .flat_map(|member| sites_of(points, policy, member))
        .collect()
}

/// The places of one member.
fn sites_of(points: &[Vec<Coordinates>], policy: &Policy, member: usize) -> impl Iterator<Item = Site> {
    let member = &policy.members[member];
    // One bias for all multiplies every distance alike.
    let bias = if is_biased(policy) { member.bias } else { 1.0 };
    points[member.node.0 as usize].iter().map(move |coordinates| Site {
        coordinates: *coordinates,
        bias,
    })
}

fn sorted(mut sites: Vec<Site>) -> Vec<Site> {
    sites.sort_by(compare);
    sites.dedup();
    sites
}

fn place(set: &[Site], site: &Site) -> Option<u16> {
    set.binary_search_by(|other| compare(other, site))
        .ok()
        .map(|place| place as u16)
}

fn compare(a: &Site, b: &Site) -> Ordering {
    compare_points(&a.coordinates, &b.coordinates).then(a.bias.total_cmp(&b.bias))
}

fn compare_points(a: &Coordinates, b: &Coordinates) -> Ordering {
    a.latitude
        .total_cmp(&b.latitude)
        .then(a.longitude.total_cmp(&b.longitude))
}

fn compare_sets(a: &[Site], b: &[Site]) -> Ordering {
    let pairs = a.iter().zip(b);
    let first = pairs.map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
    first.unwrap_or_else(|| a.len().cmp(&b.len()))
}
