//! Service parameters of SVCB and HTTPS records (RFC 9460 2.1 and 2.2, and its appendix A).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::RdataError;
use super::read::Reader;
use super::token::{Token, quote};
use super::value::{address, number};
use super::write::Wire;
use crate::diagnostic::nearest_word;
use crate::wire::code::RecordType;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;
const TLS_SUPPORTED_GROUPS: u16 = 9;
const DOCPATH: u16 = 10;
const PVD: u16 = 11;
/// Reserved as an invalid key (RFC 9460 14.3.2).
const INVALID: u16 = 65_535;

/// The keys of IANA's registry.
const KEYS: &[(&str, u16)] = &[
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
    ("tls-supported-groups", TLS_SUPPORTED_GROUPS),
    ("docpath", DOCPATH),
    ("pvd", PVD),
];

type Params = BTreeMap<u16, Vec<u8>>;

/// Reads what is left as parameters, in any order; wire form has them in that of their keys.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let tokens = reader.rest_of_tokens();
    let Some(first) = tokens.first() else { return Ok(()) };
    let is_alias = reader.out.starts_with(&[0, 0]);
    let mut params = Params::new();
    let mut places = BTreeMap::new();
    for token in &tokens {
        let (key, value) = read_param(token)?;
        if params.insert(key, value).is_some() {
            return Err(token.fault(format!("`{}` is given twice", key_name(key))));
        }
        places.insert(key, token);
    }
    if let Some((key, message)) = fault(&params, is_alias) {
        return Err(places.get(&key).unwrap_or(&first).fault(message));
    }
    for (key, value) in params {
        let length = u16::try_from(value.len()).map_err(|_| {
            places
                .get(&key)
                .unwrap_or(&first)
                .fault("the value has more than 65535 octets")
        })?;
        reader.push_number(key.into(), 2);
        reader.push_number(length.into(), 2);
        reader.out.extend(value);
    }
    Ok(())
}

/// `KEY`, `KEY=VALUE` or `KEY="VALUE"`.
fn read_param(token: &Token<'_>) -> Result<(u16, Vec<u8>), RdataError> {
    let (name, value) = match token.raw.find('=') {
        Some(equals) => (token.raw.get(..equals).unwrap_or_default(), token.tail(equals + 1)),
        None => (token.raw, token.tail(token.raw.len())),
    };
    let inner = value.raw.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    let value = inner.map_or(value, |raw| Token {
        offset: value.offset + 1,
        raw,
        quoted: true,
    });
    let octets = value.octets()?;
    let key = read_key(name).ok_or_else(|| {
        let fault = token.fault(format!("`{name}` is not a key of a service parameter"));
        match nearest_word(name, KEYS.iter().map(|(known, _)| *known)) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("any key can be written by its number, as `key667=value`"),
        }
    })?;
    // By its number a key takes its wire form, octet by octet (RFC 9460 2.1).
    let value = if key_name(key) == name {
        read_value(key, &value, octets)?
    } else {
        octets
    };
    match value_fault(key, &value) {
        Some(message) => Err(token.fault(format!("`{name}` {message}"))),
        None => Ok((key, value)),
    }
}

fn read_key(name: &str) -> Option<u16> {
    let known = KEYS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key);
    known.or_else(|| {
        let digits = name
            .strip_prefix("key")
            .filter(|digits| *digits == "0" || !digits.starts_with('0'))?;
        number(digits, INVALID.into()).and_then(|key| u16::try_from(key).ok())
    })
}

fn key_name(key: u16) -> String {
    match KEYS.iter().find(|(_, known)| *known == key) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("key{key}"),
    }
}

/// The wire form of a value written the way of its key.
fn read_value(key: u16, token: &Token<'_>, octets: Vec<u8>) -> Result<Vec<u8>, RdataError> {
    // Items of lists that hold no commas of their own; with escapes in them their places are only near.
    let text = String::from_utf8(octets.clone()).unwrap_or_default();
    let items = || {
        let places = text.split(',').scan(token.offset, |offset, raw| {
            let item = Token {
                offset: *offset,
                raw,
                quoted: false,
            };
            *offset += raw.len() + 1;
            Some(item)
        });
        places.filter(|_| !text.is_empty())
    };
    let mut wire = Vec::new();
    match key {
        MANDATORY => {
            let key = |item: Token<'_>| {
                read_key(item.raw)
                    .ok_or_else(|| item.fault(format!("{} is not a key of a service parameter", item.shown())))
            };
            let mut keys = items().map(key).collect::<Result<Vec<_>, _>>()?;
            keys.sort_unstable();
            wire.extend(keys.into_iter().flat_map(u16::to_be_bytes));
        }
        ALPN | DOCPATH => {
            for item in list(&octets) {
                let length = u8::try_from(item.len()).map_err(|_| token.fault("an item has more than 255 octets"))?;
                wire.push(length);
                wire.extend(item);
            }
        }
        PORT | TLS_SUPPORTED_GROUPS => {
            for item in items() {
                let number = number(item.raw, u16::MAX.into()).and_then(|number| u16::try_from(number).ok());
                let number =
                    number.ok_or_else(|| item.fault(format!("{} is not a number from 0 to 65535", item.shown())))?;
                wire.extend(number.to_be_bytes());
            }
        }
        IPV4HINT => {
            for item in items() {
                wire.extend(address::<Ipv4Addr>(&item, RecordType::SVCB)?.octets());
            }
        }
        IPV6HINT => {
            for item in items() {
                wire.extend(address::<Ipv6Addr>(&item, RecordType::SVCB)?.octets());
            }
        }
        ECH => {
            wire = BASE64
                .decode(&octets)
                .map_err(|_| token.fault(format!("{} is not base64", token.shown())))?
        }
        _ => wire = octets,
    }
    Ok(wire)
}

/// The items of a list whose commas and backslashes may be escaped (RFC 9460 A.1).
fn list(octets: &[u8]) -> Vec<Vec<u8>> {
    if octets.is_empty() {
        return Vec::new();
    }
    let mut items = Vec::new();
    let mut item = Vec::new();
    let mut rest = octets.iter().copied();
    while let Some(octet) = rest.next() {
        match octet {
            b',' => items.push(std::mem::take(&mut item)),
            b'\\' => item.extend(rest.next()),
            _ => item.push(octet),
        }
    }
    items.push(item);
    items
}

/// What is wrong with the wire form of a value, said after its key.
fn value_fault(key: u16, value: &[u8]) -> Option<&'static str> {
    let numbers = || value.chunks(2);
    match key {
        MANDATORY if value.is_empty() => Some("needs at least one key"),
        MANDATORY if !value.len().is_multiple_of(2) => Some("is a list of keys of two octets"),
        MANDATORY if numbers().any(|key| key == [0, 0]) => Some("does not list itself (RFC 9460 8)"),
        MANDATORY if !numbers().is_sorted_by(|a, b| a < b) => Some("lists every key once (RFC 9460 8)"),
        ALPN if value.is_empty() => Some("needs at least one protocol, as in `alpn=h2`"),
        ALPN | DOCPATH => strings(value)
            .is_none()
            .then_some("is a list of strings of 1 to 255 octets"),
        NO_DEFAULT_ALPN | OHTTP | PVD if !value.is_empty() => Some("takes no value"),
        PORT if value.len() != 2 => Some("needs one port, as in `port=8443`"),
        IPV4HINT if value.is_empty() || !value.len().is_multiple_of(4) => Some("needs IPv4 addresses"),
        IPV6HINT if value.is_empty() || !value.len().is_multiple_of(16) => Some("needs IPv6 addresses"),
        ECH if value.is_empty() => Some("needs a value in base64"),
        DOHPATH if value.is_empty() || std::str::from_utf8(value).is_err() => Some("needs a URI template in UTF-8"),
        TLS_SUPPORTED_GROUPS if value.is_empty() || !value.len().is_multiple_of(2) => Some("needs numbers of groups"),
        TLS_SUPPORTED_GROUPS
            if numbers()
                .enumerate()
                .any(|(at, group)| numbers().take(at).any(|other| other == group)) =>
        {
            Some("has every group once")
        }
        INVALID => Some("is reserved (RFC 9460 14.3.2)"),
        _ => None,
    }
}

/// What is wrong with parameters that are each right: a key, and what to say of it. Those of an alias are ignored by all who read them
/// (RFC 9460 2.4.2): there `no-default-alpn` may stand alone.
fn fault(params: &Params, is_alias: bool) -> Option<(u16, String)> {
    let mandatory = params.get(&MANDATORY).map(Vec::as_slice).unwrap_or_default();
    let mut keys = mandatory
        .chunks(2)
        .filter_map(|key| key.try_into().ok().map(u16::from_be_bytes));
    if let Some(missing) = keys.find(|key| !params.contains_key(key)) {
        return Some((
            MANDATORY,
            format!(
                "`mandatory` lists `{}`, which is not given (RFC 9460 8)",
                key_name(missing)
            ),
        ));
    }
    let alone = params.contains_key(&NO_DEFAULT_ALPN) && !params.contains_key(&ALPN) && !is_alias;
    alone.then(|| {
        (
            NO_DEFAULT_ALPN,
            "`no-default-alpn` needs `alpn` beside it (RFC 9460 7.1.1)".to_owned(),
        )
    })
}

/// Strings that are each counted by an octet and are not empty.
fn strings(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut wire = Wire { rest: value };
    let mut strings = Vec::new();
    while !wire.rest.is_empty() {
        strings.push(wire.counted().filter(|string| !string.is_empty())?);
    }
    Some(strings)
}

/// Writes parameters; `None` if they are not in the order of their keys, or wrong in themselves or together.
pub(super) fn write(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let mut params = Params::new();
    while !wire.rest.is_empty() {
        let (key, length) = (wire.u16()?, wire.u16()?);
        let value = wire.take(length.into())?;
        let ascending = params.last_key_value().is_none_or(|(last, _)| *last < key);
        if !ascending || value_fault(key, value).is_some() {
            return None;
        }
        params.insert(key, value.to_vec());
    }
    // The words before are the priority and the target.
    let is_alias = words.first().is_some_and(|priority| priority == "0");
    if fault(&params, is_alias).is_some() {
        return None;
    }
    for (key, value) in &params {
        let text = write_value(*key, value)?;
        words.push(if text.is_empty() {
            key_name(*key)
        } else {
            format!("{}={text}", key_name(*key))
        });
    }
    Some(())
}

fn write_value(key: u16, value: &[u8]) -> Option<String> {
    let numbers = || {
        value
            .chunks(2)
            .filter_map(|number| number.try_into().ok().map(u16::from_be_bytes))
    };
    let joined = |items: Vec<String>| Some(items.join(","));
    match key {
        MANDATORY => joined(numbers().map(key_name).collect()),
        ALPN | DOCPATH => {
            let escaped = |item: &[u8]| {
                item.iter().fold(Vec::new(), |mut escaped, octet| {
                    if matches!(octet, b',' | b'\\') {
                        escaped.push(b'\\');
                    }
                    escaped.push(*octet);
                    escaped
                })
            };
            let items: Vec<Vec<u8>> = strings(value)?.into_iter().map(escaped).collect();
            Some(if items.is_empty() {
                String::new()
            } else {
                quote(&items.join(&b','))
            })
        }
        PORT | TLS_SUPPORTED_GROUPS => joined(numbers().map(|number| number.to_string()).collect()),
        IPV4HINT => joined(
            value
                .chunks(4)
                .filter_map(|octets| <[u8; 4]>::try_from(octets).ok())
                .map(|a| Ipv4Addr::from(a).to_string())
                .collect(),
        ),
        IPV6HINT => joined(
            value
                .chunks(16)
                .filter_map(|octets| <[u8; 16]>::try_from(octets).ok())
                .map(|a| Ipv6Addr::from(a).to_string())
                .collect(),
        ),
        ECH => Some(BASE64.encode(value)),
        _ if value.is_empty() => Some(String::new()),
        _ => Some(quote(value)),
    }
}
