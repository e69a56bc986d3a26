//! The servers that are asked: NSD, Knot and BIND as children on loopback, with ports found free, and how any of them is asked.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::questions::{Asked, octets};
use super::zones::{Made, dotted, wire};
use crate::daemon::DEADLINE;

/// Ports that were free may be taken when a server comes to bind them: so many are tried.
const PORTS_TRIED: usize = 8;

/// Queries on the way to one server at a time: what the buffer of a socket holds for certain.
const WINDOW: usize = 32;

/// After so long a datagram counts as lost and is sent again.
const RESEND: Duration = Duration::from_secs(2);

/// Which other server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Nsd,
    Knot,
    Bind,
}

impl Peer {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Nsd, Self::Knot, Self::Bind];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Nsd => "NSD",
            Peer::Knot => "Knot",
            Peer::Bind => "BIND",
        }
    }

    /// Its program, if it is installed.
    pub(crate) fn program(self) -> Option<&'static str> {
        let (file, places) = match self {
            Peer::Nsd => ("nsd", ["/usr/sbin/nsd", "/usr/local/sbin/nsd", "/usr/bin/nsd"]),
            Peer::Knot => ("knotd", ["/usr/sbin/knotd", "/usr/local/sbin/knotd", "/usr/bin/knotd"]),
            Peer::Bind => ("named", ["/usr/sbin/named", "/usr/local/sbin/named", "/usr/bin/named"]),
        };
        let on_path = Command::new(file)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        let in_place = places.into_iter().find(|place| Path::new(place).exists());
        in_place.or(on_path.then_some(file))
    }

    fn settings(self, folder: &Path, port: u16, zones: &[Made]) -> String {
        let folder = folder.display();
        let mut text = match self {
            Peer::Nsd => format!(
                "server:\n ip-address: 127.0.0.1@{port}\n server-count: 1\n username: \"\"\n zonesdir: \"{folder}\"\n \
                 database: \"\"\n pidfile: \"{folder}/nsd.pid\"\n xfrdfile: \"{folder}/xfrd.state\"\n xfrdir: \"{folder}\"\n \
                 zonelistfile: \"{folder}/zone.list\"\n rrl-ratelimit: 0\n ipv4-edns-size: 1232\n \
                 tcp-count: 100\n tcp-timeout: 600\nremote-control:\n control-enable: no\n"
            ),
            Peer::Knot => format!(
                "server:\n  rundir: \"{folder}\"\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
                 background-workers: 1\n  udp-max-payload: 1232\n  tcp-idle-timeout: 600\ndatabase:\n  storage: \"{folder}/db\"\nlog:\n  - target: \
                 stderr\n    any: error\ntemplate:\n  - id: default\n    storage: \"{folder}\"\n    semantic-checks: \
                 off\n    zonefile-sync: -1\n    journal-content: none\nzone:\n"
            ),
            Peer::Bind => format!(
                "options {{\n directory \"{folder}\";\n listen-on port {port} {{ 127.0.0.1; }};\n listen-on-v6 {{ none; }};\n \
                 pid-file \"{folder}/named.pid\";\n session-keyfile \"{folder}/session.key\";\n recursion no;\n \
                 dnssec-validation no;\n notify no;\n minimal-responses no-auth;\n max-udp-size 1232;\n \
                 edns-udp-size 1232;\n check-names primary ignore;\n check-integrity no;\n check-mx ignore;\n check-mx-cname ignore;\n \
                 check-srv-cname ignore;\n check-sibling no;\n check-spf ignore;\n empty-zones-enable no;\n \
                 zero-no-soa-ttl no;\n}};\ncontrols {{ }};\n"
            ),
        };
        for (index, zone) in zones.iter().enumerate() {
            let name = dotted(&zone.origin);
            let _ = match self {
                Peer::Nsd => writeln!(text, "zone:\n name: \"{name}\"\n zonefile: \"{index}.zone\""),
                Peer::Knot => writeln!(text, "  - domain: \"{name}\"\n    file: \"{index}.zone\""),
                Peer::Bind => writeln!(text, "zone \"{name}\" {{ type primary; file \"{index}.zone\"; }};"),
            };
        }
        text
    }

    /// Starts it with these zones and waits until it answers for each.
    pub(crate) fn start(self, zones: &[Made]) -> Running {
        let mut said = String::new();
        for _ in 0..PORTS_TRIED {
            match self.try_start(zones) {
                Ok(running) => return running,
                Err(log) => said = log,
            }
        }
        panic!("{} starts on none of {PORTS_TRIED} ports: {said}", self.name());
    }

    fn try_start(self, zones: &[Made]) -> Result<Running, String> {
        let folder = TempDir::new().unwrap();
        for (index, zone) in zones.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{index}.zone")), &zone.text).unwrap();
        }
        let port = free_port();
        let settings = folder.path().join("settings.conf");
        std::fs::write(&settings, self.settings(folder.path(), port, zones)).unwrap();
        // A profile of AppArmor for the installed path would keep BIND from files of ours.
        let installed = self.program().unwrap();
        let copy = folder.path().join("named");
        let is_copied = self == Peer::Bind && std::fs::copy(installed, &copy).is_ok();
        let mut command = Command::new(if is_copied {
            copy.as_os_str()
        } else {
            installed.as_ref()
        });
        match self {
            Peer::Nsd => _ = command.arg("-d"),
            Peer::Knot => {}
            Peer::Bind => _ = command.args(["-g", "-n", "1"]),
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .arg("-c")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        let mut running = Running {
            child,
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            folder,
            lacks: BTreeSet::new(),
        };
        if self == Peer::Bind && !running.says("all zones loaded") {
            return Err(running.log());
        }
        for zone in zones {
            match running.answers(zone) {
                Some(true) => {}
                // It takes less than others: name servers need addresses, wildcards have none.
                Some(false) if self == Peer::Bind => _ = running.lacks.insert(wire(&zone.origin)),
                Some(false) => panic!(
                    "{} does not load {}: {}",
                    self.name(),
                    dotted(&zone.origin),
                    running.log()
                ),
                None => return Err(running.log()),
            }
        }
        Ok(running)
    }
}

/// A port of loopback that nobody has for either transport.
fn free_port() -> u16 {
    for _ in 0..100 {
        let stream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = stream.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A server of someone else's, running. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    /// The origins, on the wire and in lower case, of the zones that it would not load.
    pub(crate) lacks: BTreeSet<Vec<u8>>,
}

impl Running {
    /// Waits until it has said something; false if it ends instead.
    fn says(&mut self, words: &str) -> bool {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.log().contains(words) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        panic!("it never says {words:?}: {}", self.log());
    }

    /// Waits until it answers for a zone, or says that it does not have it; `None` if it ends instead.
    fn answers(&mut self, zone: &Made) -> Option<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut response = [0; 4096];
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            // Nobody may listen yet: then this, or what follows it, is an error.
            let _ = socket.send_to(&octets(1, 0, &zone.origin, 6, 1, None), self.address);
            if let Ok((length, from)) = socket.recv_from(&mut response)
                && from == self.address
                && length > 12
            {
                let has_it = response[2] & 4 != 0 && response[3] & 15 == 0 && response[7] == 1;
                // NSD and Knot say so too while they still load.
                if has_it || self.log().contains("all zones loaded") {
                    return Some(has_it);
                }
            }
        }
        panic!(
            "no answer for {} within the deadline: {}",
            dotted(&zone.origin),
            self.log()
        );
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // NSD has children of its own, which end with it if it is asked to.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The responses of a server to queries, in their order. The ID of each query is its place.
pub(crate) fn ask_all(server: SocketAddr, queries: &[Asked]) -> Vec<Vec<u8>> {
    let mut responses = over_udp(server, queries);
    let mut stream: Option<TcpStream> = None;
    for (query, response) in queries.iter().zip(&mut responses).filter(|(query, _)| query.tcp) {
        *response = over_tcp(server, &mut stream, query);
    }
    responses
}

fn over_udp(server: SocketAddr, queries: &[Asked]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(RESEND)).unwrap();
    let mut responses = vec![Vec::new(); queries.len()];
    let mut left = queries.iter().enumerate().filter(|(_, query)| !query.tcp);
    let mut on_the_way: HashMap<u16, usize> = HashMap::new();
    let mut octets = vec![0; 65_535];
    let deadline = Instant::now() + 3 * DEADLINE;
    loop {
        while on_the_way.len() < WINDOW
            && let Some((place, query)) = left.next()
        {
            socket.send(&query.octets).unwrap();
            on_the_way.insert(place as u16, place);
        }
        if on_the_way.is_empty() {
            return responses;
        }
        match socket.recv(&mut octets) {
            Ok(length) if length >= 12 => {
                let id = u16::from_be_bytes([octets[0], octets[1]]);
                if let Some(place) = on_the_way.remove(&id) {
                    responses[place] = octets[..length].to_vec();
                }
            }
            _ => {
                assert!(
                    Instant::now() < deadline,
                    "no answer to {:?}",
                    queries[*on_the_way.values().next().unwrap()]
                );
                for place in on_the_way.values() {
                    socket.send(&queries[*place].octets).unwrap();
                }
            }
        }
    }
}

fn over_tcp(server: SocketAddr, stream: &mut Option<TcpStream>, query: &Asked) -> Vec<u8> {
    let framed = [&(query.octets.len() as u16).to_be_bytes()[..], &query.octets].concat();
    // A connection may have been closed meanwhile: then another does.
    for _ in 0..3 {
        let connection = stream.get_or_insert_with(|| {
            let connection = TcpStream::connect(server).unwrap();
            connection.set_nodelay(true).unwrap();
            connection.set_read_timeout(Some(DEADLINE)).unwrap();
            connection
        });
        let mut length = [0; 2];
        if connection.write_all(&framed).is_ok() && connection.read_exact(&mut length).is_ok() {
            let mut octets = vec![0; u16::from_be_bytes(length).into()];
            connection.read_exact(&mut octets).unwrap();
            return octets;
        }
        *stream = None;
    }
    panic!("{server} closes connections over {query:?}");
}
