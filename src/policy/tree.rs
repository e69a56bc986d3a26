//! The compiled forest: for each node and family whether it is usable and how it chooses, worked out whenever verdicts change, so
//! that a query walks down one to three nodes and never looks at a backend that it does not hand out.

use std::sync::Arc;

use super::Family;
use super::alias::Chance;
use super::client::ClientKey;
use super::client_map::ClientMap;
use super::last::LastUsable;
use super::model::{Choose, Fallback, Node, NodeId, NodeKind, Steering};
use super::policy_table::{Beneath, PolicyTable};
use super::pool::PoolTable;
use super::questions::{Asked, Questions};
use super::sticky::Sticky;
use super::trace::{Ear, Under};
use super::usable::Usable;
use crate::health::Verdicts;

/// What does not depend on verdicts.
#[derive(Debug)]
pub struct Forest {
    /// The checked model; ids are the same.
    pub steering: Steering,
    /// The classes that clients are in.
    pub clients: Arc<ClientMap>,
    asked: Box<[Asked]>,
    sticky: Box<[Option<Sticky>]>,
    /// For each node whether any backend of each family is under it.
    families: Box<[[bool; 2]]>,
    /// For each node and family whether its choices, or any beneath it, depend on where the client is.
    by_location: Box<[[bool; 2]]>,
    /// The same for the client's subnet.
    by_subnet: Box<[[bool; 2]]>,
    waived: Level,
}

/// The nodes under one set of verdicts.
pub(super) type Level = Arc<[Arc<NodeTable>]>;

/// One node under one set of verdicts: for each family.
#[derive(Debug)]
pub(super) enum NodeTable {
    Pool([PoolTable; 2]),
    Policy([PolicyTable; 2]),
}

/// What follows from the verdicts in force. A clone shares all that is large.
#[derive(Debug, Clone)]
pub struct Tables {
    level: Level,
    /// By which the level was worked out.
    verdicts: Arc<Verdicts>,
    /// For each root with fallback "last" and each family: the moments at which it was usable, the newest first, each with those for whom it
    /// was the last one.
    last: Vec<(NodeId, [Vec<Moment>; 2])>,
}

/// A moment at which a root was usable.
#[derive(Debug, Clone)]
struct Moment {
    /// For whom it was the last one.
    whom: Usable,
    /// How things stood.
    level: Level,
    /// By which the level was worked out.
    verdicts: Arc<Verdicts>,
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
    /// Compiles a checked model. `clients` answers what it asks ([`Questions::of`]); else every location counts as unknown.
    pub fn new(steering: Steering, clients: Arc<ClientMap>) -> Self {
        let sticky: Box<[Option<Sticky>]> = steering
            .nodes
            .iter()
            .map(|node| node.sticky.then(|| Sticky::new(&node.name, member_names(node))))
            .collect();
        let (questions, mut asked) = Questions::of(&steering);
        if questions != clients.questions {
            asked.fill(Asked::Nothing);
        }
        let families = families(&steering);
        let mut forest = Self {
            by_location: by_location(&steering, &asked, &families),
            by_subnet: by_subnet(&steering, &families),
            steering,
            clients,
            asked: asked.into(),
            sticky,
            families,
            waived: Level::default(),
        };
        forest.waived = forest.level_under(&Verdicts::default(), Under::Waived, None);
        forest
    }

    /// The same without any database of locations.
    pub fn without_databases(steering: Steering) -> Self {
        let clients = ClientMap::without_databases(&Questions::of(&steering).0);
        Self::new(steering, Arc::new(clients))
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
        client: ClientKey,
        chance: &mut Chance,
        ear: &mut impl Ear,
    ) -> End<'a> {
        if tables.level[root.0 as usize].usable(family).is_for(client.class) {
            return self.descend(&tables.level, Under::Verdicts, root, family, client, chance, ear);
        }
        ear.fell_back(root, family);
        let (level, under, start) = match self.steering.node(root).root.fallback {
            Fallback::Servfail => return End::Servfail,
            Fallback::All => (&self.waived, Under::Waived, root),
            Fallback::Pool(pool) => (&self.waived, Under::Waived, pool),
            Fallback::Last => match tables.last(root, family, client.class) {
                Some(level) => (level, Under::Last, root),
                None => (&self.waived, Under::Waived, root),
            },
        };
        if !level[start.0 as usize].usable(family).is_for(client.class) {
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
        client: ClientKey,
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
                    let beneath = Beneath {
                        classes: &self.clients.classes,
                        usable: |node: NodeId| level[node.0 as usize].usable(family),
                    };
                    let (chosen, how) = table.choose(sticky, client, chance, &beneath);
                    ear.chose(id, family, under, usize::from(chosen.member), how);
                    id = chosen.node;
                }
            }
        }
    }

    /// Whether the answers of a root depend on where the client is: whether some policy that chooses by location can be reached,
    /// whatever the verdicts, so that the scopes of all its answers are alike.
    pub fn depends_on_location(&self, root: NodeId, family: Family) -> bool {
        self.by_location[root.0 as usize][family as usize]
    }

    /// Whether the answers of a root depend on the client's subnet: whether some sticky node that has more than one thing to choose from can be
    /// reached, whatever the verdicts, so that the scopes of all its answers are alike.
    pub fn depends_on_subnet(&self, root: NodeId, family: Family) -> bool {
        let reaches_sticky = |node: NodeId| self.by_subnet[node.0 as usize][family as usize];
        let fallback = match self.steering.node(root).root.fallback {
            Fallback::Pool(pool) => reaches_sticky(pool),
            Fallback::All | Fallback::Last | Fallback::Servfail => false,
        };
        fallback || reaches_sticky(root)
    }

    /// Whether a node was usable in a walk for a class; for explaining.
    pub fn usable(&self, tables: &Tables, walk: Walked, node: NodeId) -> bool {
        self.level(tables, walk)[node.0 as usize]
            .usable(walk.family)
            .is_for(walk.class)
    }

    /// The backends of a pool (by index, in the order written) that could be handed out in a walk; for explaining.
    pub fn candidates(&self, tables: &Tables, walk: Walked, pool: NodeId) -> Vec<usize> {
        match &*self.level(tables, walk)[pool.0 as usize] {
            NodeTable::Pool(tables) => tables[walk.family as usize].backends().collect(),
            NodeTable::Policy(_) => Vec::new(),
        }
    }

    fn level<'a>(&'a self, tables: &'a Tables, walk: Walked) -> &'a Level {
        match walk.under {
            Under::Verdicts => &tables.level,
            Under::Waived => &self.waived,
            Under::Last => tables.last(walk.root, walk.family, walk.class).unwrap_or(&self.waived),
        }
    }

    /// The tables of all nodes. Members come before the policies that name them. What would come out as it was before is kept.
    pub(super) fn level_under(&self, verdicts: &Verdicts, under: Under, before: Option<&Tables>) -> Level {
        let mut level: Vec<Arc<NodeTable>> = Vec::with_capacity(self.steering.nodes.len());
        for (index, node) in self.steering.nodes.iter().enumerate() {
            let kept = before.and_then(|before| {
                let table = before.level.get(index)?;
                let is_as_before = match &node.kind {
                    NodeKind::Pool(pool) => pool
                        .addresses()
                        .all(|id| verdicts.healthy(id) == before.verdicts.healthy(id)),
                    NodeKind::Policy(policy) => policy.members.iter().all(|member| {
                        let member = member.node.0 as usize;
                        Arc::ptr_eq(&level[member], &before.level[member])
                    }),
                };
                is_as_before.then(|| table.clone())
            });
            level.push(kept.unwrap_or_else(|| Arc::new(self.table(index, node, &level, verdicts, under))));
        }
        level.into()
    }

    /// The table of one node; `level` holds those of its members.
    fn table(
        &self,
        index: usize,
        node: &Node,
        level: &[Arc<NodeTable>],
        verdicts: &Verdicts,
        under: Under,
    ) -> NodeTable {
        let families = [Family::Ipv4, Family::Ipv6];
        let sticky = self.sticky[index].as_ref();
        match &node.kind {
            NodeKind::Pool(pool) => {
                NodeTable::Pool(families.map(|family| PoolTable::new(pool, sticky, family, verdicts, under)))
            }
            NodeKind::Policy(policy) => NodeTable::Policy(families.map(|family| {
                let beneath = Beneath {
                    classes: &self.clients.classes,
                    usable: |node: NodeId| level[node.0 as usize].usable(family),
                };
                PolicyTable::new(policy, sticky, &self.asked[index], &self.clients.questions, &beneath)
            })),
        }
    }
}

/// Which walk is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Walked {
    /// Where it began.
    pub root: NodeId,
    /// For which family.
    pub family: Family,
    /// For which class of clients.
    pub class: u32,
    /// By which verdicts.
    pub under: Under,
}

impl Tables {
    /// For whom a pool or policy is usable under the verdicts in force. Without backends of the family it is for nobody.
    pub fn usable(&self, node: NodeId, family: Family) -> &Usable {
        self.level[node.0 as usize].usable(family)
    }

    /// Works out the tables for these verdicts. `before` are those, of the same forest, that they take the place of.
    pub fn new(forest: &Forest, verdicts: &Verdicts, before: Option<&Tables>) -> Self {
        let level = forest.level_under(verdicts, Under::Verdicts, before);
        Self::after(forest, verdicts, level, |root, family| {
            before.map_or_else(Vec::new, |before| before.all_last(root, family).to_vec())
        })
    }

    /// Works out the first tables of a forest. `last` is what is remembered of those of another load.
    pub fn first(forest: &Forest, verdicts: &Verdicts, last: &LastUsable) -> Self {
        let level = forest.level_under(verdicts, Under::Verdicts, None);
        let found = last.levels(forest);
        Self::after(forest, verdicts, level, |root, family| {
            let levels = found.get(&root).map_or(&[][..], |found| &found[family as usize]);
            let moment = |(verdicts, level): &(Arc<Verdicts>, Level)| Moment {
                whom: level[root.0 as usize].usable(family).clone(),
                level: level.clone(),
                verdicts: verdicts.clone(),
            };
            levels.iter().map(moment).collect()
        })
    }

    /// The tables of a level; `earlier` are the moments of a root before it, the newest first. Each is kept for those clients for whom there was
    /// none since.
    fn after(
        forest: &Forest,
        verdicts: &Verdicts,
        level: Level,
        earlier: impl Fn(NodeId, Family) -> Vec<Moment>,
    ) -> Self {
        let classes = forest.clients.classes.count();
        let verdicts = Arc::new(verdicts.clone());
        let nodes = (0..).map(NodeId).zip(&forest.steering.nodes);
        let roots = nodes.filter(|(_, node)| node.root.fallback == Fallback::Last);
        let last = roots.map(|(root, _)| {
            let of = |family| {
                let now = Moment {
                    whom: level[root.0 as usize].usable(family).clone(),
                    level: level.clone(),
                    verdicts: verdicts.clone(),
                };
                let mut since = Usable::Never;
                let mut moments = Vec::new();
                for mut moment in [now].into_iter().chain(earlier(root, family)) {
                    moment.whom = moment.whom.without(&since, classes);
                    if moment.whom != Usable::Never {
                        since = since.or(&moment.whom, classes);
                        moments.push(moment);
                    }
                }
                moments
            };
            (root, [of(Family::Ipv4), of(Family::Ipv6)])
        });
        let last = last.collect();
        Self { level, verdicts, last }
    }

    /// Whether a node has the very table that it has in others: nothing beneath it has changed between them.
    pub fn shares(&self, other: &Tables, node: NodeId) -> bool {
        Arc::ptr_eq(&self.level[node.0 as usize], &other.level[node.0 as usize])
    }

    /// The verdicts and the tables at each moment of a root with fallback "last", the newest first.
    pub(super) fn moments(&self, root: NodeId, family: Family) -> impl Iterator<Item = (&Verdicts, &Level)> {
        let moments = self.all_last(root, family).iter();
        moments.map(|moment| (&*moment.verdicts, &moment.level))
    }

    fn all_last(&self, root: NodeId, family: Family) -> &[Moment] {
        match self.last.binary_search_by_key(&root, |(id, _)| *id) {
            Ok(at) => &self.last[at].1[family as usize],
            Err(_) => &[],
        }
    }

    fn last(&self, root: NodeId, family: Family, class: u32) -> Option<&Level> {
        let mut moments = self.all_last(root, family).iter();
        moments
            .find(|moment| moment.whom.is_for(class))
            .map(|moment| &moment.level)
    }
}

impl NodeTable {
    #[inline]
    pub(super) fn usable(&self, family: Family) -> &Usable {
        match self {
            NodeTable::Pool(tables) => &tables[family as usize].usable,
            NodeTable::Policy(tables) => &tables[family as usize].usable,
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

fn by_location(steering: &Steering, asked: &[Asked], families: &[[bool; 2]]) -> Box<[[bool; 2]]> {
    let mut by_location: Vec<[bool; 2]> = Vec::with_capacity(steering.nodes.len());
    for (node, asked) in steering.nodes.iter().zip(asked) {
        by_location.push([Family::Ipv4, Family::Ipv6].map(|family| {
            let NodeKind::Policy(policy) = &node.kind else {
                return false;
            };
            let has_family = |member: usize| families[policy.members[member].node.0 as usize][family as usize];
            let mut members = (0..policy.members.len()).filter(|member| has_family(*member));
            let chooses = match (asked, &policy.choose) {
                // Members at the same places are tried in the order written, wherever the client is.
                (Asked::Nearest { members: sites, .. }, _) => {
                    let first = members.clone().next();
                    members
                        .clone()
                        .any(|member| Some(&sites[member]) != first.map(|first| &sites[first]))
                }
                // A rule that leads where `otherwise` does, or nowhere, decides nothing.
                (Asked::Rules(_), Choose::Rules(rules)) => {
                    let mut rules = rules.rules.iter().map(|rule| (rule.member, rules.otherwise));
                    rules.any(|(member, otherwise)| member != otherwise && has_family(member))
                }
                _ => false,
            };
            chooses || members.any(|member| by_location[policy.members[member].node.0 as usize][family as usize])
        }));
    }
    by_location.into()
}

fn by_subnet(steering: &Steering, families: &[[bool; 2]]) -> Box<[[bool; 2]]> {
    let mut by_subnet: Vec<[bool; 2]> = Vec::with_capacity(steering.nodes.len());
    for node in &steering.nodes {
        by_subnet.push([Family::Ipv4, Family::Ipv6].map(|family| match &node.kind {
            NodeKind::Pool(pool) => {
                let backends = pool.backends.iter();
                let of_family = backends.filter(|backend| backend.target.has_family(family));
                node.sticky && of_family.count() > 1
            }
            NodeKind::Policy(policy) => {
                let nodes = policy.members.iter().map(|member| member.node.0 as usize);
                let mut members = nodes.filter(|member| families[*member][family as usize]);
                let draws = node.sticky && matches!(policy.choose, Choose::Weighted);
                (draws && members.clone().count() > 1) || members.any(|member| by_subnet[member][family as usize])
            }
        }));
    }
    by_subnet.into()
}

fn member_names(node: &Node) -> Vec<&str> {
    match &node.kind {
        NodeKind::Pool(pool) => pool.backends.iter().map(|backend| backend.name.as_str()).collect(),
        NodeKind::Policy(policy) => policy.members.iter().map(|member| member.name.as_str()).collect(),
    }
}
