//! Whatever the files say, loading ends with faults that have their places, and with what can be served as it is.
//!
//! The texts are those of the cases, cut and mixed by chance: what people write is like them, and wrong in a few places.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use windrose::diagnostic::Place;
use windrose::load::{Loaded, load};
use windrose::policy::model::{Fallback, NodeKind};

/// What is put in: pieces that mean something somewhere.
const PIECES: &[&str] = &[
    "",
    "\n",
    "=",
    ".",
    ",",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\\",
    "\u{feff}",
    "ü",
    "\0",
    "@",
    "*",
    "%",
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    "\"\"",
    "\".\"",
    "\"@\"",
    "\"a..b\"",
    "[]",
    "{}",
    "A",
    "a",
    "CNAME",
    "NS",
    "DNAME",
    "SOA",
    "TYPE0",
    "TYPE65535",
    "steer",
    "ttl",
    "origin",
    "pools",
    "policies",
    "records",
    "choose",
    "\"rules\"",
    "\"nearest\"",
    "\"failover\"",
    "members",
    "backends",
    "fallback",
    "\"last\"",
    "\"192.0.2.1\"",
    "\"2001:db8::1\"",
    "\"example.com.\"",
    "[records]\n",
    "[pools.web]\n",
    "[policies.web]\n",
    "[zone]\n",
    "\"*\".",
];

#[derive(Debug, Clone)]
enum Mutation {
    Insert(Index, Index),
    Remove(Index, usize),
    Repeat(Index, Index, usize),
    SwapLines(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (index(), 1..12_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (index(), index(), 1..40_usize).prop_map(|(from, to, length)| Mutation::Repeat(from, to, length)),
        (index(), index()).prop_map(|(one, other)| Mutation::SwapLines(one, other)),
    ]
}

impl Mutation {
    fn apply(&self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        let place = |index: &Index, length: usize| index.index(length + 1);
        match self {
            Mutation::Insert(at, piece) => {
                let at = place(at, characters.len());
                characters.splice(at..at, piece.get(PIECES).chars());
            }
            Mutation::Remove(at, length) => {
                let at = place(at, characters.len());
                characters.drain(at..(at + length).min(characters.len()));
            }
            Mutation::Repeat(from, to, length) => {
                let (from, to) = (place(from, characters.len()), place(to, characters.len()));
                let copy = characters[from..(from + length).min(characters.len())].to_vec();
                characters.splice(to..to, copy);
            }
            Mutation::SwapLines(one, other) => {
                let mut lines: Vec<&str> = text.lines().collect();
                if !lines.is_empty() {
                    let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                    lines.swap(one, other);
                }
                return lines.join("\n");
            }
        }
        characters.into_iter().collect()
    }
}

/// The files of every case: names and texts.
static CASES: LazyLock<Vec<Vec<(String, String)>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/check");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| crate::check_cases::files(&fs::read_to_string(path).unwrap()))
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn loading_ends_well(case: Index, mutations in proptest::collection::vec((any::<Index>(), mutation()), 1..5)) {
        let mut files = case.get(&CASES).clone();
        for (file, mutation) in mutations {
            // Databases are no text: what becomes of damaged ones is held in `locations.rs`.
            let texts = files.iter_mut().filter(|(name, _)| !name.ends_with(".mmdb"));
            let mut texts: Vec<_> = texts.collect();
            if !texts.is_empty() {
                let at = file.index(texts.len());
                let text = &mut texts[at].1;
                *text = mutation.apply(text);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zones")).unwrap();
        fs::create_dir(folder.path().join("geo")).unwrap();
        fs::write(folder.path().join("windrose.toml"), "").unwrap();
        for (name, text) in &files {
            fs::write(folder.path().join(name), crate::atlases::octets_of(text)).unwrap();
        }
        let loaded = load(Some(&folder.path().join("windrose.toml")));
        places_are_in_range(&loaded)?;
        what_is_served_is_whole(&loaded)?;
    }
}

fn places_are_in_range(loaded: &Loaded) -> Result<(), TestCaseError> {
    for fault in &loaded.faults {
        let shown = fault.to_string();
        // A terminal gets no control characters: they are shown as signs.
        prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        let is_plain = !fault.message.contains(char::is_control);
        prop_assert!(!fault.message.is_empty() && (!is_plain || shown.contains(&fault.message)));
        if let Place::Span(source, span) = &fault.place {
            prop_assert!(
                source.text.get(span.clone()).is_some(),
                "{span:?} is no part of the text: {shown}"
            );
        }
    }
    Ok(())
}

fn what_is_served_is_whole(loaded: &Loaded) -> Result<(), TestCaseError> {
    let errors = loaded.faults.iter().filter(|fault| fault.is_error()).count();
    // A file of which not even the origin is known fails without a zone that could be named.
    let nameless = || {
        loaded
            .faults
            .iter()
            .any(|fault| fault.path().ends_with("zones/a..b.toml"))
    };
    let all_served = !loaded.unusable && loaded.failed.is_empty();
    prop_assert!((errors == 0) == all_served || nameless(), "{:?}", loaded.faults);
    let steering = &loaded.steering;
    for zone in &loaded.zones {
        prop_assert!(!loaded.failed.contains(&zone.origin));
        for steer in zone.owners.values().filter_map(|owner| owner.steer.as_ref()) {
            prop_assert!(steering.by_name.contains_key(&steer.root), "{} is unknown", steer.root);
        }
        for (rtype, rrset) in zone.owners.values().flat_map(|owner| &owner.rrsets) {
            prop_assert!(!rrset.rdata.is_empty() && !rtype.is_meta());
        }
    }
    for (at, node) in steering.nodes.iter().enumerate() {
        if let Fallback::Pool(pool) = node.root.fallback {
            prop_assert!(matches!(steering.node(pool).kind, NodeKind::Pool(_)));
        }
        match &node.kind {
            NodeKind::Pool(pool) => {
                prop_assert!(!pool.backends.is_empty());
                prop_assert!(pool.probes.iter().all(|probe| loaded.probes.contains_key(probe)));
            }
            NodeKind::Policy(policy) => {
                prop_assert!(!policy.members.is_empty());
                prop_assert!(policy.members.iter().all(|member| (member.node.0 as usize) < at));
            }
        }
    }
    Ok(())
}
