//! DNS over TCP by the real daemon. Framing and time have unit tests beside the code; here are sockets, limits and the stop.

use std::net::{Shutdown, UdpSocket};

use crate::daemon::{DEADLINE, Daemon, Response, Stream, framed, query, wait_until};

const ZONE: (&str, &str) = (
    "zones/example.org.toml",
    "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.A = \"192.0.2.7\"\n",
);
const NAME: &str = "www.example.org";
const ADDRESS: [u8; 4] = [192, 0, 2, 7];

/// Of one client: see `Limits::per_client`.
const PER_CLIENT: usize = 128;

/// RFC 7766 6.2.1.1: "The server SHOULD answer all pipelined queries, even if they are received in quick succession."
#[test]
fn a_hundred_queries_of_one_write_are_answered_in_order() {
    let daemon = Daemon::start(&[ZONE]);
    let mut stream = daemon.connect();
    stream.send(&(0..100).flat_map(|id| framed(id, NAME)).collect::<Vec<_>>());
    for id in 0..100 {
        let response = stream.receive().unwrap();
        assert_eq!((response.id(), response.rcode()), (id, 0));
        assert!(response.holds(ADDRESS));
    }
}

/// RFC 7766 8: servers "MUST NOT close a connection simply because the first "read" from the TCP layer does not contain the entire DNS message".
#[test]
fn a_query_may_come_octet_by_octet_and_the_last_one_before_the_end() {
    let daemon = Daemon::start(&[ZONE]);
    let mut stream = daemon.connect();
    for octet in framed(1, NAME) {
        stream.send(&[octet]);
    }
    assert!(stream.receive().unwrap().holds(ADDRESS));
    stream.send(&framed(2, NAME));
    stream.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.receive().unwrap().id(), 2);
    assert_eq!(stream.receive(), None);
}

/// RFC 1035 4.2.2 has no greater length. What does not fit it, since an option is asked for, is cut as over UDP (RFC 2181 9).
#[test]
fn a_response_may_have_65535_octets() {
    const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    const ROOM: usize = 65_535 - (12 + 18 + 4) - OPT.len(); // after the header and the question, before the OPT record
    const RECORD: usize = 2 + 10 + 1; // of a TXT record, before its text
    let (whole, rest) = (ROOM / (RECORD + 255), ROOM % (RECORD + 255));
    let mut texts: Vec<_> = (0..whole).map(|number| format!("\"{number:0>255}\"")).collect();
    texts.push(format!("\"{}\"", "x".repeat(rest - RECORD)));
    let zone = format!(
        "[records]\n\"@\".NS = \"ns.example.net.\"\nlong.TXT = [{}]\n",
        texts.join(", ")
    );
    let daemon = Daemon::start(&[("zones/example.org.toml", &zone)]);
    let mut stream = daemon.connect();
    let mut ask = |opt: &[u8]| {
        let mut query = query(1, "long.example.org");
        let length = query.len();
        query[length - 3] = 16;
        query[11] = u8::from(!opt.is_empty());
        query.extend_from_slice(opt);
        stream.send(&[&(query.len() as u16).to_be_bytes()[..], &query].concat());
        let Response(response) = stream.receive().unwrap();
        (response.len(), response[2] & 2 != 0)
    };
    assert_eq!(ask(&[]), (65_535 - OPT.len(), false));
    assert_eq!(ask(&OPT), (65_535, false));
    let with_subnet = [&OPT[..10], &[8, 0, 8, 0, 4, 0, 1, 0, 0]].concat();
    assert_eq!(ask(&with_subnet), (12 + 18 + 4 + with_subnet.len(), true));
}

#[test]
fn what_is_no_query_closes_the_connection() {
    let daemon = Daemon::start(&[ZONE]);
    let mut response_bit = framed(9, NAME);
    response_bit[4] |= 0x80;
    for junk in [vec![0, 0], [vec![0, 11], vec![0; 11]].concat(), response_bit] {
        let mut stream = daemon.connect();
        stream.send(&[framed(1, NAME), junk].concat());
        assert_eq!(stream.receive().unwrap().id(), 1);
        assert_eq!(stream.receive(), None);
    }
}

/// RFC 7766 6.2.2: "servers MAY impose limits on the number of concurrent TCP connections being handled for any particular client".
#[test]
fn one_client_cannot_shut_out_another() {
    let daemon = Daemon::start(&[ZONE]);
    let mut streams = full(&daemon, "127.0.0.1");
    assert_eq!(daemon.connect().ask(1, NAME), None);
    assert!(daemon.connect_from("127.0.0.2").ask(2, NAME).is_some());
    drop(streams.pop());
    wait_until("there is room again", || daemon.connect().ask(3, NAME).is_some());
}

#[test]
fn there_is_an_end_to_connections_in_all() {
    let daemon = Daemon::start(&[ZONE]);
    let streams: Vec<_> = (1..=6)
        .flat_map(|host| full(&daemon, &format!("127.0.0.{host}")))
        .collect();
    assert_eq!(daemon.connect_from("127.0.0.7").ask(1, NAME), None);
    drop(streams);
    wait_until("there is room again", || {
        daemon.connect_from("127.0.0.7").ask(2, NAME).is_some()
    });
}

/// As many connections as one client may have, each let in.
fn full(daemon: &Daemon, source: &str) -> Vec<Stream> {
    let open = |_| {
        let mut stream = daemon.connect_from(source);
        assert!(stream.ask(1, NAME).is_some());
        stream
    };
    (0..PER_CLIENT).map(open).collect()
}

#[test]
fn a_want_of_descriptors_passes() {
    let daemon = Daemon::start_with_descriptors(&[ZONE], 40);
    let mut waiting: Vec<_> = (0..60).map(|_| daemon.connect()).collect();
    daemon.wait_for_log("TCP connections cannot be accepted");
    assert!(daemon.ask(NAME).holds(ADDRESS), "UDP goes on");
    assert!(waiting[0].ask(1, NAME).is_some(), "who is in stays in");
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    assert!(last.ask(2, NAME).is_some(), "who waited is let in");
    let told = daemon.log().matches("cannot be accepted").count();
    assert!(told < 30, "one line for a time of errors, not one for each: {told}");
}

#[test]
fn a_stop_answers_what_has_arrived() {
    let daemon = Daemon::start(&[ZONE]);
    let mut stream = daemon.connect();
    assert!(stream.ask(0, NAME).is_some());
    let idle = daemon.connect();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_read_timeout(Some(DEADLINE)).unwrap();
    for id in 0..100 {
        datagrams.send_to(&query(id, NAME), daemon.address()).unwrap();
    }
    stream.send(&(0..1000).flat_map(|id| framed(id, NAME)).collect::<Vec<_>>());
    // This one stands in the queue, its query sent, perhaps not yet accepted.
    let mut late = daemon.connect();
    late.send(&framed(5, NAME));
    let ended = daemon.stop();
    assert!(ended.status.success(), "{ended:?}");
    for id in 0..1000 {
        assert_eq!(stream.receive().map(|response| response.id()), Some(id));
    }
    assert_eq!(stream.receive(), None);
    assert!(late.receive().is_some());
    for _ in 0..100 {
        datagrams.recv(&mut [0; 512]).unwrap();
    }
    drop(idle);
}
