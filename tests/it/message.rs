//! A small, strict decoder of DNS messages: the first opinion on every response. hickory-proto gives the second.
//!
//! It shares no code with what it judges. Pointers must point backwards, counts must be exact, nothing may follow the last
//! record, and the records of one set must agree on their TTL (RFC 2181 5.2) and differ in their data.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The types in whose data names may be compressed (RFC 3597 4).
const NS: u16 = 2;
const SOA: u16 = 6;
const MINFO: u16 = 14;
const MX: u16 = 15;
const COMPRESSIBLE: [u16; 11] = [NS, 3, 4, 5, SOA, 7, 8, 9, 12, MINFO, MX];

const OPT: u16 = 41;

/// A message, taken apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) id: u16,
    /// The second 16 bits of the header.
    pub(crate) flags: u16,
    /// With the upper bits of the OPT record.
    pub(crate) rcode: u16,
    /// The octets of the question section, as they stand.
    pub(crate) questions: Vec<u8>,
    pub(crate) question_count: u16,
    /// Answer, authority, additional without OPT.
    pub(crate) sections: [Vec<Record>; 3],
    pub(crate) opt: Option<Opt>,
}

/// A resource record. Names are in lower case and uncompressed, in the data of compressible types too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<u8>,
}

/// An OPT record (RFC 6891 6.1.2).
#[derive(Debug, Clone)]
pub(crate) struct Opt {
    pub(crate) udp: u16,
    pub(crate) version: u8,
    pub(crate) flags: u16,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

/// The flags of a header, in the order that cases write them.
pub(crate) const FLAGS: [(&str, u16); 7] = [
    ("qr", 0x8000),
    ("aa", 0x0400),
    ("tc", 0x0200),
    ("rd", 0x0100),
    ("ra", 0x0080),
    ("ad", 0x0020),
    ("cd", 0x0010),
];

const RCODES: [(&str, u16); 10] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("NOTAUTH", 9),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

/// Takes a message apart, or says what is wrong with it.
pub(crate) fn decode(octets: &[u8]) -> Result<Message, String> {
    let message = decode_any(octets)?;
    for records in &message.sections {
        agree(records)?;
    }
    Ok(message)
}

/// The same, and the records of a section may repeat or contradict one another.
pub(crate) fn decode_any(octets: &[u8]) -> Result<Message, String> {
    let mut reader = Reader { octets, at: 0 };
    let mut message = Message {
        id: reader.u16()?,
        flags: reader.u16()?,
        ..Message::default()
    };
    message.rcode = message.flags & 0xf;
    if message.flags & 0x0040 != 0 {
        return Err("the Z bit of the header is set (RFC 1035 4.1.1)".into());
    }
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    message.question_count = counts[0];
    let start = reader.at;
    for _ in 0..counts[0] {
        reader.name()?;
        reader.take(4)?;
    }
    message.questions = octets[start..reader.at].to_vec();
    for (section, count) in counts[1..].iter().enumerate() {
        for _ in 0..*count {
            let record = reader.record()?;
            if record.rtype != OPT {
                message.sections[section].push(record);
                continue;
            }
            if section != 2 || record.owner != [0] || message.opt.is_some() {
                return Err(
                    "an OPT record that is not one, at the root, in the additional section (RFC 6891 6.1.1)".into(),
                );
            }
            message.rcode |= u16::try_from(record.ttl >> 24).unwrap() << 4;
            message.opt = Some(opt(&record)?);
        }
    }
    if reader.at != octets.len() {
        return Err(format!("{} octets follow the last record", octets.len() - reader.at));
    }
    Ok(message)
}

/// The data of a record as it is compared: names of compressible types uncompressed and in lower case.
pub(crate) fn canonical_rdata(rtype: u16, uncompressed: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Reader {
        octets: uncompressed,
        at: 0,
    };
    reader.rdata(rtype, uncompressed.len())
}

/// The mnemonic of a response code.
pub(crate) fn rcode_name(rcode: u16) -> String {
    RCODES
        .iter()
        .find(|(_, number)| *number == rcode)
        .map_or_else(|| format!("RCODE{rcode}"), |(name, _)| (*name).into())
}

/// The flags set, each by its name with a space before it.
pub(crate) fn flag_names(flags: u16) -> String {
    FLAGS
        .iter()
        .filter(|(_, bit)| flags & bit != 0)
        .fold(String::new(), |text, (name, _)| text + " " + name)
}

/// The EDNS part of a response in the words of the cases.
pub(crate) fn edns_words(opt: &Opt) -> Vec<String> {
    let mut words = vec![format!("udp={}", opt.udp), format!("version={}", opt.version)];
    if opt.flags & 0x8000 != 0 {
        words.push("do".into());
    }
    if opt.flags & 0x7fff != 0 {
        words.push(format!("flags={:04x}", opt.flags & 0x7fff));
    }
    words.extend(opt.options.iter().map(|(code, data)| match (code, data.as_slice()) {
        (8, [0, family, source, scope, address @ ..]) => {
            subnet(*family, *source, *scope, address).unwrap_or_else(|| format!("option=8:{}", hex(data)))
        }
        (15, [high, low, ..]) => format!("ede={}", u16::from_be_bytes([*high, *low])),
        (3, data) => format!("nsid={}", hex(data)),
        (code, data) => format!("option={code}:{}", hex(data)),
    }));
    words
}

/// Octets as hexadecimal digits.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// A client subnet as `address/source/scope`; `None` if the address is not of the length that the source needs (RFC 7871 6).
fn subnet(family: u8, source: u8, scope: u8, address: &[u8]) -> Option<String> {
    if address.len() != usize::from(source).div_ceil(8) {
        return None;
    }
    let address: IpAddr = match family {
        1 if source <= 32 => {
            let mut whole = [0; 4];
            whole[..address.len()].copy_from_slice(address);
            Ipv4Addr::from(whole).into()
        }
        2 if source <= 128 => {
            let mut whole = [0; 16];
            whole[..address.len()].copy_from_slice(address);
            Ipv6Addr::from(whole).into()
        }
        _ => return None,
    };
    Some(format!("subnet={address}/{source}/{scope}"))
}

fn opt(record: &Record) -> Result<Opt, String> {
    let [_, version, high, low] = record.ttl.to_be_bytes();
    let mut options = Vec::new();
    let mut reader = Reader {
        octets: &record.rdata,
        at: 0,
    };
    while reader.at < record.rdata.len() {
        let (code, length) = (reader.u16()?, reader.u16()?);
        options.push((code, reader.take(length.into())?.to_vec()));
    }
    Ok(Opt {
        udp: record.class,
        version,
        flags: u16::from_be_bytes([high, low]),
        options,
    })
}

/// Records of one set have one TTL, and no record stands twice.
fn agree(records: &[Record]) -> Result<(), String> {
    for (at, record) in records.iter().enumerate() {
        for other in &records[..at] {
            if (&other.owner, other.rtype, other.class) == (&record.owner, record.rtype, record.class) {
                if other.rdata == record.rdata {
                    return Err(format!("a record of type {} stands twice", record.rtype));
                }
                if other.ttl != record.ttl {
                    return Err(format!("a set of type {} has two TTLs (RFC 2181 5.2)", record.rtype));
                }
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self
            .octets
            .get(self.at..self.at + length)
            .ok_or_else(|| format!("cut short at octet {}", self.at))?;
        self.at += length;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().unwrap()))
    }

    /// A name, uncompressed, as written. Each pointer must point before the place where the name, or its part, began.
    fn name(&mut self) -> Result<Vec<u8>, String> {
        let mut name = Vec::new();
        let (mut at, mut began, mut end) = (self.at, self.at, None);
        loop {
            let length = usize::from(*self.octets.get(at).ok_or("a name is cut short")?);
            match length {
                0 => {
                    name.push(0);
                    self.at = end.unwrap_or(at + 1);
                    return if name.len() <= 255 {
                        Ok(name)
                    } else {
                        Err("a name has more than 255 octets".into())
                    };
                }
                1..=63 => {
                    name.extend_from_slice(self.octets.get(at..=at + length).ok_or("a label is cut short")?);
                    at += length + 1;
                }
                0xc0.. => {
                    let low = usize::from(*self.octets.get(at + 1).ok_or("a pointer is cut short")?);
                    let target = (length & 0x3f) << 8 | low;
                    if target < 12 || target >= began {
                        return Err(format!(
                            "the pointer at {at} to {target} does not point backwards to a name"
                        ));
                    }
                    end.get_or_insert(at + 2);
                    (at, began) = (target, target);
                }
                _ => return Err(format!("a label of the unknown kind {length:#04x} at {at}")),
            }
        }
    }

    fn record(&mut self) -> Result<Record, String> {
        let owner = self.name()?.to_ascii_lowercase();
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.take(4)?.try_into().unwrap());
        if ttl > 0x7fff_ffff && rtype != OPT {
            return Err(format!("a TTL of {ttl} (RFC 2181 8)"));
        }
        let length = usize::from(self.u16()?);
        let rdata = self.rdata(rtype, length)?;
        Ok(Record {
            owner,
            rtype,
            class,
            ttl,
            rdata,
        })
    }

    /// The data of a record. In data of types younger than RFC 1035 a pointer is an error, which shows as other octets.
    fn rdata(&mut self, rtype: u16, length: usize) -> Result<Vec<u8>, String> {
        let end = self.at + length;
        if !COMPRESSIBLE.contains(&rtype) {
            return self.take(length).map(<[u8]>::to_vec);
        }
        let mut data = Vec::new();
        if rtype == MX {
            data.extend_from_slice(self.take(2)?);
        }
        for _ in 0..if matches!(rtype, SOA | MINFO) { 2 } else { 1 } {
            data.extend(self.name()?.to_ascii_lowercase());
        }
        if rtype == SOA {
            data.extend_from_slice(self.take(20)?);
        }
        if self.at != end {
            return Err(format!(
                "the data of a record of type {rtype} does not end where its length says"
            ));
        }
        Ok(data)
    }
}

#[test]
fn strict_about_pointers_and_ends() {
    let header = [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let with = |rest: &[u8]| decode(&[&header[..], rest].concat());
    assert!(with(b"\x01a\x00\x00\x01\x00\x01").is_ok());
    assert!(
        with(b"\x01a\x00\x00\x01\x00\x01!")
            .unwrap_err()
            .contains("1 octets follow")
    );
    assert!(with(b"\xc0\x0c\x00\x01\x00\x01").unwrap_err().contains("backwards"));
    assert!(
        with(b"\xc0\x10\x00\x01\x00\x01\x01a\x00")
            .unwrap_err()
            .contains("backwards")
    );
    assert!(with(b"\x01a").is_err());
}
