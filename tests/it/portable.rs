//! The portable engine: every text case through it, held against what `answer()` says; and a daemon that runs on it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use windrose::answer::{self, ResponseBuffer, Transport};
use windrose::health::Verdicts;
use windrose::image::{Image, Options, Serving};
use windrose::policy::tree::Forest;
use windrose::server::counters::Threads;
use windrose::server::portable::Portable;

use crate::cases::NOW;
use crate::control::{self, with_tcp};
use crate::daemon::{self, Daemon, SETTINGS, framed, query};
use crate::message;
use crate::query::Query;

#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "its main() is called by nobody here")]
mod embed;

/// Queries that hickory-server refuses as FORMERR by itself, where we would have said something else.
const REFUSED_BY_HICKORY: [&str; 2] = [
    // A client subnet of family 0, as `dig +subnet=0` sends it.
    "ecs/source-0-of-no-family.case",
    // A client subnet that cannot be read, beside a version of EDNS that is not known.
    "edns/badvers-with-do.case",
];

/// Answers that have just room enough as we write them; hickory does not compress names against the question.
const LONGER: [&str; 5] = [
    "truncation/exact-fit.case:18:",
    "truncation/identifier-gives-way.case:11:",
    "truncation/size-of-the-client.case:81:",
    "truncation/steered-is-cut-to-fit.case:21:",
    "truncation/steered-ipv6-is-cut-to-fit.case:21:",
];

/// The handler, and what stands for hickory-server's sockets around it.
pub(crate) struct Engine {
    portable: Portable,
    runtime: tokio::runtime::Runtime,
}

/// What comes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// hickory-server cannot read it and says so by itself, or knows it for a response: it never comes to us.
    Hickory,
    /// Nothing is sent.
    Nothing,
    /// This is.
    Octets(Vec<u8>),
}

impl Engine {
    pub(crate) fn new(serving: Serving) -> Self {
        let shared = Arc::new(ArcSwap::from_pointee(serving));
        Self {
            portable: Portable::with_clock(shared, &Threads::new(1, 1), 1, || NOW),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    pub(crate) fn ask(&self, octets: &[u8], source: IpAddr, transport: Transport) -> Got {
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        if is_settled_by_hickory(octets) {
            return Got::Hickory;
        }
        let request = Request::from_bytes(octets.to_vec(), SocketAddr::new(source, 5353), protocol).unwrap();
        let client = Client {
            protocol,
            got: Arc::default(),
        };
        let handled = self.portable.handle_request::<_, TokioTime>(&request, client.clone());
        let info = self.runtime.block_on(handled);
        assert_eq!(info.id.to_be_bytes(), octets[..2], "the ID of the query");
        let got = client.got.lock().unwrap().take();
        got.map_or(Got::Nothing, Got::Octets)
    }
}

/// Keeps what is sent, in the octets and the room that hickory-server gives it: on a stream all of a message, else what the OPT record of
/// the response says.
#[derive(Clone)]
struct Client {
    protocol: Protocol,
    got: Arc<Mutex<Option<Vec<u8>>>>,
}

#[async_trait::async_trait]
impl ResponseHandler for Client {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_max_size(match self.protocol {
            Protocol::Udp => response.edns().map_or(512, |edns| edns.max_payload()),
            _ => u16::MAX,
        });
        let info = response.destructive_emit(&mut encoder)?;
        *self.got.lock().unwrap() = Some(octets);
        Ok(info)
    }
}

/// Whether hickory-server cannot read it, or knows it for a response.
pub(crate) fn is_settled_by_hickory(octets: &[u8]) -> bool {
    let source = SocketAddr::from(([127, 0, 0, 1], 5353));
    Request::from_bytes(octets.to_vec(), source, Protocol::Udp).is_err() || octets[2] & 0x80 != 0
}

/// Whether what came of it is what docs/portable.md says: nothing, or FORMERR with a header alone.
pub(crate) fn settled_well(query: &[u8], got: Option<&[u8]>) -> Result<(), String> {
    let is_well = match got {
        None => query.len() < 12 || query[2] & 0x80 != 0,
        Some(octets) => octets.len() == 12 && octets[..2] == query[..2] && octets[3] & 15 == 1,
    };
    is_well
        .then_some(())
        .ok_or_else(|| format!("hickory makes {got:?} of it"))
}

/// What hickory-server settles by itself must be what we would have dropped or called a format error.
pub(crate) fn left_to_hickory(title: &str, rcode: Option<&str>) -> Result<(), String> {
    let is_known = REFUSED_BY_HICKORY.iter().any(|name| title.contains(name));
    match rcode {
        None | Some("FORMERR") => Ok(()),
        _ if is_known => Ok(()),
        Some(rcode) => Err(format!("hickory refuses it, instead of {rcode}")),
    }
}

/// Whether the answer to this query is known to be longer than the client has room for.
pub(crate) fn is_longer(title: &str) -> bool {
    LONGER.iter().any(|name| title.contains(name))
}

/// One that was longer: TC and no record, or of a steered name fewer records and no TC.
pub(crate) fn is_cut_well(title: &str, octets: &[u8], room: usize, fits: bool) -> Result<(), String> {
    let got = message::decode(octets)?;
    let records: usize = got.sections.iter().map(Vec::len).sum();
    let is_truncated = got.flags & 0x0200 != 0;
    let is_steered = title.contains("/steered-");
    if octets.len() > room || is_truncated == is_steered || (records == 0) == is_steered {
        return Err(format!(
            "{} octets of {room}, {records} records, TC {is_truncated}",
            octets.len()
        ));
    }
    if fits {
        return Err("it is as we write it, and should be on no list".into());
    }
    Ok(())
}

/// Whether two responses say the same: header, question, the records of each section, EDNS with every option in order.
pub(crate) fn same(ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    let [ours, theirs] = [ours, theirs].map(|octets| {
        let got = message::decode(octets)?;
        let sections = got.sections.map(|mut records| {
            records.sort();
            records
        });
        let opt = got.opt.map(|opt| (opt.udp, opt.version, opt.flags, opt.options));
        Ok::<_, String>((got.id, got.flags, got.rcode, got.questions, sections, opt))
    });
    let (ours, theirs) = (ours?, theirs?);
    if ours == theirs {
        return Ok(());
    }
    Err(format!("hickory sends\n{theirs:?}\ninstead of\n{ours:?}"))
}

/// hickory compresses the first names of a message alone. The longest set that a zone may have fits a stream as we write it, and is cut by our rules
/// as hickory does. Three fifths of it go out whole.
#[test]
fn an_answer_that_hickory_makes_too_long_for_a_stream_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let config = folder.path().join("windrose.toml");
    std::fs::write(&config, SETTINGS).unwrap();
    let zone = |members: u32| {
        let members: Vec<String> = (0..members).map(|member| format!("\"m{member}\"")).collect();
        let zone = format!(
            "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nmany.MG = [{}]\n",
            members.join(", ")
        );
        std::fs::write(folder.path().join(FILE), zone).unwrap();
        serving(&config)
    };
    let most = (1_800..).find(|members| zone(*members + 1).is_none()).unwrap();
    let query = Query::parse("many.gtm.example.com. MG +edns", 7).unwrap();
    let source = [127, 0, 0, 1].into();
    let ask = |members: u32| {
        let engine = Engine::new(zone(members).unwrap());
        let Got::Octets(theirs) = engine.ask(&query.octets, source, Transport::Tcp) else {
            panic!("no answer");
        };
        let mut ours = ResponseBuffer::with_capacity(65_535);
        let request = answer::Request {
            bytes: &query.octets,
            source,
            transport: Transport::Tcp,
            random: 0,
            now: NOW,
        };
        answer::answer(&request, &zone(members).unwrap(), &mut ours);
        (ours.as_slice().to_vec(), theirs)
    };
    let (ours, theirs) = ask(most * 3 / 5);
    same(&ours, &theirs).unwrap();
    let (ours, theirs) = ask(most);
    assert_eq!(
        message::decode(&ours).unwrap().sections[0].len(),
        usize::try_from(most).unwrap()
    );
    let cut = message::decode(&theirs).unwrap();
    assert!(cut.flags & 0x0200 != 0 && cut.sections.iter().all(Vec::is_empty) && cut.opt.is_some());
}

/// None if the zone has a fault.
fn serving(config: &Path) -> Option<Serving> {
    let loaded = windrose::load::load(Some(config));
    if !loaded.faults.is_empty() {
        return None;
    }
    let forest = Forest::new(loaded.steering, loaded.locations.map);
    let image = Image::compile(&loaded.zones, &loaded.failed, forest, Options::default(), [1, 2]);
    Some(Serving::new(Arc::new(image), &Verdicts::default()))
}

const FILE: &str = "zones/gtm.example.com.toml";

/// A static name, a steered one, and an answer that a datagram has no room for.
fn zone(address: &str) -> String {
    let long: Vec<String> = (0..40).map(|host| format!("\"198.51.100.{host}\"")).collect();
    format!(
        "[records]\n\"@\".NS = \"ns1\"\nns1.A = \"192.0.2.1\"\nwww.steer = \"web\"\nmany.A = [{}]\nodd.NAPTR = '1 1 \"!\" \"\" \"\" .'\n\
         [pools.web]\nbackends = [\"{address}\"]\n",
        long.join(", ")
    )
}

fn settings() -> String {
    format!(
        "{}\n[log]\nlevel = \"trace\"\n",
        with_tcp().replace("workers = 1", "workers = 2\nengine = \"portable\"")
    )
}

#[test]
fn a_daemon_answers_both_ways_reloads_counts_and_stops() {
    let daemon = Daemon::start(&[("windrose.toml", &settings()), (FILE, &zone("192.0.2.10"))]);
    // The question comes back in the case that it was asked in.
    let name = "wWw.gTm.example.COM";
    let response = daemon.ask(name);
    assert!(response.holds([192, 0, 2, 10]) && response.0[12..].starts_with(&query(1, name)[12..]));
    // Without EDNS there are 512 octets: TC over UDP, all of it over TCP, and queries of one connection in order.
    let truncated = daemon.ask("many.gtm.example.com");
    assert_eq!((truncated.0[2] & 2, truncated.0.len()), (2, 38));
    let mut stream = daemon.connect();
    stream.send(&[framed(1, "many.gtm.example.com"), framed(2, name)].concat());
    let whole = stream.receive().unwrap();
    assert!(whole.id() == 1 && whole.holds([198, 51, 100, 0]) && whole.holds([198, 51, 100, 39]));
    let next = stream.receive().unwrap();
    assert!(next.id() == 2 && next.holds([192, 0, 2, 10]));

    // hickory would not take flags of NAPTR that are no letters or digits; it is not let read them.
    let odd = Query::parse("odd.gtm.example.com. NAPTR", 4).unwrap();
    let octets = odd.over_tcp(daemon.address()).unwrap();
    let answers = &message::decode(&octets).unwrap().sections[0];
    assert_eq!(answers[0].rdata, [0, 1, 0, 1, 1, b'!', 0, 0, 0]);

    // A fault keeps everything, a good file is taken in, on the connection that is open too.
    daemon.write(FILE, "nonsense");
    assert!(daemon.reload().contains("everything stays as it was"));
    assert!(daemon.ask(name).holds([192, 0, 2, 10]));
    daemon.write(FILE, &zone("192.0.2.20"));
    assert!(daemon.reload().contains("reloaded zones=1"));
    assert!(daemon.ask(name).holds([192, 0, 2, 20]));
    assert!(stream.ask(3, name).unwrap().holds([192, 0, 2, 20]));
    daemon.write("windrose.toml", &settings().replace("portable", "native"));
    assert!(daemon.reload().contains("engine changed, which needs a restart"));

    assert_eq!(daemon.ask("www.example.org").rcode(), 5);
    let metrics = control::ask(&daemon, "GET", "/metrics").body;
    for line in [
        "windrose_queries_total{transport=\"udp\"} 5",
        "windrose_queries_total{transport=\"tcp\"} 5",
        "windrose_responses_total{transport=\"udp\",rcode=\"NOERROR\"} 4",
        "windrose_responses_total{transport=\"udp\",rcode=\"REFUSED\"} 1",
        "windrose_responses_total{transport=\"tcp\",rcode=\"NOERROR\"} 4",
        "windrose_decisions_total{record=\"www.gtm.example.com.\",root=\"gtm.example.com/web\",pool=\"gtm.example.com/web\",family=\"ipv4\"} 5",
    ] {
        assert!(metrics.lines().any(|other| other == line), "no {line} in {metrics}");
    }
    assert!(!metrics.contains("windrose_tcp_connections"), "hickory counts none");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    // hickory-server has two lines for each query, if it is let.
    assert!(
        !ended.stderr.contains("rflags") && !ended.stderr.contains("qflags"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_of_somebody_elses_has_the_director_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("windrose.toml");
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(&config, SETTINGS).unwrap();
    std::fs::write(folder.path().join(FILE), zone("192.0.2.10")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut both = runtime
        .block_on(embed::Both::start(config, "127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let directed = daemon::ask(both.address, "www.gtm.example.com");
    assert!(directed.rcode() == 0 && directed.holds([192, 0, 2, 10]));
    assert_eq!(daemon::ask(both.address, "nothing.gtm.example.com").rcode(), 3);
    assert!(daemon::ask(both.address, "ns1.example.com").holds([192, 0, 2, 53]));
    assert!(both.director.listening().is_empty());

    std::fs::write(folder.path().join(FILE), zone("192.0.2.20")).unwrap();
    both.director.reloader().reload_and_log().unwrap();
    assert!(daemon::ask(both.address, "www.gtm.example.com").holds([192, 0, 2, 20]));
    runtime.block_on(async {
        both.server.shutdown_gracefully().await.unwrap();
        both.director.stop().await;
    });
}
