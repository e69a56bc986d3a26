//! The control API and the commands that use it, against a real daemon: over its Unix socket and over TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};

use crate::daemon::{DEADLINE, Daemon, SETTINGS, run};

const NAME: &str = "www.example.org";
const FILE: &str = "zones/example.org.toml";
const SOCKET: &str = "windrose.sock";
const ZONE: &str = "[soa]\nserial = 7\n[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.A = \"192.0.2.7\"\n";

/// Settings with the API on a free port too.
pub(crate) fn with_tcp() -> String {
    SETTINGS.replace("listen = \"\"", "listen = \"127.0.0.1:0\"")
}

/// A zone whose pool has a backend that listens, and one that does not.
fn steered(port: u16) -> String {
    format!(
        "{ZONE}app.steer = \"web\"\n[pools.web]\nprobe = \"alive\"\n\
         backends = [{{ name = \"a\", address = \"127.0.0.1\" }}, {{ name = \"b\", address = \"127.0.0.3\", weight = 2 }}]\n\
         [probes.alive]\nkind = \"tcp\"\nport = {port}\ninterval = \"10s\"\ntimeout = \"1s\"\n"
    )
}

/// What a request is answered: the status, and the body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn exchange(mut stream: impl Read + Write, method: &str, target: &str) -> Answer {
    let request = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Asks over the Unix socket.
pub(crate) fn ask(daemon: &Daemon, method: &str, target: &str) -> Answer {
    let stream = UnixStream::connect(daemon.path(SOCKET)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    exchange(stream, method, target)
}

/// Asks over TCP.
pub(crate) fn ask_tcp(address: SocketAddr, method: &str, target: &str) -> Answer {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    exchange(stream, method, target)
}

/// Where a daemon has its API on TCP: the log says.
pub(crate) fn tcp_address(daemon: &Daemon) -> SocketAddr {
    let log = daemon.wait_for_log("control API on http://");
    log.rsplit("http://").next().unwrap().parse().unwrap()
}

#[test]
fn health_and_zones_are_told_on_both() {
    let faulty = ("zones/example.net.toml", "[records]\nwww.A = \"192.0.2.300\"\n");
    let daemon = Daemon::start(&[("windrose.toml", &with_tcp()), (FILE, ZONE), faulty]);
    let tcp = tcp_address(&daemon);
    let zones = json!({
        "zones": [{ "origin": "example.org.", "serial": 7, "owners": 3 }],
        "failed": ["example.net."],
    });
    for get in [&|target| ask(&daemon, "GET", target), &|target| {
        ask_tcp(tcp, "GET", target)
    }] as [&dyn Fn(&str) -> Answer; 2]
    {
        let healthy = get("/healthz");
        assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
        let told = get("/v1/zones");
        assert_eq!((told.status, told.json()), (200, zones.clone()));
        let told = get("/v1/status");
        assert_eq!((told.status, &told.json()["failed"]), (200, &json!(["example.net."])));
        let nothing = get("/v1/nothing");
        assert_eq!((nothing.status, nothing.json().get("error").is_some()), (404, true));
    }
}

#[test]
fn status_tells_every_target_pool_and_backend() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = format!("{SETTINGS}\n[health]\nwarmup = \"1s\"\n");
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, &steered(port))]);
    let status = ask(&daemon, "GET", "/v1/status").json();
    assert_eq!(
        status["pools"],
        json!([{
            "name": "example.org/web",
            "usable": { "ipv4": true, "ipv6": null },
            "probes": ["example.org/alive"],
            "backends": [
                { "name": "example.org/web/a", "weight": 1, "host": null, "addresses": [{ "address": "127.0.0.1", "verdict": "up" }] },
                { "name": "example.org/web/b", "weight": 2, "host": null, "addresses": [{ "address": "127.0.0.3", "verdict": "down" }] },
            ],
        }])
    );
    let [up, down] = status["targets"].as_array().unwrap().as_slice() else {
        panic!("{status}")
    };
    for (target, address, verdict, reason) in [
        (up, "127.0.0.1", "up", "connected"),
        (down, "127.0.0.3", "down", "connection refused"),
    ] {
        assert_eq!(target["probes"], json!(["example.org/alive"]));
        assert_eq!((&target["kind"], &target["port"]), (&json!("tcp"), &json!(port)));
        assert_eq!(
            (&target["address"], &target["verdict"]),
            (&json!(address), &json!(verdict))
        );
        assert_eq!(
            (&target["last"]["reason"], &target["last"]["passed"]),
            (&json!(reason), &json!(verdict == "up"))
        );
        assert!(target["streak"].as_u64() >= Some(1), "{target}");
        assert!(target["last"]["latency_ms"].as_f64() > Some(0.0), "{target}");
        assert!(
            target["since_seconds"].as_f64() >= target["last"]["ago_seconds"].as_f64(),
            "{target}"
        );
        assert!(target["next_seconds"].as_f64() <= Some(15.0), "{target}");
        assert!(
            target["since"].as_str().unwrap() <= status["at"].as_str().unwrap(),
            "{target}"
        );
    }

    let ended = daemon.run(&["status"]);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "example.org/web",
        "127.0.0.3",
        "failed: connection refused",
        "passed: connected",
    ] {
        assert!(ended.stdout.contains(part), "{part} in {}", ended.stdout);
    }
    let ended = daemon.run(&["status", "--json"]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["pools"], status["pools"]);
}

#[test]
fn a_good_reload_tells_what_changed() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    daemon.write(FILE, &ZONE.replace("serial = 7", "serial = 8").replace("2.7", "2.8"));
    daemon.write("zones/example.com.toml", ZONE);
    let told = ask(&daemon, "POST", "/v1/reload");
    let document = told.json();
    assert_eq!((told.status, &document["reloaded"]), (200, &json!(true)));
    assert_eq!((&document["zones"], &document["errors"]), (&json!(2), &json!(0)));
    assert_eq!(document["added"], json!(["example.com."]));
    assert_eq!(document["changed"], json!(["example.org."]));
    assert!(daemon.ask(NAME).holds([192, 0, 2, 8]));
    assert_eq!(ask(&daemon, "GET", "/v1/zones").json()["zones"][1]["serial"], 8);

    daemon.remove("zones/example.com.toml");
    daemon.write(FILE, &format!("{ZONE}[pools.idle]\nbackends = [\"192.0.2.2\"]\n"));
    let ended = daemon.run(&["reload"]);
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(
        ended.stdout,
        "changed example.org.\nremoved example.com.\nreloaded: 1 zone\n"
    );
    assert!(
        ended.stderr.contains("warning: nothing uses the pool `idle`"),
        "{}",
        ended.stderr
    );
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));
    let ended = daemon.run(&["reload", "--json"]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&document["reloaded"], &document["warnings"]),
        (&json!(true), &json!(1))
    );
}

#[test]
fn a_faulty_reload_tells_every_fault_and_changes_nothing() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    daemon.write(FILE, &ZONE.replace("192.0.2.", "192.0.2.4"));
    daemon.write(
        FILE,
        "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.300\"\nwww.AAAA = \"192.0.2.7\"\n",
    );
    let told = ask(&daemon, "POST", "/v1/reload");
    let document = told.json();
    assert_eq!(
        (told.status, &document["reloaded"], &document["errors"]),
        (409, &json!(false), &json!(2))
    );
    let faults = document["faults"].as_array().unwrap();
    let check = daemon.run(&["check", "--json"]);
    let check: Value = serde_json::from_str(&check.stdout).unwrap();
    for (fault, checked) in faults.iter().zip(check["faults"].as_array().unwrap()) {
        for key in ["file", "line", "column", "severity", "message", "hint"] {
            assert_eq!(fault[key], checked[key]);
        }
    }
    let ended = daemon.run(&["reload"]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""));
    let printed = daemon.run(&["check"]).stderr;
    assert_eq!(
        ended.stderr,
        format!("{printed}reload refused, everything stays as it was: 2 errors\n")
    );
    let ended = daemon.run(&["reload", "--json"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), document);
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));

    daemon.write(FILE, ZONE);
    daemon.write("windrose.toml", &SETTINGS.replace("workers = 1", "workers = 2"));
    let told = ask(&daemon, "POST", "/v1/reload");
    assert_eq!((told.status, &told.json()["restart"]), (409, &json!(["workers"])));
}

#[test]
fn over_tcp_nothing_can_be_changed() {
    let daemon = Daemon::start(&[("windrose.toml", &with_tcp()), (FILE, ZONE)]);
    let tcp = tcp_address(&daemon);
    for (method, target) in [("POST", "/v1/reload"), ("PUT", "/v1/reload"), ("DELETE", "/v1/nothing")] {
        let refused = ask_tcp(tcp, method, target);
        assert_eq!(
            (refused.status, refused.json().get("error").is_some()),
            (403, true),
            "{method} {target}"
        );
    }
    assert_eq!(ask(&daemon, "GET", "/v1/reload").status, 405);
    assert_eq!(ask(&daemon, "POST", "/v1/reload").status, 200);
}

#[test]
fn the_socket_is_for_its_user_and_goes_with_the_daemon() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    let path = daemon.path(SOCKET);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A connection on which nothing is said does not keep it from ending.
    let _silent = UnixStream::connect(&path).unwrap();
    daemon.signal("TERM");
    crate::daemon::wait_until("the socket is removed", || !path.exists());
    assert_eq!(daemon.wait().status.code(), Some(0));
}

#[test]
fn a_socket_that_is_left_over_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left.sock");
    drop(UnixListener::bind(&path).unwrap());
    let settings = format!("{SETTINGS}socket = \"{}\"\n", path.display());
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, ZONE)]);
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));

    // Of a live one it is left alone.
    let second = run(&[("windrose.toml", &settings), (FILE, ZONE)], &["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        second.stderr.contains("a daemon answers on this control socket"),
        "{}",
        second.stderr
    );
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_costs_nothing_else() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let settings = SETTINGS.replace("listen = \"\"", &format!("listen = \"{address}\""));
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, ZONE)]);
    daemon.wait_for_log("the control API cannot be reached here");
    assert!(daemon.ask(NAME).holds([192, 0, 2, 7]));
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));
}

#[test]
fn without_a_daemon_it_is_3() {
    for command in ["status", "reload"] {
        let ended = run(&[(FILE, ZONE)], &[command]);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(3), ""));
        assert!(
            ended.stderr.contains("the daemon cannot be reached at"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn the_daemon_explains_under_its_verdicts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let zone = steered(listener.local_addr().unwrap().port());
    let settings = format!("{}\n[health]\nwarmup = \"1s\"\n", with_tcp());
    let daemon = Daemon::start(&[("windrose.toml", &settings), (FILE, &zone)]);
    let told = ask_tcp(
        tcp_address(&daemon),
        "GET",
        "/v1/explain?name=app.example.org&type=a&client=203.0.113.0%2F24&resolver=192.0.2.53&random=1",
    );
    let document = told.json();
    assert_eq!((told.status, &document["rcode"]), (200, &json!("NOERROR")), "{told:?}");
    assert_eq!(document["answer"], json!(["app.example.org. 30 IN A 127.0.0.1"]));
    let arguments = [
        "explain",
        "app.example.org",
        "--client",
        "203.0.113.0/24",
        "--resolver",
        "192.0.2.53",
    ];
    let explain = |more: &[&str]| daemon.run(&[&arguments[..], &["--random", "1"], more].concat());
    let live = explain(&["--live"]);
    assert_eq!(
        (live.status.code(), live.stdout.trim_end()),
        (Some(0), document["shown"].as_str().unwrap())
    );
    let live = explain(&["--live", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&live.stdout).unwrap(), document);
    // From the files nothing is known of verdicts, and the order is that of weights.
    assert_ne!(explain(&[]).stdout, explain(&["--live"]).stdout);
    let nothing = daemon.run(&["explain", "none.example.org", "--client", "192.0.2.1", "--live"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn bad_questions_are_400() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    for query in [
        "",
        "?name=www.example.org",
        "?name=a..b&client=192.0.2.1",
        "?name=www.example.org&client=192.0.2.300",
        "?name=www.example.org&client=192.0.2.1/33",
        "?name=www.example.org&client=192.0.2.1&type=nonsense",
        "?name=www.example.org&resolver=here",
        "?name=www.example.org&client=192.0.2.1&random=many",
        "?name=www.example.org&clinet=192.0.2.1",
    ] {
        let refused = ask(&daemon, "GET", &format!("/v1/explain{query}"));
        assert_eq!(
            (refused.status, refused.json()["error"].is_string()),
            (400, true),
            "{query}: {refused:?}"
        );
    }
}

#[test]
fn who_fills_the_port_leaves_the_socket_free() {
    let daemon = Daemon::start(&[("windrose.toml", &with_tcp()), (FILE, ZONE)]);
    let tcp = tcp_address(&daemon);
    let silent: Vec<TcpStream> = (0..33).map(|_| TcpStream::connect(tcp).unwrap()).collect();
    assert_eq!(ask(&daemon, "GET", "/healthz").status, 200);
    drop(silent);
    assert_eq!(ask_tcp(tcp, "GET", "/healthz").status, 200);
}
