//! What fallback "last" goes by, told by names, so that it outlives the load that it was found under: a reload, and a restart.
//!
//! What was handed out under a root at a moment when it was usable is remembered backend by backend. In another load a backend of the same
//! name in a pool of the same name is the same backend; what is not found there, or is new, was not usable then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Family;
use super::model::{Fallback, NodeId, NodeKind, Pool, Steering};
use super::trace::Under;
use super::tree::{Forest, Level, Tables};
use super::usable::Usable;
use crate::health::{AddressId, Verdict, Verdicts};

/// For each root with fallback "last", by full name: what could be handed out when it was usable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LastUsable(BTreeMap<String, ByFamily>);

/// The moments of a root for each family, the newest first; more than one only where not all clients had the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ByFamily {
    ipv4: Vec<HandedOut>,
    ipv6: Vec<HandedOut>,
}

/// The addresses that could be handed out, by the full name of their pool and the name of their backend.
type HandedOut = BTreeMap<String, BTreeMap<String, BTreeSet<IpAddr>>>;

/// A level of another load, found again in this one, for roots that it may serve.
pub(super) type Found = (Arc<Verdicts>, Level);

impl LastUsable {
    /// Whether no root remembers anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the tables remember.
    pub fn of(forest: &Forest, tables: &Tables) -> Self {
        let steering = &forest.steering;
        let of_root = |root: NodeId| {
            let moments = |family| {
                let levels = tables.moments(root, family);
                let told = levels.map(|(verdicts, level)| handed_out(steering, root, family, verdicts, level));
                told.collect::<Vec<_>>()
            };
            ByFamily {
                ipv4: moments(Family::Ipv4),
                ipv6: moments(Family::Ipv6),
            }
        };
        let told = roots(steering).map(|root| (steering.node(root).name.clone(), of_root(root)));
        Self(
            told.filter(|(_, by_family)| *by_family != ByFamily::default())
                .collect(),
        )
    }

    /// The same in a forest of another load: for each of its roots with fallback "last" and each family the levels, the newest first.
    pub(super) fn levels(&self, forest: &Forest) -> BTreeMap<NodeId, [Vec<Found>; 2]> {
        let steering = &forest.steering;
        let mut drafts: Vec<Draft> = Vec::new();
        let mut places: Vec<(NodeId, [Vec<usize>; 2])> = Vec::new();
        for root in roots(steering) {
            let Some(ByFamily { ipv4, ipv6 }) = self.0.get(&steering.node(root).name) else {
                continue;
            };
            let mut of = |family, moments: &[HandedOut]| {
                let found = moments.iter().map(|moment| find(steering, root, family, moment));
                found.map(|found| Draft::of(found, &mut drafts)).collect()
            };
            places.push((root, [of(Family::Ipv4, ipv4), of(Family::Ipv6, ipv6)]));
        }
        let levels: Vec<Found> = drafts
            .into_iter()
            .map(|draft| {
                let verdicts = draft.verdicts(steering.addresses);
                let level = forest.level_under(&verdicts, Under::Last, None);
                (Arc::new(verdicts), level)
            })
            .collect();
        let level = |place: usize| levels.get(place).cloned();
        let by_family = |places: Vec<usize>| places.into_iter().filter_map(level).collect();
        places
            .into_iter()
            .map(|(root, places)| (root, places.map(by_family)))
            .collect()
    }
}

/// The verdicts of one level, as far as they are wanted. Roots share one while they do not contradict one another, so that a forest of many
/// roots does not become as many levels.
#[derive(Debug, Default)]
struct Draft(BTreeMap<AddressId, bool>);

impl Draft {
    /// The place among the drafts of one that holds this too.
    fn of(wanted: Vec<(AddressId, bool)>, drafts: &mut Vec<Draft>) -> usize {
        let agrees = |draft: &Draft| {
            wanted
                .iter()
                .all(|(id, up)| draft.0.get(id).is_none_or(|said| said == up))
        };
        let place = drafts.iter().position(agrees).unwrap_or_else(|| {
            drafts.push(Draft::default());
            drafts.len() - 1
        });
        if let Some(draft) = drafts.get_mut(place) {
            draft.0.extend(wanted);
        }
        place
    }

    /// What nobody spoke of is down.
    fn verdicts(&self, addresses: u32) -> Verdicts {
        let mut verdicts = Verdicts::unknown(addresses as usize);
        for id in (0..addresses).map(AddressId) {
            let is_up = self.0.get(&id).is_some_and(|up| *up);
            verdicts.set(id, if is_up { Verdict::Up } else { Verdict::Down });
        }
        verdicts
    }
}

fn roots(steering: &Steering) -> impl Iterator<Item = NodeId> {
    let nodes = (0..).map(NodeId).zip(&steering.nodes);
    nodes
        .filter(|(_, node)| node.root.fallback == Fallback::Last)
        .map(|(id, _)| id)
}

/// The pools that a root can lead to, with their full names.
fn pools(steering: &Steering, root: NodeId) -> impl Iterator<Item = (NodeId, &str, &Pool)> {
    let pools = steering.pools_of(root).into_iter().map(|id| (id, steering.node(id)));
    pools.filter_map(|(id, node)| match &node.kind {
        NodeKind::Pool(pool) => Some((id, node.name.as_str(), pool)),
        NodeKind::Policy(_) => None,
    })
}

/// What could be handed out under a root: the healthy addresses of the pools that were usable.
fn handed_out(steering: &Steering, root: NodeId, family: Family, verdicts: &Verdicts, level: &Level) -> HandedOut {
    let mut handed_out = HandedOut::new();
    let is_usable = |id: NodeId| *level[id.0 as usize].usable(family) == Usable::Always;
    for (_, name, pool) in pools(steering, root).filter(|(id, ..)| is_usable(*id)) {
        let backends = handed_out.entry(name.to_owned()).or_default();
        for backend in &pool.backends {
            let healthy = backend
                .target
                .addresses(family)
                .into_iter()
                .filter(|(_, id)| verdicts.healthy(*id))
                .map(|(address, _)| address);
            let healthy: BTreeSet<IpAddr> = healthy.collect();
            if !healthy.is_empty() {
                backends.entry(backend.name.clone()).or_default().extend(healthy);
            }
        }
    }
    handed_out.retain(|_, backends| !backends.is_empty());
    handed_out
}

/// Which addresses under a root, in this load, were handed out at a moment of another load. A backend that has got new addresses since is still the
/// same one: all of them are.
fn find(steering: &Steering, root: NodeId, family: Family, moment: &HandedOut) -> Vec<(AddressId, bool)> {
    let mut found = Vec::new();
    for (_, name, pool) in pools(steering, root) {
        for backend in &pool.backends {
            let now = backend.target.addresses(family);
            let then = moment.get(name).and_then(|backends| backends.get(&backend.name));
            let is_left = |then: &BTreeSet<IpAddr>| now.iter().any(|(address, _)| then.contains(address));
            found.extend(now.iter().map(|(address, id)| {
                let up = then.is_some_and(|then| then.contains(address) || !is_left(then));
                (*id, up)
            }));
        }
    }
    found
}
