//! What holds of every file: length, heads, unsafe code, nothing left open, nothing of one machine, reasons for dependencies.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of source holds one idea; above this a second one has moved in.
const LINES_MAX: usize = 600;

/// The only files that may hold unsafe code.
const UNSAFE_FILES: [&str; 2] = ["src/image/prefetch.rs", "src/server/syscall.rs"];

/// The modules that read no clock, file, socket or random source; see the line in `lib.rs`.
const PURE: [&str; 8] = [
    "diagnostic",
    "wire",
    "spec",
    "health",
    "zone",
    "policy",
    "image",
    "answer",
];

/// What the pure side does not say.
const EDGE_WORDS: [&str; 13] = [
    "std::fs",
    "std::io::",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "getrandom",
    "fastrand",
];

/// What reads octets that others wrote (queries, responses, zone files, settings, location databases, requests to the control API). A lint
/// at the head of a module holds for those inside it.
const FOREIGN: [&str; 16] = [
    "src/config.rs",
    "src/control/api.rs",
    "src/control/connections.rs",
    "src/control/endpoint.rs",
    "src/geo/mmdb.rs",
    "src/geo/record.rs",
    "src/load/files.rs",
    "src/load/master.rs",
    "src/probe/http.rs",
    "src/server/stream.rs",
    "src/spec/mod.rs",
    "src/wire/edns.rs",
    "src/wire/name.rs",
    "src/wire/query.rs",
    "src/wire/rdata/mod.rs",
    "src/zone/master/mod.rs",
];

/// Folders that are not part of the project's text.
const NOT_OURS: [&str; 3] = [".git", "target", "corpus"];

#[test]
fn files_of_source_are_short() {
    for (path, text) in files("src", "rs") {
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines, where {LINES_MAX} are the limit"
        );
    }
}

#[test]
fn files_of_source_say_what_they_are() {
    for (path, text) in everything() {
        if path.ends_with(".rs") {
            assert!(text.starts_with("//! "), "{path} does not open with `//!`");
        }
        if path.ends_with(".case") {
            assert!(text.starts_with("# "), "{path} does not open with what it shows");
        }
    }
}

#[test]
fn readers_of_foreign_octets_neither_index_nor_truncate() {
    let lint = "deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)";
    let all = files("src", "rs");
    for path in FOREIGN {
        let text = all.iter().find(|(of, _)| of == path).map(|(_, text)| text);
        assert!(text.is_some_and(|text| text.contains(lint)), "{path}");
    }
}

#[test]
fn unsafe_code_is_in_two_files_and_explained() {
    for (path, text) in files("src", "rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| is_unsafe(line)) {
            assert!(
                UNSAFE_FILES.contains(&path.as_str()),
                "{path}:{}: unsafe code outside its files",
                at + 1
            );
            let above = lines[..at]
                .iter()
                .rev()
                .take_while(|line| line.trim_start().starts_with("//"));
            let explained = above.into_iter().any(|line| line.contains("SAFETY: "));
            assert!(
                explained,
                "{path}:{}: unsafe code without a SAFETY line right above",
                at + 1
            );
        }
    }
}

#[test]
fn nothing_is_left_open() {
    // Put together, so that this file does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ign", "ore"],
    ];
    for (path, text) in everything()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".toml"))
    {
        for mark in marks.map(|halves| halves.concat()) {
            assert!(!text.contains(&mark), "{path} has `{mark}`");
        }
    }
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let sleep = ["slee", "p("].concat();
    for (path, text) in files("tests", "rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.contains(&sleep)) {
            let inside = lines[..at].iter().rev().find(|line| line.contains("fn ")).unwrap();
            assert!(
                inside.contains("fn wait_until("),
                "{path}:{}: a test that sleeps",
                at + 1
            );
        }
    }
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let paths = [
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/Us", "ers/"],
        ["/wo", "rk/"],
        ["/tmp", "/w/"],
        ["../sha", "red"],
    ];
    for (path, text) in everything() {
        for word in paths.map(|halves| halves.concat()) {
            assert!(!text.contains(&word), "{path} names `{word}`");
        }
    }
}

#[test]
fn the_pure_side_knows_no_edge() {
    for (path, text) in files("src", "rs") {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        if !PURE.contains(&module) {
            continue;
        }
        for (at, line) in code(&text) {
            for word in EDGE_WORDS {
                assert!(!line.contains(word), "{path}:{at}: `{word}` on the pure side");
            }
        }
    }
}

#[test]
fn dependencies_have_their_reasons() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let mut in_dependencies = false;
    // How many lines back the last comment is; a comment may speak for two that go together.
    let mut since_comment = 9;
    for line in manifest.lines() {
        match line.chars().next() {
            Some('[') => in_dependencies = line.contains("dependencies"),
            Some('#') => since_comment = 0,
            None => since_comment = 9,
            Some(_) => {
                since_comment += 1;
                assert!(
                    !in_dependencies || since_comment <= 2,
                    "no reason stands above `{line}`"
                );
            }
        }
    }
}

/// Tables of Unicode came with hickory-proto for names in other scripts, which nothing here reads; an update of Cargo.lock brings them back
/// unless `cargo update -p idna_adapter --precise 1.0.0` follows.
#[test]
fn no_tables_of_unicode_come_with_names() {
    for path in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = fs::read_to_string(top().join(path)).unwrap();
        assert!(
            lock.contains("name = \"idna_adapter\"\nversion = \"1.0."),
            "{path} has tables"
        );
    }
}

/// Lines of code with their numbers: without comments, and without the tests at the end of a file.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    (1..)
        .zip(text[..end].lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The folder of the package.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of this kind at or below a folder: its path from the top, and its text.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&top().join(folder), &mut found);
    found.retain(|(path, _)| Path::new(path).extension().is_some_and(|end| end == extension));
    assert!(!found.is_empty(), "no .{extension} file is in {folder}");
    found
}

/// Every file of text that belongs to the project.
fn everything() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(top(), &mut found);
    found
}

fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !NOT_OURS.iter().any(|name| path.ends_with(name)) {
                walk(&path, found);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(top()).unwrap().display().to_string(), text));
        }
    }
}

fn is_unsafe(line: &str) -> bool {
    let line = line.split("//").next().unwrap();
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"]
        .iter()
        .any(|word| line.contains(word))
}
