//! The fuzz targets in short, without a fuzzer: every seed, and some thousands of changes to each kind of them, the same ones each time.

use std::fs;
use std::path::Path;

use windrose::policy::alias::Chance;

use crate::fixture::serving;

#[path = "../../fuzz/closures.rs"]
mod closures;

/// How many changed inputs of each kind are tried.
const CHANGED: u64 = 50_000;

/// Fewer where each takes many times as long.
const CHANGED_DATABASES: u64 = 8_000;

/// Calls a target with every seed, then with changed ones.
fn run(target: &str, changed: u64, mut closure: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 5, "the seeds of {target} were lost");
    seeds.iter().for_each(|seed| closure(seed));
    for number in 0..changed {
        let mut chance = Chance::new(number);
        let mut input = seeds[chance.below(seeds.len())].clone();
        for _ in 0..=chance.below(4) {
            change(&mut input, &seeds, &mut chance);
        }
        closure(&input);
    }
}

/// One change, as fuzzers make them.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    const TELLING: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
    let at = chance.below(input.len() + 1);
    match (chance.below(7), input.get(at).copied()) {
        (0, Some(octet)) => input[at] = octet ^ 1 << chance.below(8),
        (1, Some(_)) => input[at] = TELLING[chance.below(8)],
        (2, Some(octet)) => input[at] = octet.wrapping_add(chance.below(3) as u8).wrapping_sub(1),
        (3, Some(_)) => _ = input.remove(at),
        (4, _) => input.truncate(at),
        (5, _) => input.insert(at, TELLING[chance.below(8)]),
        _ => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len() + 1);
            let to = from + chance.below(other.len() - from + 1);
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
}

#[test]
fn fuzz_query() {
    let serving = serving();
    run("query", CHANGED, |octets| closures::query(&serving, octets));
}

#[test]
fn fuzz_cookies() {
    run("cookies", CHANGED, closures::cookies);
}

#[test]
fn fuzz_name() {
    run("name", CHANGED, closures::name);
}

#[test]
fn fuzz_master() {
    run("master", CHANGED / 4, closures::master);
}

#[test]
fn fuzz_response() {
    run("response", CHANGED / 4, closures::response);
}

#[test]
fn fuzz_toml() {
    run("toml", CHANGED / 8, closures::toml_files);
}

#[test]
fn fuzz_rdata() {
    run("rdata", CHANGED, closures::rdata);
}

#[test]
fn fuzz_mmdb() {
    let questions = closures::mmdb_questions();
    run("mmdb", CHANGED_DATABASES, |octets| closures::mmdb(&questions, octets));
}
