//! `windrose demo` as a newcomer runs it, without a terminal: it shows itself, a backend that is failed leaves the answers and comes back,
//! and nothing is left of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::daemon::{self, DEADLINE, Daemon};

const LAST_LINE: &str = "Ctrl-C ends it";

/// The demo, and what it said first.
struct Demo {
    process: Daemon,
    opening: String,
}

impl Demo {
    fn start() -> Self {
        let process = Daemon::spawn(&[], &["demo"]);
        let opening = process.wait_for_output(LAST_LINE);
        Self { process, opening }
    }

    fn server(&self) -> SocketAddr {
        let (_, after) = self.opening.split_once("a director on ").unwrap();
        after.split(',').next().unwrap().parse().unwrap()
    }

    fn config(&self) -> PathBuf {
        self.opening
            .split_once("--config ")
            .unwrap()
            .1
            .split(' ')
            .next()
            .unwrap()
            .into()
    }

    /// Does what `curl` does with the URL of the opening that ends so.
    fn curl(&self, end: &str) -> String {
        let line = self
            .opening
            .lines()
            .find(|line| line.contains("curl") && line.ends_with(end))
            .unwrap();
        get(line.split_once("http://").unwrap().1)
    }

    /// Waits for a change to be told, and returns the table after it.
    fn change(&self, words: &str) -> String {
        let whole = self.process.wait_for_output(words);
        let from = whole.rfind(words).unwrap();
        // The table is written at once with the words before it; its last line is Sydney's.
        let told = self.process.wait_for_output_after(from, "Sydney");
        told[told.find("client").unwrap()..].to_owned()
    }
}

/// GET of `address/path`; the body.
fn get(url: &str) -> String {
    let (address, path) = url.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What a table says of a city: its mark, the answer, and why.
fn row<'t>(table: &'t str, city: &str) -> (char, &'t str, &'t str) {
    let line = table.lines().find(|line| line.contains(city)).unwrap();
    let (before, after) = line.split_once(city).unwrap();
    let (answer, why) = after.trim_start().split_once("  ").unwrap();
    (before.chars().nth(2).unwrap(), answer, why)
}

#[test]
fn it_shows_itself_and_a_failed_backend_leaves_and_comes_back() {
    let demo = Demo::start();
    let table = &demo.opening;
    assert_eq!(row(table, "Frankfurt"), (' ', "127.0.0.2", "frankfurt, 0 km"));
    assert_eq!(row(table, "San Jose"), (' ', "127.0.0.3", "ashburn, 3846 km"));
    assert_eq!(row(table, "Sydney"), (' ', "127.0.0.4", "singapore, 6306 km"));
    let from_loopback = daemon::ask(demo.server(), "www.demo.example");
    assert!(from_loopback.holds([127, 0, 0, 2]), "the order written");

    assert!(demo.curl("/fail").contains("503"));
    let table = demo.change("is down: 503");
    assert_eq!(row(&table, "Frankfurt").0, ' ');
    assert_eq!(
        row(&table, "New York"),
        ('>', "127.0.0.2", "ashburn is down; frankfurt, 6203 km")
    );
    assert!(demo.curl("/heal").contains("200"));
    let table = demo.change("is up: 200");
    assert_eq!(row(&table, "New York"), ('>', "127.0.0.3", "ashburn, 350 km"));
}

#[test]
fn the_commands_that_it_names_reach_it() {
    let demo = Demo::start();
    let config = demo.config();
    let config = config.to_str().unwrap();
    let explained = daemon::run(
        &[],
        &[
            "--config",
            config,
            "explain",
            "www.demo.example",
            "--client",
            "198.51.100.7",
            "--live",
        ],
    );
    assert!(
        explained.stdout.contains("ashburn    350 km, the nearest usable"),
        "{explained:?}"
    );
    let status = daemon::run(&[], &["--config", config, "status"]);
    assert!(status.stdout.contains("demo.example/singapore"), "{status:?}");
    // Where the port of the API is taken by another program, it is not named.
    if demo.opening.contains("/v1/status") {
        let status: Value = serde_json::from_str(&demo.curl("/v1/status")).unwrap();
        assert_eq!(status["targets"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn nothing_is_left_of_it() {
    let demo = Demo::start();
    let folder = demo.config().parent().map(Path::to_path_buf).unwrap();
    assert!(folder.join("zones/demo.example.toml").is_file() && folder.join("geo/demo.mmdb").is_file());
    let checked = daemon::run(&[], &["--config", demo.config().to_str().unwrap(), "check"]);
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        checked.stderr
    );
    let ended = demo.process.stop();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(!folder.exists());
}

#[test]
fn with_json_it_is_a_document_a_line() {
    let demo = Daemon::spawn(&[], &["demo", "--json"]);
    let line = demo.wait_for_output("\"ready\"");
    let ready: Value = serde_json::from_str(&line).unwrap();
    let answers: Vec<&str> = ready["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["answer"].as_str().unwrap())
        .collect();
    assert_eq!(
        answers,
        [
            "127.0.0.2",
            "127.0.0.2",
            "127.0.0.3",
            "127.0.0.3",
            "127.0.0.4",
            "127.0.0.4"
        ]
    );
    let backend = ready["backends"][1]["address"].as_str().unwrap();
    get(&format!("{backend}/fail"));
    let changed = demo.wait_for_output("\"verdict\":\"down\"");
    let changed: Value = serde_json::from_str(changed.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&changed["backend"], &changed["reason"]),
        (&"ashburn".into(), &"503".into())
    );
    assert_eq!(changed["answers"][2]["answer"], "127.0.0.2");
}

#[test]
fn it_ends_when_nobody_reads_and_takes_no_settings() {
    let ended = Daemon::spawn_unread(&[], &["demo"]).wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    let refused = daemon::run(&[], &["demo", "--config", "windrose.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("brings its own settings"), "{}", refused.stderr);
}
