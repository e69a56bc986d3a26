//! Random worlds: several small zones at once whose names come from a tiny alphabet, so that they collide, with steered owners among
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use windrose::geo::coordinates::Coordinates;
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::image::{Image, Options, Serving};
use windrose::policy::client_map::ClientMap;
use windrose::policy::decide::handed_out;
use windrose::policy::model::{Answers, Choose, Condition, Fallback, Rule, Rules, Steering};
use windrose::policy::questions::Questions;
use windrose::policy::tree::Forest as Compiled;
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::wire::rdata;
use windrose::zone::model::{Owner, RRset, Soa, Steer, SteerTtl, Zone};

use crate::atlases::{Atlas, atlases};
use crate::forests::Forest;

/// Everything that is served, as a model.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) zones: Vec<Zone>,
    pub(crate) failed: Vec<Name>,
    pub(crate) steering: Steering,
    pub(crate) verdicts: Verdicts,
    /// Those of an earlier moment.
    pub(crate) last: Option<Verdicts>,
    pub(crate) options: Options,
    /// What location databases say.
    pub(crate) atlas: Atlas,
    /// The same, compiled.
    pub(crate) map: Arc<ClientMap>,
}

/// What differs between worlds, a line for each record set.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "failed {:?}, {:?}, last {:?}", self.failed, self.verdicts, self.last)?;
        writeln!(f, "{:?}", self.atlas)?;
        for zone in &self.zones {
            writeln!(f, "zone {:?}, minimum {}", zone.origin, zone.soa.minimum)?;
            for (name, owner) in &zone.owners {
                for (rtype, set) in &owner.rrsets {
                    let data = set.rdata.iter().map(|data| rdata::present(*rtype, data));
                    let data = data.map(|mut data| {
                        data.truncate(60);
                        data
                    });
                    writeln!(f, "  {name:?} {} {rtype} {:?}", set.ttl, data.collect::<Vec<_>>())?;
                }
                if let Some(steer) = &owner.steer {
                    writeln!(f, "  {name:?} {steer:?}")?;
                }
            }
        }
        Ok(())
    }
}

impl World {
    /// The same, compiled.
    pub(crate) fn serving(&self, key: [u64; 2]) -> Serving {
        let (steering, options) = (self.steering.clone(), self.options.clone());
        let forest = Compiled::new(steering, self.map.clone());
        let image = Arc::new(Image::compile(&self.zones, &self.failed, forest, options, key));
        match &self.last {
            Some(last) => Serving::new(image, last).under(&self.verdicts),
            None => Serving::new(image, &self.verdicts),
        }
    }
}

/// The labels of a name, the leftmost first.
pub(crate) type Labels = Vec<String>;

pub(crate) fn labels(most: usize) -> impl Strategy<Value = Labels> {
    let label = prop_oneof![
        12 => select(vec!["a", "b"]),
        6 => select(vec!["aa", "A", "B", "bA"]),
        5 => Just("*"),
    ];
    // Long names are rare, but they are where things do not fit.
    prop_oneof![
        30 => vec(label.prop_map(str::to_owned), 0..=most),
        1 => vec(Just("Long-".repeat(12)), 1..=4),
    ]
}

pub(crate) fn below(labels: &[String], base: &Name) -> Name {
    labels
        .iter()
        .rev()
        .fold(base.clone(), |name, label| name.child(label.as_bytes()).unwrap_or(name))
}

/// Where a record points to.
#[derive(Debug, Clone)]
enum Target {
    /// One of the owners of the zone.
    Owner(Index),
    InZone(Labels),
    Anywhere(Labels),
    Outside(Labels),
}

/// What targets are made from: the zone's origin and owners.
struct Place<'a> {
    origin: &'a Name,
    owners: Vec<Name>,
}

impl Target {
    fn wire(&self, place: &Place<'_>) -> Vec<u8> {
        let name = match self {
            Self::Owner(index) if !place.owners.is_empty() => index.get(&place.owners).clone(),
            Self::Owner(_) => place.origin.clone(),
            Self::InZone(labels) => below(labels, place.origin),
            Self::Anywhere(labels) => below(labels, &Name::root()),
            Self::Outside(labels) => below(labels, &Name::parse("x.", None).unwrap()),
        };
        name.wire().to_vec()
    }
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        9 => any::<Index>().prop_map(Target::Owner),
        4 => labels(3).prop_map(Target::InZone),
        2 => labels(4).prop_map(Target::Anywhere),
        1 => labels(1).prop_map(Target::Outside),
    ]
}

/// What stands at an owner.
#[derive(Debug, Clone)]
enum OwnerPlan {
    Data(Vec<SetPlan>),
    Alias(Target),
    Redirection(Target),
    Cut {
        targets: Vec<Target>,
        signed: bool,
        glue: bool,
    },
    Steered {
        root: Index,
        ttl: Option<u32>,
        beside: Option<SetPlan>,
    },
}

/// A record set of a type, with the TTL and so many records.
#[derive(Debug, Clone)]
enum SetPlan {
    Addresses(RecordType, u32, u8),
    Names(RecordType, u32, Vec<Target>),
    /// Texts of so many octets.
    Texts(u32, Vec<usize>),
    Opaque(RecordType),
}

fn sets() -> impl Strategy<Value = SetPlan> {
    let ttl = || select(vec![0_u32, 60, 300, 0x7fff_ffff]);
    let address_type = select(vec![RecordType::A, RecordType::AAAA]);
    let name_type = select(vec![RecordType::MX, RecordType::SRV, RecordType::PTR]);
    let length = prop_oneof![4 => 0..=60_usize, 2 => 100..=500_usize, 1 => 900..=1300_usize, 2 => Just(30_000_usize)];
    prop_oneof![
        5 => (address_type.clone(), ttl(), 1..=3_u8).prop_map(|(rtype, ttl, count)| SetPlan::Addresses(rtype, ttl, count)),
        1 => (address_type, ttl(), 10..=100_u8).prop_map(|(rtype, ttl, count)| SetPlan::Addresses(rtype, ttl, count)),
        4 => (name_type, ttl(), vec(targets(), 1..=3)).prop_map(|(rtype, ttl, to)| SetPlan::Names(rtype, ttl, to)),
        3 => (ttl(), vec(length, 1..=3)).prop_map(|(ttl, lengths)| SetPlan::Texts(ttl, lengths)),
        1 => select(vec![RecordType(65280), RecordType::HINFO]).prop_map(SetPlan::Opaque),
    ]
}

fn owner_plans() -> impl Strategy<Value = OwnerPlan> {
    prop_oneof![
        6 => vec(sets(), 1..=3).prop_map(OwnerPlan::Data),
        4 => targets().prop_map(OwnerPlan::Alias),
        1 => targets().prop_map(OwnerPlan::Redirection),
        3 => (vec(targets(), 1..=3), any::<bool>(), any::<bool>())
            .prop_map(|(targets, signed, glue)| OwnerPlan::Cut { targets, signed, glue }),
        3 => (any::<Index>(), prop::option::of(1..100_u32), prop::option::of(sets()))
            .prop_map(|(root, ttl, beside)| OwnerPlan::Steered { root, ttl, beside }),
    ]
}

impl SetPlan {
    fn add(&self, owner: &mut Owner, place: &Place<'_>) {
        let (rtype, ttl, rdata): (_, _, Vec<Vec<u8>>) = match self {
            Self::Addresses(rtype, ttl, count) => {
                let address = |last: u8| match *rtype {
                    RecordType::A => vec![192, 0, 2, last],
                    _ => [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat(),
                };
                (*rtype, *ttl, (0..*count).map(address).collect())
            }
            Self::Names(rtype, ttl, targets) => {
                let fixed: &[u8] = match *rtype {
                    RecordType::MX => &[0, 10],
                    RecordType::SRV => &[0, 1, 0, 2, 1, 187],
                    _ => &[],
                };
                let rdata = targets.iter().map(|target| [fixed, &target.wire(place)].concat());
                (*rtype, *ttl, rdata.collect())
            }
            Self::Texts(ttl, lengths) => {
                let text = |length: &usize| rdata::txt(&"t".repeat(*length)).into();
                (RecordType::TXT, *ttl, lengths.iter().map(text).collect())
            }
            Self::Opaque(RecordType::HINFO) => (RecordType::HINFO, 60, vec![b"\x01c\x01o".to_vec()]),
            // Never empty data, which is legal (RFC 3597 5) but which hickory-proto refuses.
            Self::Opaque(rtype) => (*rtype, 60, vec![vec![1, 2, 3], vec![0]]),
        };
        add(owner, rtype, ttl, rdata);
    }
}

/// Records of one type, each once whatever the case of its names.
fn add(owner: &mut Owner, rtype: RecordType, ttl: u32, rdata: Vec<Vec<u8>>) {
    let mut seen = BTreeSet::new();
    let rdata = rdata.into_iter().filter(|data| seen.insert(data.to_ascii_lowercase()));
    let rdata = rdata.map(Vec::into_boxed_slice).collect();
    owner.rrsets.insert(rtype, RRset { ttl, rdata });
}

impl OwnerPlan {
    fn owner(&self, name: &Name, place: &Place<'_>, roots: &Roots) -> Owner {
        let mut owner = Owner::default();
        match self {
            Self::Data(sets) => sets.iter().for_each(|set| set.add(&mut owner, place)),
            // Nothing but its own data stands at an apex.
            _ if name == place.origin => {}
            Self::Alias(target) => add(&mut owner, RecordType::CNAME, 300, vec![target.wire(place)]),
            Self::Redirection(target) => add(&mut owner, RecordType::DNAME, 300, vec![target.wire(place)]),
            Self::Cut { targets, signed, glue } => {
                let targets = targets.iter().map(|target| target.wire(place));
                add(&mut owner, RecordType::NS, 3600, targets.collect());
                if *signed {
                    add(
                        &mut owner,
                        RecordType::DS,
                        86_400,
                        vec![[&[0, 1, 13, 2][..], &[7; 32]].concat()],
                    );
                }
                if *glue {
                    add(&mut owner, RecordType::A, 3600, vec![vec![198, 51, 100, 1]]);
                }
            }
            Self::Steered { root, ttl, beside } => {
                let (root, host) = root.get(&roots.0);
                let ttl = ttl.map(SteerTtl::fixed);
                owner.steer = Some(Box::new(Steer {
                    root: root.clone(),
                    ttl,
                }));
                // What may be answered by a CNAME has nothing beside it, and what is steered has no address of its own.
                match beside {
                    Some(SetPlan::Addresses(..)) | None => {}
                    Some(set) if !host => set.add(&mut owner, place),
                    Some(_) => {}
                }
            }
        }
        owner
    }
}

/// The roots to steer by, and whether each may hand out a host.
struct Roots(Vec<(String, bool)>);

/// Pools and policies of every kind.
fn forest() -> (Forest, Roots) {
    let mut forest = Forest::default();
    let list = |range: std::ops::Range<u8>, text: &dyn Fn(u8) -> String| range.map(text).collect::<Vec<_>>().join(" ");
    forest.pool("v4", "192.0.2.1");
    forest.pool("v6", "2001:db8::1");
    forest.pool("dual", "192.0.2.2,192.0.2.3,2001:db8::2");
    let all = forest.pool(
        "all",
        &list(0..60, &|last| format!("10.0.0.{last},fd::{last:x},fd::1:{last:x}")),
    );
    forest.pool_mut(all).answers = Answers::All;
    let some = forest.pool("some", "10.1.0.1*3 10.1.0.2 10.1.0.3,fd:1::3 10.1.0.4*0");
    forest.pool_mut(some).answers = Answers::Count(2);
    let sticky = forest.pool("sticky", "10.2.0.1,fd:2::1*3 10.2.0.2 10.2.0.3,fd:2::3");
    forest.node(sticky).sticky = true;
    let buckets = forest.pool(
        "buckets",
        &list(0..18, &|last| format!("10.3.0.{last},fd:3::{last:x}*{last}")),
    );
    forest.node(buckets).sticky = true;
    forest.pool_mut(buckets).answers = Answers::Count(3);
    forest.pool("host", "edge.a.");
    let far = format!("{0}.{0}.{0}.{0}.", "Far-away-".repeat(6));
    forest.pool("far", &far);
    let faint = forest.pool("faint", "10.4.0.1 10.4.0.2,fd:4::2");
    forest.node(faint).root.fallback = Fallback::Servfail;
    let mixed = forest.policy("mixed", Choose::Failover, "faint host");
    forest.node(mixed).root.ttl = Some(SteerTtl::fixed(7));
    let split = forest.policy("split", Choose::Weighted, "v4*3 dual*2 sticky*1");
    forest.node(split).sticky = true;
    let drawn = forest.policy("drawn", Choose::Weighted, "split*3 faint*0 all*1");
    forest.node(drawn).root.fallback = Fallback::Last;
    let kept = forest.policy("kept", Choose::Failover, "faint");
    forest.node(kept).root.fallback = Fallback::Pool(sticky);
    // A fallback counts at the root only: `lone` may hand out a host, `above` never does.
    let lone = forest.pool("lone", "10.5.0.1,fd:5::1");
    forest.node(lone).root.fallback = Fallback::Pool(forest.steering.by_name["host"]);
    let above = forest.policy("above", Choose::Weighted, "lone sticky");
    forest.node(above).sticky = true;
    // It lacks a family that its fallback has.
    let narrow = forest.pool("narrow", "10.6.0.1 10.6.0.2");
    forest.node(narrow).root.fallback = Fallback::Pool(forest.steering.by_name["host"]);
    by_location(&mut forest);
    let hosts = ["host", "far", "mixed", "lone", "narrow", "abroad"];
    let names = forest.steering.by_name.keys();
    let roots = names
        .map(|name| (name.clone(), hosts.contains(&name.as_str())))
        .collect();
    (forest, Roots(roots))
}

/// Policies that choose by where a client is, in the places and words of the random atlases.
fn by_location(forest: &mut Forest) {
    for (name, latitude, longitude) in [
        ("dual", 10.0, -10.0),
        ("some", 10.0, 20.0),
        ("sticky", -40.0, 170.0),
        ("host", 50.0, 0.0),
    ] {
        let node = forest.steering.by_name[name];
        forest.node(node).location = Some(Coordinates { latitude, longitude });
    }
    let near = forest.policy("near", Choose::Nearest, "some dual sticky");
    forest.node(near).root.fallback = Fallback::Last;
    let rule = |member, condition| Rule { condition, member };
    let country = Condition {
        country: vec!["DE".to_owned(), "FR".to_owned()],
        ..Condition::default()
    };
    let network = Condition {
        network: vec!["10.0.0.0/17".parse().unwrap(), "2001:db8::/49".parse().unwrap()],
        ..Condition::default()
    };
    let asn = Condition {
        asn: vec![1, 2],
        ..Condition::default()
    };
    // Whom no rule matches it is usable for only while `faint` is.
    let rules = vec![rule(1, country), rule(0, network), rule(2, asn)];
    let region = forest.policy(
        "region",
        Choose::Rules(Rules { rules, otherwise: 3 }),
        "near v4 v6 faint",
    );
    forest.node(region).root.fallback = Fallback::Servfail;
    forest.policy("either", Choose::Weighted, "region*2 sticky*1");
    forest.policy("abroad", Choose::Nearest, "host some");
}

#[derive(Debug, Clone)]
struct ZonePlan {
    origin: Labels,
    owners: Vec<(Labels, OwnerPlan)>,
    servers: Vec<Target>,
    times: (u32, u32),
    /// Whether the zone above has a cut here.
    delegated: bool,
}

fn origins() -> impl Strategy<Value = Labels> {
    vec(select(vec!["a", "b", "aa", "B"]).prop_map(str::to_owned), 0..=3)
}

fn zone_plans() -> impl Strategy<Value = ZonePlan> {
    (
        origins(),
        vec((labels(3), owner_plans()), 3..=12),
        vec(targets(), 1..=2),
        (0..=5000_u32, 0..=5000_u32),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(origin, owners, servers, times, delegated)| ZonePlan {
            origin,
            owners,
            servers,
            times,
            delegated,
        })
}

impl ZonePlan {
    fn zone(&self, roots: &Roots) -> Zone {
        let origin = below(&self.origin, &Name::root());
        let place = Place {
            origin: &origin,
            owners: self.owners.iter().map(|(labels, _)| below(labels, &origin)).collect(),
        };
        let soa = Soa {
            mname: Name::from_wire(&self.servers[0].wire(&place)).unwrap(),
            rname: below(&["hostmaster".to_owned()], &origin),
            serial: 1,
            refresh: 2,
            retry: 3,
            expire: 4,
            minimum: self.times.0,
            ttl: self.times.1,
        };
        let mut owners = BTreeMap::new();
        for (labels, plan) in &self.owners {
            let name = below(labels, &origin);
            let owner = plan.owner(&name, &place, roots);
            owners.entry(name).or_insert(owner);
        }
        let apex = owners.entry(origin.clone()).or_default();
        let servers = self.servers.iter().map(|server| server.wire(&place));
        add(apex, RecordType::NS, 300, servers.collect());
        add(apex, RecordType::SOA, soa.ttl, vec![soa.rdata().to_vec()]);
        Zone {
            origin,
            path: PathBuf::new(),
            soa,
            owners,
        }
    }
}

/// Which addresses are down: none, all, or those of this word's bits.
fn verdicts() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
}

fn down(forest: &Forest, down: u64) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for id in (0..forest.steering.addresses).filter(|id| down >> (id % 61) & 1 == 1) {
        verdicts.set(AddressId(id), Verdict::Down);
    }
    verdicts
}

/// Random worlds.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    (
        vec(zone_plans(), 1..=4),
        vec(origins(), 0..=1),
        verdicts(),
        prop::option::of(verdicts()),
        prop::bool::weighted(0.8),
        atlases(),
    )
        .prop_map(|(plans, failed, verdicts, last, client_subnet, atlas)| {
            let (forest, roots) = forest();
            let [places, asns] = atlas.extracts();
            let (map, _) = ClientMap::build(&Questions::of(&forest.steering).0, &places, &asns);
            let last = last.map(|last| handed_out(&forest.steering, &down(&forest, last)));
            let verdicts = down(&forest, verdicts);
            let mut zones: Vec<Zone> = Vec::new();
            let mut delegated = Vec::new();
            for plan in plans {
                let zone = plan.zone(&roots);
                if zones.iter().all(|other| other.origin != zone.origin) {
                    delegated.extend(plan.delegated.then(|| zone.origin.clone()));
                    zones.push(zone);
                }
            }
            let failed = failed.iter().map(|labels| below(labels, &Name::root()));
            let failed: Vec<Name> = failed
                .filter(|failed| zones.iter().all(|zone| zone.origin != *failed))
                .collect();
            for origin in &delegated {
                let above = zones
                    .iter_mut()
                    .filter(|zone| origin != &zone.origin && origin.is_at_or_below(&zone.origin));
                if let Some(parent) = above.max_by_key(|zone| zone.origin.label_count()) {
                    let plan = OwnerPlan::Cut {
                        targets: vec![Target::Anywhere(vec!["ns".to_owned()]), Target::Outside(vec![])],
                        signed: origin.label_count() % 2 == 0,
                        glue: false,
                    };
                    let place = Place {
                        origin: &parent.origin,
                        owners: Vec::new(),
                    };
                    let cut = plan.owner(origin, &place, &roots);
                    parent.owners.insert(origin.clone(), cut);
                }
            }
            World {
                zones,
                failed,
                steering: forest.steering,
                verdicts,
                last,
                options: Options {
                    client_subnet,
                    nsid: b"n1".to_vec(),
                    version: "windrose".to_owned(),
                    threads: 0,
                    ..Options::default()
                },
                atlas,
                map: Arc::new(map),
            }
        })
}
