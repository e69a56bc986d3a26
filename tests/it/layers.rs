//! Imports point one way: a module of the crate uses only modules above it in `lib.rs`, and of those only the ones listed here.

use std::collections::BTreeMap;

use crate::tidy::{code, files};

/// The modules, lowest first, each with what it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("diagnostic", &[]),
    ("wire", &["diagnostic"]),
    ("geo", &[]),
    ("spec", &["diagnostic", "wire"]),
    ("health", &["diagnostic", "wire", "spec"]),
    ("zone", &["diagnostic", "wire", "spec"]),
    ("policy", &["diagnostic", "wire", "geo", "spec", "health", "zone"]),
    ("image", &["wire", "spec", "health", "zone", "policy"]),
    ("answer", &["wire", "geo", "health", "zone", "policy", "image"]),
    ("config", &["diagnostic", "wire", "spec"]),
    ("probe", &["health"]),
    (
        "load",
        &[
            "diagnostic",
            "wire",
            "geo",
            "spec",
            "health",
            "zone",
            "policy",
            "config",
            "probe",
        ],
    ),
    ("server", &["wire", "policy", "image", "answer", "config"]),
    (
        "control",
        &[
            "diagnostic",
            "wire",
            "health",
            "zone",
            "policy",
            "image",
            "answer",
            "config",
            "load",
            "probe",
            "server",
        ],
    ),
    (
        "cli",
        &[
            "diagnostic",
            "wire",
            "health",
            "zone",
            "policy",
            "image",
            "answer",
            "config",
            "load",
            "server",
            "control",
        ],
    ),
];

/// The files that only list and start the others.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

#[test]
fn imports_point_one_way() {
    let mut faults = Vec::new();
    for (path, text) in files("src", "rs")
        .into_iter()
        .filter(|(path, _)| !ROOTS.contains(&path.as_str()))
    {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{path}: `{module}` is no module of the list"));
            continue;
        };
        for (line, text) in code(&text) {
            for used in uses(text) {
                if used != module && !allowed.contains(&used.as_str()) {
                    faults.push(format!("{path}:{line}: `{module}` imports `{used}`"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_list_is_the_order_of_lib_rs() {
    let rank: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .map(|(rank, (name, _))| (*name, rank))
        .collect();
    for (name, allowed) in LAYERS {
        for lower in *allowed {
            assert!(
                rank[lower] < rank[name],
                "`{name}` may not import `{lower}`, which comes after it"
            );
        }
    }
    let (_, lib) = files("src", "rs")
        .into_iter()
        .find(|(path, _)| path == "src/lib.rs")
        .unwrap();
    let listed: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let names: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, names, "the modules of lib.rs, in order");
}

/// The modules of the crate that a line of code names: `crate::wire::...`, or each of `crate::{wire::..., zone::...}`.
fn uses(line: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.push(word(&group[start..at]));
                    start = at + 1;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty() && name.chars().all(|c| !c.is_uppercase()));
    found
}

#[test]
fn sees_plain_and_grouped_imports() {
    assert_eq!(uses("use crate::wire::name::Name;"), ["wire"]);
    assert_eq!(uses("use crate::{wire::{code, name}, zone::model};"), ["wire", "zone"]);
    assert_eq!(uses("pub(crate) fn f(x: crate::policy::Client) {}"), ["policy"]);
    assert_eq!(uses("pub(crate) struct X;"), Vec::<String>::new());
}
