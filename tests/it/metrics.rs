//! `/metrics` of a real daemon: after queries whose number is known, the numbers are those; and promtool finds nothing to say.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use crate::control::{Answer, ask, ask_tcp, tcp_address, with_tcp};
use crate::daemon::{Daemon, framed, wait_until};

const FILE: &str = "zones/example.org.toml";

/// A zone with a static name, and two records of one policy whose second pool fails.
fn zone(port: u16, more: &str) -> String {
    format!(
        "[soa]\nserial = 7\n[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.A = \"192.0.2.7\"\n\
         app.steer = \"tiers\"\nweb.steer = \"tiers\"\nalias.CNAME = \"app\"\n\"*.any\".steer = \"good\"\nlost.steer = \"dead\"\n{more}\
         [policies.tiers]\nchoose = \"failover\"\nmembers = [\"dead\", \"good\"]\n\
         [pools.good]\nprobe = \"alive\"\nbackends = [\"127.0.0.1\"]\n\
         [pools.dead]\nprobe = \"alive\"\nbackends = [\"127.0.0.3\"]\nfallback = \"servfail\"\n\
         [probes.alive]\nkind = \"tcp\"\nport = {port}\ninterval = \"1h\"\ntimeout = \"1s\"\n"
    )
}

fn settings() -> String {
    format!("{}\n[health]\nwarmup = \"1s\"\n", with_tcp())
}

/// Starts a daemon whose backend at 127.0.0.1 listens, until the listener is dropped.
fn start() -> (Daemon, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let zone = zone(listener.local_addr().unwrap().port(), "");
    (
        Daemon::start(&[("windrose.toml", &settings()), (FILE, &zone)]),
        listener,
    )
}

/// The samples, by name and labels.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn of(daemon: &Daemon) -> Self {
        let Answer { status, body, .. } = ask(daemon, "GET", "/metrics");
        assert_eq!(status, 200, "{body}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let samples: Vec<(&str, &str)> = samples.map(|line| line.rsplit_once(' ').unwrap()).collect();
        let map: BTreeMap<String, f64> = samples
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.parse().unwrap()))
            .collect();
        assert_eq!(map.len(), samples.len(), "a sample stands twice in {body}");
        Self(map)
    }

    #[track_caller]
    fn of_name(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:#?}", self.0))
    }

    /// Checks lines as the text has them.
    #[track_caller]
    fn hold(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(self.of_name(name).to_string(), value, "{name}");
        }
    }

    /// How many of a family are not zero.
    fn count(&self, family: &str) -> usize {
        let of_family = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{family}{{")));
        of_family.filter(|(_, value)| **value != 0.0).count()
    }
}

/// Sends what is not answered, over UDP.
fn send(daemon: &Daemon, octets: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(octets, daemon.address()).unwrap();
}

/// Asks for names of every kind; those below `any` have this response code.
fn ask_each(daemon: &Daemon, any: u8) {
    for (name, rcode, times) in [
        ("www.example.org", 0, 3),
        ("nothing.example.org", 3, 2),
        ("www.example.com", 5, 1),
        ("lost.example.org", 2, 1),
        ("app.example.org", 0, 4),
        ("alias.example.org", 0, 1),
        ("WEB.example.org", 0, 2),
        ("a.any.example.org", any, 1),
        ("b.any.example.org", any, 1),
    ] {
        for _ in 0..times {
            assert_eq!(daemon.ask(name).rcode(), rcode, "{name}");
        }
    }
    let mut stream = daemon.connect();
    for (id, name) in (0..).zip(["www.example.org", "web.example.org", "nothing.example.org"]) {
        assert!(stream.ask(id, name).is_some(), "{name}");
    }
}

#[test]
fn queries_are_counted_by_transport_and_rcode() {
    let (daemon, _listener) = start();
    ask_each(&daemon, 0);
    // A response, and what is too short: neither gets an answer.
    let mut response = crate::daemon::query(1, "www.example.org");
    response[2] |= 0x80;
    send(&daemon, &response);
    send(&daemon, &[0; 5]);
    let mut stream = daemon.connect();
    let mut junk = framed(1, "www.example.org");
    junk[4] |= 0x80;
    stream.send(&junk);
    assert_eq!(stream.receive(), None);
    wait_until("both datagrams are counted", || {
        Metrics::of(&daemon).of_name("windrose_queries_total{transport=\"udp\"}") == 18.0
    });
    wait_until("no connection is open", || {
        Metrics::of(&daemon).of_name("windrose_tcp_connections") == 0.0
    });
    let metrics = Metrics::of(&daemon);
    metrics.hold(
        r#"
        windrose_queries_total{transport="udp"} 18
        windrose_queries_total{transport="tcp"} 4
        windrose_responses_total{transport="udp",rcode="NOERROR"} 12
        windrose_responses_total{transport="udp",rcode="SERVFAIL"} 1
        windrose_responses_total{transport="udp",rcode="NXDOMAIN"} 2
        windrose_responses_total{transport="udp",rcode="REFUSED"} 1
        windrose_responses_total{transport="udp",rcode="BADVERS"} 0
        windrose_responses_total{transport="tcp",rcode="NOERROR"} 2
        windrose_responses_total{transport="tcp",rcode="NXDOMAIN"} 1
        windrose_queries_dropped_total{transport="udp",reason="no_query"} 2
        windrose_queries_dropped_total{transport="udp",reason="panic"} 0
        windrose_queries_dropped_total{transport="tcp",reason="no_query"} 1
        windrose_responses_unsent_total{transport="udp"} 0
        windrose_tcp_connections_admitted_total 2
        windrose_tcp_connections_refused_total{limit="client"} 0
        "#,
    );
    assert_eq!(metrics.count("windrose_responses_total"), 6);
}

#[test]
fn decisions_are_counted_by_record_and_pool_and_survive_a_reload() {
    let (daemon, listener) = start();
    let port = listener.local_addr().unwrap().port();
    ask_each(&daemon, 0);
    let decision = |record: &str, root: &str, pool: &str| {
        format!(
            "windrose_decisions_total{{record=\"{record}example.org.\",root=\"example.org/{root}\",pool=\"example.org/{pool}\",family=\"ipv4\"}}"
        )
    };
    // An alias counts for the record that it leads to, a wildcard for all names that it stands for.
    let expected = [
        (decision("app.", "tiers", "good"), 5.0),
        (decision("app.", "tiers", "dead"), 0.0),
        (decision("web.", "tiers", "good"), 3.0),
        (decision("*.any.", "good", "good"), 2.0),
        (decision("lost.", "dead", "dead"), 0.0),
    ];
    let metrics = Metrics::of(&daemon);
    for (name, value) in &expected {
        assert_eq!(metrics.of_name(name), *value, "{name}");
    }
    assert_eq!(metrics.count("windrose_decisions_total"), 3);
    // Other ids for everything, one record more and one less.
    let other = zone(port, "early.steer = \"aaa\"\n")
        .replace("\"*.any\".steer = \"good\"\n", "")
        .replace(
            "[policies.tiers]",
            "[pools.aaa]\nbackends = [\"192.0.2.9\"]\n[policies.tiers]",
        );
    daemon.write(FILE, &other);
    assert!(daemon.reload().contains("reloaded zones=1"));
    ask_each(&daemon, 3);
    assert_eq!(daemon.ask("early.example.org").rcode(), 0);
    let twice = [
        (decision("app.", "tiers", "good"), 10.0),
        (decision("web.", "tiers", "good"), 6.0),
        (decision("early.", "aaa", "aaa"), 1.0),
    ];
    let metrics = Metrics::of(&daemon);
    for (name, value) in &twice {
        assert_eq!(metrics.of_name(name), *value, "{name}");
    }
    assert_eq!(
        metrics.count("windrose_decisions_total"),
        3,
        "what is gone is forgotten"
    );
    // The two names of the wildcard are none any more.
    metrics.hold(
        r#"
        windrose_queries_total{transport="udp"} 33
        windrose_queries_total{transport="tcp"} 6
        windrose_responses_total{transport="udp",rcode="NXDOMAIN"} 6
        windrose_reloads_total{result="done"} 1
        windrose_reloads_total{result="refused"} 0
        windrose_last_reload_successful 1
        "#,
    );
    daemon.write(FILE, "nonsense");
    daemon.reload();
    let after = Metrics::of(&daemon);
    after.hold(
        r#"
        windrose_reloads_total{result="done"} 1
        windrose_reloads_total{result="refused"} 1
        windrose_last_reload_successful 0
        "#,
    );
    for name in ["windrose_image_timestamp_seconds", "windrose_publishes_total"] {
        assert_eq!(after.of_name(name), metrics.of_name(name), "{name}");
    }
    assert!(
        after.of_name("windrose_last_reload_timestamp_seconds") >= metrics.of_name("windrose_image_timestamp_seconds")
    );
    assert!(metrics.of_name("windrose_image_timestamp_seconds") > metrics.of_name("process_start_time_seconds"));
}

#[test]
fn probes_and_their_verdicts_are_told() {
    let (daemon, _listener) = start();
    let metrics = Metrics::of(&daemon);
    metrics.hold(
        r#"
        windrose_probe_results_total{probe="example.org/alive",kind="tcp",result="passed"} 1
        windrose_probe_results_total{probe="example.org/alive",kind="tcp",result="failed"} 1
        windrose_probe_duration_seconds_count{probe="example.org/alive",kind="tcp"} 1
        windrose_probe_duration_seconds_bucket{probe="example.org/alive",kind="tcp",le="+Inf"} 1
        windrose_verdict_changes_total{probe="example.org/alive",verdict="up"} 1
        windrose_verdict_changes_total{probe="example.org/alive",verdict="down"} 1
        windrose_target_up{probe="example.org/alive",address="127.0.0.1"} 1
        windrose_target_up{probe="example.org/alive",address="127.0.0.3"} 0
        windrose_targets{verdict="up"} 1
        windrose_targets{verdict="down"} 1
        windrose_targets{verdict="unknown"} 0
        windrose_probes_running 0
        windrose_probes_waiting 0
        windrose_pool_usable{pool="example.org/good",family="ipv4"} 1
        windrose_pool_usable{pool="example.org/dead",family="ipv4"} 0
        windrose_zones 1
        windrose_failed_zones 0
        windrose_owners 8
        windrose_zone_serial{zone="example.org."} 7
        windrose_tcp_connections 0
        "#,
    );
    let build = format!("windrose_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    metrics.hold(&build);
    assert!(metrics.of_name("windrose_publishes_total") >= 1.0);
    if cfg!(target_os = "linux") {
        assert!(metrics.of_name("process_resident_memory_bytes") > 1e6);
        assert!(metrics.of_name("process_open_fds") > 3.0);
        assert!(metrics.of_name("process_max_fds") >= metrics.of_name("process_open_fds"));
    }
}

#[test]
fn both_sockets_tell_them_in_prometheus_text_format() {
    let (daemon, _listener) = start();
    for told in [
        ask(&daemon, "GET", "/metrics"),
        ask_tcp(tcp_address(&daemon), "GET", "/metrics"),
    ] {
        assert_eq!(told.status, 200);
        assert!(
            told.head
                .contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{}",
            told.head
        );
        assert!(
            told.body.contains("# TYPE windrose_queries_total counter\n"),
            "{}",
            told.body
        );
    }
}

/// Skipped where there is no promtool: tests/run says so.
#[test]
fn promtool_has_nothing_to_say() {
    let (daemon, _listener) = start();
    ask_each(&daemon, 0);
    let text = ask(&daemon, "GET", "/metrics").body;
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut promtool) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "promtool is missing, and CI skips nothing"
        );
        eprintln!("promtool is missing: the metrics are not linted");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
    assert!(output.status.success(), "{said:?}");
    assert_eq!(said.concat(), "");
}
