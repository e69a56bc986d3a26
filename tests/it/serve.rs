//! `windrose serve`: what it prints, what it refuses, and what signals do.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};

use crate::daemon::{DEADLINE, Daemon, SETTINGS, ask, framed, query, run, wait_until};

const ZONE: &str = "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.A = \"192.0.2.7\"\n";
const NAME: &str = "www.example.org";
const FILE: &str = "zones/example.org.toml";

/// Another address for www.
fn changed() -> String {
    ZONE.replace("192.0.2.7", "192.0.2.8")
}

#[test]
fn every_address_is_printed_and_answers_both_ways() {
    let listen = SETTINGS.replace("\"127.0.0.1:0\"", "\"127.0.0.1:0\", \"127.0.0.2:0\"");
    let daemon = Daemon::start(&[("windrose.toml", &listen), (FILE, ZONE)]);
    let &[first, second] = daemon.addresses() else {
        panic!("{:?}", daemon.addresses())
    };
    assert!(first.port() != 0 && second.port() != 0);
    for address in [first, second] {
        assert!(ask(address, NAME).holds([192, 0, 2, 7]));
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&framed(3, NAME)).unwrap();
        let mut stream = crate::daemon::Stream(stream);
        assert!(stream.receive().unwrap().holds([192, 0, 2, 7]));
    }
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    let expected = format!("listening on {first} (UDP and TCP)\nlistening on {second} (UDP and TCP)\nready: 1 zone\n");
    assert_eq!(ended.stdout, expected);
}

/// RFC 2181 4.1: a datagram is answered from the address that it was sent to, and from no other.
#[test]
fn a_wildcard_address_answers_from_the_one_asked() {
    let listen = SETTINGS.replace("127.0.0.1:0", "0.0.0.0:0");
    let daemon = Daemon::start(&[("windrose.toml", &listen), (FILE, ZONE)]);
    for host in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 8, 7]] {
        let asked = SocketAddr::from((host, daemon.address().port()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.send_to(&query(5, NAME), asked).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 512]).unwrap();
        assert_eq!(from, asked);
    }
}

#[test]
fn json_is_one_document() {
    let daemon = Daemon::spawn(&[(FILE, ZONE)], &["serve", "--json"]);
    let line = daemon.wait_for_output("}");
    let document: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(document["zones"], 1);
    let address: SocketAddr = document["listening"][0].as_str().unwrap().parse().unwrap();
    assert!(ask(address, NAME).holds([192, 0, 2, 7]));
    daemon.signal("INT");
    let ended = daemon.wait();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stdout.lines().count(), 1);
}

#[test]
fn a_good_reload_swaps_everything() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));
    daemon.write(FILE, &changed());
    daemon.write("zones/example.net.toml", ZONE);
    let told = daemon.reload();
    assert!(told.contains("reloaded zones=2"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 8]));
    assert!(daemon.ask("www.example.net").holds([192, 0, 2, 7]));
}

#[test]
fn a_faulty_reload_changes_nothing_and_tells_every_fault() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    daemon.write(FILE, &changed());
    daemon.write(
        "zones/bad.example.toml",
        "[records]\nwww.A = \"192.0.2.300\"\nftp.A = \"192.0.2.400\"\n",
    );
    let told = daemon.reload();
    assert!(
        told.contains("bad.example.toml:2:") && told.contains("bad.example.toml:3:"),
        "{told}"
    );
    assert!(told.contains("reload refused, everything stays as it was"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));
    assert_eq!(daemon.ask("www.bad.example").rcode(), 5);
    // Mended, the same signal takes it in.
    daemon.write("zones/bad.example.toml", ZONE);
    let told = daemon.reload();
    assert!(told.contains("reloaded zones=2"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 8]));
}

/// Two sites, and who is near the second one as long as nothing is known.
const NEAREST: &str = r#"
[records]
"@".NS = "ns1"
ns1.A = "192.0.2.1"
www.steer = "near"
[policies.near]
choose = "nearest"
members = ["frankfurt", "singapore"]
[pools.frankfurt]
location = [50.11, 8.68]
backends = ["192.0.2.10"]
[pools.singapore]
location = [1.35, 103.82]
backends = ["192.0.2.30"]
"#;
const CITY: &str = "geo/city.mmdb";
const IN_ASIA: &str = "mmdb nested\n127.0.0.0/8 at=1.0,100.0\n";
const IN_EUROPE: &str = "mmdb flat\n127.0.0.0/8 at=48.85,2.35\n";

fn with_database(line: &str) -> String {
    format!("{SETTINGS}\n[geo]\n{line}\n")
}

#[test]
fn a_reload_takes_a_changed_database_in() {
    let daemon = Daemon::start(&[(FILE, NEAREST), (CITY, IN_ASIA)]);
    assert!(daemon.ask(NAME).holds([192, 0, 2, 30]));
    daemon.write(CITY, IN_EUROPE);
    assert!(daemon.ask(NAME).holds([192, 0, 2, 30]), "not before it is told to");
    assert!(daemon.reload().contains("reloaded"));
    assert!(daemon.ask(NAME).holds([192, 0, 2, 10]));
    // A site that moves is told to the same database.
    daemon.write(FILE, &NEAREST.replace("[1.35, 103.82]", "[48.9, 2.4]"));
    assert!(daemon.reload().contains("reloaded"));
    assert!(daemon.ask(NAME).holds([192, 0, 2, 30]));
    // The default file was there, and is missed when it goes.
    daemon.write(FILE, NEAREST);
    daemon.remove(CITY);
    let told = daemon.reload();
    assert!(told.contains("refused") && told.contains("geo/city.mmdb"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 30]));
}

#[test]
fn with_a_broken_database_the_old_data_stay() {
    let settings = with_database("city = \"geo/city.mmdb\"");
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, NEAREST), (CITY, IN_ASIA)]);
    for faulty in ["", "no database", "mmdb empty", "mmdb nested\n127.0.0.0/8 asn=1\n"] {
        daemon.write(CITY, faulty);
        daemon.write("zones/example.net.toml", ZONE);
        let told = daemon.reload();
        assert!(
            told.contains("geo/city.mmdb") && told.contains("windrose.toml:9:8"),
            "{told}"
        );
        assert!(told.contains("reload refused, everything stays as it was"), "{told}");
        assert!(daemon.ask(NAME).holds([192, 0, 2, 30]), "{faulty:?}");
        assert_eq!(daemon.ask("www.example.net").rcode(), 5, "all or nothing");
    }
    daemon.remove(CITY);
    let told = daemon.reload();
    assert!(told.contains("geo/city.mmdb: cannot be read: No such file"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 30]));
    daemon.write(CITY, IN_EUROPE);
    let told = daemon.reload();
    assert!(told.contains("reloaded zones=2"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 10]));
}

#[test]
fn without_a_database_that_is_said_at_start_once() {
    let daemon = Daemon::start(&[(FILE, NEAREST), ("zones/example.net.toml", NEAREST)]);
    let log = daemon.stop().stderr;
    assert_eq!(log.matches("no location database is loaded").count(), 1, "{log}");
}

#[test]
fn a_broken_database_at_start_is_told_and_nothing_starts() {
    let settings = with_database("city = [\"geo/city.mmdb\", \"geo/none.mmdb\"]");
    let ended = run(
        &[("windrose.toml", &settings), (FILE, NEAREST), (CITY, "no database")],
        &["serve"],
    );
    assert_eq!(ended.status.code(), Some(1));
    for part in ["windrose.toml:9:9", "geo/city.mmdb", "geo/none.mmdb"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_changed_listen_needs_a_restart() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    daemon.write("windrose.toml", &SETTINGS.replace("127.0.0.1:0", "127.0.0.2:0"));
    daemon.write(FILE, &changed());
    let told = daemon.reload();
    assert!(told.contains("listen changed, which needs a restart"), "{told}");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]), "all or nothing");
    daemon.write("windrose.toml", &SETTINGS.replace("workers = 1", "workers = 2"));
    assert!(daemon.reload().contains("workers changed, which needs a restart"));
}

#[test]
fn no_query_is_lost_while_reloading() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    let mut stream = daemon.connect();
    for round in 0..10 {
        let text = if round % 2 == 0 { changed() } else { ZONE.to_owned() };
        daemon.write(FILE, &text);
        stream.send(&framed(round, NAME));
        daemon.reload();
        stream.send(&framed(100, NAME));
        assert_eq!(stream.receive().unwrap().id(), round);
        let last = if round % 2 == 0 { 8 } else { 7 };
        assert!(stream.receive().unwrap().holds([192, 0, 2, last]));
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let first = Daemon::start(&[(FILE, ZONE)]);
    let address = first.address().to_string();
    let ended = run(
        &[("windrose.toml", &SETTINGS.replace("127.0.0.1:0", &address))],
        &["serve"],
    );
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stderr
            .contains(&format!("error: {address}: in use by another program")),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "");
    assert!(first.ask(NAME).holds([192, 0, 2, 7]));
}

#[test]
fn a_port_that_is_taken_for_udp_alone_is_told() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let ended = run(
        &[("windrose.toml", &SETTINGS.replace("127.0.0.1:0", &address))],
        &["serve"],
    );
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stderr
            .contains(&format!("error: {address}: in use by another program")),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_address_of_another_host_is_told() {
    let ended = run(
        &[("windrose.toml", &SETTINGS.replace("127.0.0.1:0", "240.0.0.1:0"))],
        &["serve"],
    );
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stderr
            .contains("error: 240.0.0.1:0: this host has no such address"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_faulty_zone_fails_alone_at_start() {
    let daemon = Daemon::start(&[
        (FILE, ZONE),
        ("zones/bad.example.toml", "[records]\nwww.A = \"192.0.2.300\"\n"),
    ]);
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));
    assert_eq!(daemon.ask("www.bad.example").rcode(), 2);
    assert_eq!(daemon.ask("www.other.example").rcode(), 5);
    let log = daemon.wait_for_log("the zone bad.example. is faulty");
    assert!(log.contains("bad.example.toml:2:"), "{log}");
}

#[test]
fn without_a_zone_it_serves_with_a_warning() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.ask(NAME).rcode(), 5);
    daemon.wait_for_log("no zone in");
}

#[test]
fn faulty_settings_are_told_and_nothing_starts() {
    let ended = run(&[("windrose.toml", "[server]\nlisten = 5\nwrkers = 2\n")], &["serve"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("windrose.toml:2:") && ended.stderr.contains("windrose.toml:3:"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn wrong_use_is_2() {
    for arguments in [&["serve", "--fast"][..], &["surf"], &[]] {
        let ended = run(&[], arguments);
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("Usage:"), "{}", ended.stderr);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    // A client that does not read: answers wait for it until something gives in.
    let mut stream = daemon.connect();
    stream.0.set_nonblocking(true).unwrap();
    let queries: Vec<u8> = (0..1000).flat_map(|id| framed(id, NAME)).collect();
    let mut stuck = 0;
    wait_until("nothing more is taken", || {
        stuck = if stream.0.write(&queries).is_err() {
            stuck + 1
        } else {
            0
        };
        stuck > 20
    });
    daemon.signal("TERM");
    daemon.wait_for_log("stopping");
    daemon.signal("INT");
    assert_eq!(daemon.wait().status.code(), Some(1));
}

#[test]
fn nobody_need_read_what_is_printed() {
    let settings = format!("{SETTINGS}\n[log]\nlevel = \"debug\"\n");
    let daemon = Daemon::spawn_unread(&[("windrose.toml", &settings), (FILE, ZONE)], &["serve"]);
    daemon.wait_for_log("ready");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
