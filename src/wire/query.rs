//! Queries: everything that is read from the octets of one, in one forward pass and one backward multiply a label.
//!
//! The result borrows nothing, so that a whole batch can be parsed before any of it is looked up.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use super::code::RecordType;
use super::edns::{self, Edns};
use super::name::LABEL_MAX;

/// The octets of a header (RFC 1035 4.1.1).
pub const HEADER: usize = 12;

/// The most labels of a name, without the root's: 127 of one octet each.
pub const LABELS_MAX: usize = 127;

/// Queries by datagram that are longer are FORMERR: nothing a resolver asks comes near it.
pub const UDP_QUERY_MAX: usize = 1232;

/// What a message is, as far as it can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A response, or too short for a header: nothing is sent.
    Drop,
    /// It cannot be read (RFC 1035 4.1.1). A question that could be read is sent back.
    FormatError,
    /// An opcode other than QUERY.
    NotImplemented,
    /// An EDNS version that is not implemented (RFC 6891 6.1.3).
    BadVersion,
    /// A query that can be answered.
    Query,
    /// A query without a question that holds a cookie (RFC 7873 5.4): it asks for a server cookie.
    CookieOnly,
}

/// A query, read. Small, so that a batch of them stays in the nearest cache.
#[derive(Debug, Clone, Copy)]
pub struct Parsed {
    /// The hash of the question's name, under the key given.
    pub hash: u64,
    /// What it is. Of what is no [`Kind::Query`], the fields below hold what could be read.
    pub kind: Kind,
    /// The octets of the question's name in wire form, its root label included; 0 if there is no question that can be sent back.
    pub name_length: u8,
    /// The question's type.
    pub qtype: RecordType,
    /// The question's class.
    pub qclass: u16,
    /// The OPT record, if there is one that can be read.
    pub edns: Option<Edns>,
}

impl Parsed {
    /// One that nothing was read of.
    pub const fn empty(kind: Kind) -> Self {
        Self {
            hash: 0,
            kind,
            name_length: 0,
            qtype: RecordType(0),
            qclass: 0,
            edns: None,
        }
    }

    /// Where the question ends; [`HEADER`] if there is none that can be sent back.
    #[inline]
    pub fn question_end(&self) -> usize {
        match self.name_length {
            0 => HEADER,
            length => HEADER + usize::from(length) + 4,
        }
    }

    /// The question's name, in wire form and the case it was asked in.
    #[inline]
    pub fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(HEADER..HEADER + usize::from(self.name_length))
            .unwrap_or_default()
    }
}

/// Where each label of a name in wire form starts, the root's last.
#[derive(Debug, Clone)]
pub struct LabelStarts {
    starts: [u8; LABELS_MAX + 1],
    count: usize,
}

impl LabelStarts {
    /// Of a whole name.
    pub fn of(name: &[u8]) -> Self {
        let mut labels = Self {
            starts: [0; LABELS_MAX + 1],
            count: 0,
        };
        let mut at = 0;
        while let (Some(length), Some(slot), Ok(start)) =
            (name.get(at), labels.starts.get_mut(labels.count), u8::try_from(at))
        {
            *slot = start;
            if *length == 0 {
                break;
            }
            labels.count += 1;
            at += usize::from(*length) + 1;
        }
        labels
    }

    /// How many labels there are, without the root's.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where a label starts; the root's is label [`LabelStarts::count`].
    pub fn start(&self, label: usize) -> usize {
        self.starts.get(label).map_or(0, |start| usize::from(*start))
    }
}

/// The secret that the hashes of names depend on, so that nobody can make names that collide.
#[derive(Debug, Clone, Copy)]
pub struct NameKey {
    multiplier: u64,
    seed: u64,
}

impl NameKey {
    /// A key from 128 random bits.
    pub fn new(random: [u64; 2]) -> Self {
        Self {
            multiplier: random[0] | 1,
            seed: random[1],
        }
    }

    /// The hash of the root: that of every other name goes out from it, label by label.
    pub fn root(&self) -> u64 {
        self.seed
    }

    /// The hash of a name from that of its parent. The label's length octet stands at `start` of `octets`, and at least
    /// eight octets of anything before its end, so that it can be read in whole words.
    #[inline]
    pub fn child(&self, parent: u64, octets: &[u8], start: usize) -> u64 {
        let length = octets.get(start).map_or(0, |length| usize::from(*length));
        let mut end = start + length + 1;
        let mut left = length + 1;
        let mut hash = parent;
        while left >= 8 {
            hash = self.fold(hash, lower(word_before(octets, end)));
            end -= 8;
            left -= 8;
        }
        if left > 0 {
            hash = self.fold(hash, lower(word_before(octets, end) >> (64 - 8 * left)));
        }
        hash
    }

    /// The hash of the name in wire form that stands where the question's does, with a header's octets before it.
    pub fn after_header(&self, octets: &[u8]) -> u64 {
        let starts = LabelStarts::of(octets.get(HEADER..).unwrap_or_default());
        let labels = (0..starts.count()).rev();
        labels.fold(self.root(), |hash, label| {
            self.child(hash, octets, HEADER + starts.start(label))
        })
    }

    /// The hash of a whole name in wire form.
    pub fn name(&self, wire: &[u8]) -> u64 {
        self.after_header(&[&[0; HEADER], wire].concat())
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // The halves of the product are meant.
    fn fold(&self, hash: u64, word: u64) -> u64 {
        let product = u128::from(hash ^ word) * u128::from(self.multiplier);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// The eight octets before `end`; zero where there are none.
#[inline]
fn word_before(octets: &[u8], end: usize) -> u64 {
    match end
        .checked_sub(8)
        .and_then(|start| octets.get(start..end))
        .and_then(|word| word.try_into().ok())
    {
        Some(word) => u64::from_le_bytes(word),
        None => 0,
    }
}

/// Eight octets with their ASCII capitals in lower case.
#[inline]
pub fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ONES);
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let after_z = low + (0x7f - b'Z' as u64) * ONES;
    let capital = (from_a ^ after_z) & !word & (0x80 * ONES);
    word | (capital >> 2)
}

/// Whether a name of a query is a name that is kept in lower case.
#[inline]
pub fn equals_lowercase(asked: &[u8], kept: &[u8]) -> bool {
    if asked.len() != kept.len() {
        return false;
    }
    let (words, rest) = asked.as_chunks::<8>();
    let (kept_words, kept_rest) = kept.as_chunks::<8>();
    let same = |(a, b): (&[u8; 8], &[u8; 8])| lower(u64::from_le_bytes(*a)) == u64::from_le_bytes(*b);
    words.iter().zip(kept_words).all(same) && rest.iter().zip(kept_rest).all(|(a, b)| a.to_ascii_lowercase() == *b)
}

/// Reads a message.
#[inline]
pub fn parse(bytes: &[u8], key: &NameKey) -> Parsed {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Parsed::empty(Kind::Drop);
    };
    let [_, _, flags, _, qd1, qd0, an1, an0, ns1, ns0, ar1, ar0] = *header;
    if flags & 0x80 != 0 {
        return Parsed::empty(Kind::Drop); // A response: answering it would make a loop.
    }
    let mut parsed = Parsed::empty(Kind::Query);
    if flags & 0x78 != 0 {
        parsed.kind = Kind::NotImplemented;
    }
    // RFC 9619: a query has one question.
    if [qd1, qd0] != [0, 1] || !question(bytes, key, &mut parsed) {
        let counts = [an1, an0, ns1, ns0, ar1, ar0];
        return match u16::from_be_bytes([qd1, qd0]) {
            0 => without_question(bytes, counts, parsed),
            questions => unreadable_questions(bytes, questions, counts, parsed),
        };
    }
    if [an1, an0, ns1, ns0, ar1, ar0] == [0; 6] {
        return if bytes.len() == parsed.question_end() {
            parsed
        } else {
            malformed(parsed)
        };
    }
    records(
        bytes,
        parsed.question_end(),
        [an1, an0, ns1, ns0, ar1, ar0],
        &mut parsed,
    );
    parsed
}

/// A message without a question: well formed only if it asks for a cookie.
#[cold]
fn without_question(bytes: &[u8], counts: [u8; 6], mut parsed: Parsed) -> Parsed {
    records(bytes, HEADER, counts, &mut parsed);
    let has_cookie = |edns: Edns| edns.cookie.is_some() || edns.bad_cookie;
    if parsed.kind != Kind::Query {
        return parsed;
    }
    if !parsed.edns.is_some_and(has_cookie) {
        return malformed(parsed);
    }
    parsed.kind = Kind::CookieOnly;
    parsed
}

/// A message with several questions, or with one that is none. An OPT record is answered by one all the same (RFC 6891 6.1.1), so it is
/// looked for, as far as the questions can be skipped.
#[cold]
fn unreadable_questions(bytes: &[u8], questions: u16, counts: [u8; 6], parsed: Parsed) -> Parsed {
    let mut parsed = malformed(parsed);
    let after = (0..questions).try_fold(HEADER, |at, _| Some(name_end(bytes, at)? + 4));
    if let Some(at) = after {
        records(bytes, at, counts, &mut parsed);
    }
    parsed
}

/// A message that cannot be read.
fn malformed(mut parsed: Parsed) -> Parsed {
    spoil(&mut parsed);
    parsed
}

/// It cannot be read; under an opcode that is not implemented, that comes first, since it may be well formed there.
fn spoil(parsed: &mut Parsed) {
    if parsed.kind != Kind::NotImplemented {
        parsed.kind = Kind::FormatError;
    }
}

/// Reads the question; false if it is not one.
#[inline]
fn question(bytes: &[u8], key: &NameKey, parsed: &mut Parsed) -> bool {
    let mut starts = [0u8; LABELS_MAX + 1];
    let mut at = HEADER;
    let mut count = 0;
    loop {
        let Some(length) = bytes.get(at).map(|length| usize::from(*length)) else {
            return false;
        };
        if length == 0 {
            break;
        }
        // Over 63 it is a compression pointer, which has nothing before it to point to, or a label type of no known kind.
        if length > LABEL_MAX {
            return false;
        }
        let (Some(slot), Ok(start)) = (starts.get_mut(count), u8::try_from(at - HEADER)) else {
            return false;
        };
        *slot = start;
        count += 1;
        at += length + 1;
    }
    let end = at + 1;
    let Ok(name_length) = u8::try_from(end - HEADER) else {
        return false;
    }; // NAME_MAX is 255
    let Some([t1, t0, c1, c0]) = bytes.get(end..).and_then(|rest| rest.first_chunk::<4>()) else {
        return false;
    };
    let mut hash = key.root();
    for start in starts.get(..count).unwrap_or_default().iter().rev() {
        hash = key.child(hash, bytes, HEADER + usize::from(*start));
    }
    parsed.hash = hash;
    parsed.name_length = name_length;
    parsed.qtype = RecordType(u16::from_be_bytes([*t1, *t0]));
    parsed.qclass = u16::from_be_bytes([*c1, *c0]);
    true
}

/// Walks the records, which start behind the question: only an OPT in the additional section means anything to us.
fn records(bytes: &[u8], start: usize, counts: [u8; 6], parsed: &mut Parsed) {
    let [an1, an0, ns1, ns0, ar1, ar0] = counts;
    let before = u32::from(u16::from_be_bytes([an1, an0])) + u32::from(u16::from_be_bytes([ns1, ns0]));
    let additional = u16::from_be_bytes([ar1, ar0]);
    let mut at = start;
    for index in 0..before + u32::from(additional) {
        let Some(record) = record(bytes, at) else {
            return spoil(parsed);
        };
        at = record.end;
        if record.rtype != RecordType::OPT {
            if record.rdata.is_none() {
                return spoil(parsed);
            }
            continue;
        }
        // RFC 6891 6.1.1: in the additional section, once, owned by the root. RFC 6891 7: else the response has an OPT record still.
        let rdata = record
            .rdata
            .filter(|_| index >= before && parsed.edns.is_none() && record.root_owned);
        let Some(rdata) = rdata else {
            parsed.edns = Some(Edns::without_options(record.class, record.ttl));
            return spoil(parsed);
        };
        match edns::read(record.class, record.ttl, rdata, record.end - rdata.len()) {
            Ok(edns) => {
                if edns.version > 0 && parsed.kind == Kind::Query {
                    parsed.kind = Kind::BadVersion;
                }
                parsed.edns = Some(edns);
            }
            Err(edns) => {
                parsed.edns = Some(edns);
                return spoil(parsed);
            }
        }
    }
    if at != bytes.len() {
        spoil(parsed);
    }
}

struct Record<'a> {
    root_owned: bool,
    rtype: RecordType,
    class: u16,
    ttl: u32,
    /// None if the message ends before it does.
    rdata: Option<&'a [u8]>,
    end: usize,
}

/// Where the name at an offset ends.
fn name_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            _ if length > LABEL_MAX => return None,
            _ => at += length + 1,
        }
    }
}

/// The record at an offset, its owner's name skipped over.
fn record(bytes: &[u8], start: usize) -> Option<Record<'_>> {
    let at = name_end(bytes, start)?;
    let root_owned = at == start + 1;
    let [t1, t0, c1, c0, l3, l2, l1, l0, d1, d0] = *bytes.get(at..)?.first_chunk::<10>()?;
    let rdata_at = at + 10;
    let end = rdata_at + usize::from(u16::from_be_bytes([d1, d0]));
    Some(Record {
        root_owned,
        rtype: RecordType(u16::from_be_bytes([t1, t0])),
        class: u16::from_be_bytes([c1, c0]),
        ttl: u32::from_be_bytes([l3, l2, l1, l0]),
        rdata: bytes.get(rdata_at..end),
        end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    const KEY: NameKey = NameKey {
        multiplier: 0x9e37_79b9_7f4a_7c15,
        seed: 7,
    };

    fn query(name: &str) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(Name::parse(name, None).unwrap().wire());
        bytes.extend_from_slice(&[0, 1, 0, 1]);
        bytes
    }

    #[test]
    fn hash_of_a_query_is_that_of_the_name_in_any_case() {
        for text in [
            ".",
            "a.",
            "WwW.eXample.com.",
            "a-label-of-more-than-sixteen-octets.Example.",
            "1234567.12345678.",
        ] {
            let parsed = parse(&query(text), &KEY);
            assert_eq!(parsed.kind, Kind::Query);
            let lowered = Name::parse(text, None).unwrap().to_lowercase();
            assert_eq!(parsed.hash, KEY.name(lowered.wire()), "{text}");
            assert!(equals_lowercase(parsed.name(&query(text)), lowered.wire()));
        }
        assert_ne!(KEY.name(b"\x01a\x01b\x00"), KEY.name(b"\x03a\x01b\x00"));
    }

    #[test]
    fn lower_changes_letters_only() {
        for octet in 0..=255u8 {
            assert_eq!(
                lower(u64::from(octet) << 24),
                u64::from(octet.to_ascii_lowercase()) << 24
            );
        }
    }

    #[test]
    fn every_cut_of_a_query_is_a_format_error() {
        let whole = query("www.example.com.");
        for length in 0..whole.len() {
            let kind = parse(&whole[..length], &KEY).kind;
            assert_eq!(kind, if length < HEADER { Kind::Drop } else { Kind::FormatError });
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(parse(&longer, &KEY).kind, Kind::FormatError);
        let mut response = whole;
        response[2] |= 0x80;
        assert_eq!(parse(&response, &KEY).kind, Kind::Drop);
    }
}
