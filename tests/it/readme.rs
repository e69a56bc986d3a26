//! What the documents promise: the commands of README.md print what it says, and every block of TOML in README.md and docs/ loads.
//!
//! Blocks marked `console` are run: a line that begins with `$` is a command, what follows it is what it prints. `cargo run
//! --release --` stands for the binary at hand; of `demo`, what it prints before it says what to try. Blocks marked `toml` say what they are: `zone`, a whole zone file; `settings`, a
//! windrose.toml; `databases`, one that names the usual location databases; `part`, tables of a zone file to which [`AROUND`] adds what they
//! name; `later`, for what this version does not have.

use std::process::{Command, Stdio};
use std::{env, fs};

use crate::atlases::octets_of;
use crate::daemon::{self, Daemon};
use crate::tidy::{files, top};

/// What a part may name, by the head of its table; a part that has the table itself defines it.
const AROUND: [(&str, &str); 7] = [
    ("[records]", "\"@\".NS = \"ns.example.net.\"\n"),
    (
        "[pools.frankfurt]",
        "location = [50.11, 8.68]\nbackends = [\"192.0.2.10\"]\n",
    ),
    (
        "[pools.ashburn]",
        "location = [39.04, -77.49]\nbackends = [\"192.0.2.20\"]\n",
    ),
    (
        "[pools.singapore]",
        "location = [1.35, 103.82]\nbackends = [\"192.0.2.30\"]\n",
    ),
    ("[pools.sorry]", "backends = [\"192.0.2.40\"]\n"),
    (
        "[policies.web]",
        "choose = \"failover\"\nmembers = [\"frankfurt\", \"ashburn\", \"singapore\"]\n",
    ),
    ("[probes.web]", "kind = \"http\"\n"),
];

/// Every case that docs/conformance.md names is there, and every case of an RFC is named.
#[test]
fn conformance_names_cases_that_exist() {
    let text = fs::read_to_string(top().join("docs/conformance.md")).unwrap();
    let cases = files("tests/cases", "case");
    let there: Vec<&str> = cases
        .iter()
        .map(|(path, _)| {
            path.strip_prefix("tests/cases/")
                .unwrap()
                .strip_suffix(".case")
                .unwrap()
        })
        .collect();
    let subject = |word: &str| word.split_once('/').map(|(subject, _)| subject.to_owned());
    let is_case = |word: &&str| there.iter().any(|case| subject(case) == subject(word));
    let words = text.split('`').skip(1).step_by(2);
    let named: Vec<&str> = words.filter(|word| word.contains('/')).filter(is_case).collect();
    let fits = |name: &str, case: &str| match name.strip_suffix('*') {
        Some(start) => case.starts_with(start),
        None => case == name,
    };
    for name in &named {
        assert!(there.iter().any(|case| fits(name, case)), "no case is called `{name}`");
    }
    for case in there.iter().filter(|case| case.starts_with("rfc/")) {
        assert!(named.iter().any(|name| fits(name, case)), "`{case}` is not named");
    }
}

/// A fenced block of a document.
struct Block {
    /// The document, and the line of the fence.
    place: String,
    /// What follows the fence.
    words: Vec<String>,
    text: String,
}

#[test]
fn readme_commands_print_what_it_says() {
    if Command::new("dig").arg("-v").stdin(Stdio::null()).output().is_err() {
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "dig is missing, and CI skips nothing"
        );
        eprintln!("SKIPPED: dig is missing, so the commands of README.md are not run");
        return;
    }
    let files = example();
    let daemon = Daemon::start(&as_str(&files));
    let mut commands = 0;
    for block in blocks("README.md").iter().filter(|block| block.words == ["console"]) {
        for part in block.text.split("$ ").skip(1) {
            let (command, prints) = part.split_once('\n').unwrap();
            let got = output(command, &daemon, &files);
            assert_eq!(got.trim_end(), prints.trim_end(), "{}: $ {command}", block.place);
            commands += 1;
        }
    }
    assert!(commands >= 10, "only {commands} commands were found in README.md");
}

#[test]
fn readme_says_how_to_run_the_tests() {
    let blocks = blocks("README.md");
    assert!(
        blocks
            .iter()
            .any(|block| block.words == ["sh"] && block.text == "tests/run\n")
    );
}

#[test]
fn example_zones_are_without_fault() {
    let zones = example_zones();
    assert!(zones.len() >= 5);
    let ended = daemon::run(&as_str(&example()), &["check"]);
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    assert!(
        ended.stdout.contains(&format!("{} zones", zones.len())),
        "{}",
        ended.stdout
    );
}

#[test]
fn blocks_of_toml_load() {
    let mut documents: Vec<String> = files("docs", "md").into_iter().map(|(path, _)| path).collect();
    documents.push("README.md".into());
    let mut checked = 0;
    for block in documents.iter().flat_map(|document| blocks(document)) {
        if block.words.first().is_none_or(|word| word != "toml") {
            continue;
        }
        let zone = ("zones/gtm.example.com.toml", block.text.clone());
        let files = match block.words.get(1).map(String::as_str) {
            Some("zone") => vec![zone],
            Some("settings") => vec![("windrose.toml", block.text.clone())],
            Some("part") => vec![(zone.0, with_what_it_names(&block.text))],
            Some("databases") => {
                let database = "mmdb nested\n203.0.113.0/24 country=DE asn=64496\n".to_owned();
                let named = ["geo/city.mmdb", "geo/asn.mmdb"].map(|path| (path, database.clone()));
                [vec![("windrose.toml", block.text.clone())], named.to_vec()].concat()
            }
            Some("later") => continue,
            _ => panic!("{}: a block of TOML says what it is", block.place),
        };
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let ended = daemon::run(&files, &["check"]);
        assert!(ended.status.success(), "{}: {}", block.place, ended.stderr);
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} blocks were found");
}

#[test]
fn architecture_names_tests_that_exist() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("## Invariants").unwrap();
    let sources: Vec<(String, String)> = [files("tests/it", "rs"), files("src", "rs")].concat();
    let mut named = 0;
    for (module, test) in table.split('`').filter_map(|word| word.split_once("::")) {
        let exists = sources
            .iter()
            .any(|(path, text)| path.contains(module) && text.contains(&format!("fn {test}(")));
        assert!(exists, "ARCHITECTURE.md names `{module}::{test}`, which is no test");
        named += 1;
    }
    assert!(named >= 10, "only {named} tests are named");
}

/// What a command of README.md prints, with the daemon at hand in the place of the one that the reader started.
fn output(command: &str, daemon: &Daemon, example: &[(String, String)]) -> String {
    let Some(arguments) = command.strip_prefix("cargo run --release -- ") else {
        let command = command.replace("-p 5300", &format!("-p {}", daemon.address().port()));
        let done = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        return String::from_utf8(done.stdout).unwrap();
    };
    if arguments == "serve" {
        // The daemon at hand has other addresses; the rest of what it prints is the same.
        let ready = daemon.wait_for_output("ready: ");
        let listening = "listening on 127.0.0.1:5300 (UDP and TCP)\nlistening on [::1]:5300 (UDP and TCP)\n";
        let printed = ready.replace(&format!("127.0.0.1:{}", daemon.address().port()), "127.0.0.1:5300");
        let (first, last) = printed.trim_end().rsplit_once('\n').unwrap();
        assert!(listening.starts_with(first), "{printed}");
        return format!("{listening}{last}\n");
    }
    if arguments == "demo" {
        return opening_of_the_demo();
    }
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let ended = daemon::run(&as_str(example), &arguments);
    assert!(ended.status.success(), "{command}: {}", ended.stderr);
    ended.stdout
}

/// What the demo prints before it says what to try, as on a machine where its usual ports are free.
fn opening_of_the_demo() -> String {
    let demo = Daemon::spawn(&[], &["demo"]);
    let opening = demo.wait_for_output("Ctrl-C ends it");
    let (opening, _) = opening.split_once("\nAsk it yourself").unwrap();
    let with_usual_port = |line: &str| match line.rsplit_once(':') {
        Some((before, _)) if line.contains("http://") => format!("{before}:8080\n"),
        _ if line.contains("a director on 127.0.0.1:") => {
            let (_, after) = line.split_once(',').unwrap();
            format!("windrose demo: a director on 127.0.0.1:5300,{after}\n")
        }
        _ => format!("{line}\n"),
    };
    opening.lines().map(with_usual_port).collect()
}

fn example_zones() -> Vec<(String, String)> {
    files("zones", "toml")
}

/// What a newcomer has: the example zones, their settings, and the location database that those name.
fn example() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(top().join(path)).unwrap();
    let settings = format!("{}\n{}", daemon::SETTINGS, read("windrose.toml"));
    let mut files = example_zones();
    files.push(("windrose.toml".into(), settings));
    files.push(("geo/demo.mmdb".into(), read("geo/demo.txt")));
    files
}

/// The database is made from the text beside it. `WINDROSE_BLESS=1` makes it anew.
#[test]
fn the_demo_database_is_that_of_its_text() {
    let text = fs::read_to_string(top().join("geo/demo.txt")).unwrap();
    let (octets, path) = (octets_of(&text), top().join("geo/demo.mmdb"));
    if env::var("WINDROSE_BLESS").as_deref() == Ok("1") {
        fs::write(&path, &octets).unwrap();
    }
    assert!(
        fs::read(path).unwrap() == octets,
        "geo/demo.mmdb is not that of geo/demo.txt"
    );
}

fn as_str(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}

fn with_what_it_names(part: &str) -> String {
    let around = AROUND
        .iter()
        .filter(|(head, _)| !part.lines().any(|line| line == *head));
    around.fold(part.to_owned(), |text, (head, body)| text + "\n" + head + "\n" + body)
}

fn blocks(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(top().join(document)).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(text.lines()) {
        match text.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(words) => {
                inside = true;
                let words = words.split_whitespace().map(str::to_owned).collect();
                blocks.push(Block {
                    place: format!("{document}:{line}"),
                    words,
                    text: String::new(),
                });
            }
            None if inside => blocks.last_mut().unwrap().text += &format!("{text}\n"),
            None => {}
        }
    }
    blocks
}
