//! Response rate limiting of a real daemon, under both engines: what comes back is what is counted, and who has proved its address has no limit.

use std::net::UdpSocket;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::control::{self, with_tcp};
use crate::daemon::{DEADLINE, Daemon, wait_until};
use crate::message::{self, Message};
use crate::query::Query;

const FILE: &str = "zones/gtm.example.com.toml";
const ZONE: &str = "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.steer = \"web\"\n\
                    [pools.web]\nbackends = [\"192.0.2.10\"]\n";

/// Responses of a kind in a second.
const LIMIT: u64 = 5;

/// Queries that are sent at once: less than hickory-server keeps answers for.
const BURST: u64 = 25;

fn settings(engine: &str, limits: &str) -> String {
    let server = format!("workers = 1\nengine = \"{engine}\"\n{limits}");
    with_tcp().replace("workers = 1\n", &server)
}

fn limits() -> String {
    format!("rate_limit = {{ responses_per_second = {LIMIT}, slip = 2 }}\n")
}

/// A sample of `/metrics`.
fn counted(daemon: &Daemon, sample: &str) -> u64 {
    let body = control::ask(daemon, "GET", "/metrics").body;
    let line = body.lines().find_map(|line| line.strip_prefix(sample));
    let value = line.unwrap_or_else(|| panic!("no {sample} in {body}"));
    value.trim().parse().unwrap()
}

/// What came of queries over UDP.
#[derive(Debug, Default, Clone, Copy)]
struct Came {
    sent: u64,
    whole: u64,
    truncated: u64,
}

/// Asks in bursts, until something was truncated and something dropped. Each burst is counted before the next is sent.
fn flood(daemon: &Daemon, query: &Query) -> Came {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(daemon.address()).unwrap();
    let before = |sample: &str| counted(daemon, sample);
    let (received, dropped, slipped) = (
        "windrose_queries_total{transport=\"udp\"}",
        "windrose_rate_limited_total{action=\"drop\"}",
        "windrose_rate_limited_total{action=\"slip\"}",
    );
    let start = [before(received), before(dropped), before(slipped)];
    let mut came = Came::default();
    let since = Instant::now();
    loop {
        for _ in 0..BURST {
            socket.send(&query.octets).unwrap();
        }
        came.sent += BURST;
        wait_until("every query is counted", || {
            counted(daemon, received) == start[0] + came.sent
        });
        let drops = counted(daemon, dropped) - start[1];
        while came.whole + came.truncated + drops < came.sent {
            let mut octets = [0; 1232];
            let length = socket.recv(&mut octets).unwrap();
            let got = message::decode(&octets[..length]).unwrap();
            let is_empty = got.sections.iter().all(Vec::is_empty);
            assert_eq!(got.flags & 0x0200 != 0, is_empty, "TC and nothing else, or an answer");
            came.whole += u64::from(!is_empty);
            came.truncated += u64::from(is_empty);
        }
        assert_eq!(counted(daemon, slipped) - start[2], came.truncated);
        if drops > 0 && came.truncated > 0 {
            return came;
        }
        assert!(since.elapsed() < DEADLINE, "{came:?}");
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn over_udp(daemon: &Daemon, query: &Query) -> Message {
    message::decode(&query.alone_over_udp(daemon.address())).unwrap()
}

fn holds(engine: &str) {
    let daemon = Daemon::start(&[("windrose.toml", &settings(engine, &limits())), (FILE, ZONE)]);
    let www = Query::parse("www.gtm.example.com. A +edns", 1).unwrap();
    let first = seconds();
    let came = flood(&daemon, &www);
    let whole_at_most = LIMIT * (seconds() - first + 1);
    assert!((1..=whole_at_most).contains(&came.whole), "{came:?} of {whole_at_most}");

    // A name error, and an error, are kinds of their own.
    let nothing = Query::parse("nothing.gtm.example.com. A +edns", 2).unwrap();
    assert_eq!(over_udp(&daemon, &nothing).rcode, 3);
    let elsewhere = Query::parse("www.example.org. A +edns", 3).unwrap();
    assert_eq!(over_udp(&daemon, &elsewhere).rcode, 5);

    // A stream proves an address, and so does a cookie, which comes with what is truncated too.
    for _ in 0..4 * LIMIT {
        let octets = www.over_tcp(daemon.address()).unwrap();
        assert_eq!(message::decode(&octets).unwrap().sections[0].len(), 1);
    }
    let ns = Query::parse("ns1.gtm.example.com. A +option=10:0123456789abcdef", 4).unwrap();
    let options = over_udp(&daemon, &ns).opt.unwrap().options;
    let (_, cookie) = options.iter().find(|(code, _)| *code == 10).unwrap();
    let shown = format!("www.gtm.example.com. A +option=10:{}", message::hex(cookie));
    let shown = Query::parse(&shown, 5).unwrap();
    for _ in 0..4 * LIMIT {
        assert_eq!(over_udp(&daemon, &shown).sections[0].len(), 1);
    }

    // A reload takes the limit away.
    daemon.write("windrose.toml", &settings(engine, ""));
    assert!(daemon.reload().contains("reloaded zones=1"));
    for _ in 0..4 * LIMIT {
        assert_eq!(over_udp(&daemon, &www).sections[0].len(), 1);
    }
    assert_eq!(
        counted(
            &daemon,
            "windrose_queries_dropped_total{transport=\"udp\",reason=\"rate_limit\"}"
        ),
        counted(&daemon, "windrose_rate_limited_total{action=\"drop\"}")
    );
}

#[test]
fn the_native_engine_holds_limits() {
    holds("native");
}

#[test]
fn the_portable_engine_holds_limits() {
    holds("portable");
}
