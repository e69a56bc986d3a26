//! Types whose later fields depend on earlier ones: APL, IPSECKEY, AMTRELAY and HIP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER, HEXUPPER_PERMISSIVE};

use super::RdataError;
use super::read::Reader;
use super::token::Token;
use super::value::{address, number};
use super::write::Wire;
use crate::wire::code::RecordType;

/// The bit of APL that negates an item (RFC 3123 4).
const NEGATED: u8 = 0x80;

/// The last kind of gateway or relay that there is (RFC 4025 2.3, RFC 8777 4.2.3).
pub(super) const GATEWAY_KIND_MAX: u8 = 3;

/// `[!]FAMILY:ADDRESS/PREFIX`, any number of times (RFC 3123 5).
pub(super) fn read_apl(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    for token in reader.rest_of_tokens() {
        let negated = token.raw.starts_with('!');
        let item = token.tail(usize::from(negated));
        let cut = item
            .raw
            .split_once(':')
            .and_then(|(family, rest)| Some((family, rest.rsplit_once('/')?)));
        let (family, (inner, prefix)) =
            cut.ok_or_else(|| item.fault(format!("{} is not `FAMILY:ADDRESS/PREFIX`", item.shown())))?;
        let place = Token {
            offset: item.offset + family.len() + 1,
            raw: inner,
            quoted: false,
        };
        let (family, octets, most) = match family {
            "1" => (1, address::<Ipv4Addr>(&place, RecordType::APL)?.octets().to_vec(), 32),
            "2" => (2, address::<Ipv6Addr>(&place, RecordType::APL)?.octets().to_vec(), 128),
            _ => return Err(item.fault("the family is 1 for IPv4 or 2 for IPv6")),
        };
        let prefix = number(prefix, most).ok_or_else(|| {
            place
                .tail(inner.len() + 1)
                .fault(format!("the prefix is a number from 0 to {most}"))
        })?;
        // Zero octets at the end are left out (RFC 3123 4).
        let kept = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        let octets = octets.get(..kept).unwrap_or_default();
        reader.push_number(family, 2);
        reader.push_number(prefix, 1);
        let length = u8::try_from(octets.len()).unwrap_or(0);
        reader.out.push(length | if negated { NEGATED } else { 0 });
        reader.out.extend_from_slice(octets);
    }
    Ok(())
}

pub(super) fn write_apl(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    while !wire.rest.is_empty() {
        let (family, prefix, length) = (wire.u16()?, wire.u8()?, wire.u8()?);
        let octets = wire.take(usize::from(length & !NEGATED))?;
        let (address, most) = match family {
            1 => (IpAddr::from(padded::<4>(octets)?), 32),
            2 => (IpAddr::from(padded::<16>(octets)?), 128),
            _ => return None,
        };
        if prefix > most {
            return None;
        }
        let negated = if length & NEGATED == 0 { "" } else { "!" };
        words.push(format!("{negated}{family}:{address}/{prefix}"));
    }
    Some(())
}

fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(whole)
}

/// `PRECEDENCE GATEWAYTYPE ALGORITHM GATEWAY [BASE64]` (RFC 4025 3).
pub(super) fn read_ipseckey(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    reader.code("PRECEDENCE", 1, &[])?;
    let kind = reader.number("GATEWAYTYPE", GATEWAY_KIND_MAX.into())?;
    reader.push_number(kind, 1);
    let algorithm = reader.number("ALGORITHM", u8::MAX.into())?;
    reader.push_number(algorithm, 1);
    read_gateway(reader, kind)?;
    // Algorithm 0 means that there is no key (RFC 4025 2.4).
    if algorithm != 0 {
        reader.need("the public key")?;
    }
    reader.base64_to_end()
}

pub(super) fn write_ipseckey(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let (precedence, kind, algorithm) = (wire.u8()?, wire.u8()?, wire.u8()?);
    words.extend([precedence, kind, algorithm].map(|number| number.to_string()));
    words.push(write_gateway(wire, kind)?);
    let key = wire.take_rest();
    if algorithm != 0 && key.is_empty() {
        return None;
    }
    if !key.is_empty() {
        words.push(BASE64.encode(key));
    }
    Some(())
}

/// `PRECEDENCE DISCOVERY TYPE RELAY`: the second is a bit beside the third (RFC 8777 4).
pub(super) fn read_amtrelay(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    reader.code("PRECEDENCE", 1, &[])?;
    let discovery = reader.number("DISCOVERY", 1)?;
    let kind = reader.number("TYPE", GATEWAY_KIND_MAX.into())?;
    reader.push_number(discovery << 7 | kind, 1);
    read_gateway(reader, kind)
}

pub(super) fn write_amtrelay(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let (precedence, kind) = (wire.u8()?, wire.u8()?);
    words.extend([precedence, kind >> 7, kind & 0x7f].map(|number| number.to_string()));
    words.push(write_gateway(wire, kind & 0x7f)?);
    Some(())
}

/// Nothing, an IPv4 address, an IPv6 address or a name.
fn read_gateway(reader: &mut Reader<'_>, kind: u64) -> Result<(), RdataError> {
    match kind {
        1 => reader
            .address::<Ipv4Addr>("an IPv4 address")
            .map(|address| reader.out.extend(address.octets())),
        2 => reader
            .address::<Ipv6Addr>("an IPv6 address")
            .map(|address| reader.out.extend(address.octets())),
        3 => reader.name("a name"),
        _ => {
            let token = reader.take("`.`")?;
            match token.raw {
                "." => Ok(()),
                _ => Err(token.fault(format!("{} is given, but type 0 means `.`", token.shown()))),
            }
        }
    }
}

fn write_gateway(wire: &mut Wire<'_>, kind: u8) -> Option<String> {
    match kind {
        0 => Some(".".to_owned()),
        1 => wire.array::<4>().map(|octets| Ipv4Addr::from(octets).to_string()),
        2 => wire.array::<16>().map(|octets| Ipv6Addr::from(octets).to_string()),
        3 => wire.name().map(|name| name.to_string()),
        _ => None,
    }
}

/// `ALGORITHM HIT KEY NAME...`; wire form has both lengths first (RFC 8005 5 and 6).
pub(super) fn read_hip(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let algorithm = reader.number("ALGORITHM", u8::MAX.into())?;
    let token = reader.take("HIT")?;
    let hit = HEXUPPER_PERMISSIVE.decode(token.raw.as_bytes()).ok();
    let hit = hit.filter(|hit| (1..=255).contains(&hit.len()));
    let hit = hit.ok_or_else(|| token.fault(format!("{} is not hexadecimal (HIT)", token.shown())))?;
    let token = reader.take("KEY")?;
    let key = BASE64.decode(token.raw.as_bytes()).ok();
    let key = key.filter(|key| (1..=usize::from(u16::MAX)).contains(&key.len()));
    let key = key.ok_or_else(|| token.fault(format!("{} is not base64 (KEY)", token.shown())))?;
    reader.push_number(hit.len() as u64, 1);
    reader.push_number(algorithm, 1);
    reader.push_number(key.len() as u64, 2);
    reader.out.extend(hit);
    reader.out.extend(key);
    while !reader.rest().is_empty() {
        reader.name("NAME")?;
    }
    Ok(())
}

pub(super) fn write_hip(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let (hit, algorithm, key) = (wire.u8()?, wire.u8()?, wire.u16()?);
    let hit = wire.take(hit.into()).filter(|hit| !hit.is_empty())?;
    let key = wire.take(key.into()).filter(|key| !key.is_empty())?;
    words.extend([algorithm.to_string(), HEXUPPER.encode(hit), BASE64.encode(key)]);
    while !wire.rest.is_empty() {
        words.push(wire.name()?.to_string());
    }
    Some(())
}
