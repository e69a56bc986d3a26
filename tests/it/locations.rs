//! The map of clients over whole small address spaces, and every answer that depends on it: for each client there what is decided is what the
//! rules of decision say, read plainly from the databases, and what is said of it holds for every client that it is said of.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use windrose::answer::{Outcome, ResponseBuffer, Transport, answer};
use windrose::geo::lookup::look_up;
use windrose::geo::overlay::{Range, aligned};
use windrose::image::{Image, Options, Serving};
use windrose::policy::client::Seen;
use windrose::policy::decide::{
    Decision, addresses, applies, decide, depends_on_location, depends_on_subnet, grounds, has_family, order,
};
use windrose::policy::model::{Choose, NodeId, NodeKind, Steering, Target};
use windrose::policy::questions::Questions;
use windrose::policy::tree::Forest;
use windrose::policy::{Client, Family, sticky};
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;

use crate::atlases::small_space;
use crate::fixture::zone;
use crate::forests::{FAMILIES, Scene, as_pool, distribution, scenes};
use crate::message::{Message, decode};
use crate::questions::{Edns, Question};

/// What the questions are answered for a client: of each set of places the groups of those equally near, the nearest first; and of each
/// condition whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answered {
    orders: Vec<Option<Vec<Vec<usize>>>>,
    holds: Vec<bool>,
}

/// Nothing is asked of a map here.
fn answered(questions: &Questions, client: &Client) -> Answered {
    let orders = questions.sets.iter().map(|set| {
        let at = client.whereabouts.coordinates?;
        let far = |site: &usize| at.angle_to(set[*site].coordinates) * set[*site].bias;
        let mut sites: Vec<usize> = (0..set.len()).collect();
        sites.sort_by(|a, b| far(a).total_cmp(&far(b)));
        let groups = sites.chunk_by(|a, b| far(a).total_cmp(&far(b)) == Ordering::Equal);
        Some(groups.map(<[usize]>::to_vec).collect())
    });
    Answered {
        orders: orders.collect(),
        holds: questions
            .conditions
            .iter()
            .map(|condition| applies(condition, client))
            .collect(),
    }
}

/// What each policy goes by for a client: the order of its members, or which of its rules match.
fn by_policies(steering: &Steering, client: &Client) -> Vec<Vec<usize>> {
    let nodes = steering.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Policy(policy) => Some(order(steering, policy, client)),
        NodeKind::Pool(_) => None,
    });
    nodes.collect()
}

/// Every address at which something may begin or end for a family, as 128 bits.
fn borders(scene: &Scene, is_ipv4: bool) -> BTreeSet<u128> {
    let of_rules = scene.map.questions.conditions.iter();
    let networks = of_rules.flat_map(|condition| condition.network.iter().copied());
    let networks = networks.chain(scene.atlas.networks());
    let of_family = networks.filter(|network| matches!(network, IpNet::V4(_)) == is_ipv4);
    let mut borders = BTreeSet::from([0]);
    for range in of_family.map(Range::of) {
        borders.insert(range.first);
        borders.extend(range.last.checked_add(1));
    }
    // Where files have IPv4 there is no IPv6.
    borders.extend((!is_ipv4).then_some(1 << 32));
    borders
}

fn width(is_ipv4: bool) -> u8 {
    if is_ipv4 { 32 } else { 128 }
}

fn address_of(bits: u128, is_ipv4: bool) -> IpAddr {
    match is_ipv4 {
        true => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
        false => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The block of this many bits around an address.
fn block(bits: u128, length: u8) -> Range {
    let rest = u128::MAX.checked_shr(length.into()).unwrap_or(0);
    Range {
        first: bits & !rest,
        last: bits | rest,
    }
}

/// Every client of the small space, and those on both sides of every border.
fn clients(scene: &Scene, is_ipv4: bool) -> BTreeSet<IpAddr> {
    let step = 1_u128 << (128 - width(is_ipv4));
    let beside = borders(scene, is_ipv4)
        .into_iter()
        .flat_map(|border| [border, border.wrapping_sub(step)]);
    beside
        .map(|bits| address_of(bits, is_ipv4))
        .chain(small_space(is_ipv4))
        .collect()
}

/// The ranges of addresses of a family for which the questions have the same answers.
fn runs(scene: &Scene, is_ipv4: bool) -> Vec<(Range, Answered)> {
    let borders: Vec<u128> = borders(scene, is_ipv4).into_iter().collect();
    let mut runs: Vec<(Range, Answered)> = Vec::new();
    for (at, &first) in borders.iter().enumerate() {
        let last = borders.get(at + 1).map_or(u128::MAX, |next| next - 1);
        let answered = answered(&scene.map.questions, &plain_client(scene, address_of(first, is_ipv4)));
        match runs.last_mut() {
            Some((range, before)) if *before == answered => range.last = last,
            _ => runs.push((Range { first, last }, answered)),
        }
    }
    runs
}

/// A client whose scope is not asked.
fn plain_client(scene: &Scene, address: IpAddr) -> Client {
    Client {
        address,
        whereabouts: scene.atlas.look_up(address),
        shared: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    /// Two clients are in one class if and only if everything that is asked has the same answer for both.
    #[test]
    fn classes_are_what_is_asked(scene in scenes()) {
        let mut by_class: HashMap<u32, (Answered, Vec<Vec<usize>>)> = HashMap::new();
        let mut by_answer: HashMap<Answered, u32> = HashMap::new();
        for address in [true, false].into_iter().flat_map(|is_ipv4| clients(&scene, is_ipv4)) {
            let client = plain_client(&scene, address);
            let class = scene.map.place(address).class;
            let answered = answered(&scene.map.questions, &client);
            prop_assert_eq!(*by_answer.entry(answered.clone()).or_insert(class), class, "{} alone", address);
            let told = (answered, by_policies(&scene.steering, &client));
            prop_assert_eq!(by_class.entry(class).or_insert_with(|| told.clone()), &told, "{} in {}", address, class);
        }
        prop_assert!(by_class.len() <= scene.map.classes.count() as usize);
    }

    /// The prefix that shares a class is the shortest in which nothing differs.
    #[test]
    fn prefixes_are_as_short_as_may_be(scene in scenes()) {
        let by_family = [true, false].map(|is_ipv4| runs(&scene, is_ipv4));
        let all_alike = by_family.iter().flatten().all(|(_, answered)| *answered == by_family[0][0].1);
        for (is_ipv4, runs) in [true, false].into_iter().zip(&by_family) {
            for address in clients(&scene, is_ipv4) {
                let bits = aligned(address);
                let (run, _) = runs.iter().find(|(range, _)| (range.first..=range.last).contains(&bits)).unwrap();
                let fits = |length: &u8| {
                    let block = block(bits, *length);
                    run.first <= block.first && block.last <= run.last
                };
                let shortest = (0..=width(is_ipv4)).find(fits).unwrap();
                let expected = if all_alike { 0 } else { shortest.max(1) };
                prop_assert_eq!(scene.map.place(address).length, expected, "{}", address);
            }
        }
    }

    /// The same without any thought of ranges: client by client in blocks of 256.
    #[test]
    fn no_prefix_holds_what_differs(scene in scenes()) {
        for is_ipv4 in [true, false] {
            let all: Vec<IpAddr> = small_space(is_ipv4).collect();
            let base = width(is_ipv4) - 8;
            for neighbours in all.chunks(256) {
                let told: Vec<Answered> =
                    neighbours.iter().map(|address| answered(&scene.map.questions, &plain_client(&scene, *address))).collect();
                for at in 0..256_usize {
                    let alike = |bits: usize| (at >> bits << bits..(at >> bits << bits) + (1 << bits)).all(|other| told[other] == told[at]);
                    let size = (0..=8).rev().find(|bits| alike(*bits)).unwrap();
                    let length = scene.map.place(neighbours[at]).length;
                    match size {
                        8 => prop_assert!(length <= base, "{}/{length}", neighbours[at]),
                        size => prop_assert_eq!(length, base + 8 - size as u8, "{}", neighbours[at]),
                    }
                }
            }
        }
    }

    /// What a lookup tells of an address is what the map was made from, with a network of which all of it is true.
    #[test]
    fn lookups_tell_what_decides(scene in scenes()) {
        let [places, asns] = scene.atlas.databases();
        for address in [true, false].into_iter().flat_map(|is_ipv4| clients(&scene, is_ipv4)).step_by(7) {
            let sighting = look_up(&places, &asns, address).unwrap();
            let expected = scene.atlas.look_up(address);
            // A flat file keeps single floats, and the random points are all whole numbers.
            prop_assert_eq!(&sighting.whereabouts, &expected, "{}", address);
            for source in [&sighting.coordinates_from, &sighting.place_from, &sighting.asn_from].into_iter().flatten() {
                let network: IpNet = source.network.parse().unwrap();
                prop_assert!(network.contains(&address), "{} is not in {}", address, network);
            }
        }
    }
}

/// So many cases, or as many as are asked for.
fn cases(usual: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// A scene served: each node is the root of the owner `nN.test.`.
struct Served<'a> {
    scene: &'a Scene,
    serving: Serving,
    response: ResponseBuffer,
    /// Distributions, by all that a decision sees of a client.
    decided: HashMap<(NodeId, Family, Sees), BTreeMap<Decision, f64>>,
}

/// All that a decision sees of a client.
type Sees = (String, Vec<bool>, IpNet);

impl<'a> Served<'a> {
    fn new(scene: &'a Scene) -> Self {
        let nodes = scene.steering.nodes.iter().enumerate();
        let records: Vec<String> = nodes.map(|(at, node)| format!("n{at} steer {}", node.name)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let forest = Forest::new(scene.steering.clone(), scene.map.clone());
        let options = Options {
            client_subnet: true,
            ..Options::default()
        };
        let image = Arc::new(Image::compile(&[zone("test.", &records)], &[], forest, options, [3, 5]));
        let serving = match &scene.last {
            Some(last) => Serving::new(image, last).under(&scene.verdicts),
            None => Serving::new(image, &scene.verdicts),
        };
        Self {
            scene,
            serving,
            response: ResponseBuffer::with_capacity(65_535),
            decided: HashMap::new(),
        }
    }

    /// The answer to a client that is told whole.
    fn ask(&mut self, root: NodeId, family: Family, client: IpAddr) -> Message {
        let source = width(client.is_ipv4());
        let edns = Edns {
            udp_size: 1232,
            dnssec_ok: false,
            nsid: false,
            subnet: Some((client, source)),
        };
        let question = Question {
            id: 9,
            recursion_desired: true,
            name: Name::parse(&format!("n{}.test.", root.0), None).unwrap(),
            qtype: if family == Family::Ipv4 {
                RecordType::A
            } else {
                RecordType::AAAA
            },
            edns: Some(edns),
            transport: Transport::Udp,
            source: Ipv4Addr::new(192, 0, 2, 9).into(),
            random: u64::from(aligned(client).count_ones()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ aligned(client) as u64,
        };
        let octets = question.octets();
        let outcome = answer(&question.request(&octets), &self.serving, &mut self.response);
        assert!(matches!(outcome, Outcome::Answered(_)));
        decode(self.response.as_slice()).unwrap()
    }

    /// Every decision for a client, with its probability, by the rules; without the scope.
    fn decisions(&mut self, root: NodeId, family: Family, client: &Client) -> &BTreeMap<Decision, f64> {
        let scene = self.scene;
        let conditions = scene.map.questions.conditions.iter();
        let networks = conditions.map(|condition| condition.network_holds(client.address));
        let subnet = IpNet::new(client.address, sticky::granularity(client.address))
            .unwrap()
            .trunc();
        let sees = (format!("{:?}", client.whereabouts), networks.collect(), subnet);
        self.decided.entry((root, family, sees)).or_insert_with(|| {
            let (verdicts, last) = (&scene.verdicts, scene.last.as_ref());
            distribution(|chance| without_scope(decide(&scene.steering, root, family, client, verdicts, last, chance)))
        })
    }
}

fn without_scope(decision: Decision) -> Decision {
    match decision {
        Decision::NoFamily => Decision::NoFamily,
        Decision::Backends { pool, backends, .. } => Decision::Backends {
            pool,
            backends,
            scope: 0,
        },
        Decision::Host { pool, backend, .. } => Decision::Host {
            pool,
            backend,
            scope: 0,
        },
        Decision::Servfail { .. } => Decision::Servfail { scope: 0 },
    }
}

/// The data of the records that a decision answers.
fn data(scene: &Scene, root: NodeId, family: Family, client: &Client, decision: &Decision) -> BTreeSet<Vec<u8>> {
    let backend = |pool: &NodeId, at: &usize| as_pool(scene.steering.node(*pool)).unwrap().backends[*at].clone();
    match decision {
        Decision::NoFamily | Decision::Servfail { .. } => BTreeSet::new(),
        Decision::Host { pool, backend: at, .. } => match backend(pool, at).target {
            Target::Host(host) => BTreeSet::from([host.wire().to_vec()]),
            Target::Addresses { .. } => panic!("no host"),
        },
        Decision::Backends { pool, backends, .. } => {
            let (verdicts, last) = (&scene.verdicts, scene.last.as_ref());
            let (_, grounds) = grounds(&scene.steering, root, family, client, verdicts, last).unwrap();
            let chosen = backends.iter().map(|at| backend(pool, at));
            let addresses = chosen.flat_map(|backend| addresses(&backend, family, grounds));
            let octets = addresses.map(|address| match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            });
            octets.collect()
        }
    }
}

/// The scope prefix length that was sent.
fn scope_of(message: &Message) -> u8 {
    let options = &message.opt.as_ref().unwrap().options;
    options.iter().find(|(code, _)| *code == 8).unwrap().1[3]
}

/// An IPv4 client as it comes in IPv6 addresses: mapped, by NAT64, and by 6to4.
fn carried(client: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V4(client) = client else { return Vec::new() };
    let bits = u128::from(client.to_bits());
    [
        0xffff << 32 | bits,
        0x0064_ff9b << 96 | bits,
        0x2002 << 112 | bits << 80,
        0x2002 << 112 | bits << 80 | 0xffff << 40,
    ]
    .map(|bits| Ipv6Addr::from_bits(bits).into())
    .into()
}

/// Every scope that was told: of what blocks, and a client there with what is decided for it.
type Told = BTreeMap<(u128, u8), (IpAddr, BTreeMap<Decision, f64>)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(24)))]

    /// Every client's answer is one of the oracle's for it; whoever is inside the scope has the same distribution; scopes are equal or disjoint,
    /// as wide as that allows, and none says more than that.
    #[test]
    fn answers_and_scopes_are_the_oracles(scene in scenes()) {
        let mut served = Served::new(&scene);
        let ipv4: Vec<IpAddr> = clients(&scene, true).into_iter().step_by(3).collect();
        let ipv6 = clients(&scene, false).into_iter().step_by(3);
        let asked_in_ipv6: Vec<IpAddr> = ipv6.chain(ipv4.iter().step_by(5).flat_map(|client| carried(*client))).collect();
        let nodes = scene.steering.nodes.len() as u32;
        for root in (nodes.saturating_sub(3)..nodes).map(NodeId) {
            for family in FAMILIES {
                for asked in [&ipv4, &asked_in_ipv6] {
                    check(&mut served, root, family, asked)?;
                }
            }
        }
    }

    /// Verdicts change what is answered, and no scope: those of answers before and after them would overlap.
    #[test]
    fn verdicts_change_no_scope(scene in scenes()) {
        let mut served = Served::new(&scene);
        let all_up = Scene { verdicts: Default::default(), last: None, ..scene.clone() };
        let mut before = Served::new(&all_up);
        for root in scene.roots() {
            for (family, client) in FAMILIES.into_iter().zip([true, false]).flat_map(|(family, is_ipv4)| {
                clients(&scene, is_ipv4).into_iter().step_by(97).map(move |client| (family, client))
            }) {
                let scopes = [&mut served, &mut before].map(|served| scope_of(&served.ask(root, family, client)));
                prop_assert_eq!(scopes[0], scopes[1], "{:?} for {}", root, client);
            }
        }
    }
}

fn check(served: &mut Served<'_>, root: NodeId, family: Family, asked: &[IpAddr]) -> Result<(), TestCaseError> {
    let scene = served.scene;
    let mut told = Told::new();
    for &address in asked {
        let message = served.ask(root, family, address);
        let client = plain_client(scene, Seen::new(address).address);
        let decisions = served.decisions(root, family, &client).clone();
        let got: BTreeSet<Vec<u8>> = message.sections[0].iter().map(|record| record.rdata.clone()).collect();
        let fits = |decision: &Decision| {
            let rcode = if matches!(decision, Decision::Servfail { .. }) {
                2
            } else {
                0
            };
            message.rcode == rcode && data(scene, root, family, &client, decision) == got
        };
        prop_assert!(
            decisions.keys().any(fits),
            "{address}: {message:?} is none of {decisions:?}"
        );
        let scope = scope_of(&message);
        let depends = has_family(&scene.steering, root, family)
            && (depends_on_location(&scene.steering, root, family) || depends_on_subnet(&scene.steering, root, family));
        prop_assert!(
            depends || scope == 0,
            "{address}: scope {scope} of what depends on nothing"
        );
        let block = block(aligned(address), scope);
        let (other, expected) = told.entry((block.first, scope)).or_insert((address, decisions.clone()));
        prop_assert_eq!(&*expected, &decisions, "{} and {} in one /{}", other, address, scope);
    }
    for &address in asked {
        let bits = aligned(address);
        let holding: Vec<_> = told
            .keys()
            .filter(|(first, scope)| block(bits, *scope).first == *first)
            .collect();
        prop_assert_eq!(holding.len(), 1, "{} is in {:x?}", address, holding);
    }
    Ok(())
}

/// In a choice of policies the kinds that ask for locations are there, so that all of this is about something.
#[test]
fn scenes_ask_for_locations() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut nearest, mut rules, mut classes) = (0, 0, 0);
    for _ in 0..100 {
        let scene = scenes().new_tree(&mut runner).unwrap().current();
        for node in &scene.steering.nodes {
            if let NodeKind::Policy(policy) = &node.kind {
                nearest += u32::from(matches!(policy.choose, Choose::Nearest) && policy.members.len() > 1);
                rules += u32::from(matches!(policy.choose, Choose::Rules(_)));
            }
        }
        classes += u32::from(scene.map.classes.count() > 3);
    }
    assert!(
        nearest >= 30 && rules >= 30 && classes >= 20,
        "{nearest} {rules} {classes}"
    );
}
