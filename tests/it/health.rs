//! Health end to end: a daemon, HTTP servers of the test that can be failed, and the answers that follow. Nothing is timed: each test
//! waits until the answers are as they should be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;

use crate::daemon::{Daemon, SETTINGS, wait_until};

const FILE: &str = "zones/example.org.toml";
const NAME: &str = "www.example.org";

/// Servers at 127.0.0.1, 127.0.0.2 and so on, all at one port. They end with the process.
struct Backends {
    port: u16,
    list: Vec<Arc<Backend>>,
}

struct Backend {
    status: AtomicU16,
    /// How often it was asked.
    asked: AtomicUsize,
}

impl Backends {
    /// One for each of these statuses.
    fn start(statuses: &[u16]) -> Self {
        let listeners = (0..100).find_map(|_| Self::bind(statuses.len()));
        let listeners = listeners.expect("a port that is free at each of these addresses");
        let port = listeners[0].local_addr().unwrap().port();
        let list = listeners.into_iter().zip(statuses).map(|(listener, status)| {
            let backend = Arc::new(Backend {
                status: AtomicU16::new(*status),
                asked: AtomicUsize::new(0),
            });
            let here = backend.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    here.answer(stream);
                }
            });
            backend
        });
        Self {
            port,
            list: list.collect(),
        }
    }

    fn bind(count: usize) -> Option<Vec<TcpListener>> {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let others = (2..=count).map(|last| TcpListener::bind(format!("127.0.0.{last}:{port}")));
        [Ok(first)].into_iter().chain(others).collect::<Result<_, _>>().ok()
    }

    /// Changes what one says, by the last octet of its address.
    fn say(&self, last: usize, status: u16) {
        self.list[last - 1].status.store(status, Ordering::SeqCst);
    }

    fn asked(&self, last: usize) -> usize {
        self.list[last - 1].asked.load(Ordering::SeqCst)
    }

    /// A probe of them.
    fn probe(&self, name: &str) -> String {
        format!(
            "[probes.{name}]\nkind = \"http\"\nport = {}\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\nrise = 2\n",
            self.port
        )
    }

    /// A zone whose www is what a pool of the first so many hands out, with more keys of that pool.
    fn zone(&self, count: usize, keys: &str) -> String {
        let addresses: Vec<String> = (1..=count).map(|last| format!("\"127.0.0.{last}\"")).collect();
        format!(
            "[records]\n\"@\".NS = \"ns.example.com.\"\nwww.steer = \"web\"\n[pools.web]\nprobe = \"web\"\nanswers = \"all\"\n\
             backends = [{}]\n{keys}\n{}",
            addresses.join(", "),
            self.probe("web")
        )
    }
}

impl Backend {
    fn answer(&self, mut stream: TcpStream) {
        let mut octets = Vec::new();
        let mut octet = [0];
        while !octets.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut octet), Ok(1)) {
            octets.push(octet[0]);
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let status = self.status.load(Ordering::SeqCst);
        let _ = write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n");
    }
}

/// The last octets of the backends in an answer; none for SERVFAIL.
fn handed_out(daemon: &Daemon, name: &str) -> Vec<u8> {
    let response = daemon.ask(name);
    let of = |last: &u8| response.holds([127, 0, 0, *last]);
    let found: Vec<u8> = (1..=9).filter(of).collect();
    assert_eq!(response.rcode(), if found.is_empty() { 2 } else { 0 });
    found
}

fn wait_for(daemon: &Daemon, expected: &[u8]) {
    wait_until(&format!("{expected:?} are handed out"), || {
        handed_out(daemon, NAME) == expected
    });
}

/// The lines about one backend.
fn changes(log: &str, last: u8) -> Vec<String> {
    let address = format!("127.0.0.{last}");
    let lines = log
        .lines()
        .filter(|line| line.contains("verdict") && line.contains(&address));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_backend_that_fails_leaves_and_comes_back() {
    let backends = Backends::start(&[200, 200]);
    let daemon = Daemon::start(&[(FILE, &backends.zone(2, ""))]);
    assert_eq!(handed_out(&daemon, NAME), [1, 2]);
    backends.say(1, 503);
    wait_for(&daemon, &[2]);
    backends.say(1, 204);
    wait_for(&daemon, &[1, 2]);
    let log = daemon.stop().stderr;
    let first = changes(&log, 1);
    assert_eq!(first.len(), 3, "{log}");
    for (line, words) in first.iter().zip([["up", "200"], ["down", "503"], ["up", "204"]]) {
        let [verdict, reason] = words;
        let told =
            format!("verdict address=127.0.0.1 probe=\"example.org/web\" verdict=\"{verdict}\" reason=\"{reason}\"");
        assert!(line.contains("INFO") && line.ends_with(&told), "{line}");
    }
    assert_eq!(changes(&log, 2).len(), 1, "{log}");
}

#[test]
fn changes_are_told_in_json_if_the_log_is() {
    let backends = Backends::start(&[200, 200]);
    let settings = format!("{SETTINGS}\n[log]\nformat = \"json\"\n");
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, &backends.zone(2, ""))]);
    backends.say(2, 500);
    wait_for(&daemon, &[1]);
    let log = daemon.stop().stderr;
    let lines = changes(&log, 2);
    let documents: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = documents
        .iter()
        .map(|one| ["level", "message", "address", "probe", "verdict", "reason"].map(|key| one[key].as_str().unwrap()))
        .collect();
    let line = |verdict, reason| ["INFO", "verdict", "127.0.0.2", "example.org/web", verdict, reason];
    assert_eq!(told, [line("up", "200"), line("down", "500")]);
}

#[test]
fn what_is_down_at_start_is_never_handed_out() {
    let backends = Backends::start(&[503, 200, 404]);
    let daemon = Daemon::start(&[(FILE, &backends.zone(3, ""))]);
    assert_eq!(handed_out(&daemon, NAME), [2]);
}

#[test]
fn with_all_down_it_is_answered_as_if_all_were_up() {
    let backends = Backends::start(&[200, 200]);
    let daemon = Daemon::start(&[(FILE, &backends.zone(2, ""))]);
    backends.say(1, 503);
    wait_for(&daemon, &[2]);
    backends.say(2, 503);
    wait_for(&daemon, &[1, 2]);
    backends.say(1, 200);
    wait_for(&daemon, &[1]);
    assert_eq!(changes(&daemon.stop().stderr, 2).len(), 2);
}

#[test]
fn with_all_down_it_is_servfail_if_that_is_wanted() {
    let backends = Backends::start(&[503, 503]);
    let daemon = Daemon::start(&[(FILE, &backends.zone(2, "fallback = \"servfail\""))]);
    assert_eq!(handed_out(&daemon, NAME), [0_u8; 0]);
    backends.say(2, 200);
    wait_for(&daemon, &[2]);
    backends.say(2, 503);
    wait_for(&daemon, &[]);
}

#[test]
fn below_min_healthy_a_pool_is_not_usable() {
    let backends = Backends::start(&[200, 200, 503]);
    let keys = "min_healthy = 2\nfallback = \"servfail\"";
    let daemon = Daemon::start(&[(FILE, &backends.zone(3, keys))]);
    assert_eq!(handed_out(&daemon, NAME), [1, 2]);
    backends.say(1, 503);
    wait_for(&daemon, &[]);
    backends.say(3, 200);
    wait_for(&daemon, &[2, 3]);
}

#[test]
fn a_reload_keeps_what_is_known_and_tries_what_is_new() {
    let backends = Backends::start(&[200, 200, 503]);
    let daemon = Daemon::start(&[(FILE, &backends.zone(2, ""))]);
    backends.say(1, 503);
    wait_for(&daemon, &[2]);
    let reload = |zone: &str| {
        daemon.write(FILE, zone);
        let told = daemon.reload();
        assert!(told.contains("reloaded zones=1"), "{told}");
        handed_out(&daemon, NAME)
    };
    assert_eq!(reload(&backends.zone(2, "")), [2]);
    // The new one is tried before it is handed out, and does not pass.
    assert_eq!(reload(&backends.zone(3, "")), [2]);
    // Nothing was told anew of those that were known.
    let told: Vec<usize> = (1..=3).map(|last| changes(&daemon.log(), last).len()).collect();
    assert_eq!(told, [2, 1, 1], "{}", daemon.log());
    // A changed definition makes new targets, of which nothing is known before they are tried: the first result decides.
    backends.say(3, 200);
    assert_eq!(reload(&backends.zone(3, "").replace("fall = 2", "fall = 3")), [2, 3]);
    // What is asked no more is forgotten.
    assert_eq!(
        reload(&backends.zone(3, "").replace("probe = \"web\"\n", "")),
        [1, 2, 3]
    );
}

#[test]
fn equal_definitions_are_probed_once() {
    let backends = Backends::start(&[200, 503]);
    // The second round is out of sight.
    let zone = backends
        .zone(2, "")
        .replace("interval = \"200ms\"", "interval = \"1h\"");
    let other = zone
        .replace("probes.web", "probes.www")
        .replace("probe = \"web\"", "probe = \"www\"");
    let daemon = Daemon::start(&[(FILE, &zone), ("zones/example.net.toml", &other)]);
    assert_eq!(handed_out(&daemon, NAME), [1]);
    assert_eq!(handed_out(&daemon, "www.example.net"), [1]);
    assert_eq!([1, 2].map(|last| backends.asked(last)), [1, 1]);
    // Another definition, though it differs in nothing but a header, is another probe.
    daemon.write(
        "zones/example.net.toml",
        &format!("{other}headers = {{ x-probe = \"1\" }}\n"),
    );
    let told = daemon.reload();
    assert!(told.contains("reloaded zones=2"), "{told}");
    assert_eq!([1, 2].map(|last| backends.asked(last)), [2, 2]);
    let log = daemon.stop().stderr;
    for last in [1, 2] {
        let lines = changes(&log, last);
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("probe=\"example.net/www example.org/web\""), "{log}");
        assert!(lines[1].contains("probe=\"example.net/www\""), "{log}");
    }
}

#[test]
fn what_was_usable_last_outlives_reloads_and_a_restart() {
    const STATE: &str = "windrose.state.json";
    let backends = Backends::start(&[200, 200]);
    let zone = backends.zone(2, "fallback = \"last\"");
    let daemon = Daemon::start(&[(FILE, &zone)]);
    assert_eq!(handed_out(&daemon, NAME), [1, 2]);
    backends.say(2, 503);
    wait_for(&daemon, &[1]);
    backends.say(1, 503);
    wait_until("all are down", || changes(&daemon.log(), 1).len() == 2);
    assert_eq!(handed_out(&daemon, NAME), [1]);
    // Neither a reload of what is there, nor one that puts everything at another place, nor both after one another.
    daemon.write("zones/a.example.toml", &zone);
    for _ in 0..2 {
        assert!(daemon.reload().contains("reloaded zones=2"));
        assert_eq!(handed_out(&daemon, NAME), [1]);
        // The same backends, but for this root there was no such moment.
        assert_eq!(handed_out(&daemon, "www.a.example"), [1, 2]);
    }
    let state = || std::fs::read_to_string(daemon.path(STATE)).unwrap_or_default();
    let held = "\"example.org/web\":{\"ipv4\":[{\"example.org/web\":{\"127.0.0.1\":[\"127.0.0.1\"]}}]";
    wait_until("the state is written", || state().contains(held));
    let state = state();
    // It is killed, and never said goodbye.
    drop(daemon);
    let daemon = Daemon::start(&[(FILE, &zone), (STATE, &state)]);
    assert_eq!(handed_out(&daemon, NAME), [1]);
    backends.say(2, 200);
    wait_for(&daemon, &[2]);
    backends.say(2, 503);
    wait_until("all are down again", || changes(&daemon.log(), 2).len() == 3);
    assert_eq!(handed_out(&daemon, NAME), [2]);
}

#[test]
fn a_state_file_that_cannot_be_read_is_told_and_nothing_else() {
    let backends = Backends::start(&[503, 503]);
    let zone = backends.zone(2, "fallback = \"last\"");
    let daemon = Daemon::start(&[(FILE, &zone), ("windrose.state.json", "{\"version\":2}")]);
    let told = daemon.wait_for_log("windrose.state.json: what was usable before the start is not known");
    assert!(told.contains(" WARN "), "{told}");
    assert_eq!(handed_out(&daemon, NAME), [1, 2]);
}
