//! Forests of pools and policies for tests: written by hand in a few words, or random by proptest, with verdicts and clients.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use windrose::geo::coordinates::Coordinates;
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::policy::client::ClientKey;
use windrose::policy::client_map::ClientMap;
use windrose::policy::decide::{Chance, Decision, handed_out, has_family};
use windrose::policy::model::{
    Answers, Backend, Choose, Condition, Fallback, Member, MinHealthy, Node, NodeId, NodeKind, Policy, Pool, Root,
    Rule, Rules, Steering, Target, WEIGHT_MAX,
};
use windrose::policy::questions::Questions;
use windrose::policy::{Client, Family};
use windrose::wire::name::Name;

use crate::atlases::{Atlas, addresses, atlases, conditions, points};

/// Both families.
pub(crate) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Nodes, put together one after another: members before the policies that name them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forest {
    pub(crate) steering: Steering,
}

impl Forest {
    /// Adds a pool of backends in a few words: `"192.0.2.1*3 192.0.2.2,2001:db8::2 edge.example.*0"` are a backend of weight
    /// 3, one with two addresses, and a host of weight 0.
    pub(crate) fn pool(&mut self, name: &str, backends: &str) -> NodeId {
        let backends = backends.split_whitespace().map(|text| self.backend(text)).collect();
        let (answers, min_healthy) = (Answers::Count(1), MinHealthy::Backends(1));
        self.add(
            name,
            NodeKind::Pool(Pool {
                answers,
                min_healthy,
                backends,
                probes: Vec::new(),
            }),
        )
    }

    fn backend(&mut self, text: &str) -> Backend {
        let (targets, weight) = with_weight(text);
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        let name = targets.split(',').next().unwrap().to_owned();
        for target in targets.split(',') {
            match target.parse() {
                Ok(IpAddr::V4(address)) => ipv4.push((address, self.address())),
                Ok(IpAddr::V6(address)) => ipv6.push((address, self.address())),
                Err(_) => {
                    let target = Target::Host(Name::parse(target, None).unwrap());
                    return Backend { name, weight, target };
                }
            }
        }
        Backend {
            name,
            weight,
            target: Target::Addresses { ipv4, ipv6 },
        }
    }

    fn address(&mut self) -> AddressId {
        self.steering.addresses += 1;
        AddressId(self.steering.addresses - 1)
    }

    /// Adds a policy over members that exist, named in a few words: `"frankfurt*70 ashburn*30"`.
    pub(crate) fn policy(&mut self, name: &str, choose: Choose, members: &str) -> NodeId {
        let member = |text| {
            let (name, weight) = with_weight(text);
            Member {
                node: self.steering.by_name[name],
                name: name.to_owned(),
                weight,
                bias: 1.0,
            }
        };
        let members = members.split_whitespace().map(member).collect();
        self.add(name, NodeKind::Policy(Policy { choose, members }))
    }

    fn add(&mut self, name: &str, kind: NodeKind) -> NodeId {
        let id = NodeId(self.steering.nodes.len() as u32);
        let (name, root) = (name.to_owned(), Root::default());
        self.steering.nodes.push(Node {
            name: name.clone(),
            location: None,
            sticky: false,
            root,
            kind,
        });
        self.steering.by_name.insert(name, id);
        id
    }

    /// A node, to be changed.
    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.steering.nodes[id.0 as usize]
    }

    /// A pool, to be changed.
    pub(crate) fn pool_mut(&mut self, id: NodeId) -> &mut Pool {
        match &mut self.node(id).kind {
            NodeKind::Pool(pool) => pool,
            NodeKind::Policy(_) => panic!("{id:?} is a policy"),
        }
    }

    /// Verdicts by which these addresses are down, wherever they stand, and all others up.
    pub(crate) fn down(&self, addresses: &str) -> Verdicts {
        let down: Vec<IpAddr> = addresses.split_whitespace().map(|text| text.parse().unwrap()).collect();
        let mut verdicts = Verdicts::default();
        for pool in self.steering.nodes.iter().filter_map(as_pool) {
            for (address, id) in pool.backends.iter().flat_map(all_addresses) {
                verdicts.set(
                    id,
                    if down.contains(&address) {
                        Verdict::Down
                    } else {
                        Verdict::Up
                    },
                );
            }
        }
        verdicts
    }
}

fn with_weight(text: &str) -> (&str, u32) {
    text.split_once('*')
        .map_or((text, 1), |(text, weight)| (text, weight.parse().unwrap()))
}

/// The pool that a node is, if it is one.
pub(crate) fn as_pool(node: &Node) -> Option<&Pool> {
    match &node.kind {
        NodeKind::Pool(pool) => Some(pool),
        NodeKind::Policy(_) => None,
    }
}

/// The addresses of a backend, of both families, with the ids of their verdicts.
pub(crate) fn all_addresses(backend: &Backend) -> Vec<(IpAddr, AddressId)> {
    match &backend.target {
        Target::Addresses { ipv4, ipv6 } => {
            let ipv4 = ipv4.iter().map(|(address, id)| (IpAddr::V4(*address), *id));
            ipv4.chain(ipv6.iter().map(|(address, id)| (IpAddr::V6(*address), *id)))
                .collect()
        }
        Target::Host(_) => Vec::new(),
    }
}

/// Every outcome of something that draws, with its probability; the probabilities add up to 1.
pub(crate) fn distribution<T: Ord>(mut of: impl FnMut(&mut dyn Chance) -> T) -> BTreeMap<T, f64> {
    /// Repeats the draws up to now, then takes the first index that can be drawn.
    struct Script {
        draws: Vec<(Vec<u64>, usize)>,
        next: usize,
    }
    impl Chance for Script {
        fn pick(&mut self, _: NodeId, weights: &[u64]) -> usize {
            if self.next == self.draws.len() {
                let first = weights
                    .iter()
                    .position(|weight| *weight > 0)
                    .expect("a draw among nothing");
                self.draws.push((weights.to_vec(), first));
            }
            self.next += 1;
            assert_eq!(
                self.draws[self.next - 1].0,
                weights,
                "the same draws, but other weights"
            );
            self.draws[self.next - 1].1
        }
    }
    let mut outcomes = BTreeMap::new();
    let mut script = Script {
        draws: Vec::new(),
        next: 0,
    };
    loop {
        script.next = 0;
        let outcome = of(&mut script);
        let share = |(weights, at): &(Vec<u64>, usize)| weights[*at] as f64 / weights.iter().sum::<u64>() as f64;
        *outcomes.entry(outcome).or_insert(0.0) += script.draws.iter().map(share).product::<f64>();
        // The last draw that has another index left takes it; those after it start anew.
        loop {
            let Some((weights, at)) = script.draws.pop() else {
                return outcomes;
            };
            if let Some(next) = (at + 1..weights.len()).find(|next| weights[*next] > 0) {
                script.draws.push((weights, next));
                break;
            }
        }
    }
}

/// The pool that a decision took, if it took one.
pub(crate) fn pool_of(decision: &Decision) -> Option<NodeId> {
    match decision {
        Decision::Backends { pool, .. } | Decision::Host { pool, .. } => Some(*pool),
        Decision::NoFamily | Decision::Servfail { .. } => None,
    }
}

/// A random forest, in which every node may be asked as a root, with verdicts of now and of some earlier moment.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) steering: Steering,
    pub(crate) verdicts: Verdicts,
    /// What could be handed out at that moment.
    pub(crate) last: Option<Verdicts>,
    pub(crate) clients: Vec<Client>,
    /// What location databases say.
    pub(crate) atlas: Atlas,
    /// The same, and the networks of rules, compiled for the policies of the forest.
    pub(crate) map: Arc<ClientMap>,
}

impl Scene {
    /// A client at an address: what is known of it read plainly, and the prefix that shares it from the map (which
    /// `locations.rs` holds to its definition).
    pub(crate) fn client(&self, address: IpAddr) -> Client {
        Client {
            address,
            whereabouts: self.atlas.look_up(address),
            shared: self.map.place(address).length,
        }
    }

    /// What of a client the compiled tables see.
    pub(crate) fn key(&self, client: &Client) -> ClientKey {
        ClientKey {
            address: client.address,
            class: self.map.place(client.address).class,
        }
    }

    /// Every node.
    pub(crate) fn roots(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.steering.nodes.len() as u32).map(NodeId)
    }
}

/// Random scenes: pools of both kinds and all families, with and without buckets; all kinds of policies over them and over
/// one another; every fallback (a fallback pool always has its root's families, as `check` demands); no to all addresses down.
pub(crate) fn scenes() -> impl Strategy<Value = Scene> {
    let pools = vec(prop_oneof![5 => pools(1..=5), 1 => pools(16..=18)], 1..=5);
    (
        pools,
        vec(policies(), 0..=5),
        verdicts(),
        prop::option::of(verdicts()),
        (vec(addresses(), 1..=3), atlases()),
    )
        .prop_map(|(pools, policies, verdicts, last, (addresses, atlas))| {
            let mut forest = Forest::default();
            pools.into_iter().for_each(|plan| plan.grow(&mut forest));
            policies.into_iter().for_each(|plan| plan.grow(&mut forest));
            let addresses_of_all = forest.steering.addresses;
            let last = last.map(|last| handed_out(&forest.steering, &last.over(addresses_of_all)));
            let [places, asns] = atlas.extracts();
            let (map, _) = ClientMap::build(&Questions::of(&forest.steering).0, &places, &asns);
            let mut scene = Scene {
                verdicts: verdicts.over(addresses_of_all),
                last,
                clients: Vec::new(),
                steering: forest.steering,
                atlas,
                map: Arc::new(map),
            };
            scene.clients = addresses.into_iter().map(|address| scene.client(address)).collect();
            scene
        })
}

/// Scenes in which every root falls back to whatever was usable last, with more clients, and the verdicts of one moment after another.
pub(crate) fn histories() -> impl Strategy<Value = (Scene, Vec<Verdicts>)> {
    let clients = vec(addresses(), 8);
    (scenes(), vec(verdicts(), 2..=5), clients).prop_map(|(mut scene, plans, clients)| {
        for node in &mut scene.steering.nodes {
            node.root.fallback = Fallback::Last;
        }
        scene.clients = clients.into_iter().map(|address| scene.client(address)).collect();
        let addresses = scene.steering.addresses;
        let moments = plans.into_iter().map(|plan| plan.over(addresses));
        (scene, moments.collect())
    })
}

/// What makes a pool.
#[derive(Debug, Clone)]
struct PoolPlan {
    /// How many addresses of each family, and the weight.
    backends: Vec<(usize, usize, u32)>,
    hosts: bool,
    answers: Answers,
    min_healthy: MinHealthy,
    sticky: bool,
    fallback: FallbackPlan,
    location: Option<Coordinates>,
}

fn pools(size: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = PoolPlan> {
    let families = prop_oneof![
        4 => (1..=2_usize, 1..=2_usize),
        1 => (1..=2_usize, Just(0)),
        1 => (Just(0), 1..=2_usize),
    ];
    let backend = (families, weights()).prop_map(|((ipv4, ipv6), weight)| (ipv4, ipv6, weight));
    let answers = prop_oneof![3 => (1..=3_u16).prop_map(Answers::Count), 1 => Just(Answers::All)];
    let min_healthy = prop_oneof![
        3 => Just(MinHealthy::Backends(1)),
        1 => (1..=3_u32).prop_map(MinHealthy::Backends),
        1 => (1..=100_u8).prop_map(MinHealthy::Percent),
    ];
    (
        vec(backend, size),
        prop::bool::weighted(0.15),
        answers,
        min_healthy,
        any::<bool>(),
        fallbacks(),
        prop::option::weighted(0.9, points()),
    )
        .prop_map(|(backends, hosts, answers, min_healthy, sticky, fallback, location)| {
            let min_healthy = match min_healthy {
                MinHealthy::Backends(count) => MinHealthy::Backends(count.min(backends.len() as u32)),
                percent => percent,
            };
            let answers = if hosts { Answers::Count(1) } else { answers };
            PoolPlan {
                backends,
                hosts,
                answers,
                min_healthy,
                sticky,
                fallback,
                location,
            }
        })
}

impl PoolPlan {
    fn grow(self, forest: &mut Forest) {
        let mut unique = forest.steering.addresses..;
        let mut words = Vec::new();
        for (at, (ipv4, ipv6, weight)) in self.backends.into_iter().enumerate() {
            let ipv4 = (&mut unique)
                .take(ipv4)
                .map(|bits| Ipv4Addr::from_bits(10 << 24 | bits).to_string());
            let mut targets: Vec<String> = if self.hosts {
                vec![format!("edge-{at}.example.")]
            } else {
                ipv4.collect()
            };
            if !self.hosts {
                let ipv6 = (&mut unique).take(ipv6);
                targets.extend(ipv6.map(|bits| Ipv6Addr::from_bits(0xfd << 120 | u128::from(bits)).to_string()));
            }
            words.push(format!("{}*{weight}", targets.join(",")));
        }
        let id = forest.pool(
            &format!("example.com/pool-{}", forest.steering.nodes.len()),
            &words.join(" "),
        );
        let pool = forest.pool_mut(id);
        (pool.answers, pool.min_healthy) = (self.answers, self.min_healthy);
        forest.node(id).sticky = self.sticky;
        forest.node(id).location = self.location;
        self.fallback.settle(forest, id);
    }
}

/// What makes a policy.
#[derive(Debug, Clone)]
struct PolicyPlan {
    choose: ChoosePlan,
    /// Each with its weight and its bias.
    members: Vec<(Index, u32, f64)>,
    sticky: bool,
    fallback: FallbackPlan,
    location: Option<Coordinates>,
}

#[derive(Debug, Clone)]
enum ChoosePlan {
    Weighted,
    Failover,
    Nearest,
    /// The conditions of the rules, each with its member, and who is `otherwise`.
    Rules(Vec<(Condition, Index)>, Index),
}

fn policies() -> impl Strategy<Value = PolicyPlan> {
    let rules = vec((conditions(), any::<Index>()), 1..=MEMBERS);
    let choose = prop_oneof![
        2 => Just(ChoosePlan::Weighted),
        1 => Just(ChoosePlan::Failover),
        2 => Just(ChoosePlan::Nearest),
        2 => (rules, any::<Index>()).prop_map(|(rules, index)| ChoosePlan::Rules(rules, index)),
    ];
    let bias = prop_oneof![3 => Just(1.0), 1 => prop::sample::select(vec![0.5, 0.8, 2.0])];
    (
        choose,
        vec((any::<Index>(), weights(), bias), 1..=MEMBERS),
        any::<bool>(),
        fallbacks(),
        prop::option::weighted(0.3, points()),
    )
        .prop_map(|(choose, members, sticky, fallback, location)| PolicyPlan {
            choose,
            members,
            sticky,
            fallback,
            location,
        })
}

/// The most members of a random policy.
const MEMBERS: usize = 4;

impl PolicyPlan {
    fn grow(self, forest: &mut Forest) {
        let weighted = matches!(self.choose, ChoosePlan::Weighted);
        let mut members = BTreeMap::new();
        let nearest = matches!(self.choose, ChoosePlan::Nearest);
        for (index, weight, bias) in &self.members {
            let node = index.get(&forest.steering.nodes);
            let facts = (if weighted { *weight } else { 1 }, if nearest { *bias } else { 1.0 });
            members.insert(node.name.clone(), facts);
        }
        let words: Vec<String> = members
            .iter()
            .map(|(name, (weight, _))| format!("{name}*{weight}"))
            .collect();
        let choose = match self.choose {
            ChoosePlan::Weighted => Choose::Weighted,
            ChoosePlan::Failover => Choose::Failover,
            ChoosePlan::Nearest => Choose::Nearest,
            ChoosePlan::Rules(rules, otherwise) => {
                let rule = |(condition, member): (Condition, Index)| Rule {
                    condition,
                    member: member.index(words.len()),
                };
                Choose::Rules(Rules {
                    rules: rules.into_iter().map(rule).collect(),
                    otherwise: otherwise.index(words.len()),
                })
            }
        };
        let id = forest.policy(
            &format!("example.com/policy-{}", forest.steering.nodes.len()),
            choose,
            &words.join(" "),
        );
        forest.node(id).sticky = weighted && self.sticky;
        forest.node(id).location = self.location;
        if let NodeKind::Policy(policy) = &mut forest.node(id).kind {
            let biases = members.values().map(|(_, bias)| *bias);
            policy
                .members
                .iter_mut()
                .zip(biases)
                .for_each(|(member, bias)| member.bias = bias);
        }
        self.fallback.settle(forest, id);
    }
}

fn weights() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 1..=5_u32, 1 => Just(0), 1 => 0..=WEIGHT_MAX, 1 => Just(WEIGHT_MAX)]
}

#[derive(Debug, Clone)]
enum FallbackPlan {
    Said(Fallback),
    /// One of the pools that have the families of the root; if there is none, the default.
    Pool(Index),
}

fn fallbacks() -> impl Strategy<Value = FallbackPlan> {
    prop_oneof![
        Just(FallbackPlan::Said(Fallback::All)),
        Just(FallbackPlan::Said(Fallback::Last)),
        Just(FallbackPlan::Said(Fallback::Servfail)),
        any::<Index>().prop_map(FallbackPlan::Pool),
    ]
}

impl FallbackPlan {
    fn settle(self, forest: &mut Forest, root: NodeId) {
        let steering = &forest.steering;
        let fits = |pool: &NodeId| {
            let has = |node, family| has_family(steering, node, family);
            as_pool(steering.node(*pool)).is_some()
                && FAMILIES
                    .into_iter()
                    .all(|family| has(*pool, family) || !has(root, family))
        };
        let pools: Vec<NodeId> = (0..root.0).map(NodeId).filter(fits).collect();
        forest.node(root).root.fallback = match self {
            Self::Said(fallback) => fallback,
            Self::Pool(_) if pools.is_empty() => Fallback::All,
            Self::Pool(index) => Fallback::Pool(*index.get(&pools)),
        };
    }
}

/// Verdicts on any number of addresses: these over and over.
#[derive(Debug, Clone)]
struct VerdictsPlan(Vec<Verdict>);

fn verdicts() -> impl Strategy<Value = VerdictsPlan> {
    let share_down = prop::sample::select(vec![0_u32, 20, 60, 90, 100]);
    share_down.prop_flat_map(|down| {
        let verdict = prop_oneof![
            down => Just(Verdict::Down),
            100 - down => prop_oneof![Just(Verdict::Up), Just(Verdict::Unknown)],
        ];
        // A prime, so that no pool's size goes into it.
        vec(verdict, 61).prop_map(VerdictsPlan)
    })
}

impl VerdictsPlan {
    fn over(self, addresses: u32) -> Verdicts {
        let mut verdicts = Verdicts::unknown(addresses as usize);
        let ids = (0..addresses).map(AddressId);
        std::iter::zip(ids, self.0.iter().cycle()).for_each(|(id, verdict)| verdicts.set(id, *verdict));
        verdicts
    }
}
