//! One address looked up in the databases themselves, with the file and network that each fact comes from: for people, and to hold the map
//! against.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::Whereabouts;
use super::mmdb::{Database, Error};
use super::record::Subdivision;

/// What is known of one address.
#[derive(Debug, Clone, Default)]
pub struct Sighting {
    /// All of it.
    pub whereabouts: Whereabouts,
    /// Where the point comes from.
    pub coordinates_from: Option<Source>,
    /// Where country, subdivisions and continent come from.
    pub place_from: Option<Source>,
    /// Where the AS number comes from.
    pub asn_from: Option<Source>,
}

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The database, as it is named in the settings.
    pub file: String,
    /// The network of which it says so.
    pub network: String,
}

/// Looks an address up. Of each fact the first database that knows it is believed; points and places come from the first list, AS numbers
/// from the second.
pub fn look_up(places: &[Database], asns: &[Database], address: IpAddr) -> Result<Sighting, Error> {
    let mut sighting = Sighting::default();
    let known = &mut sighting.whereabouts;
    for database in places {
        let Some((network, whereabouts)) = database.lookup(address)? else {
            continue;
        };
        if known.coordinates.is_none() && whereabouts.coordinates.is_some() {
            known.coordinates = whereabouts.coordinates;
            sighting.coordinates_from = Some(source(database, network));
        }
        if known.place.is_unknown() && !whereabouts.place.is_unknown() {
            known.place = whereabouts.place;
            sighting.place_from = Some(source(database, network));
        }
    }
    for database in asns {
        let Some((network, whereabouts)) = database.lookup(address)? else {
            continue;
        };
        if known.asn.is_none() && whereabouts.asn.is_some() {
            known.asn = whereabouts.asn;
            sighting.asn_from = Some(source(database, network));
        }
    }
    Ok(sighting)
}

fn source(database: &Database, network: IpNet) -> Source {
    Source {
        file: database.name.clone(),
        network: network.to_string(),
    }
}

/// The same, as JSON documents have it.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Latitude and longitude, in degrees.
    pub coordinates: Option<[f64; 2]>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// ISO 3166-2 codes, or names where the database has no code.
    pub subdivisions: Vec<String>,
    /// AF AN AS EU NA OC SA.
    pub continent: Option<String>,
    /// The autonomous system number.
    pub asn: Option<u32>,
    /// Where each comes from.
    pub from: Sources,
}

/// Where facts come from.
#[derive(Debug, Clone, Serialize)]
pub struct Sources {
    /// The point.
    pub coordinates: Option<Source>,
    /// Country, subdivisions, continent.
    pub place: Option<Source>,
    /// The AS number.
    pub asn: Option<Source>,
}

impl Sighting {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.coordinates_from.is_none() && self.place_from.is_none() && self.asn_from.is_none()
    }

    /// For JSON.
    pub fn told(&self) -> Told {
        let Whereabouts {
            coordinates,
            place,
            asn,
        } = self.whereabouts.clone();
        Told {
            coordinates: coordinates.map(|at| [at.latitude, at.longitude]),
            country: place.country,
            subdivisions: place
                .subdivisions
                .iter()
                .map(Subdivision::as_str)
                .map(str::to_owned)
                .collect(),
            continent: place.continent,
            asn,
            from: Sources {
                coordinates: self.coordinates_from.clone(),
                place: self.place_from.clone(),
                asn: self.asn_from.clone(),
            },
        }
    }
}

impl Told {
    /// For people: each fact that is known, and where it comes from.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let from = |source: &Option<Source>| {
            let source = source
                .as_ref()
                .map(|source| format!(" ({}, {})", source.file, source.network));
            source.unwrap_or_default()
        };
        let mut lines = Vec::new();
        if let Some([latitude, longitude]) = self.coordinates {
            lines.push((
                "location",
                format!("{latitude:.4}, {longitude:.4}{}", from(&self.from.coordinates)),
            ));
        }
        let codes = self.country.iter().chain(&self.subdivisions).chain(&self.continent);
        let codes: Vec<&str> = codes.map(String::as_str).collect();
        if !codes.is_empty() {
            lines.push(("place", format!("{}{}", codes.join(", "), from(&self.from.place))));
        }
        if let Some(asn) = self.asn {
            lines.push(("asn", format!("AS{asn}{}", from(&self.from.asn))));
        }
        lines
    }
}
