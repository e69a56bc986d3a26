//! Types that nobody uses any more and old master files have: WKS, A6 and NXT.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::RdataError;
use super::form::Mnemonics;
use super::read::Reader;
use super::value::{number, record_type};
use super::write::Wire;
use crate::wire::code::RecordType;

/// Protocols (RFC 1010).
const PROTOCOL: Mnemonics = &[("ICMP", 1), ("TCP", 6), ("UDP", 17)];

/// Services by the names that RFC 1010 and the files of old have for them; all others are numbers.
const SERVICE: Mnemonics = &[
    ("ECHO", 7),
    ("DISCARD", 9),
    ("SYSTAT", 11),
    ("USERS", 11),
    ("DAYTIME", 13),
    ("NETSTAT", 15),
    ("QOTD", 17),
    ("QUOTE", 17),
    ("CHARGEN", 19),
    ("FTP-DATA", 20),
    ("FTP", 21),
    ("SSH", 22),
    ("TELNET", 23),
    ("SMTP", 25),
    ("TIME", 37),
    ("RLP", 39),
    ("NAMESERVER", 42),
    ("NICNAME", 43),
    ("WHOIS", 43),
    ("DOMAIN", 53),
    ("BOOTPS", 67),
    ("BOOTPC", 68),
    ("TFTP", 69),
    ("GOPHER", 70),
    ("FINGER", 79),
    ("HTTP", 80),
    ("KERBEROS", 88),
    ("HOSTNAME", 101),
    ("HOSTNAMES", 101),
    ("POP2", 109),
    ("POP3", 110),
    ("SUNRPC", 111),
    ("AUTH", 113),
    ("SFTP", 115),
    ("UUCP-PATH", 117),
    ("NNTP", 119),
    ("NTP", 123),
    ("NETBIOS-NS", 137),
    ("NETBIOS-DGM", 138),
    ("NETBIOS-SSN", 139),
    ("IMAP", 143),
    ("IMAP2", 143),
    ("SNMP", 161),
    ("LDAP", 389),
    ("HTTPS", 443),
    ("LPR", 515),
    ("PRINTER", 515),
];

/// A prefix of all bits leaves none of the address to an A6 record (RFC 2874 3.1).
const ADDRESS_BITS: u8 = 128;

/// `ADDRESS PROTOCOL SERVICE...`: one bit for each port (RFC 1035 3.4.2).
pub(super) fn read_wks(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let address = reader.address::<Ipv4Addr>("ADDRESS")?;
    reader.out.extend(address.octets());
    reader.code("PROTOCOL", 1, PROTOCOL)?;
    let mut bits = Vec::new();
    for token in reader.rest_of_tokens() {
        let named = SERVICE.iter().find(|(name, _)| name.eq_ignore_ascii_case(token.raw));
        let port = match named {
            Some((_, port)) => Some(u64::from(*port)),
            None => number(token.raw, u16::MAX.into()),
        };
        let port = port.and_then(|port| usize::try_from(port).ok()).ok_or_else(|| {
            let fault = token.fault(format!("{} is not a service", token.shown()));
            fault.hint("write the number of its port")
        })?;
        set(&mut bits, port);
    }
    reader.out.extend(bits);
    Ok(())
}

pub(super) fn write_wks(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    words.push(Ipv4Addr::from(wire.array::<4>()?).to_string());
    words.push(wire.u8()?.to_string());
    words.extend(bits_of(wire.take_rest()).map(|port| port.to_string()));
    Some(())
}

/// `PREFIX [ADDRESS] [NAME]`: the bits of the address behind the prefix, and the name that has those of the prefix
/// (RFC 2874 3.1 and 3.2).
pub(super) fn read_a6(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let prefix = reader.number("PREFIX", ADDRESS_BITS.into())?;
    let prefix = u8::try_from(prefix).unwrap_or(ADDRESS_BITS);
    reader.out.push(prefix);
    // Where nothing is left of the address it may be missing.
    let given = reader
        .rest()
        .first()
        .is_some_and(|token| token.raw.parse::<Ipv6Addr>().is_ok());
    if prefix < ADDRESS_BITS || given {
        let bits = u128::from(reader.address::<Ipv6Addr>("ADDRESS")?);
        let kept = bits & u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let octets = kept.to_be_bytes();
        reader
            .out
            .extend(octets.get(usize::from(prefix / 8)..).unwrap_or_default());
    }
    match prefix {
        0 => Ok(()),
        _ => reader.name("NAME"),
    }
}

pub(super) fn write_a6(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    let prefix = wire.u8().filter(|prefix| *prefix <= ADDRESS_BITS)?;
    words.push(prefix.to_string());
    let mut octets = [0; 16];
    let suffix = octets.get_mut(usize::from(prefix / 8)..)?;
    suffix.copy_from_slice(wire.take(suffix.len())?);
    if prefix < ADDRESS_BITS {
        words.push(Ipv6Addr::from(octets).to_string());
    }
    if prefix > 0 {
        words.push(wire.name()?.to_string());
    }
    Some(())
}

/// `NEXT TYPE...`: one bit for each type up to 127 (RFC 2535 5.2).
pub(super) fn read_nxt(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    reader.name("NEXT")?;
    let mut bits = Vec::new();
    for token in reader.rest_of_tokens() {
        let rtype = record_type(&token)?;
        if !(1..=127).contains(&rtype.0) {
            return Err(token
                .fault("NXT holds types from 1 to 127")
                .hint("of others NSEC can tell"));
        }
        set(&mut bits, rtype.0.into());
    }
    reader.out.extend(bits);
    Ok(())
}

pub(super) fn write_nxt(wire: &mut Wire<'_>, words: &mut Vec<String>) -> Option<()> {
    words.push(wire.name()?.to_string());
    let types = bits_of(wire.take_rest()).map(|bit| u16::try_from(bit).ok().filter(|bit| (1..=127).contains(bit)));
    for rtype in types {
        words.push(RecordType(rtype?).to_string());
    }
    Some(())
}

/// Sets the n-th bit, counted from the highest of the first octet.
fn set(bits: &mut Vec<u8>, bit: usize) {
    let at = bit / 8;
    if bits.len() <= at {
        bits.resize(at + 1, 0);
    }
    if let Some(octet) = bits.get_mut(at) {
        *octet |= 0x80 >> (bit % 8);
    }
}

/// The bits that are set.
fn bits_of(octets: &[u8]) -> impl Iterator<Item = usize> {
    let bits = octets.iter().enumerate().flat_map(|(at, octet)| {
        (0..8)
            .filter(move |bit| octet & (0x80 >> bit) != 0)
            .map(move |bit| at * 8 + bit)
    });
    // A bitmap of ports has no more than these.
    bits.take(1 << 16)
}
