//! The compiled forest: for each node and family whether it is usable and how it chooses, worked out whenever verdicts change, so
//! that a query walks down one to three nodes and never looks at a backend that it does not hand out.

use std::net::IpAddr;
use std::sync::Arc;

use super::Family;
use super::alias::Chance;
use super::model::{Choose, Fallback, Node, NodeId, NodeKind, Policy, Steering};
use super::pool::{Choice, PoolTable, by_weight};
use super::sticky::Sticky;
use super::trace::{Ear, Under};
use crate::health::Verdicts;

/// What does not depend on verdicts.
#[derive(Debug)]
pub struct Forest {
    /// The checked model; ids are the same.
    pub steering: Steering,
    sticky: Box<[Option<Sticky>]>,
    /// For each node whether any backend of each family is under it.
    families: Box<[[bool; 2]]>,
    waived: Level,
}

/// The nodes under one set of verdicts.
type Level = Arc<[Arc<NodeTable>]>;

/// One node under one set of verdicts: for each family.
#[derive(Debug)]
enum NodeTable {
    Pool([PoolTable; 2]),
    Policy([PolicyTable; 2]),
}

#[derive(Debug)]
struct PolicyTable {
    usable: bool,
    /// Those that may be chosen: place in the policy, node, weight.
    candidates: Box<[(u16, NodeId, u32)]>,
    choice: Choice,
}

/// What follows from the verdicts in force.
#[derive(Debug)]
pub struct Tables {
    level: Level,
    /// For each root with fallback "last": the level of the last moment when it was usable, for each family.
    last: Vec<(NodeId, [Option<Level>; 2])>,
}

/// Where a walk ends.
#[derive(Debug)]
pub enum End<'a> {
    /// Nothing is usable and nothing is handed out in its place.
    Servfail,
    /// At a pool that has something to hand out.
    Pool {
        /// Which.
        pool: NodeId,
        /// Its table.
        table: &'a PoolTable,
        /// Whether its clients keep their choice.
        sticky: Option<&'a Sticky>,
        /// By which verdicts.
        under: Under,
    },
}

impl Forest {
    /// Compiles a checked model.
    pub fn new(steering: Steering) -> Self {
        let sticky: Box<[Option<Sticky>]> = steering
            .nodes
            .iter()
            .map(|node| node.sticky.then(|| Sticky::new(&node.name, member_names(node))))
            .collect();
        let families = families(&steering);
        let waived = level(&steering, &sticky, &Verdicts::default(), Under::Waived);
        Self {
            steering,
            sticky,
            families,
            waived,
        }
    }

    /// Whether any backend of the family is somewhere under a node.
    pub fn has_family(&self, node: NodeId, family: Family) -> bool {
        self.families[node.0 as usize][family as usize]
    }

    /// Walks down from a root. The root has the family ([`Forest::has_family`]).
    #[inline]
    pub fn walk<'a>(
        &'a self,
        tables: &'a Tables,
        root: NodeId,
        family: Family,
        client: IpAddr,
        chance: &mut Chance,
        ear: &mut impl Ear,
    ) -> End<'a> {
        if tables.level[root.0 as usize].usable(family) {
            return self.descend(&tables.level, Under::Verdicts, root, family, client, chance, ear);
        }
        ear.fell_back(root, family);
        let (level, under, start) = match self.steering.node(root).root.fallback {
            Fallback::Servfail => return End::Servfail,
            Fallback::All => (&self.waived, Under::Waived, root),
            Fallback::Pool(pool) => (&self.waived, Under::Waived, pool),
            Fallback::Last => match tables.last(root, family) {
                Some(level) => (level, Under::Last, root),
                None => (&self.waived, Under::Waived, root),
            },
        };
        if !level[start.0 as usize].usable(family) {
            return End::Servfail;
        }
        self.descend(level, under, start, family, client, chance, ear)
    }

    /// Walks down from a usable node.
    #[allow(clippy::too_many_arguments)] // The state of one walk; a struct for it would be filled for each query.
    #[inline]
    fn descend<'a>(
        &'a self,
        level: &'a Level,
        under: Under,
        start: NodeId,
        family: Family,
        client: IpAddr,
        chance: &mut Chance,
        ear: &mut impl Ear,
    ) -> End<'a> {
        let mut id = start;
        loop {
            let sticky = self.sticky[id.0 as usize].as_ref();
            match &*level[id.0 as usize] {
                NodeTable::Pool(tables) => {
                    return End::Pool {
                        pool: id,
                        table: &tables[family as usize],
                        sticky,
                        under,
                    };
                }
                NodeTable::Policy(tables) => {
                    let table = &tables[family as usize];
                    let weighted = table
                        .candidates
                        .iter()
                        .map(|(member, _, weight)| (usize::from(*member), *weight));
                    let chosen = table.choice.choose(sticky, client, chance, weighted);
                    let (member, node, _) = table.candidates[chosen];
                    ear.chose(id, family, under, usize::from(member), table.choice.how());
                    id = node;
                }
            }
        }
    }

    /// Whether the answers of a root depend on the client's subnet: whether some sticky node that has more than one thing to choose from can be
    /// reached, whatever the verdicts, so that the scopes of all its answers are alike.
    pub fn depends_on_subnet(&self, root: NodeId, family: Family) -> bool {
        let fallback = match self.steering.node(root).root.fallback {
            Fallback::Pool(pool) => self.any_sticky(pool, family),
            Fallback::All | Fallback::Last | Fallback::Servfail => false,
        };
        fallback || self.any_sticky(root, family)
    }

    fn any_sticky(&self, id: NodeId, family: Family) -> bool {
        let node = self.steering.node(id);
        match &node.kind {
            NodeKind::Pool(pool) => {
                node.sticky
                    && pool
                        .backends
                        .iter()
                        .filter(|backend| backend.target.has_family(family))
                        .count()
                        > 1
            }
            NodeKind::Policy(policy) => {
                let members = || {
                    policy
                        .members
                        .iter()
                        .filter(|member| self.has_family(member.node, family))
                };
                (node.sticky && matches!(policy.choose, Choose::Weighted) && members().count() > 1)
                    || members().any(|member| self.any_sticky(member.node, family))
            }
        }
    }

    /// Whether a node was usable in a walk; for explaining.
    pub fn usable(&self, tables: &Tables, under: Under, root: NodeId, node: NodeId, family: Family) -> bool {
        self.level(tables, under, root, family)[node.0 as usize].usable(family)
    }

    /// The backends of a pool (by index, in the order written) that could be handed out in a walk; for explaining.
    pub fn candidates(&self, tables: &Tables, under: Under, root: NodeId, pool: NodeId, family: Family) -> Vec<usize> {
        match &*self.level(tables, under, root, family)[pool.0 as usize] {
            NodeTable::Pool(tables) => tables[family as usize].backends().collect(),
            NodeTable::Policy(_) => Vec::new(),
        }
    }

    fn level<'a>(&'a self, tables: &'a Tables, under: Under, root: NodeId, family: Family) -> &'a Level {
        match under {
            Under::Verdicts => &tables.level,
            Under::Waived => &self.waived,
            Under::Last => tables.last(root, family).unwrap_or(&self.waived),
        }
    }
}

impl Tables {
    /// Works out the tables for these verdicts. `before` are those they take the place of.
    pub fn new(forest: &Forest, verdicts: &Verdicts, before: Option<&Tables>) -> Self {
        let level = level(&forest.steering, &forest.sticky, verdicts, Under::Verdicts);
        let last = forest
            .steering
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.root.fallback == Fallback::Last);
        let last = last.map(|(index, _)| {
            let id = NodeId(index as u32);
            let of = |family| match level[index].usable(family) {
                true => Some(level.clone()),
                false => before.and_then(|before| before.last(id, family)).cloned(),
            };
            (id, [of(Family::Ipv4), of(Family::Ipv6)])
        });
        let last = last.collect();
        Self { level, last }
    }

    fn last(&self, root: NodeId, family: Family) -> Option<&Level> {
        let at = self.last.binary_search_by_key(&root, |(id, _)| *id).ok()?;
        self.last[at].1[family as usize].as_ref()
    }
}

impl NodeTable {
    #[inline]
    fn usable(&self, family: Family) -> bool {
        match self {
            NodeTable::Pool(tables) => tables[family as usize].usable,
            NodeTable::Policy(tables) => tables[family as usize].usable,
        }
    }
}

/// Members come before the policies that name them, so one pass will do, here and below.
fn families(steering: &Steering) -> Box<[[bool; 2]]> {
    let mut families: Vec<[bool; 2]> = Vec::with_capacity(steering.nodes.len());
    for node in &steering.nodes {
        families.push([Family::Ipv4, Family::Ipv6].map(|family| {
            match &node.kind {
                NodeKind::Pool(pool) => pool.backends.iter().any(|backend| backend.target.has_family(family)),
                NodeKind::Policy(policy) => policy
                    .members
                    .iter()
                    .any(|member| families[member.node.0 as usize][family as usize]),
            }
        }));
    }
    families.into()
}

fn level(steering: &Steering, sticky: &[Option<Sticky>], verdicts: &Verdicts, under: Under) -> Level {
    let mut level: Vec<Arc<NodeTable>> = Vec::with_capacity(steering.nodes.len());
    for (node, sticky) in steering.nodes.iter().zip(sticky) {
        let families = [Family::Ipv4, Family::Ipv6];
        let table = match &node.kind {
            NodeKind::Pool(pool) => {
                NodeTable::Pool(families.map(|family| PoolTable::new(pool, sticky.as_ref(), family, verdicts, under)))
            }
            NodeKind::Policy(policy) => {
                let usable = |node: NodeId, family| level[node.0 as usize].usable(family);
                NodeTable::Policy(
                    families.map(|family| PolicyTable::new(policy, sticky.as_ref(), |node| usable(node, family))),
                )
            }
        };
        level.push(Arc::new(table));
    }
    level.into()
}

impl PolicyTable {
    fn new(policy: &Policy, sticky: Option<&Sticky>, usable: impl Fn(NodeId) -> bool) -> Self {
        let members = policy
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| usable(member.node));
        let members: Vec<(u16, NodeId, u32)> = members
            .map(|(place, member)| (place as u16, member.node, member.weight))
            .collect();
        let (candidates, choice) = match &policy.choose {
            Choose::Weighted => {
                let candidates = by_weight(members, |(_, _, weight)| weight);
                let weighted: Vec<_> = candidates
                    .iter()
                    .map(|(place, _, weight)| (usize::from(*place), *weight))
                    .collect();
                let choice = Choice::new(sticky, &weighted);
                (candidates, choice)
            }
            // No client has a known location here, and for those the order written counts.
            Choose::Failover | Choose::Nearest => (members.into_iter().take(1).collect(), Choice::First),
            Choose::Rules(rules) => {
                let otherwise = members
                    .into_iter()
                    .filter(|(place, _, _)| usize::from(*place) == rules.otherwise);
                (otherwise.collect(), Choice::First)
            }
        };
        Self {
            usable: !candidates.is_empty(),
            candidates: candidates.into(),
            choice,
        }
    }
}

fn member_names(node: &Node) -> Vec<&str> {
    match &node.kind {
        NodeKind::Pool(pool) => pool.backends.iter().map(|backend| backend.name.as_str()).collect(),
        NodeKind::Policy(policy) => policy.members.iter().map(|member| member.name.as_str()).collect(),
    }
}
