//! The text cases of `check`: `tests/cases/check/NAME.case`, one for each rule, all run by one test.
//!
//! ```text
//! # What it shows, and where it comes from.
//! --- zones/gtm.example.com.toml               a file of the folder that is checked; `\x80` in it is that octet
//! --- check
//! zones/gtm.example.com.toml:5:15: error: ...  every fault, in order, and nothing else; no lines: none
//! help: did you mean `frankfurt`?              the hint of the fault above; not written, any or none
//! ```
//!
//! A file that begins with `mmdb nested` or `mmdb flat` is made into a location database (`atlases.rs` has the form).
//!
//! There is an empty windrose.toml unless the case has one. `WINDROSE_CASE=word` runs only the cases whose path has the word.

use std::path::{Path, PathBuf};
use std::{env, fs};

use windrose::diagnostic::Diagnostic;
use windrose::load::load;

use crate::atlases::octets_of;

/// Fewer cases than this, and most of them were lost on the way.
const CASES_MIN: usize = 135;

#[test]
fn check_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/check");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= CASES_MIN, "only {} cases were found", paths.len());
    let only = env::var("WINDROSE_CASE").unwrap_or_default();
    let chosen = paths.iter().filter(|path| path.to_string_lossy().contains(&only));
    let faults: Vec<String> = chosen.filter_map(|path| run(path).err()).collect();
    assert!(
        faults.is_empty(),
        "{} of {} cases:\n\n{}",
        faults.len(),
        paths.len(),
        faults.join("\n")
    );
}

/// Runs one case.
fn run(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    if !text.starts_with("# ") || path.extension().is_none_or(|extension| extension != "case") {
        return Err(format!("{name}: no case, or it does not open with what it shows"));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("zones")).unwrap();
    fs::write(folder.path().join("windrose.toml"), "").unwrap();
    for (file, body) in files(&text) {
        write(&folder.path().join(file), &body);
    }
    let expected = text.split_once("\n--- check\n").map(|(_, expected)| expected);
    let expected = expected.ok_or_else(|| format!("{name}: no `--- check`"))?;
    let found = load(Some(&folder.path().join("windrose.toml"))).faults;
    let prefix = format!("{}/", folder.path().display());
    compare(expected, &found, &prefix).map_err(|difference| format!("{name}:\n{difference}"))
}

/// The files of a case: names and texts.
pub(crate) fn files(case: &str) -> Vec<(String, String)> {
    let parts = case
        .split("\n--- ")
        .skip(1)
        .map(|part| part.split_once('\n').unwrap_or((part, "")));
    // Splitting takes the last line feed.
    let file = |(title, body): (&str, &str)| (title.trim().to_owned(), format!("{}\n", body.trim_end_matches('\n')));
    parts.filter(|(title, _)| title.trim() != "check").map(file).collect()
}

/// Writes a file of a case.
fn write(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut octets = octets_of(body);
    while let Some(at) = octets.windows(4).position(|octets| octets == b"\\x80") {
        octets.splice(at..at + 4, [0x80]);
    }
    fs::write(path, octets).unwrap();
}

/// Holds faults to what a case expects; the difference as a diff.
fn compare(expected: &str, found: &[Diagnostic], prefix: &str) -> Result<(), String> {
    let mut wanted: Vec<(&str, Option<&str>)> = Vec::new();
    for line in expected.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("help: "), wanted.last_mut()) {
            (Some(hint), Some((_, help))) => *help = Some(hint),
            _ => wanted.push((line, None)),
        }
    }
    let first_line = |fault: &Diagnostic| {
        let (line, column) = fault.line_column();
        format!(
            "{}:{line}:{column}: {}: {}",
            fault.path().display(),
            fault.severity,
            fault.message
        )
        .replace(prefix, "")
    };
    let fits = |(fault, (line, help)): (&Diagnostic, &(&str, Option<&str>))| {
        first_line(fault) == *line && help.is_none_or(|help| fault.hint.as_deref() == Some(help))
    };
    if found.len() == wanted.len() && found.iter().zip(&wanted).all(fits) {
        return Ok(());
    }
    let mut difference = String::new();
    for (line, help) in wanted {
        difference += &format!("  - {line}\n");
        difference += &help.map_or_else(String::new, |help| format!("  - help: {help}\n"));
    }
    for fault in found {
        difference += &format!("  + {}\n", first_line(fault));
        difference += &fault
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!("  + help: {hint}\n"));
    }
    Err(difference)
}
