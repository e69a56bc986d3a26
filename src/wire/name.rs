//! Domain names in wire form (RFC 1035 3.1), compared without regard to the case of ASCII letters (RFC 4343).

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The most octets a name has in wire form, the root label included (RFC 1035 2.3.4).
pub const NAME_MAX: usize = 255;

/// The most octets a label has (RFC 1035 2.3.4).
pub const LABEL_MAX: usize = 63;

/// An absolute domain name: uncompressed wire form, its case kept as written.
///
/// Two names are equal when they differ in case only; their order is the canonical one of RFC 4034 6.1, in which a name comes
/// right before those below it.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    /// The octet of the text where it goes wrong.
    pub offset: usize,
    /// What is wrong there.
    pub message: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Reads presentation form (RFC 1035 5.1, with `\.` and `\DDD`): relative to `origin` unless it ends in a dot, and `@` for
    /// the origin itself. Without an origin every name is absolute.
    pub fn parse(text: &str, origin: Option<&Name>) -> Result<Self, NameError> {
        let fault = |offset, message| NameError { offset, message };
        if text.is_empty() {
            return Err(fault(0, "a name is not empty"));
        }
        if text == "." {
            return Ok(Self::root());
        }
        if text == "@" {
            return origin.cloned().ok_or(fault(0, "`@` has no meaning here"));
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(LABEL_MAX);
        let mut octets = text.bytes().enumerate().peekable();
        let mut absolute = false;
        while let Some((offset, octet)) = octets.next() {
            match octet {
                b'.' => {
                    if label.is_empty() {
                        return Err(fault(offset, "a label is empty"));
                    }
                    push_label(&mut wire, &mut label);
                    absolute = octets.peek().is_none();
                    continue;
                }
                b'\\' => {
                    let (_, first) = octets.next().ok_or(fault(offset, "the name ends in a lone `\\`"))?;
                    if first.is_ascii_digit() {
                        let mut value = u32::from(first - b'0');
                        for _ in 0..2 {
                            match octets.next() {
                                Some((_, digit)) if digit.is_ascii_digit() => {
                                    value = value * 10 + u32::from(digit - b'0')
                                }
                                _ => return Err(fault(offset, "`\\` with a digit needs three of them")),
                            }
                        }
                        label.push(u8::try_from(value).map_err(|_| fault(offset, "`\\DDD` goes up to 255"))?);
                    } else {
                        label.push(first);
                    }
                }
                _ => label.push(octet),
            }
            if label.len() > LABEL_MAX {
                return Err(fault(offset, "a label has more than 63 octets"));
            }
        }
        if !label.is_empty() {
            push_label(&mut wire, &mut label);
        }
        match origin {
            Some(origin) if !absolute => wire.extend_from_slice(&origin.0),
            _ => wire.push(0),
        }
        if wire.len() > NAME_MAX {
            return Err(fault(text.len(), "the whole name has more than 255 octets"));
        }
        Ok(Self(wire.into()))
    }

    /// Takes uncompressed wire form; `None` if the octets are not exactly one name.
    pub fn from_wire(octets: &[u8]) -> Option<Self> {
        (wire_length(octets)? == octets.len()).then(|| Self(octets.into()))
    }

    /// The name made of one more label before this one; `None` if it would be too long or the label is not one.
    pub fn child(&self, label: &[u8]) -> Option<Self> {
        if label.is_empty() || label.len() > LABEL_MAX || self.0.len() + label.len() + 1 > NAME_MAX {
            return None;
        }
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        wire.push(u8::try_from(label.len()).ok()?);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        Some(Self(wire.into()))
    }

    /// Uncompressed wire form, the root label included, in the case written.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The same in lower case.
    pub fn to_lowercase(&self) -> Self {
        // A length octet is below 64, so below every letter.
        Self(self.0.to_ascii_lowercase().into())
    }

    /// The labels from the leftmost on, without the root's.
    pub fn labels(&self) -> Labels<'_> {
        let mut labels = Labels {
            wire: &self.0,
            starts: [0; NAME_MAX / 2],
            first: 0,
            end: 0,
        };
        let mut at = 0;
        while let Some(length) = self.0.get(at).filter(|length| **length > 0) {
            // A name has at most 255 octets, and so at most 127 labels.
            if let (Some(slot), Ok(start)) = (labels.starts.get_mut(labels.end), u8::try_from(at)) {
                *slot = start;
                labels.end += 1;
            }
            at += usize::from(*length) + 1;
        }
        labels
    }

    /// How many labels it has, without the root's.
    pub fn label_count(&self) -> usize {
        std::iter::successors(split_label(&self.0), |(_, rest)| split_label(rest)).count()
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether its leftmost label is exactly `*` (RFC 4592 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let length = usize::from(*self.0.first()?);
        (length > 0).then(|| Self(self.0.get(length + 1..).unwrap_or(&[0]).into()))
    }

    /// Whether this is `ancestor` or a name below it.
    pub fn is_at_or_below(&self, ancestor: &Name) -> bool {
        let mut rest: &[u8] = &self.0;
        while rest.len() > ancestor.0.len() {
            let step = rest.first().map_or(1, |length| usize::from(*length) + 1);
            rest = rest.get(step..).unwrap_or_default();
        }
        rest.eq_ignore_ascii_case(&ancestor.0)
    }
}

/// The labels of a name, from either end.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    wire: &'a [u8],
    starts: [u8; NAME_MAX / 2],
    first: usize,
    end: usize,
}

impl<'a> Labels<'a> {
    fn label(&self, index: usize) -> Option<&'a [u8]> {
        let start = usize::from(*self.starts.get(index)?);
        let length = usize::from(*self.wire.get(start)?);
        self.wire.get(start + 1..=start + length)
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let index = (self.first < self.end).then_some(self.first)?;
        self.first += 1;
        self.label(index)
    }
}

impl DoubleEndedIterator for Labels<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.end = (self.first < self.end).then(|| self.end - 1)?;
        self.label(self.end)
    }
}

/// The first label of a name in wire form, and the name after it; `None` for the root.
fn split_label(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = wire.split_first()?;
    rest.split_at_checked(usize::from(*length))
        .filter(|(label, _)| !label.is_empty())
}

/// A name in wire form without its first labels.
fn skip_labels(mut wire: &[u8], count: usize) -> &[u8] {
    for _ in 0..count {
        wire = split_label(wire).map_or(wire, |(_, rest)| rest);
    }
    wire
}

/// Compares labels without regard to the case of ASCII letters.
fn label_order(a: &[u8], b: &[u8]) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    a.iter()
        .map(u8::to_ascii_lowercase)
        .cmp(b.iter().map(u8::to_ascii_lowercase))
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) {
    // A label was held to 63 octets as it grew.
    wire.push(u8::try_from(label.len()).unwrap_or(0));
    wire.append(label);
}

/// The octets that the uncompressed name at the start of `octets` takes, its root label included; `None` if there is none.
pub fn wire_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*octets.get(at)?);
        if length > LABEL_MAX {
            return None;
        }
        at += length + 1;
        if at > NAME_MAX {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl Ord for Name {
    /// The labels nearest the root decide. Names are read from the left all the same, since that is how they stand: of the labels
    /// at the same place the last that differ count, and the number of labels where none do.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.label_count(), other.label_count());
        let mut order = mine.cmp(&theirs);
        let mut a = skip_labels(&self.0, mine.saturating_sub(theirs));
        let mut b = skip_labels(&other.0, theirs.saturating_sub(mine));
        while let (Some((label_a, rest_a)), Some((label_b, rest_b))) = (split_label(a), split_label(b)) {
            order = label_order(label_a, label_b).then(order);
            (a, b) = (rest_a, rest_b);
        }
        order
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Presentation form, absolute, with a dot at the end.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text, None).unwrap()
    }

    #[test]
    fn reads_and_writes_presentation_form() {
        let origin = name("Example.com.");
        assert_eq!(
            Name::parse("www", Some(&origin)).unwrap().to_string(),
            "www.Example.com."
        );
        assert_eq!(Name::parse("@", Some(&origin)).unwrap(), name("example.COM"));
        assert_eq!(
            Name::parse("a\\.b.c.", Some(&origin)).unwrap().wire(),
            b"\x03a.b\x01c\x00"
        );
        assert_eq!(name("\\000\\255.x").to_string(), "\\000\\255.x.");
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "",
            "a..b",
            ".a",
            "a\\",
            "a\\1",
            "a\\999",
            &"a".repeat(64),
            &"abcdefg.".repeat(33),
        ] {
            assert!(Name::parse(text, None).is_err(), "{text}");
        }
        assert_eq!(Name::from_wire(b"\x03www"), None);
        assert_eq!(Name::from_wire(b"\xc0\x0c"), None);
    }

    #[test]
    fn order_is_canonical() {
        // RFC 4034 6.1
        let sorted = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
        ];
        let names: Vec<Name> = sorted.iter().map(|text| name(text)).collect();
        assert!(names.is_sorted());
        assert!(names[2].is_at_or_below(&names[1]) && !names[1].is_at_or_below(&names[2]));
    }
}
