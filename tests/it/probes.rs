//! Probes against real servers on loopback: those that answer, and those that refuse, hang, trickle, lie, close early or cannot prove who
//! they are.
//!
//! A server here is a closure that is given each connection, in a thread of its own. Nothing is timed: a probe that should end by its time
//! limit has a short one, every other has one that no machine needs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use windrose::health::probe::{Body, Expression, Http, Kind, Probe, Verify};
use windrose::probe::{self, Certificates};

use crate::daemon::DEADLINE;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// For probes that are to end by it.
const SHORT: Duration = Duration::from_millis(300);

/// Whether a probe passes, and what it says.
type Told = Result<String, String>;

fn tcp(port: u16) -> Probe {
    Probe {
        kind: Kind::Tcp,
        port,
        interval: DEADLINE,
        timeout: DEADLINE,
        rise: 1,
        fall: 1,
    }
}

/// A probe over HTTP with the defaults, changed.
fn http(port: u16, change: impl FnOnce(&mut Http)) -> Probe {
    let mut http = Http {
        path: "/".to_owned(),
        host: None,
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![(200, 399)],
        body: None,
        tls: None,
    };
    change(&mut http);
    Probe {
        kind: Kind::Http(http),
        ..tcp(port)
    }
}

fn run_at(probe: &Probe, address: IpAddr) -> Told {
    let way = match &probe.kind {
        Kind::Http(http) => http.tls.as_ref(),
        Kind::Tcp => None,
    };
    let certificates = Certificates::read(way);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(probe::run(probe, address, &certificates));
    match outcome.passed {
        true => Ok(outcome.reason),
        false => Err(outcome.reason),
    }
}

fn run(probe: &Probe) -> Told {
    run_at(probe, LOCALHOST)
}

/// The same with the short time limit.
fn run_shortly(probe: Probe) -> Told {
    run(&Probe {
        timeout: SHORT,
        ..probe
    })
}

fn passes(told: &str) -> Told {
    Ok(told.to_owned())
}

fn fails(told: &str) -> Told {
    Err(told.to_owned())
}

/// Starts a server and returns its port.
fn server(with_each: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    server_at(LOCALHOST, with_each)
}

fn server_at(address: IpAddr, with_each: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let with_each = Arc::new(with_each);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let with_each = with_each.clone();
            thread::spawn(move || with_each(stream));
        }
    });
    port
}

/// A server that reads a request, and answers with these octets.
fn answering(answer: impl Into<Vec<u8>>) -> u16 {
    let answer = answer.into();
    server(move |mut stream| {
        request(&mut stream);
        let _ = stream.write_all(&answer);
    })
}

/// A server that answers 200, and what it was asked.
fn overhearing(address: IpAddr) -> (u16, Receiver<String>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let port = server_at(address, move |mut stream| {
        let asked = request(&mut stream);
        // The test may have ended.
        let _ = tell.lock().unwrap().send(asked);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    (port, told)
}

/// Reads the head of a request.
fn request(stream: &mut impl Read) -> String {
    let mut octets = Vec::new();
    let mut octet = [0];
    while !octets.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut octet), Ok(1)) {
        octets.push(octet[0]);
    }
    String::from_utf8(octets).unwrap()
}

/// Waits until the other side has closed.
fn wait_for_the_end(stream: &mut impl Read) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn with_body(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn contains(text: &str) -> Option<Body> {
    Some(Body::Contains(text.to_owned()))
}

fn matches(expression: &str) -> Option<Body> {
    Expression::new(expression).map(Body::Matches)
}

#[test]
fn tcp_asks_whether_a_connection_is_accepted() {
    assert_eq!(run(&tcp(server(drop))), passes("connected"));
    assert_eq!(run(&tcp(refusing())), fails("connection refused"));
    assert_eq!(run(&http(refusing(), |_| {})), fails("connection refused"));
}

/// A port at which nobody listens, though it was free to.
fn refusing() -> u16 {
    TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn the_status_decides_and_redirects_are_not_followed() {
    let of = |line: &str| answering(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"));
    let moved = of("302 Found\r\nlocation: http://192.0.2.1/");
    assert_eq!(run(&http(of("200 OK"), |_| {})), passes("200"));
    assert_eq!(run(&http(of("204 No Content"), |_| {})), passes("204"));
    assert_eq!(run(&http(of("503 Service Unavailable"), |_| {})), fails("503"));
    assert_eq!(run(&http(of("404 Not Found"), |_| {})), fails("404"));
    assert_eq!(run(&http(of("599"), |_| {})), fails("599"));
    assert_eq!(run(&http(moved, |_| {})), passes("302"));
    let strict = |http: &mut Http| http.status = vec![(200, 299), (304, 304)];
    assert_eq!(run(&http(moved, strict)), fails("302"));
    assert_eq!(run(&http(of("304 Not Modified"), strict)), passes("304"));
    assert_eq!(
        run(&http(of("503 Down"), |http| http.status = vec![(503, 503)])),
        passes("503")
    );
    // What comes before the answer is not the answer (RFC 9110 15.2).
    let twice = of("103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK");
    assert_eq!(run(&http(twice, |_| {})), passes("200"));
}

#[test]
fn the_body_is_looked_at_if_it_is_asked_for() {
    let port = answering(with_body("all is OK here\nuptime 17"));
    assert_eq!(run(&http(port, |http| http.body = contains("is OK"))), passes("200"));
    assert_eq!(
        run(&http(port, |http| http.body = contains("is ok"))),
        fails("200, the body is not as expected")
    );
    assert_eq!(
        run(&http(port, |http| http.body = matches(r"uptime \d+$"))),
        passes("200")
    );
    assert_eq!(run(&http(port, |http| http.body = matches("(?i)is ok"))), passes("200"));
    assert_eq!(
        run(&http(port, |http| http.body = matches("^uptime"))),
        fails("200, the body is not as expected")
    );
    // The status comes first.
    let faulty = answering("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(run(&http(faulty, |http| http.body = contains("ok"))), fails("500"));
    // Octets that are no text are no reason to fail.
    let binary = answering(b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe ok".to_vec());
    assert_eq!(run(&http(binary, |http| http.body = contains("ok"))), passes("200"));
}

#[test]
fn of_a_long_body_the_first_64_kib_are_seen() {
    let at = |before: usize| answering(with_body(&format!("{}ok{}", "x".repeat(before), "y".repeat(100_000))));
    let ok = |http: &mut Http| http.body = contains("ok");
    assert_eq!(run(&http(at(65_534), ok)), passes("200"));
    assert_eq!(run(&http(at(65_535), ok)), fails("200, the body is not as expected"));
    assert_eq!(run(&http(at(65_536), ok)), fails("200, the body is not as expected"));
}

#[test]
fn an_endless_body_ends_where_no_more_is_seen() {
    let endless = |head: &'static str, piece: &'static [u8]| {
        server(move |mut stream| {
            request(&mut stream);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(piece).is_ok() {}
        })
    };
    let plain = endless("HTTP/1.1 200 OK\r\n\r\nok", &[b'x'; 4096]);
    let chunked = endless(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"8\r\nxxxxxxxx\r\n",
    );
    for port in [plain, chunked] {
        assert_eq!(run(&http(port, |http| http.body = contains("ok"))), passes("200"));
        assert_eq!(
            run(&http(port, |http| http.body = contains("none"))),
            fails("200, the body is not as expected")
        );
        assert_eq!(run(&http(port, |_| {})), passes("200"));
    }
}

#[test]
fn chunks_are_put_together() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let whole = answering(format!(
        "{head}4;a=b\r\nall \r\n1\r\no\r\n1\r\nk\r\n0\r\nx-after: 1\r\n\r\n"
    ));
    assert_eq!(run(&http(whole, |http| http.body = contains("all ok"))), passes("200"));
    let cut = answering(format!("{head}4\r\nall \r\n8\r\no"));
    assert_eq!(
        run(&http(cut, |http| http.body = contains("all ok"))),
        fails("connection closed early")
    );
}

#[test]
fn an_answer_of_http_1_0_will_do() {
    let port = answering("HTTP/1.0 200 OK\r\nserver: old\r\n\r\nall ok");
    assert_eq!(run(&http(port, |http| http.body = contains("ok"))), passes("200"));
    assert_eq!(run(&http(answering("HTTP/1.0 503 No\r\n\r\n"), |_| {})), fails("503"));
}

#[test]
fn who_never_answers_is_given_up() {
    let silent = || server(|mut stream| wait_for_the_end(&mut stream));
    let expected = fails("timeout after 300ms");
    assert_eq!(run_shortly(http(silent(), |_| {})), expected);
    assert_eq!(
        run_shortly(http(silent(), |http| http.tls = Some(Verify::No))),
        expected
    );
    let without_a_body = server(|mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
        wait_for_the_end(&mut stream);
    });
    assert_eq!(
        run_shortly(http(without_a_body, |http| http.body = contains("ok"))),
        expected
    );
    assert_eq!(run_shortly(http(without_a_body, |_| {})), passes("200"));
}

#[test]
fn the_time_limit_is_for_the_whole_probe() {
    let trickling = |head: &'static str| {
        server(move |mut stream| {
            request(&mut stream);
            // Between two octets it waits for more to read, which does not come.
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(b"x").is_ok() {
                let _ = stream.read(&mut [0]);
            }
        })
    };
    for head in [
        "HTTP/1.1 200 OK\r\nx-slow: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n",
    ] {
        assert_eq!(
            run_shortly(http(trickling(head), |http| http.body = contains("ok"))),
            fails("timeout after 300ms")
        );
    }
}

#[test]
fn who_closes_early_fails() {
    let early = fails("connection closed early");
    let head = answering("HTTP/1.1 200 OK\r\ncontent-le");
    assert_eq!(run(&http(head, |_| {})), early);
    assert_eq!(run(&http(answering(""), |_| {})), early);
    let body = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
    assert_eq!(run(&http(body, |http| http.body = contains("ok"))), early);
    // Of which nobody asked for the body.
    assert_eq!(run(&http(body, |_| {})), passes("200"));
    // Whoever closes at once may do so before the request, amid it or after it.
    for _ in 0..50 {
        let told = run(&http(server(drop), |_| {})).unwrap_err();
        let known = ["connection closed early", "connection reset", "connection aborted"];
        assert!(known.contains(&told.as_str()), "{told}");
        let told = run(&http(server(drop), |http| http.tls = Some(Verify::No))).unwrap_err();
        assert!(known.contains(&told.as_str()), "{told}");
    }
}

#[test]
fn what_is_not_http_is_called_so() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ] {
        assert_eq!(run(&http(answering(garbage), |_| {})), fails("not HTTP"), "{garbage:?}");
    }
    let endless = server(|mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x-more: and more and more\r\n").is_ok() {}
    });
    assert_eq!(run(&http(endless, |_| {})), fails("not HTTP"));
}

#[test]
fn the_host_is_the_address_unless_it_is_given() {
    let (port, asked) = overhearing(LOCALHOST);
    let host = |change: &dyn Fn(&mut Http)| {
        assert_eq!(run(&http(port, change)), passes("200"));
        headers(&asked.recv().unwrap(), "host")
    };
    assert_eq!(host(&|_| {}), [format!("127.0.0.1:{port}")]);
    assert_eq!(
        host(&|http| http.host = Some("www.example.com".to_owned())),
        ["www.example.com"]
    );
    assert_eq!(
        host(&|http| http.host = Some("www.example.com:81".to_owned())),
        ["www.example.com:81"]
    );
    assert_eq!(
        host(&|http| http.headers = vec![("host".to_owned(), "other.example".to_owned())]),
        ["other.example"]
    );
    let ipv6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    // A machine without IPv6 has nothing to show here.
    if TcpListener::bind((ipv6, 0)).is_ok() {
        let (port, asked) = overhearing(ipv6);
        assert_eq!(run_at(&http(port, |_| {}), ipv6), passes("200"));
        assert_eq!(headers(&asked.recv().unwrap(), "host"), [format!("[::1]:{port}")]);
    }
}

/// The values of a header.
fn headers(request: &str, name: &str) -> Vec<String> {
    let lines = request.lines().skip(1).filter_map(|line| line.split_once(": "));
    let values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    values.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn method_path_and_headers_are_as_written() {
    let (port, asked) = overhearing(LOCALHOST);
    let ask = |change: &dyn Fn(&mut Http)| {
        assert_eq!(run(&http(port, change)), passes("200"));
        asked.recv().unwrap()
    };
    let plain = ask(&|http| http.path = "/healthz?deep=1&x=%20".to_owned());
    assert!(plain.starts_with("GET /healthz?deep=1&x=%20 HTTP/1.1\r\n"), "{plain}");
    assert_eq!(headers(&plain, "user-agent"), ["windrose"]);
    assert_eq!(headers(&plain, "connection"), ["close"]);
    let changed = ask(&|http| {
        http.method = "HEAD".to_owned();
        http.headers = vec![
            ("user-agent".to_owned(), "probe 1".to_owned()),
            ("x-probe".to_owned(), "a, b".to_owned()),
        ];
    });
    assert!(changed.starts_with("HEAD / HTTP/1.1\r\n"), "{changed}");
    assert_eq!(headers(&changed, "user-agent"), ["probe 1"]);
    assert_eq!(headers(&changed, "x-probe"), ["a, b"]);
    // A request that may have content says that it has none (RFC 9110 8.6).
    let posted = ask(&|http| http.method = "POST".to_owned());
    assert!(posted.starts_with("POST / HTTP/1.1\r\n"), "{posted}");
    assert_eq!(headers(&posted, "content-length"), ["0"]);
    // An answer to HEAD has the length of what it does not hold.
    let head = answering("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n");
    assert_eq!(run(&http(head, |http| http.method = "HEAD".to_owned())), passes("200"));
}

/// Whoever signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A server with a certificate of it for these names, from the first day of a year to that of another.
    fn server(&self, names: &[&str], from: i32, to: i32) -> (u16, Receiver<Option<String>>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        tls_server(certificate.der().clone(), &key)
    }

    /// What it is checked against.
    fn file(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.pem).unwrap();
        file
    }
}

/// A server that answers 200 over TLS, and by which name it was called.
fn tls_server(certificate: CertificateDer<'static>, key: &KeyPair) -> (u16, Receiver<Option<String>>) {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let port = server(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        if request(&mut stream).is_empty() {
            return;
        }
        let name = stream.conn.server_name().map(str::to_owned);
        // The test may have ended.
        let _ = tell.lock().unwrap().send(name);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        wait_for_the_end(&mut stream);
    });
    (port, told)
}

fn https(port: u16, verify: Verify, host: Option<&str>) -> Probe {
    http(port, |http| {
        http.tls = Some(verify);
        http.host = host.map(str::to_owned);
        http.body = contains("ok");
    })
}

#[test]
fn without_verification_any_certificate_will_do() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
    let valid = params.self_signed(&key).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
    let expired = params.self_signed(&key).unwrap();
    let (port, _) = tls_server(expired.der().clone(), &key);
    assert_eq!(run(&https(port, Verify::No, None)), passes("200"));
    assert_eq!(run(&https(port, Verify::No, Some("www.example.com"))), passes("200"));
    // Nobody that the system trusts has signed this one.
    let (port, _) = tls_server(valid.der().clone(), &key);
    let told = run(&https(port, Verify::System, Some("other.example"))).unwrap_err();
    assert!(
        [
            "certificate of an unknown issuer",
            "the system has no root certificates"
        ]
        .contains(&told.as_str()),
        "{told}"
    );
}

#[test]
fn a_certificate_is_checked_for_the_host_and_sni_names_it() {
    let authority = Authority::new("Ours");
    let file = authority.file();
    let (port, called) = authority.server(&["www.example.com", "127.0.0.1", "::1"], 2000, 2100);
    let way = || Verify::File(file.path().to_owned());
    let called_by = |host: Option<&str>| {
        assert_eq!(run(&https(port, way(), host)), passes("200"), "{host:?}");
        called.recv().unwrap()
    };
    assert_eq!(called_by(Some("www.example.com")).as_deref(), Some("www.example.com"));
    assert_eq!(
        called_by(Some("www.example.com:8443")).as_deref(),
        Some("www.example.com")
    );
    // An address is not told by SNI (RFC 6066 3).
    for host in [
        None,
        Some("127.0.0.1"),
        Some("127.0.0.1:8443"),
        Some("[::1]"),
        Some("[::1]:8443"),
    ] {
        assert_eq!(called_by(host), None);
    }
    for host in ["www.example.net", "[::2]", "192.0.2.1"] {
        assert_eq!(
            run(&https(port, way(), Some(host))),
            fails("certificate for another name")
        );
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new("Ours");
    let file = authority.file();
    let names = ["www.example.com"];
    let told = |(port, _): (u16, Receiver<Option<String>>), file: &tempfile::NamedTempFile| {
        run(&https(port, Verify::File(file.path().to_owned()), Some(names[0])))
    };
    assert_eq!(
        told(authority.server(&names, 2000, 2001), &file),
        fails("certificate expired")
    );
    assert_eq!(
        told(authority.server(&names, 2100, 2101), &file),
        fails("certificate not valid yet")
    );
    assert_eq!(
        told(authority.server(&names, 2000, 2100), &Authority::new("Others").file()),
        fails("certificate of an unknown issuer")
    );
    assert_eq!(
        told(authority.server(&["www.example.net"], 2000, 2100), &file),
        fails("certificate for another name")
    );
}

#[test]
fn a_file_without_certificates_is_told() {
    let (port, _) = Authority::new("Ours").server(&["127.0.0.1"], 2000, 2100);
    let file = tempfile::NamedTempFile::new().unwrap();
    let told = run(&https(port, Verify::File(file.path().to_owned()), None)).unwrap_err();
    assert!(told.ends_with(": no certificate is in it"), "{told}");
    let path = file.path().to_owned();
    drop(file);
    let told = run(&https(port, Verify::File(path.clone()), None)).unwrap_err();
    assert!(told.starts_with(&path.display().to_string()), "{told}");
}

#[test]
fn who_speaks_no_tls_is_told() {
    let plain = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        wait_for_the_end(&mut stream);
    });
    assert_eq!(run(&https(plain, Verify::No, None)), fails("not TLS"));
    let (port, _) = Authority::new("Ours").server(&["127.0.0.1"], 2000, 2100);
    // The other way round: the server waits for a greeting that does not come, and says so in its own tongue.
    let told = run(&http(port, |_| {})).unwrap_err();
    assert!(
        ["not HTTP", "connection closed early", "connection reset"].contains(&told.as_str()),
        "{told}"
    );
}
