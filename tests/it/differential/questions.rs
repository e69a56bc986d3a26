//! Random queries about random zones, as octets.

use fastrand::Rng;

use super::zones::{Labels, Made, label, length, pick};

/// A query, and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) octets: Vec<u8>,
    pub(crate) name: Labels,
    pub(crate) qtype: u16,
    pub(crate) tcp: bool,
    /// The octets that a response may have.
    pub(crate) size_max: usize,
}

pub(crate) const ANY: u16 = 255;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;

/// Types and their weights. 0 and 65281 are no types of anything.
const TYPES: [(u16, u32); 34] = [
    (1, 30),
    (28, 14),
    (2, 8),
    (5, 8),
    (6, 6),
    (39, 6),
    (DS, 10),
    (15, 8),
    (16, 6),
    (33, 4),
    (12, 3),
    (64, 4),
    (65, 5),
    (ANY, 6),
    (RRSIG, 2),
    (47, 2),
    (48, 2),
    (50, 1),
    (35, 1),
    (257, 1),
    (65280, 1),
    (65281, 1),
    (0, 1),
    (14, 1),
    (17, 1),
    (18, 1),
    (36, 1),
    (13, 1),
    (7, 1),
    (253, 1),
    (254, 1),
    (41, 1),
    (249, 1),
    (250, 1),
];

/// A query about one of these zones, by preference about this one.
pub(crate) fn question(rng: &mut Rng, zone: &Made, id: u16) -> Asked {
    let mut name = name(rng, zone);
    if rng.u32(0..5) == 0 {
        name.iter_mut().flatten().filter(|_| rng.bool()).for_each(|octet| {
            if octet.is_ascii_alphabetic() {
                *octet ^= 0x20;
            }
        });
    }
    let qtype = pick(rng, &TYPES);
    let mut flags = 0u16;
    for bit in [0x0100, 0x0020, 0x0010] {
        flags |= if rng.u32(0..4) == 0 { bit } else { 0 };
    }
    let edns = (rng.u32(0..4) > 0).then(|| {
        (
            pick(rng, &[(0, 1), (511, 1), (512, 4), (1232, 10), (4096, 5), (65_535, 1)]),
            rng.bool(),
        )
    });
    let octets = octets(id, flags, &name, qtype, 1, edns);
    let tcp = rng.u32(0..7) == 0;
    let size_max = match edns {
        _ if tcp => 65_535,
        Some((size, _)) => usize::from(size).clamp(512, 1232),
        None => 512,
    };
    Asked {
        octets,
        name,
        qtype,
        tcp,
        size_max,
    }
}

/// The octets of a query; `edns` is the size offered and whether DO is set.
pub(crate) fn octets(
    id: u16,
    flags: u16,
    name: &[Vec<u8>],
    qtype: u16,
    class: u16,
    edns: Option<(u16, bool)>,
) -> Vec<u8> {
    let mut octets = Vec::new();
    for field in [id, flags, 1, 0, 0, u16::from(edns.is_some())] {
        octets.extend(field.to_be_bytes());
    }
    for label in name {
        octets.push(label.len() as u8);
        octets.extend(label);
    }
    octets.push(0);
    octets.extend(qtype.to_be_bytes());
    octets.extend(class.to_be_bytes());
    if let Some((size, dnssec_ok)) = edns {
        octets.extend([0, 0, 41]);
        octets.extend(size.to_be_bytes());
        octets.extend([0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }
    octets
}

fn name(rng: &mut Rng, zone: &Made) -> Labels {
    let known = zone.names[rng.usize(0..zone.names.len())].clone();
    let inside = |rng: &mut Rng, depth: usize| [(0..depth).map(|_| label(rng)).collect(), zone.origin.clone()].concat();
    let drawn = match rng.u32(0..100) {
        0..34 => known,
        34..58 => {
            let depth = pick(rng, &[(1, 4), (2, 1)]);
            [(0..depth).map(|_| label(rng)).collect(), known].concat()
        }
        58..70 => known.into_iter().skip(1).collect(),
        70..78 => known
            .into_iter()
            .map(|one| if one == b"*" { label(rng) } else { one })
            .collect(),
        78..90 => {
            let depth = rng.usize(1..=3);
            inside(rng, depth)
        }
        90..94 => zone.origin.clone(),
        94..96 => vec![label(rng), b"out".to_vec(), b"example".to_vec()],
        _ => longest(rng, known),
    };
    if length(&drawn) > 255 {
        zone.origin.clone()
    } else {
        drawn
    }
}

/// A name of 255 octets, or nearly, below another.
fn longest(rng: &mut Rng, mut name: Labels) -> Labels {
    let size = pick(rng, &[(63, 3), (1, 1), (30, 1)]);
    loop {
        let room = 255usize.saturating_sub(length(&name) + 1).min(size);
        if room == 0 {
            return name;
        }
        name.insert(0, vec![b'l'; room]);
    }
}
