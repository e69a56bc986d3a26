//! Random zones and queries, served by Windrose, NSD, Knot and BIND: what they answer is the same, or of a kind that
//! docs/conformance.md explains.
//!
//! A short run is an ordinary test. `tests/differential --pairs N --seed S` makes a long one and prints how often each kind of
//! difference came.

mod compare;
mod questions;
mod servers;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fastrand::Rng;

use self::compare::{Pair, Shape};
use self::questions::{Asked, question};
use self::servers::{Peer, ask_all};
use self::zones::{Made, dotted, wire};
use crate::daemon::Daemon;

/// Of the run that is part of every test.
const PAIRS: usize = 6_000;
const SEED: u64 = 1035;

/// In one world, that is for one start of each server.
const ZONES: usize = 60;
const QUERIES_PER_ZONE: usize = 40;

/// Examples that are shown of a kind.
const EXAMPLES: usize = 3;

/// How often each kind of difference came, by server, and some examples.
#[derive(Default)]
struct Tally {
    pairs: usize,
    kinds: BTreeMap<(&'static str, String), (usize, Vec<String>)>,
}

/// Skipped where one of them is missing: tests/run says so.
#[test]
fn others_answer_the_same() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let pairs = number("WINDROSE_DIFFERENTIAL_PAIRS").map_or(PAIRS, |pairs| pairs as usize);
    let mut rng = Rng::with_seed(number("WINDROSE_DIFFERENTIAL_SEED").unwrap_or(SEED));
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| peer.program().is_some()).collect();
    if peers.len() < Peer::ALL.len() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "one of NSD, Knot and BIND is missing, and CI skips nothing"
        );
        eprintln!(
            "of NSD, Knot and BIND only {} are here to be compared with",
            peers.len()
        );
    }
    let mut tally = Tally::default();
    let mut world = 0;
    while tally.pairs < pairs && !peers.is_empty() {
        let zones = zones::world(&mut rng, ZONES, world % 2 == 1);
        compare_world(&zones, &peers, &mut rng, &mut tally);
        world += 1;
    }
    println!("{}", tally.report());
    let unexplained = tally.kinds.iter().filter(|((_, kind), _)| kind.starts_with('?'));
    let unexplained: usize = unexplained.map(|(_, (count, _))| count).sum();
    assert_eq!(
        unexplained, 0,
        "{unexplained} differences of {} pairs are of no kind that docs/conformance.md explains",
        tally.pairs
    );
}

fn compare_world(zones: &[Made], peers: &[Peer], rng: &mut Rng, tally: &mut Tally) {
    let files: Vec<(String, &str)> = zones
        .iter()
        .map(|zone| {
            let name = dotted(&zone.origin);
            let name = if name == "." {
                "root"
            } else {
                name.trim_end_matches('.')
            };
            (format!("zones/{name}.zone"), zone.text.as_str())
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let daemon = Daemon::start(&files);
    let running: Vec<_> = peers.iter().map(|peer| (*peer, peer.start(zones))).collect();
    let mut asked: Vec<(usize, Asked)> = Vec::new();
    for (index, zone) in zones.iter().enumerate() {
        for _ in 0..QUERIES_PER_ZONE {
            asked.push((index, question(rng, zone, asked.len() as u16)));
        }
    }
    let queries: Vec<Asked> = asked.iter().map(|(_, query)| query.clone()).collect();
    let origins: BTreeSet<Vec<u8>> = zones.iter().map(|zone| wire(&zone.origin)).collect();
    let ours = ask_all(daemon.address(), &queries);
    for (peer, server) in &running {
        let theirs = ask_all(server.address, &queries);
        for (((zone, query), ours), theirs) in asked.iter().zip(&ours).zip(&theirs) {
            let (ours, theirs) = match (Shape::read(ours), Shape::read(theirs)) {
                (Ok(ours), Ok(theirs)) => (ours, theirs),
                (ours, theirs) => panic!("{query:?}: ours {ours:?}, {}'s {theirs:?}", peer.name()),
            };
            let text = || {
                let name = dotted(&query.name);
                let near = zones.iter().filter(|other| {
                    other.origin.ends_with(&zones[*zone].origin) || zones[*zone].origin.ends_with(&other.origin)
                });
                let near: String = near.map(|zone| zone.text.as_str()).collect();
                format!("{name} {}\n  ours   {ours}\n  theirs {theirs}\n{near}", query.qtype)
            };
            let pair = Pair {
                peer: *peer,
                asked: query,
                origins: &origins,
                zones,
                ours: ours.clone(),
                theirs: theirs.clone(),
            };
            if pair.touches(&server.lacks) {
                continue;
            }
            for kind in pair.differences() {
                tally.note(*peer, kind, text);
            }
        }
    }
    tally.pairs += queries.len();
}

impl Tally {
    fn note(&mut self, peer: Peer, kind: String, example: impl Fn() -> String) {
        let (count, examples) = self.kinds.entry((peer.name(), kind)).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    fn report(&self) -> String {
        let mut text = format!("{} pairs of zone and query\n", self.pairs);
        for ((peer, kind), (count, _)) in &self.kinds {
            let _ = writeln!(text, "{peer:5} {count:7}  {kind}");
        }
        for ((peer, kind), (_, examples)) in self.kinds.iter().filter(|((_, kind), _)| kind.starts_with('?')) {
            for example in examples {
                let _ = writeln!(text, "\n== {peer}: {kind}\n{example}");
            }
        }
        text
    }
}
