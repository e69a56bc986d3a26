//! EDNS (RFC 6891): the OPT record of a query and of a response, with the options that mean something to us.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::code::{Rcode, RecordType};
use super::cookie;

/// The largest datagram that is sent, and so what is offered: it crosses every path unfragmented (DNS flag day 2020).
pub const UDP_SIZE: u16 = 1232;

/// What a datagram holds for a client that says nothing else (RFC 1035 4.2.1).
pub const UDP_SIZE_PLAIN: u16 = 512;

/// The octets of an OPT record without options.
pub const OPT_LENGTH: usize = 11;

const NSID: u16 = 3;
/// The option of the client subnet (RFC 7871).
pub const CLIENT_SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const EXTENDED_ERROR: u16 = 15;

/// The OPT record of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram the client takes, as it says.
    pub udp_size: u16,
    /// The version it speaks.
    pub version: u8,
    /// DNSSEC OK: sent back as it came (RFC 3225 3).
    pub dnssec_ok: bool,
    /// Whether the server's identifier is asked for (RFC 5001).
    pub nsid: bool,
    /// The subnet of the client asked for (RFC 7871).
    pub subnet: Option<Subnet>,
    /// Whether it holds a client subnet that is not one. It matters only to a server that reads them.
    pub bad_subnet: bool,
    /// Where its cookie stands (RFC 7873).
    pub cookie: Option<cookie::Place>,
    /// Whether it holds a cookie that is none. It matters only to a server that reads them.
    pub bad_cookie: bool,
    /// Whether it asks how long its connection may be idle (RFC 7828).
    pub keepalive: Keepalive,
}

impl Edns {
    /// What stands before the options.
    pub fn without_options(class: u16, ttl: u32) -> Self {
        let [_, version, flags, _] = ttl.to_be_bytes();
        Self {
            udp_size: class,
            version,
            dnssec_ok: flags & 0x80 != 0,
            nsid: false,
            subnet: None,
            bad_subnet: false,
            cookie: None,
            bad_cookie: false,
            keepalive: Keepalive::Absent,
        }
    }
}

/// What a query says of the time that its connection may be idle (RFC 7828). It means something over TCP only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// Nothing.
    Absent,
    /// It asks.
    Asked,
    /// It states a time, which only a server may (RFC 7828 3.2.1).
    Stated,
}

/// A client subnet option (RFC 7871 6), checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// 1 is IPv4, 2 is IPv6; 0 only with a source prefix length of 0.
    pub family: u16,
    /// How many bits of the address are given.
    pub source: u8,
    /// The address, zero from bit `source` on.
    address: [u8; 16],
}

impl Subnet {
    /// The address, zero-extended; `None` when nothing of it was given.
    pub fn client(&self) -> Option<IpAddr> {
        if self.source == 0 {
            return None;
        }
        let [a, b, c, d, ..] = self.address;
        Some(match self.family {
            1 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(self.address)),
        })
    }

    /// The octets of the address that are sent.
    fn octets(&self) -> &[u8] {
        self.address
            .get(..usize::from(self.source).div_ceil(8))
            .unwrap_or_default()
    }
}

/// Reads an OPT record, whose data stands at an offset of the message. `Err` holds what could be read of one whose options are cut off.
pub fn read(class: u16, ttl: u32, rdata: &[u8], rdata_at: usize) -> Result<Edns, Edns> {
    let mut edns = Edns::without_options(class, ttl);
    let mut rest = rdata;
    while !rest.is_empty() {
        let Some(([c1, c0, l1, l0], after)) = rest.split_first_chunk::<4>() else {
            return Err(edns);
        };
        let Some((data, next)) = after.split_at_checked(usize::from(u16::from_be_bytes([*l1, *l0]))) else {
            return Err(edns);
        };
        match u16::from_be_bytes([*c1, *c0]) {
            NSID => edns.nsid = true,
            CLIENT_SUBNET => match subnet(data) {
                Some(subnet) if edns.subnet.is_none() => edns.subnet = Some(subnet),
                _ => edns.bad_subnet = true,
            },
            // RFC 7873 5.2: of several, the first counts.
            COOKIE if edns.cookie.is_none() && !edns.bad_cookie => {
                edns.cookie = cookie::Place::new(rdata_at + rdata.len() - after.len(), data.len());
                edns.bad_cookie |= edns.cookie.is_none();
            }
            KEEPALIVE if data.is_empty() && edns.keepalive == Keepalive::Absent => edns.keepalive = Keepalive::Asked,
            KEEPALIVE if !data.is_empty() => edns.keepalive = Keepalive::Stated,
            _ => {} // RFC 6891 6.1.2: unknown options are ignored.
        }
        rest = next;
    }
    Ok(edns)
}

/// RFC 7871 6: as many octets as the source prefix length needs, zero after it; the scope prefix length is 0 in queries.
fn subnet(data: &[u8]) -> Option<Subnet> {
    let ([f1, f0, source, scope], octets) = data.split_first_chunk::<4>()?;
    let family = u16::from_be_bytes([*f1, *f0]);
    let longest = match family {
        0 => 0, // "No subnet": what some clients send for a source prefix length of 0.
        1 => 32,
        2 => 128,
        _ => return None,
    };
    if *source > longest || *scope != 0 || octets.len() != usize::from(*source).div_ceil(8) {
        return None;
    }
    if let (Some(last), used @ 1..) = (octets.last(), source % 8)
        && last << used != 0
    {
        return None;
    }
    let mut address = [0; 16];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(Subnet {
        family,
        source: *source,
        address,
    })
}

/// What the OPT record of a response says.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its upper bits stand here.
    pub rcode: Rcode,
    /// As the query had it.
    pub dnssec_ok: bool,
    /// Sent back with the scope prefix length.
    pub subnet: Option<(Subnet, u8)>,
    /// The server's identifier, if it was asked for and there is one.
    pub nsid: &'a [u8],
    /// The client's cookie and the server's.
    pub cookie: Option<&'a [u8; cookie::LENGTH]>,
    /// How long the connection may be idle, in units of 100 ms; 0 if nothing is said of it.
    pub keepalive: u16,
    /// An extended error and its text (RFC 8914).
    pub error: Option<(u16, &'a str)>,
}

impl Reply<'_> {
    /// The octets it takes.
    pub fn length(&self) -> usize {
        let subnet = self.subnet.map_or(0, |(subnet, _)| 8 + subnet.octets().len());
        let nsid = if self.nsid.is_empty() { 0 } else { 4 + self.nsid.len() };
        let error = self.error.map_or(0, |(_, text)| 6 + text.len());
        let cookie = self.cookie.map_or(0, |cookie| 4 + cookie.len());
        let keepalive = if self.keepalive == 0 { 0 } else { 6 };
        OPT_LENGTH + subnet + nsid + cookie + keepalive + error
    }

    /// Writes it at the start of `octets`, which has room for [`Reply::length`]; returns the octets written, 0 if there is no room.
    pub fn write(&self, octets: &mut [u8]) -> usize {
        let mut out = Out { octets, at: 0 };
        match self.write_to(&mut out) {
            Some(()) => out.at,
            None => 0,
        }
    }

    fn write_to(&self, out: &mut Out<'_>) -> Option<()> {
        let [upper, _] = (self.rcode.0 << 4).to_be_bytes();
        let rdata = u16::try_from(self.length() - OPT_LENGTH).ok()?;
        let [r1, r0] = rdata.to_be_bytes();
        let [t1, t0] = RecordType::OPT.0.to_be_bytes();
        let [s1, s0] = UDP_SIZE.to_be_bytes();
        out.put(&[
            0,
            t1,
            t0,
            s1,
            s0,
            upper,
            0,
            if self.dnssec_ok { 0x80 } else { 0 },
            0,
            r1,
            r0,
        ])?;
        if let Some((subnet, scope)) = self.subnet {
            let octets = subnet.octets();
            out.option(CLIENT_SUBNET, 4 + octets.len())?;
            let [f1, f0] = subnet.family.to_be_bytes();
            out.put(&[f1, f0, subnet.source, scope])?;
            out.put(octets)?;
        }
        if !self.nsid.is_empty() {
            out.option(NSID, self.nsid.len())?;
            out.put(self.nsid)?;
        }
        if let Some(cookie) = self.cookie {
            out.option(COOKIE, cookie.len())?;
            out.put(cookie)?;
        }
        if self.keepalive > 0 {
            out.option(KEEPALIVE, 2)?;
            out.put(&self.keepalive.to_be_bytes())?;
        }
        if let Some((code, text)) = self.error {
            out.option(EXTENDED_ERROR, 2 + text.len())?;
            out.put(&code.to_be_bytes())?;
            out.put(text.as_bytes())?;
        }
        Some(())
    }
}

struct Out<'a> {
    octets: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    #[inline]
    fn put(&mut self, part: &[u8]) -> Option<()> {
        self.octets
            .get_mut(self.at..self.at + part.len())?
            .copy_from_slice(part);
        self.at += part.len();
        Some(())
    }

    fn option(&mut self, code: u16, length: usize) -> Option<()> {
        self.put(&code.to_be_bytes())?;
        self.put(&u16::try_from(length).ok()?.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_returns_a_client_subnet() {
        let option = [0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
        let edns = read(4096, 0x8000, &option, 0).unwrap();
        let subnet = edns.subnet.unwrap();
        assert!(edns.dnssec_ok && !edns.bad_subnet);
        assert_eq!(subnet.client(), Some("192.0.2.0".parse().unwrap()));
        let reply = Reply {
            rcode: Rcode::BADVERS,
            dnssec_ok: true,
            subnet: Some((subnet, 20)),
            nsid: b"",
            cookie: None,
            keepalive: 0,
            error: None,
        };
        let mut octets = [0; 64];
        assert_eq!(reply.write(&mut octets), reply.length());
        assert_eq!(
            octets[..22],
            [
                0, 0, 41, 4, 208, 1, 0, 0x80, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 20, 192, 0, 2
            ]
        );
        assert_eq!(reply.write(&mut octets[..21]), 0);
    }

    #[test]
    fn knows_a_bad_client_subnet() {
        let bad: [&[u8]; 8] = [
            &[],
            &[0, 1, 24],
            &[0, 1, 24, 0, 192, 0],          // too few octets
            &[0, 1, 24, 0, 192, 0, 2, 0],    // too many
            &[0, 1, 33, 0, 192, 0, 2, 1, 0], // longer than an address
            &[0, 1, 20, 0, 192, 0, 0x2f],    // bits after the prefix
            &[0, 1, 24, 24, 192, 0, 2],      // a scope in a query
            &[0, 3, 0, 0],                   // no such family
        ];
        for data in bad {
            assert_eq!(subnet(data), None, "{data:?}");
        }
        assert!(subnet(&[0, 0, 0, 0]).is_some() && subnet(&[0, 1, 0, 0]).is_some());
        assert_eq!(subnet(&[0, 2, 0, 0]).unwrap().client(), None);
    }
}
