//! Where things and clients are: points on the Earth, and networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::steering::Point;
use super::value::Value;
use super::{At, Faults};

/// Where something is: a point, or the name of one in `[locations]`.
#[derive(Debug, Clone, PartialEq)]
pub enum LocationSpec {
    /// A point.
    Point(Point),
    /// A name.
    Named(At<String>),
}

/// Reads a location: a point or a name.
pub fn location(value: Value<'_>, faults: &mut Faults) -> Option<LocationSpec> {
    match value.as_str() {
        Some(name) => Some(LocationSpec::Named(At::new(name.to_owned(), value.span()))),
        None => point(value, faults).map(LocationSpec::Point),
    }
}

/// Reads `[latitude, longitude]`.
pub fn point(value: Value<'_>, faults: &mut Faults) -> Option<Point> {
    let form = || Some("write [latitude, longitude] in degrees, as in [50.11, 8.68]".to_owned());
    let Some(list) = value.as_array() else {
        value.expected_hint("a location", form(), faults);
        return None;
    };
    let [latitude, longitude] = list.as_slice() else {
        let message = format!("a location is two numbers, not {}", list.len());
        faults.error_hint(&value.span(), message, form());
        return None;
    };
    let latitude = latitude.number("a latitude", -90.0..=90.0, faults);
    let longitude = longitude.number("a longitude", -180.0..=180.0, faults);
    let point = [latitude?, longitude?];
    if point == [0.0, 0.0] {
        let hint = "databases write (0, 0) for a place that they do not know".to_owned();
        faults.error_hint(&value.span(), "(0, 0) is nobody's location", hint);
        return None;
    }
    Some(point)
}

/// Reads a list of networks, or one.
pub fn networks(value: Value<'_>, faults: &mut Faults) -> Vec<IpNet> {
    let written = value.strings(faults);
    written.iter().filter_map(|written| network(written, faults)).collect()
}

/// Reads a network: an address is one of its own.
pub fn network(written: &At<String>, faults: &mut Faults) -> Option<IpNet> {
    let text = &written.value;
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        faults.error_hint(
            &written.span,
            format!("\"{text}\" is not a network"),
            "write an address and the length of its prefix, as in \"203.0.113.0/24\"".to_owned(),
        );
        return None;
    };
    if network.trunc() != network {
        faults.error_hint(
            &written.span,
            format!("\"{text}\" has bits set beyond its prefix"),
            format!("the network is \"{}\"", network.trunc()),
        );
        return None;
    }
    Some(network)
}

/// Whether a text is meant as a network and not as the name of some.
pub fn looks_like_network(text: &str) -> bool {
    text.contains(['/', ':']) || text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.')
}
