//! Messages to begin with: queries as clients send them, with every type, opcode and option; or what a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::world::NAMES;

/// What is longer is cut: it fits into a datagram, and into the buffers of a connection beside others.
pub(super) const LENGTH_MAX: usize = 16_384;

/// Where changed messages come from.
pub(crate) enum Seeds {
    /// Queries of our own, made by chance.
    Queries,
    /// Those of files.
    Files(Vec<Vec<u8>>),
}

const TYPES: [u16; 40] = [
    1, 28, 1, 28, 1, 2, 5, 6, 12, 13, 14, 15, 16, 17, 18, 24, 29, 33, 35, 36, 39, 41, 43, 44, 46, 47, 48, 50, 52, 64,
    65, 99, 249, 250, 251, 252, 253, 255, 257, 65_280,
];

const SIZES: [u16; 9] = [0, 511, 512, 600, 1_220, 1_232, 1_233, 4_096, 65_535];

/// Clients, and how much of their address is told: families, octets, source prefix lengths.
const SUBNETS: [(u8, &[u8], u8); 10] = [
    (1, &[203, 0, 113], 24),
    (1, &[203, 0, 113, 77], 32),
    (1, &[198, 51, 100], 22),
    (1, &[], 0),
    (2, &[], 0),
    (0, &[], 0),
    (2, &[0x20, 1, 0x0d, 0xb8, 0, 7], 48),
    (2, &[0x20, 1, 0x0d, 0xb8, 0, 7, 0x10], 52),
    (2, &[0x20, 2, 203, 0, 113, 0], 48),
    (1, &[10], 9),
];

impl Seeds {
    /// Every file at or below a folder is a message, whatever it is called and holds.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let mut paths = vec![folder.to_owned()];
        let mut messages = Vec::new();
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                let inside = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
                let mut inside: Vec<PathBuf> = inside.collect();
                inside.sort();
                paths.extend(inside);
            } else {
                let mut octets = fs::read(path).unwrap();
                octets.truncate(LENGTH_MAX);
                messages.push(octets);
            }
        }
        assert!(!messages.is_empty(), "{} holds no file", folder.display());
        Self::Files(messages)
    }

    /// One of them. Of a file that is a response, as often as not with QR cleared: else nothing more could be learnt of it.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Vec<u8> {
        match self {
            Seeds::Queries => query(rng),
            Seeds::Files(messages) => {
                let mut octets = messages[rng.usize(0..messages.len())].clone();
                if let Some(flags) = octets.get_mut(2)
                    && rng.bool()
                {
                    *flags &= 0x7f;
                }
                octets
            }
        }
    }
}

/// One time in so many.
pub(super) fn one_in(rng: &mut Rng, times: u32) -> bool {
    rng.u32(0..times) == 0
}

/// One of these.
pub(super) fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(0..of.len())]
}

/// A query as a client may send it.
fn query(rng: &mut Rng) -> Vec<u8> {
    let flags = match rng.u32(0..12) {
        0 => rng.u16(..) & 0x7fff,
        1 => rng.u16(0..16) << 11,
        2..6 => 0,
        _ => 0x0100,
    };
    let question = !one_in(rng, 40);
    let has_opt = rng.u32(0..10) < 6;
    let mut octets = [
        [0, 0],
        flags.to_be_bytes(),
        [0, u8::from(question)],
        [0; 2],
        [0; 2],
        [0, u8::from(has_opt)],
    ]
    .concat();
    if question {
        name(rng, &mut octets);
        let qtype = if one_in(rng, 30) { rng.u16(..) } else { any(rng, &TYPES) };
        let class = if one_in(rng, 12) {
            any(rng, &[0, 3, 4, 254, 255])
        } else {
            1
        };
        octets.extend([qtype, class].map(u16::to_be_bytes).concat());
    }
    if has_opt {
        opt(rng, &mut octets);
    }
    octets
}

/// A name that means something, or one below it, in any case; returns the type that suits it.
fn name(rng: &mut Rng, octets: &mut Vec<u8>) -> u16 {
    // The longest answer of all is asked for less often: it takes as long as a hundred others.
    let (known, apt) = match any(rng, &NAMES) {
        ("longer.example.com", apt) if !one_in(rng, 8) => ("long.example.com", apt),
        known => known,
    };
    for _ in 0..rng.u32(0..8).saturating_sub(6) + u32::from(one_in(rng, 200)) * 60 {
        let label = any(
            rng,
            &["x", "ns", "*", "_dns", "\0", "a-label-that-is-longer-than-others"],
        );
        octets.push(label.len() as u8);
        octets.extend(label.bytes());
    }
    if apt == 16 && known.starts_with('f') {
        // With a label of 31 octets the answer fits just so, without EDNS or with it.
        let length = if rng.bool() { rng.u8(1..64) } else { rng.u8(30..34) };
        octets.push(length);
        octets.extend((0..length).map(|_| rng.alphanumeric() as u8));
    }
    let mixed = one_in(rng, 4);
    for label in known.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend(
            label
                .bytes()
                .map(|octet| match mixed && octet.is_ascii_lowercase() && rng.bool() {
                    true => octet ^ 0x20,
                    false => octet,
                }),
        );
    }
    octets.push(0);
    apt
}

fn opt(rng: &mut Rng, octets: &mut Vec<u8>) {
    let version = if one_in(rng, 20) { rng.u8(..) } else { 0 };
    let flags: u16 = if rng.bool() { 0x8000 } else { 0 };
    let mut options = Vec::new();
    for _ in 0..rng.u32(0..4) {
        option(rng, &mut options);
    }
    octets.extend([0, 0, 41]);
    octets.extend(any(rng, &SIZES).to_be_bytes());
    octets.extend([0, version]);
    octets.extend(flags.to_be_bytes());
    octets.extend((options.len() as u16).to_be_bytes());
    octets.extend(options);
}

fn option(rng: &mut Rng, options: &mut Vec<u8>) {
    let (code, data): (u16, Vec<u8>) = match rng.u32(0..10) {
        0..4 => {
            let (family, address, source) = any(rng, &SUBNETS);
            (8, [&[0, family, source, 0], address].concat())
        }
        4 => (10, b"accepted".to_vec()),
        5 => (10, (0..24).map(|_| rng.u8(..)).collect()),
        6 => (3, vec![]),
        7 => (11, vec![]),
        8 => (12, vec![0; rng.usize(0..128)]),
        _ => (rng.u16(..), (0..rng.usize(0..12)).map(|_| rng.u8(..)).collect()),
    };
    options.extend(code.to_be_bytes());
    options.extend((data.len() as u16).to_be_bytes());
    options.extend(data);
}
