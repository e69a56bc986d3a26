//! No answer takes memory: every kind of answer is given while an allocator counts.

use std::sync::Arc;

use windrose::answer::{Outcome, Request, ResponseBuffer, Transport, answer_telling};
use windrose::geo::coordinates::Coordinates;
use windrose::geo::extract::Extract;
use windrose::geo::mmdb::Database;
use windrose::image::tally::Counting;
use windrose::image::{Image, Options, Serving};
use windrose::policy::client_map::ClientMap;
use windrose::policy::model::{Choose, Condition, Rule, Rules};
use windrose::policy::questions::Questions;
use windrose::policy::tree;
use windrose::wire::code::RecordType;

use crate::allocation;
use crate::atlases::octets_of;
use crate::fixture::{SUBNET, query, query_edns, request, serving, zone};
use crate::forests::Forest;
use crate::message::decode;

/// What a response is told by: rcode, answers, authorities, and whether TC is set.
type Told = (u16, usize, usize, bool);

/// Every kind of answer.
fn kinds() -> Vec<(&'static str, Vec<u8>, Told)> {
    let a = |name: &str| query(name, RecordType::A);
    let edns = |name: &str, options: &[u8]| query_edns(name, RecordType::A, options);
    let version = {
        let mut octets = query("version.bind.", RecordType::TXT);
        let last = octets.len() - 1;
        octets[last] = 3;
        octets
    };
    let bad_version = {
        let mut octets = edns("www.example.com.", &[]);
        let at = octets.len() - 5;
        octets[at] = 1;
        octets
    };
    let cut_off = a("www.example.com.")[..20].to_vec();
    let bad_subnet = edns("www.example.com.", &[0, 8, 0, 1, 0]);
    let not_implemented = [&[0, 1, 0x28][..], &a("www.example.com.")[3..]].concat();
    vec![
        ("static", a("www.example.com."), (0, 1, 0, false)),
        ("static in another case", a("WWW.eXample.COM."), (0, 1, 0, false)),
        ("NODATA", query("www.example.com.", RecordType::TXT), (0, 0, 1, false)),
        (
            "NODATA of an empty non-terminal",
            a("b.empty.example.com."),
            (0, 0, 1, false),
        ),
        ("NXDOMAIN", a("x.y.example.com."), (3, 0, 1, false)),
        ("wildcard", a("x.y.wild.example.com."), (0, 1, 0, false)),
        (
            "wildcard with additional data",
            query("x.wild.example.com.", RecordType::MX),
            (0, 1, 0, false),
        ),
        (
            "wildcard NODATA",
            query("x.wild.example.com.", RecordType::TXT),
            (0, 0, 1, false),
        ),
        ("wildcard alias", a("x.far.wild.example.com."), (0, 2, 0, false)),
        ("referral", a("x.y.sub.example.com."), (0, 0, 2, false)),
        ("DS", query("sub.example.com.", RecordType::DS), (0, 1, 0, false)),
        (
            "DS at a zone's top",
            query("child.example.com.", RecordType::DS),
            (0, 0, 1, false),
        ),
        ("chain of aliases", a("alias.example.com."), (0, 3, 0, false)),
        (
            "alias to a name that is missing",
            a("gone.example.com."),
            (3, 1, 1, false),
        ),
        ("alias in a circle", a("loop.example.com."), (0, 1, 0, false)),
        ("ANY", query("www.example.com.", RecordType::ANY), (0, 1, 0, false)),
        (
            "truncated",
            query("long.example.com.", RecordType::TXT),
            (0, 0, 0, true),
        ),
        ("steered", a("one.example.com."), (0, 1, 0, false)),
        (
            "steered, AAAA",
            query("one.example.com.", RecordType::AAAA),
            (0, 1, 0, false),
        ),
        (
            "steered, no such type",
            query("one.example.com.", RecordType::TXT),
            (0, 0, 1, false),
        ),
        (
            "steered behind an alias",
            a("to-steered.example.com."),
            (0, 2, 0, false),
        ),
        (
            "steered behind a wildcard",
            a("x.steered.example.com."),
            (0, 1, 0, false),
        ),
        ("drawn", a("eight.example.com."), (0, 1, 0, false)),
        ("answers = 4", a("four.example.com."), (0, 4, 0, false)),
        ("answers = all", a("all.example.com."), (0, 16, 0, false)),
        (
            "answers = all, cut to what fits",
            a("crowd.example.com."),
            (0, 29, 0, false),
        ),
        ("sticky of 8", a("sticky8.example.com."), (0, 1, 0, false)),
        ("sticky of 32", a("sticky32.example.com."), (0, 1, 0, false)),
        ("sticky, answers = 3", a("ranked.example.com."), (0, 3, 0, false)),
        ("weighted policy", a("weighted.example.com."), (0, 1, 0, false)),
        ("sticky policy", a("steady.example.com."), (0, 1, 0, false)),
        ("tree of policies", a("deep.example.com."), (0, 1, 0, false)),
        ("host", a("host.example.com."), (0, 1, 0, false)),
        (
            "host, any type",
            query("host.example.com.", RecordType::MX),
            (0, 1, 0, false),
        ),
        ("failover to a host", a("tiers.example.com."), (0, 1, 0, false)),
        ("fallback", a("down.example.com."), (0, 1, 0, false)),
        ("nothing usable", edns("lost.example.com.", &[]), (2, 0, 0, false)),
        ("failed zone", edns("www.failed.example.", &[]), (2, 0, 0, false)),
        ("not ours", a("www.example.org."), (5, 0, 0, false)),
        ("transfer", query("example.com.", RecordType::AXFR), (5, 0, 0, false)),
        ("cut off", cut_off, (1, 0, 0, false)),
        ("bad client subnet", bad_subnet, (1, 0, 0, false)),
        ("another opcode", not_implemented, (4, 0, 0, false)),
        ("BADVERS", bad_version, (16, 0, 0, false)),
        (
            "client subnet, static",
            edns("www.example.com.", &SUBNET),
            (0, 1, 0, false),
        ),
        (
            "client subnet, sticky",
            edns("sticky8.example.com.", &SUBNET),
            (0, 1, 0, false),
        ),
        ("NSID", edns("www.example.com.", &[0, 3, 0, 0]), (0, 1, 0, false)),
        (
            "a cookie",
            edns("www.example.com.", &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            (0, 1, 0, false),
        ),
        ("version.bind", version, (0, 1, 0, false)),
    ]
}

/// As the server answers: what is decided is counted.
fn answered(request: &Request<'_>, serving: &Serving, response: &mut ResponseBuffer) -> Outcome {
    answer_telling(request, serving, response, &mut Counting::new(&serving.image, 0))
}

#[test]
fn no_answer_allocates() {
    let serving = serving();
    let mut response = ResponseBuffer::with_capacity(65_535);
    let long = query("longer.example.com.", RecordType::TXT);
    let udp = kinds()
        .into_iter()
        .map(|(title, octets, told)| (title, octets, told, Transport::Udp));
    let tcp = [("long, by TCP", long, (0, 250, 0, false), Transport::Tcp)];
    for (title, octets, told, transport) in udp.chain(tcp) {
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let request = Request {
                transport,
                ..request(&octets, random)
            };
            let (_, allocations) = allocation::during(|| answered(&request, &serving, &mut response));
            assert_eq!(allocations, 0, "{title} takes memory");
        }
        // The answer is of the kind it should be.
        let message = decode(response.as_slice()).unwrap();
        let [answers, authority, _] = &message.sections;
        let got = (
            message.rcode,
            answers.len(),
            authority.len(),
            message.flags & 0x0200 != 0,
        );
        assert_eq!(got, told, "{title}: {message:?}");
    }
}

/// Policies by location, with a site that is down: what stands above `region` must look for whom that is usable.
fn serving_by_location() -> Serving {
    let mut forest = Forest::default();
    for (name, backend, latitude, longitude) in [
        ("a", "192.0.2.1", 50.0, 8.0),
        ("b", "192.0.2.2", 39.0, -77.0),
        ("c", "192.0.2.3", 1.0, 103.0),
        ("down", "192.0.2.66", -33.0, 151.0),
    ] {
        let pool = forest.pool(name, backend);
        forest.node(pool).location = Some(Coordinates { latitude, longitude });
    }
    forest.policy("near", Choose::Nearest, "c b a");
    let condition = Condition {
        country: vec!["DE".to_owned()],
        ..Condition::default()
    };
    let rules = vec![Rule { condition, member: 0 }];
    forest.policy("region", Choose::Rules(Rules { rules, otherwise: 1 }), "a down");
    forest.policy("weighted", Choose::Weighted, "region*3 b*1 c*0");
    let sticky = forest.policy("sticky", Choose::Weighted, "region b c");
    forest.node(sticky).sticky = true;
    forest.policy("among", Choose::Nearest, "region b c");
    forest.policy("tiers", Choose::Failover, "region among");
    let database = Database::open(
        "test",
        octets_of("mmdb nested\n198.51.100.0/24 at=48.0,2.0 country=DE\n203.0.0.0/16 at=40.0,-74.0\n"),
    );
    let database = [Arc::new(Extract::of(&database.unwrap()).unwrap())];
    let verdicts = forest.down("192.0.2.66");
    let (map, _) = ClientMap::build(&Questions::of(&forest.steering).0, &database, &[]);
    let records: Vec<String> = forest
        .steering
        .by_name
        .keys()
        .map(|root| format!("{root} steer {root}"))
        .collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let options = Options {
        client_subnet: true,
        threads: 1,
        ..Options::default()
    };
    let compiled = tree::Forest::new(forest.steering, Arc::new(map));
    let image = Image::compile(&[zone("test.", &records)], &[], compiled, options, [1, 2]);
    Serving::new(Arc::new(image), &verdicts)
}

#[test]
fn no_answer_by_location_allocates() {
    let serving = serving_by_location();
    let mut response = ResponseBuffer::with_capacity(1232);
    let mut handed_out = std::collections::BTreeSet::new();
    for root in ["near", "region", "weighted", "sticky", "among", "tiers"] {
        let name = format!("{root}.test.");
        // Germany; somewhere in the west; nowhere.
        for subnet in [
            SUBNET,
            [0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113],
            [0, 8, 0, 7, 0, 1, 24, 0, 8, 8, 8],
        ] {
            let octets = query_edns(&name, RecordType::A, &subnet);
            for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
                let (_, allocations) =
                    allocation::during(|| answered(&request(&octets, random), &serving, &mut response));
                assert_eq!(allocations, 0, "{root} takes memory");
            }
            let message = decode(response.as_slice()).unwrap();
            handed_out.insert((root, subnet[8], message.sections[0][0].rdata[3]));
        }
    }
    // Each goes the way that it should.
    for expected in [
        ("near", 198, 1),
        ("near", 203, 2),
        ("near", 8, 3),
        ("region", 198, 1),
        ("region", 8, 66),
        ("among", 198, 1),
        ("among", 203, 2),
        ("among", 8, 2),
        ("tiers", 198, 1),
        ("tiers", 203, 2),
        ("weighted", 203, 2),
    ] {
        assert!(handed_out.contains(&expected), "{expected:?} is not in {handed_out:?}");
    }
}
