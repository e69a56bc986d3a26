//! Location databases for tests: written in a few words, or random by proptest; as files, and read plainly to hold the map against.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ipnet::IpNet;
use mmdb_writer::{IpVersion, Value, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use windrose::geo::Whereabouts;
use windrose::geo::coordinates::Coordinates;
use windrose::geo::extract::Extract;
use windrose::geo::mmdb::Database;
use windrose::geo::record::{Place, Subdivision};
use windrose::policy::model::Condition;

/// What each database says of networks; the longest that holds an address counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Atlas {
    /// Databases with places, in order of preference.
    pub(crate) places: Vec<File>,
    /// Databases with AS numbers.
    pub(crate) asns: Vec<File>,
}

/// One database.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(crate) is_flat: bool,
    pub(crate) entries: BTreeMap<IpNet, Whereabouts>,
}

impl Atlas {
    /// As files in memory: those with places, and those with AS numbers.
    pub(crate) fn databases(&self) -> [Vec<Database>; 2] {
        [("places", &self.places), ("asns", &self.asns)].map(|(name, files)| {
            let files = files.iter().enumerate();
            files
                .map(|(at, file)| Database::open(format!("{name}-{at}"), file.octets()).unwrap())
                .collect()
        })
    }

    /// The same, packed.
    pub(crate) fn extracts(&self) -> [Vec<Arc<Extract>>; 2] {
        let extract = |database: &Database| Arc::new(Extract::of(database).unwrap());
        self.databases()
            .map(|databases| databases.iter().map(extract).collect())
    }

    /// Every network in the files.
    pub(crate) fn networks(&self) -> impl Iterator<Item = IpNet> {
        let files = self.places.iter().chain(&self.asns);
        files.flat_map(|file| file.entries.keys().copied())
    }

    /// What is known of an address: of each fact the first file that has it.
    pub(crate) fn look_up(&self, address: IpAddr) -> Whereabouts {
        let mut known = Whereabouts::default();
        for found in self.places.iter().filter_map(|file| file.look_up(address)) {
            known.coordinates = known.coordinates.or(found.coordinates);
            if known.place.is_unknown() {
                known.place = found.place.clone();
            }
        }
        known.asn = self.asns.iter().filter_map(|file| file.look_up(address)?.asn).next();
        known
    }
}

impl File {
    fn look_up(&self, address: IpAddr) -> Option<&Whereabouts> {
        // IPv4 stands at ::/96 (MaxMind DB file format, "IPv4 addresses in an IPv6 tree"), in what is said of networks around that; so
        // nothing is said of the IPv6 addresses there.
        let in_tree = match address {
            IpAddr::V4(address) => Ipv6Addr::from_bits(address.to_bits().into()).into(),
            IpAddr::V6(own) if own.to_bits() >> 32 == 0 => return None,
            IpAddr::V6(_) => address,
        };
        let holds = |network: &IpNet| network.contains(&address) || network.contains(&in_tree);
        let holding = self.entries.iter().filter(|(network, _)| holds(network));
        holding
            .max_by_key(|(network, _)| depth(network))
            .map(|(_, whereabouts)| whereabouts)
    }

    /// In MaxMind's format.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let has_ipv6 = self.entries.keys().any(|network| matches!(network, IpNet::V6(_)));
        let version = if has_ipv6 { IpVersion::V6 } else { IpVersion::V4 };
        let mut writer = Writer::builder("test")
            .ip_version(version)
            .build_epoch(UNIX_EPOCH)
            .build();
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(network, _)| depth(network));
        for (network, whereabouts) in entries {
            let record = if self.is_flat {
                flat(whereabouts)
            } else {
                nested(whereabouts)
            };
            writer.insert_value(*network, record).unwrap();
        }
        writer.to_bytes().unwrap()
    }
}

/// The octets of a file of a case. One whose first line is `mmdb nested` or `mmdb flat` is a location database: each line after it is
/// a network and what is known of it, as in `203.0.113.0/24 at=50.11,8.68 country=DE in=DE-HE in=Darmstadt continent=EU asn=3320`. One whose
/// first line is `mmdb empty` has no octets.
pub(crate) fn octets_of(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    match lines.next() {
        Some(layout @ ("mmdb nested" | "mmdb flat")) => {
            let entries = lines.filter(|line| !line.is_empty()).map(entry).collect();
            let is_flat = layout.ends_with("flat");
            File { is_flat, entries }.octets()
        }
        Some("mmdb empty") => Vec::new(),
        _ => text.into(),
    }
}

fn entry(line: &str) -> (IpNet, Whereabouts) {
    let mut words = line.split_whitespace();
    let network = words.next().unwrap().parse().unwrap();
    let mut known = Whereabouts::default();
    for (key, value) in words.map(|word| word.split_once('=').unwrap()) {
        match key {
            "at" => {
                let (latitude, longitude) = value.split_once(',').unwrap();
                known.coordinates = Some(Coordinates {
                    latitude: latitude.parse().unwrap(),
                    longitude: longitude.parse().unwrap(),
                });
            }
            "country" => known.place.country = Some(value.to_owned()),
            "continent" => known.place.continent = Some(value.to_owned()),
            // What has a hyphen is a code; `_` stands for a space in a name.
            "in" if value.contains('-') => known.place.subdivisions.push(Subdivision::Code(value.to_owned())),
            "in" => known
                .place
                .subdivisions
                .push(Subdivision::Name(value.replace('_', " "))),
            "asn" => known.asn = Some(value.parse().unwrap()),
            _ => panic!("`{key}` is nothing that a database knows"),
        }
    }
    (network, known)
}

/// How deep a network is in the tree of a file of both families.
fn depth(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(network) => 96 + network.prefix_len(),
        IpNet::V6(network) => network.prefix_len(),
    }
}

/// As MaxMind and DB-IP lay records out.
fn nested(whereabouts: &Whereabouts) -> Value {
    let Whereabouts {
        coordinates,
        place,
        asn,
    } = whereabouts;
    let mut fields: Vec<(&str, Value)> = Vec::new();
    if let Some(Coordinates { latitude, longitude }) = coordinates {
        let location = Value::map([
            ("latitude", Value::from(*latitude)),
            ("longitude", Value::from(*longitude)),
        ]);
        fields.push(("location", location));
    }
    if let Some(country) = &place.country {
        fields.push(("country", Value::map([("iso_code", Value::from(country.as_str()))])));
    }
    if let Some(continent) = &place.continent {
        fields.push(("continent", Value::map([("code", Value::from(continent.as_str()))])));
    }
    let subdivisions = place.subdivisions.iter().map(|part| match part {
        Subdivision::Code(code) => Value::map([("iso_code", Value::from(code.split('-').next_back().unwrap()))]),
        Subdivision::Name(name) => Value::map([("names", Value::map([("en", Value::from(name.as_str()))]))]),
    });
    let subdivisions: Vec<Value> = subdivisions.collect();
    if !subdivisions.is_empty() {
        fields.push(("subdivisions", Value::Array(subdivisions)));
    }
    fields.extend(asn.map(|asn| ("autonomous_system_number", Value::from(asn))));
    Value::map(fields)
}

/// As files for spreadsheets lay them out; numbers as text, and single floats.
fn flat(whereabouts: &Whereabouts) -> Value {
    let Whereabouts {
        coordinates,
        place,
        asn,
    } = whereabouts;
    let mut fields: Vec<(&str, Value)> = Vec::new();
    if let Some(Coordinates { latitude, longitude }) = coordinates {
        fields.push(("latitude", Value::from(*latitude as f32)));
        fields.push(("longitude", Value::from(longitude.to_string().as_str())));
    }
    let country = place.country.as_deref().unwrap_or("");
    fields.push(("country_code", Value::from(country)));
    fields.extend(
        place
            .continent
            .as_deref()
            .map(|continent| ("continent", Value::from(continent))),
    );
    for (part, [code, name]) in place
        .subdivisions
        .iter()
        .zip([["region_code", "state1"], ["subdivision_2_iso_code", "state2"]])
    {
        fields.push(match part {
            Subdivision::Code(text) => (code, Value::from(text.as_str())),
            Subdivision::Name(text) => (name, Value::from(text.as_str())),
        });
    }
    fields.extend(asn.map(|asn| ("asn", Value::from(format!("AS{asn}").as_str()))));
    Value::map(fields)
}

/// The points that everything random is at: few, and some midway between others, so that there are ties. None is at (0, 0).
pub(crate) fn points() -> impl Strategy<Value = Coordinates> {
    (select(vec![10.0, 50.0]), select(vec![-10.0, 0.0, 10.0, 170.0]))
        .prop_map(|(latitude, longitude)| Coordinates { latitude, longitude })
}

/// What a rule asks for: mostly of one key, in words that the random databases know, or nearly.
pub(crate) fn conditions() -> impl Strategy<Value = Condition> {
    let words = |words: &[&str]| {
        vec(
            select(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
            1..=2,
        )
    };
    let some = |likely: f64| prop::bool::weighted(likely);
    (
        (some(0.35), vec(networks(), 1..=2)),
        (some(0.2), vec(1..=4_u32, 1..=2)),
        (some(0.35), words(&["DE", "FR", "US"])),
        (some(0.2), words(&["DE-HE", "hesse", "US-CA", "California"])),
        (some(0.25), words(&["EU", "NA", "AS"])),
    )
        .prop_map(|(network, asn, country, subdivision, continent)| {
            fn given<T>((is_given, values): (bool, Vec<T>)) -> Vec<T> {
                if is_given { values } else { Vec::new() }
            }
            let condition = Condition {
                network: given(network.clone()),
                asn: given(asn),
                country: given(country),
                subdivision: given(subdivision),
                continent: given(continent),
            };
            // A rule without any key is none.
            match condition == Condition::default() {
                true => Condition {
                    network: network.1,
                    ..condition
                },
                false => condition,
            }
        })
}

/// Where the random networks are: a few bits differ at both ends of the address, so that they hold one another and are neighbours.
fn place_of(bits: u32, width: u8) -> u128 {
    let (top, bottom) = (u128::from(bits >> 8 & 0x0f), u128::from(bits & 0xff));
    match width {
        32 => (10 << 24) | top << 16 | bottom,
        _ => (0x2001_0db8 << 96) | top << 76 | bottom,
    }
}

/// Every address among those networks: 4096 of a family.
pub(crate) fn small_space(is_ipv4: bool) -> impl Iterator<Item = IpAddr> {
    (0..1 << 12).map(move |bits| match is_ipv4 {
        true => Ipv4Addr::from_bits(place_of(bits, 32) as u32).into(),
        false => Ipv6Addr::from_bits(place_of(bits, 128)).into(),
    })
}

/// An address among those networks, or anywhere; some carry an IPv4 one.
pub(crate) fn addresses() -> impl Strategy<Value = IpAddr> {
    let ipv4 = |bits| Ipv4Addr::from_bits(place_of(bits, 32) as u32);
    prop_oneof![
        4 => any::<u32>().prop_map(move |bits| IpAddr::V4(ipv4(bits))),
        4 => any::<u32>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(place_of(bits, 128)))),
        1 => any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

/// Networks of both families, that hold one another or are neighbours.
pub(crate) fn networks() -> impl Strategy<Value = IpNet> {
    let lengths = select(vec![0_u8, 1, 8, 12, 14, 15, 16, 18, 23, 24, 25, 26, 28, 30, 31, 32]);
    let ipv4 = (any::<u32>(), lengths).prop_map(|(bits, length)| {
        let address = Ipv4Addr::from_bits(place_of(bits, 32) as u32);
        IpNet::new(address.into(), length).unwrap().trunc()
    });
    let lengths = select(vec![
        0_u8, 3, 20, 32, 48, 50, 52, 64, 100, 120, 121, 122, 124, 126, 127, 128,
    ]);
    let ipv6 = (any::<u32>(), lengths).prop_map(|(bits, length)| {
        let address = Ipv6Addr::from_bits(place_of(bits, 128));
        IpNet::new(address.into(), length).unwrap().trunc()
    });
    prop_oneof![ipv4, ipv6]
}

fn whereabouts() -> impl Strategy<Value = Whereabouts> {
    let places = [
        (Some("DE"), vec![Subdivision::Code("DE-HE".into())], Some("EU")),
        (
            Some("DE"),
            vec![Subdivision::Name("Hesse".into()), Subdivision::Name("Odenwald".into())],
            Some("EU"),
        ),
        (Some("FR"), vec![], Some("EU")),
        (Some("US"), vec![Subdivision::Code("US-CA".into())], Some("NA")),
        (None, vec![], Some("NA")),
        (None, vec![], None),
    ];
    let place = select(places.to_vec()).prop_map(|(country, subdivisions, continent)| Place {
        country: country.map(str::to_owned),
        subdivisions,
        continent: continent.map(str::to_owned),
    });
    (
        prop::option::weighted(0.8, points()),
        place,
        prop::option::of(1..=3_u32),
    )
        .prop_map(|(coordinates, place, asn)| Whereabouts {
            coordinates,
            place,
            asn,
        })
}

fn files() -> impl Strategy<Value = File> {
    (
        any::<bool>(),
        prop::collection::btree_map(networks(), whereabouts(), 0..12),
    )
        .prop_map(|(is_flat, entries)| File { is_flat, entries })
}

/// No to two files of each kind.
pub(crate) fn atlases() -> impl Strategy<Value = Atlas> {
    (vec(files(), 0..=2), vec(files(), 0..=2)).prop_map(|(places, asns)| Atlas { places, asns })
}
