//! The map from every address to its client class: built once for each load, from databases and the networks that rules name, and read by
//! every query whose answer depends on where the client is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::classes::{Bits, Classes, Interner, Order};
use super::questions::Questions;
use crate::geo::extract::{Extract, Fact};
use crate::geo::overlay::{Range, Source, nested, overlay};
use crate::geo::prefix_map::{Node, PrefixMap, Runs, Shared};
use crate::geo::record::{Place, Subdivision};

/// Addresses, and their classes.
#[derive(Debug)]
pub struct ClientMap {
    /// What was asked.
    pub questions: Questions,
    /// What was answered, by class.
    pub classes: Classes,
    ipv4: PrefixMap,
    ipv6: PrefixMap,
}

/// A client's class, and the prefix of its address that shares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed {
    /// The class.
    pub class: u32,
    /// The length of the prefix; 0 only if all addresses of both families are of this class.
    pub length: u8,
}

/// What the databases know of what was asked for.
#[derive(Debug, Default)]
pub struct Known {
    /// Whether any database of places was asked: one that has points alone knows no country.
    pub has_places: bool,
    /// Every country in them.
    pub countries: BTreeSet<String>,
    /// Every subdivision in them, by code or name.
    pub subdivisions: BTreeSet<String>,
    /// Every continent in them.
    pub continents: BTreeSet<String>,
    /// Every AS number in them.
    pub asns: BTreeSet<u32>,
    /// By place in [`Questions::conditions`]: whether it holds for some client.
    pub satisfied: Vec<bool>,
}

impl ClientMap {
    /// A map without databases: only the networks that rules name make a difference.
    pub fn without_databases(questions: &Questions) -> Self {
        Self::build(questions, &[], &[]).0
    }

    /// Builds the map. Of `places`, and of `asns`, the first database that knows a fact of a client is believed.
    pub fn build(questions: &Questions, places: &[Arc<Extract>], asns: &[Arc<Extract>]) -> (Self, Known) {
        let mut survey = Survey::new(questions, places, asns);
        let runs = [survey.walk(true), survey.walk(false)];
        survey.finish(runs)
    }

    /// The class of an address.
    #[inline]
    pub fn place(&self, address: IpAddr) -> Placed {
        let Shared { number, length } = match address {
            IpAddr::V4(address) => self.ipv4.get(address.to_bits()),
            IpAddr::V6(address) => self.ipv6.get(address.to_bits()),
        };
        Placed {
            class: number,
            // A family all of one class is not alone: a scope of 0 would speak for the other one too.
            length: length.max(u8::from(self.classes.count() > 1)),
        }
    }

    /// What is read first to place an address, to ask for that memory early.
    #[inline]
    pub fn first_load(&self, address: IpAddr) -> (&[u32], usize) {
        match address {
            IpAddr::V4(address) => self.ipv4.first_load(address.to_bits()),
            IpAddr::V6(address) => self.ipv6.first_load(address.to_bits()),
        }
    }

    /// What is read next, if anything is.
    #[inline]
    pub fn second_load(&self, address: IpAddr) -> Option<(&[Node], usize)> {
        match address {
            IpAddr::V4(address) => self.ipv4.second_load(address.to_bits()),
            IpAddr::V6(address) => self.ipv6.second_load(address.to_bits()),
        }
    }

    /// How much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        self.ipv4.octets() + self.ipv6.octets() + self.classes.octets()
    }
}

/// The building of a map.
struct Survey<'a> {
    questions: &'a Questions,
    databases: Vec<&'a Extract>,
    /// By database, and by number of a fact in it: what that means here.
    readings: Vec<Vec<Reading>>,
    /// Every network that some rule names, and the conditions that name it: lists of many thousand networks are in use.
    networks: BTreeMap<IpNet, Vec<u32>>,
    interner: Interner,
    orders: Facts<Option<[u64; 2]>, Order>,
    places: Facts<Place, Bits>,
    asns: Facts<u32, Bits>,
    /// By the conditions whose networks hold an address, in order.
    within: Facts<Vec<u32>, Bits>,
    /// Classes, by the numbers of what makes them.
    classes: HashMap<[u32; 4], u32>,
    known: Known,
}

/// What a fact means, by number; 0 where nothing is known.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    order: u32,
    place: u32,
    asn: u32,
}

impl<'a> Survey<'a> {
    fn new(questions: &'a Questions, places: &'a [Arc<Extract>], asns: &'a [Arc<Extract>]) -> Self {
        let mut networks: BTreeMap<IpNet, Vec<u32>> = BTreeMap::new();
        for (place, condition) in (0..).zip(&questions.conditions) {
            for network in &condition.network {
                networks.entry(*network).or_default().push(place);
            }
        }
        let interner = Interner::new(questions);
        let mut survey = Self {
            orders: Facts::new(None, interner.nowhere()),
            places: Facts::new(Place::default(), place_bits(questions, &Place::default())),
            asns: Facts::new(0, asn_bits(questions, 0)),
            within: Facts::new(Vec::new(), within_bits(questions, &[])),
            questions,
            readings: Vec::new(),
            known: Known {
                has_places: !places.is_empty(),
                ..Known::default()
            },
            databases: places.iter().chain(asns).map(Arc::as_ref).collect(),
            networks,
            interner,
            classes: HashMap::new(),
        };
        let of_places = places.iter().map(|database| survey.read_places(database));
        let mut readings: Vec<_> = of_places.collect();
        readings.extend(asns.iter().map(|database| survey.read_asns(database)));
        survey.readings = readings;
        survey
    }

    /// What the facts of a database with places mean.
    fn read_places(&mut self, database: &Extract) -> Vec<Reading> {
        let place = |place: &Place| {
            self.places.number(place.clone(), |place| {
                self.known.note(place);
                place_bits(self.questions, place)
            })
        };
        let places: Vec<u32> = database.places.iter().map(place).collect();
        let reading = |fact: &Fact| {
            let point = fact
                .coordinates
                .map(|at| [at.latitude.to_bits(), at.longitude.to_bits()]);
            let order = |_: &Option<[u64; 2]>| match fact.coordinates {
                Some(coordinates) => self.interner.order(coordinates),
                None => self.interner.nowhere(),
            };
            Reading {
                order: self.orders.number(point, order),
                place: places.get(fact.place as usize).copied().unwrap_or_default(),
                asn: 0,
            }
        };
        database.facts.iter().map(reading).collect()
    }

    /// What the facts of a database with AS numbers mean.
    fn read_asns(&mut self, database: &Extract) -> Vec<Reading> {
        let reading = |fact: &Fact| Reading {
            asn: self.asns.number(fact.asn, |asn| {
                self.known.asns.extend((*asn != 0).then_some(*asn));
                asn_bits(self.questions, *asn)
            }),
            ..Reading::default()
        };
        database.facts.iter().map(reading).collect()
    }

    /// The classes of all addresses of a family.
    fn walk(&mut self, is_ipv4: bool) -> Runs {
        let mut sources: Vec<Source<'_>> = Vec::new();
        for database in &self.databases {
            sources.push(Box::new(database.ranges(is_ipv4)));
        }
        sources.push(Box::new(self.ranges(is_ipv4).into_iter()));
        let mut runs = Runs::default();
        overlay(sources, |range, numbers| runs.push(range.first, self.class(numbers)));
        runs
    }

    /// The ranges that the networks of a family make, with the numbers of the conditions that hold there.
    fn ranges(&mut self, is_ipv4: bool) -> Vec<(Range, u32)> {
        let of_family = |(network, _): &(&IpNet, &Vec<u32>)| matches!(network, IpNet::V4(_)) == is_ipv4;
        let of_family = self.networks.iter().filter(of_family);
        let (networks, named_by): (Vec<IpNet>, Vec<&Vec<u32>>) = of_family.map(|(own, by)| (*own, by)).unzip();
        let number = |(range, places): (Range, Vec<u32>)| {
            let held = places.iter().filter_map(|place| named_by.get(*place as usize));
            let mut holding: Vec<u32> = held.copied().flatten().copied().collect();
            holding.sort_unstable();
            holding.dedup();
            let bits = |holding: &Vec<u32>| within_bits(self.questions, holding);
            (range, self.within.number(holding, bits))
        };
        nested(&networks).into_iter().map(number).collect()
    }

    /// The class of addresses of which the databases have these facts, and which are in the networks of the last number. Of each fact the first
    /// that knows it is believed.
    fn class(&mut self, numbers: &[u32]) -> u32 {
        let mut known = Reading::default();
        for (readings, number) in self.readings.iter().zip(numbers) {
            let reading = readings.get(*number as usize).copied().unwrap_or_default();
            let first = |own: u32, next: u32| if own == 0 { next } else { own };
            known.order = first(known.order, reading.order);
            known.place = first(known.place, reading.place);
            known.asn = first(known.asn, reading.asn);
        }
        let within = numbers.last().copied().unwrap_or_default();
        let key = [known.order, known.place, known.asn, within];
        if let Some(class) = self.classes.get(&key) {
            return *class;
        }
        let bits = [
            self.places.value(known.place),
            self.asns.value(known.asn),
            self.within.value(within),
        ];
        let class = self.interner.class(self.orders.value(known.order), &bits);
        self.classes.insert(key, class);
        class
    }

    fn finish(self, [ipv4, ipv6]: [Runs; 2]) -> (ClientMap, Known) {
        let Self {
            questions,
            interner,
            mut known,
            ..
        } = self;
        let classes = interner.finish();
        let satisfied = |condition| (0..classes.count()).any(|class| classes.holds(class, condition));
        known.satisfied = (0..questions.conditions.len() as u32).map(satisfied).collect();
        let map = ClientMap {
            questions: questions.clone(),
            classes,
            ipv4: PrefixMap::new(&ipv4),
            ipv6: PrefixMap::new(&ipv6),
        };
        (map, known)
    }
}

impl Known {
    /// Whether a subdivision, by code or by name, is in some database.
    pub fn has_subdivision(&self, written: &str) -> bool {
        let written = written.to_lowercase();
        self.subdivisions.iter().any(|own| own.to_lowercase() == written)
    }

    fn note(&mut self, place: &Place) {
        self.countries.extend(place.country.clone());
        self.continents.extend(place.continent.clone());
        let subdivisions = place.subdivisions.iter().map(Subdivision::as_str);
        self.subdivisions.extend(subdivisions.map(str::to_owned));
    }
}

fn place_bits(questions: &Questions, place: &Place) -> Bits {
    Bits::of(questions.conditions.len(), |at| {
        let condition = &questions.conditions[at];
        condition.country_holds(place) && condition.continent_holds(place) && condition.subdivision_holds(place)
    })
}

/// 0 is no number.
fn asn_bits(questions: &Questions, asn: u32) -> Bits {
    let asn = (asn != 0).then_some(asn);
    Bits::of(questions.conditions.len(), |at| questions.conditions[at].asn_holds(asn))
}

/// Of addresses that are in networks of these conditions (in order), and of no others.
fn within_bits(questions: &Questions, holding: &[u32]) -> Bits {
    Bits::of(questions.conditions.len(), |at| {
        questions.conditions[at].network.is_empty() || holding.binary_search(&(at as u32)).is_ok()
    })
}

/// Facts, by number; equal consequences have one number. Number 0 is that nothing is known.
struct Facts<K, V> {
    numbers: HashMap<K, u32>,
    by_value: HashMap<V, u32>,
    values: Vec<V>,
}

impl<K: Eq + Hash, V: Clone + Eq + Hash> Facts<K, V> {
    fn new(nothing: K, value: V) -> Self {
        Self {
            numbers: HashMap::from([(nothing, 0)]),
            by_value: HashMap::new(),
            values: vec![value],
        }
    }

    /// The number of a fact; what follows from it is worked out once.
    fn number(&mut self, key: K, value: impl FnOnce(&K) -> V) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let value = value(&key);
        let number = *self.by_value.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            self.values.len() as u32 - 1
        });
        self.numbers.insert(key, number);
        number
    }

    fn value(&self, number: u32) -> &V {
        &self.values[number as usize]
    }
}
