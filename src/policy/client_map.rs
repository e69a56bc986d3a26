//! The map from every address to its client class: built once for each load, from databases and the networks that rules name, and read by
//! every query whose answer depends on where the client is.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::classes::{Bits, Classes, Interner, Order};
use super::questions::Questions;
use crate::geo::Whereabouts;
use crate::geo::coordinates::Coordinates;
use crate::geo::mmdb::{Database, Error, Network};
use crate::geo::overlay::{Range, Source, nested, overlay};
use crate::geo::prefix_map::{PrefixMap, Runs, Shared};
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

/// What the databases know that was asked for.
#[derive(Debug, Default)]
pub struct Known {
    /// By database, those of places before those of AS numbers.
    pub databases: Vec<Holds>,
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

/// Which facts a database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Points.
    pub coordinates: bool,
    /// Countries, subdivisions, continents.
    pub places: bool,
    /// AS numbers.
    pub asns: bool,
}

/// A database that could not be read to its end.
#[derive(Debug)]
pub struct Broken {
    /// Which: those of places are counted before those of AS numbers.
    pub database: usize,
    /// What is wrong.
    pub error: Error,
}

impl ClientMap {
    /// A map without databases: only the networks that rules name make a difference.
    pub fn without_databases(questions: &Questions) -> Self {
        match Self::build(questions, &[], &[]) {
            Ok((map, _)) => map,
            Err(Broken { .. }) => unreachable!("there is no database"),
        }
    }

    /// Builds the map. Of `places`, and of `asns`, the first database that knows a fact of a client is believed.
    pub fn build(questions: &Questions, places: &[Database], asns: &[Database]) -> Result<(Self, Known), Broken> {
        let mut survey = Survey::new(questions, places, asns);
        let runs = [survey.walk(true)?, survey.walk(false)?];
        Ok(survey.finish(runs))
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

    /// The map of a family.
    #[inline]
    pub fn of_family(&self, is_ipv4: bool) -> &PrefixMap {
        if is_ipv4 { &self.ipv4 } else { &self.ipv6 }
    }

    /// How much memory it takes, in octets.
    pub fn octets(&self) -> usize {
        self.ipv4.octets() + self.ipv6.octets() + self.classes.octets()
    }
}

/// The building of a map.
struct Survey<'a> {
    questions: &'a Questions,
    databases: Vec<(&'a Database, Kind)>,
    /// By database: what a record says, by where it is.
    readings: Vec<HashMap<usize, Reading>>,
    /// Every network that some rule names, each once.
    networks: Vec<IpNet>,
    interner: Interner,
    orders: Facts<Option<[u64; 2]>, Order>,
    places: Facts<Place, Bits>,
    asns: Facts<Option<u32>, Bits>,
    within: Facts<Vec<u32>, Bits>,
    /// Classes, by the numbers of what makes them.
    classes: HashMap<[u32; 4], u32>,
    known: Known,
}

/// What a list of databases is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Places,
    Asns,
}

/// What a record says, by number; 0 where it says nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    order: u32,
    place: u32,
    asn: u32,
}

/// What a source says of a range of addresses.
#[derive(Clone)]
enum Said<'d> {
    /// The record of a database.
    Record(Network<'d>),
    /// The networks that it is in, by number.
    Within(u32),
}

impl<'a> Survey<'a> {
    fn new(questions: &'a Questions, places: &'a [Database], asns: &'a [Database]) -> Self {
        let places = places.iter().map(|database| (database, Kind::Places));
        let databases: Vec<_> = places
            .chain(asns.iter().map(|database| (database, Kind::Asns)))
            .collect();
        let networks = questions
            .conditions
            .iter()
            .flat_map(|condition| condition.network.iter().copied());
        let networks: BTreeSet<IpNet> = networks.collect();
        let interner = Interner::new(questions);
        Self {
            orders: Facts::new(None, interner.nowhere()),
            places: Facts::new(Place::default(), place_bits(questions, &Place::default())),
            asns: Facts::new(None, asn_bits(questions, None)),
            within: Facts::new(Vec::new(), within_bits(questions, &[])),
            questions,
            readings: vec![HashMap::new(); databases.len()],
            known: Known {
                databases: vec![Holds::default(); databases.len()],
                ..Known::default()
            },
            databases,
            networks: networks.into_iter().collect(),
            interner,
            classes: HashMap::new(),
        }
    }

    /// The classes of all addresses of a family.
    fn walk(&mut self, is_ipv4: bool) -> Result<Runs, Broken> {
        let mut sources: Vec<Source<'a, Said<'a>, Broken>> = Vec::new();
        for (at, (database, _)) in self.databases.iter().enumerate() {
            let said = move |network: Result<Network<'a>, Error>| {
                let network = network.map_err(|error| Broken { database: at, error })?;
                Ok((network.range, Said::Record(network)))
            };
            sources.push(Box::new(database.networks(is_ipv4).map(said)));
        }
        let ranges = self.ranges(is_ipv4).into_iter();
        sources.push(Box::new(
            ranges.map(|(range, number)| Ok((range, Said::Within(number)))),
        ));
        let mut runs = Runs::default();
        overlay(sources, |range, said| {
            runs.push(range.first, self.class(said)?);
            Ok(())
        })?;
        Ok(runs)
    }

    /// The ranges that the networks of a family make, with the numbers of those that they are in.
    fn ranges(&mut self, is_ipv4: bool) -> Vec<(Range, u32)> {
        let of_family = |network: &&IpNet| matches!(network, IpNet::V4(_)) == is_ipv4;
        let networks: Vec<IpNet> = self.networks.iter().filter(of_family).copied().collect();
        let number = |(range, places): (Range, Vec<u32>)| {
            let held: Vec<IpNet> = places
                .iter()
                .filter_map(|place| networks.get(*place as usize))
                .copied()
                .collect();
            let key = held
                .iter()
                .filter_map(|network| self.networks.binary_search(network).ok());
            let bits = |_: &Vec<u32>| within_bits(self.questions, &held);
            (range, self.within.number(key.map(|place| place as u32).collect(), bits))
        };
        nested(&networks).into_iter().map(number).collect()
    }

    /// The class of addresses of which this is said. Of each fact the first that knows it is believed.
    fn class(&mut self, said: &[Option<Said<'_>>]) -> Result<u32, Broken> {
        let (mut known, mut within) = (Reading::default(), 0);
        for (at, said) in said.iter().enumerate() {
            match said {
                None => {}
                Some(Said::Within(number)) => within = *number,
                Some(Said::Record(network)) => {
                    let reading = self.reading(at, network)?;
                    let first = |own: u32, next: u32| if own == 0 { next } else { own };
                    known.order = first(known.order, reading.order);
                    known.place = first(known.place, reading.place);
                    known.asn = first(known.asn, reading.asn);
                }
            }
        }
        let key = [known.order, known.place, known.asn, within];
        if let Some(class) = self.classes.get(&key) {
            return Ok(*class);
        }
        let bits = [
            self.places.value(known.place),
            self.asns.value(known.asn),
            self.within.value(within),
        ];
        let class = self.interner.class(self.orders.value(known.order), &bits);
        self.classes.insert(key, class);
        Ok(class)
    }

    /// What the record of a network says.
    fn reading(&mut self, at: usize, network: &Network<'_>) -> Result<Reading, Broken> {
        if let Some(reading) = self.readings[at].get(&network.record_at()) {
            return Ok(*reading);
        }
        let whereabouts = network.whereabouts().map_err(|error| Broken { database: at, error })?;
        let reading = self.read(at, whereabouts);
        self.readings[at].insert(network.record_at(), reading);
        Ok(reading)
    }

    fn read(&mut self, at: usize, whereabouts: Whereabouts) -> Reading {
        let Whereabouts {
            coordinates,
            place,
            asn,
        } = whereabouts;
        let holds = &mut self.known.databases[at];
        holds.coordinates |= coordinates.is_some();
        holds.places |= !place.is_unknown();
        holds.asns |= asn.is_some();
        if self.databases[at].1 == Kind::Asns {
            self.known.asns.extend(asn);
            let asn = self.asns.number(asn, |asn| asn_bits(self.questions, *asn));
            return Reading {
                asn,
                ..Reading::default()
            };
        }
        let key = coordinates.map(|Coordinates { latitude, longitude }| [latitude.to_bits(), longitude.to_bits()]);
        let order = |_: &Option<[u64; 2]>| match coordinates {
            Some(coordinates) => self.interner.order(coordinates),
            None => self.interner.nowhere(),
        };
        Reading {
            order: self.orders.number(key, order),
            place: self.places.number(place, |place| {
                self.known.note(place);
                place_bits(self.questions, place)
            }),
            asn: 0,
        }
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
    /// Whether any database of places was asked: one that has points alone knows no country.
    pub fn has_places(&self) -> bool {
        let mut databases = self.databases.iter();
        databases.any(|holds| holds.coordinates || holds.places)
    }

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

fn asn_bits(questions: &Questions, asn: Option<u32>) -> Bits {
    Bits::of(questions.conditions.len(), |at| questions.conditions[at].asn_holds(asn))
}

/// Of addresses that are in all of these networks, and in no other that a rule names.
fn within_bits(questions: &Questions, networks: &[IpNet]) -> Bits {
    Bits::of(questions.conditions.len(), |at| {
        let named = &questions.conditions[at].network;
        named.is_empty() || networks.iter().any(|network| named.contains(network))
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
