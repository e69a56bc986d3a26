//! Responses read back, for people: what `explain` shows is what was written, not what was meant.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use super::code::{Rcode, RecordType};
use super::name::{LABEL_MAX, NAME_MAX, Name};
use super::query::HEADER;

/// A response, read.
#[derive(Debug, Clone)]
pub struct Message {
    /// The response code, without the upper bits that stand in the OPT record.
    pub rcode: Rcode,
    /// Whether the AA bit is set.
    pub authoritative: bool,
    /// Whether the TC bit is set.
    pub truncated: bool,
    /// Answer, authority and additional section.
    pub sections: [Vec<Record>; 3],
    /// The scope prefix length of the client subnet option, if there is one.
    pub scope: Option<u8>,
}

/// A record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: RecordType,
    /// In seconds.
    pub ttl: u32,
    /// Its data, uncompressed.
    pub rdata: Vec<u8>,
}

/// Reads a response of ours. `None` if it is not one message from its first to its last octet.
pub fn read(bytes: &[u8]) -> Option<Message> {
    let [_, _, flags, rcode, q1, q0, counts @ ..] = *bytes.first_chunk::<HEADER>()?;
    let mut at = HEADER;
    for _ in 0..u16::from_be_bytes([q1, q0]) {
        at = name(bytes, at)?.1 + 4;
    }
    let mut message = Message {
        rcode: Rcode(u16::from(rcode & 15)),
        authoritative: flags & 4 != 0,
        truncated: flags & 2 != 0,
        sections: Default::default(),
        scope: None,
    };
    let (counts, _) = counts.as_chunks::<2>();
    for (section, count) in message.sections.iter_mut().zip(counts) {
        for _ in 0..u16::from_be_bytes(*count) {
            let (record, end) = record(bytes, at)?;
            at = end;
            match record.rtype {
                RecordType::OPT => message.scope = scope(&record.rdata),
                _ => section.push(record),
            }
        }
    }
    (at == bytes.len()).then_some(message)
}

fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let (owner, at) = name(bytes, at)?;
    let [t1, t0, _, _, l3, l2, l1, l0, d1, d0] = *bytes.get(at..)?.first_chunk::<10>()?;
    let start = at + 10;
    let end = start + usize::from(u16::from_be_bytes([d1, d0]));
    let rtype = RecordType(u16::from_be_bytes([t1, t0]));
    let rdata = uncompressed(bytes, rtype, start, end)?;
    Some((
        Record {
            owner,
            rtype,
            ttl: u32::from_be_bytes([l3, l2, l1, l0]),
            rdata,
        },
        end,
    ))
}

/// Names are compressed in the types of RFC 1035 only (RFC 3597 4).
fn uncompressed(bytes: &[u8], rtype: RecordType, start: usize, end: usize) -> Option<Vec<u8>> {
    let (before, names) = match rtype {
        RecordType::MX => (2, 1),
        RecordType::SOA | RecordType::MINFO => (0, 2),
        RecordType::NS | RecordType::CNAME | RecordType::PTR => (0, 1),
        RecordType::MB | RecordType::MG | RecordType::MR | RecordType::MD | RecordType::MF => (0, 1),
        _ => (0, 0),
    };
    let mut at = start + before;
    let mut rdata = bytes.get(start..at)?.to_vec();
    for _ in 0..names {
        let (name, after) = name(bytes, at)?;
        rdata.extend_from_slice(name.wire());
        at = after;
    }
    rdata.extend_from_slice(bytes.get(at..end)?);
    Some(rdata)
}

/// The name at an offset, and where what follows it starts. Pointers lead backwards only.
fn name(bytes: &[u8], start: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::new();
    let mut at = start;
    let mut limit = start;
    let mut end = None;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length > LABEL_MAX {
            let target = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
            end.get_or_insert(at + 2);
            if length < 0xc0 || target >= limit {
                return None;
            }
            (at, limit) = (target, target);
            continue;
        }
        wire.extend_from_slice(bytes.get(at..=at + length)?);
        at += length + 1;
        if length == 0 || wire.len() > NAME_MAX {
            return Some((Name::from_wire(&wire)?, end.unwrap_or(at)));
        }
    }
}

fn scope(options: &[u8]) -> Option<u8> {
    let mut rest = options;
    while let Some(([c1, c0, l1, l0], after)) = rest.split_first_chunk::<4>() {
        let (data, next) = after.split_at_checked(usize::from(u16::from_be_bytes([*l1, *l0])))?;
        if u16::from_be_bytes([*c1, *c0]) == super::edns::CLIENT_SUBNET {
            return data.get(3).copied();
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::response::{Owner, Writer};

    #[test]
    fn reads_what_the_writer_wrote() {
        let question = Name::parse("www.example.com.", None).unwrap();
        let mut writer = Writer::after_question(&question, 0);
        let target = Name::parse("mail.Example.com.", None).unwrap();
        let rdata = [&[0, 10], target.wire()].concat();
        writer.record(Owner::Question, RecordType::MX, 300, &rdata);
        let mut bytes = vec![0, 0, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        bytes.extend_from_slice(question.wire());
        bytes.extend_from_slice(&[0, 15, 0, 1]);
        bytes.extend_from_slice(writer.sections());
        let message = read(&bytes).unwrap();
        let [answer, ..] = &message.sections;
        assert!(message.authoritative && answer[0].owner == question && answer[0].ttl == 300);
        assert!(answer[0].rdata.eq_ignore_ascii_case(&rdata));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_none());
        }
    }
}
