//! What is done to messages: what fuzzers do to any octets, and what goes wrong with DNS messages in particular.

use fastrand::Rng;

use super::asked::question_end;
use super::seeds::{LENGTH_MAX, Seeds, any, one_in};

/// Octets that are on the edge of something: lengths of labels, kinds of labels, pointers to the question.
const TELLING: [u8; 12] = [0, 1, 0x0c, 0x20, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff];

/// What numbers of 16 bits are set to.
const COUNTS: [u16; 7] = [0, 1, 2, 3, 12, 0x00ff, 0xffff];

/// A changed message; as it was, one time in four. Most have a single change: each one more makes it likelier that nothing of it can be read.
pub(crate) fn changed(rng: &mut Rng, seeds: &Seeds) -> Vec<u8> {
    if one_in(rng, 100) {
        return (0..rng.usize(0..600)).map(|_| rng.u8(..)).collect();
    }
    let mut octets = seeds.draw(rng);
    let changes = any(rng, &[0, 0, 1, 1, 1, 1, 2, 4]);
    (0..changes).for_each(|_| change(rng, seeds, &mut octets));
    octets.truncate(LENGTH_MAX);
    octets
}

fn change(rng: &mut Rng, seeds: &Seeds, octets: &mut Vec<u8>) {
    // A message without octets can only be made longer.
    let at = rng.usize(0..octets.len().max(1));
    if octets.is_empty() {
        return extend(rng, octets);
    }
    match rng.u32(0..20) {
        0..3 => octets[at] ^= 1 << rng.u32(0..8),
        3 | 4 => octets[at] = any(rng, &TELLING),
        5 => octets[at] = rng.u8(..),
        6 => octets.truncate(at),
        7 => extend(rng, octets),
        8 => {
            let other = seeds.draw(rng);
            splice(rng, &other, octets);
        }
        9 => repeat(rng, octets),
        10 | 11 => set(octets, 4 + 2 * rng.usize(0..4), any(rng, &COUNTS)),
        12 => point(rng, octets),
        13 => label_length(rng, octets),
        14 => octets.iter_mut().skip(2).take(1).for_each(|flags| *flags ^= 0x80),
        15 => second_opt(rng, octets),
        16 => octets[at..].rotate_left(1),
        17 => record(rng, octets),
        18 => drop(octets.remove(at)),
        _ => opt_lengths(rng, octets),
    }
}

/// Sets 16 bits, where there are as many.
fn set(octets: &mut [u8], at: usize, number: u16) {
    if let Some(place) = octets.get_mut(at..at + 2) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// One more in a count of the header.
fn count_up(octets: &mut [u8], at: usize) {
    if let Some(place) = octets.get(at..at + 2) {
        let number = u16::from_be_bytes([place[0], place[1]]);
        set(octets, at, number.wrapping_add(1));
    }
}

fn extend(rng: &mut Rng, octets: &mut Vec<u8>) {
    let count = match rng.u32(0..20) {
        0 => rng.usize(0..4_000),
        1 | 2 => 1_233_usize.saturating_sub(octets.len()),
        _ => rng.usize(1..40),
    };
    let zeros = rng.bool();
    octets.extend((0..count).map(|_| if zeros { 0 } else { rng.u8(..) }));
}

/// The start of this one, the rest of another.
fn splice(rng: &mut Rng, other: &[u8], octets: &mut Vec<u8>) {
    octets.truncate(rng.usize(0..=octets.len()));
    octets.extend(&other[rng.usize(0..=other.len())..]);
}

/// A part of it once more, by preference all that follows the question.
fn repeat(rng: &mut Rng, octets: &mut Vec<u8>) {
    let from = match question_end(octets) {
        Some(end) if rng.bool() => end,
        _ => rng.usize(0..octets.len()),
    };
    let to = if rng.bool() {
        octets.len()
    } else {
        rng.usize(from..=octets.len())
    };
    let again = octets[from..to].to_vec();
    let at = if rng.bool() { to } else { rng.usize(0..=octets.len()) };
    octets.splice(at..at, again);
    if rng.bool() {
        count_up(octets, any(rng, &[4, 6, 8, 10]));
    }
}

/// A compression pointer, put in or in the place of what was there: to the question, to itself, ahead or anywhere.
fn point(rng: &mut Rng, octets: &mut Vec<u8>) {
    let at = match question_end(octets) {
        Some(end) if rng.bool() => any(rng, &[12, end]),
        _ => rng.usize(0..=octets.len()),
    };
    let target = match rng.u32(0..4) {
        0 => 12,
        1 => at as u16,
        2 => at as u16 + 2,
        _ => rng.u16(..),
    };
    let at = at.min(octets.len());
    let end = if rng.bool() { at } else { (at + 2).min(octets.len()) };
    octets.splice(at..end, (0xc000 | target).to_be_bytes());
}

/// Another length for a label of the question.
fn label_length(rng: &mut Rng, octets: &mut [u8]) {
    let mut at = 12;
    while let Some(length @ 1..=63) = octets.get(at).copied() {
        if one_in(rng, 3) {
            octets[at] = if rng.bool() { any(rng, &TELLING) } else { length ^ 1 };
            return;
        }
        at += usize::from(length) + 1;
    }
}

/// What follows the question, if it is an OPT record, once more; or in another section; or before the question.
fn second_opt(rng: &mut Rng, octets: &mut Vec<u8>) {
    let Some(end) = question_end(octets) else { return };
    match rng.u32(0..4) {
        0 => {
            octets.extend_from_within(end..);
            count_up(octets, 10);
        }
        1 => {
            let section = any(rng, &[6, 8]);
            set(octets, 10, 0);
            set(octets, section, 1);
        }
        2 => {
            let question = end - 12;
            octets[12..].rotate_left(question);
        }
        _ => {
            // The owner of the record is no longer the root.
            octets.splice(end..end, [1, b'a']);
        }
    }
}

/// A record of any type at the end, with its count.
fn record(rng: &mut Rng, octets: &mut Vec<u8>) {
    let owner: &[u8] = any(rng, &[&[0], &[0xc0, 0x0c], b"\x01a\x00", &[0xff, 0xff]]);
    octets.extend(owner);
    octets.extend(any(rng, &[1_u16, 2, 5, 6, 24, 41, 249, 250, 255]).to_be_bytes());
    octets.extend(any(rng, &[1_u16, 254, 255, 1_232]).to_be_bytes());
    octets.extend(rng.u32(..).to_be_bytes());
    let length = rng.u16(0..40);
    let told = if one_in(rng, 4) { rng.u16(..) } else { length };
    octets.extend(told.to_be_bytes());
    octets.extend((0..length).map(|_| rng.u8(..)));
    count_up(octets, any(rng, &[6, 8, 10, 10]));
}

/// Another length for the data of an OPT record behind the question, or for its first option.
fn opt_lengths(rng: &mut Rng, octets: &mut [u8]) {
    let Some(end) = question_end(octets) else { return };
    let at = end + any(rng, &[9, 13]);
    let number = match octets.get(at..at + 2) {
        Some(place) if rng.bool() => u16::from_be_bytes([place[0], place[1]])
            .wrapping_add(rng.u16(0..3))
            .wrapping_sub(1),
        _ => any(rng, &COUNTS),
    };
    set(octets, at, number);
}
