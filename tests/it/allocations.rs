//! No answer takes memory: every kind of answer is given while an allocator counts.

use windrose::answer::{Request, ResponseBuffer, Transport, answer};
use windrose::wire::code::RecordType;

use crate::allocation;
use crate::fixture::{SUBNET, query, query_edns, request, serving};
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
        ("version.bind", version, (0, 1, 0, false)),
    ]
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
            let (_, allocations) = allocation::during(|| answer(&request, &serving, &mut response));
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
