//! Random zones, random queries and random octets: what every response is, whatever is asked.

use std::net::{IpAddr, Ipv4Addr};
use std::{fs, iter};

use proptest::collection::vec;
use proptest::prelude::*;
use windrose::answer::{self, Outcome, Request, ResponseBuffer, Transport};
use windrose::control::reload::build;
use windrose::image::Serving;
use windrose::load::load;
use windrose::policy::trace::Silent;
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::zone::model::Zone;

use crate::allocation;
use crate::expect::second_opinion;
use crate::message;
use crate::plain;
use crate::query::Query;

/// Labels of owners and of questions: few, so that they meet.
const LABELS: [&str; 5] = ["a", "b", "c", "*", "sub"];

/// What an owner may have, `@N@` being a name. Those below the line of two are the steered ones.
const KINDS: [&str; 12] = [
    "A = [\"192.0.2.1\", \"192.0.2.2\"]",
    "AAAA = \"2001:db8::1\"",
    "A = \"192.0.2.3\", AAAA = \"2001:db8::3\", TXT = \"text\", ttl = \"1h\"",
    "TXT = [\"one\", \"two\"]",
    "CNAME = \"@N@\"",
    "NS = [\"@N@\", \"ns.example.net.\"]",
    "MX = [\"10 @N@\", \"20 mail.example.net.\"]",
    "SRV = \"0 0 5060 @N@\", A = \"192.0.2.4\"",
    "TYPE65280 = '\\# 3 010203'",
    "NS = \"@N@\", A = \"192.0.2.5\"",
    "steer = \"many\", TXT = \"beside\"",
    "steer = \"host\"",
];

/// How many of [`KINDS`] are static.
const STATIC_KINDS: usize = 10;

/// Around the owners.
const REST: &str = r#"
[pools.many]
answers = 3
backends = ["192.0.2.11", "192.0.2.12", "192.0.2.13", "2001:db8::11", "2001:db8::12"]
[pools.host]
sticky = true
backends = [{ host = "edge.example.net." }, { host = "a.gtm.example.com." }]
"#;

const TYPES: [&str; 8] = ["A", "AAAA", "TXT", "CNAME", "NS", "MX", "SRV", "SOA"];

/// What queries may have besides.
const OPTIONS: [&str; 6] = [
    "",
    "+edns",
    "+do +bufsize=512",
    "+subnet=198.51.100.0/24",
    "+norec +bufsize=4096",
    "+subnet=2001:db8::/56 +option=3:",
];

fn name() -> impl Strategy<Value = String> {
    vec(proptest::sample::select(&LABELS[..]), 1..=3).prop_map(|labels| labels.join("."))
}

/// Lines of `[records]`, each an owner of its own.
fn owners(kinds: usize) -> impl Strategy<Value = Vec<String>> {
    let owner = (name(), proptest::sample::select(&KINDS[..kinds]), name());
    vec(owner, 0..14).prop_map(|owners| {
        let mut names = Vec::new();
        let mut lines = Vec::new();
        for (name, kind, target) in owners {
            if !names.contains(&name) {
                lines.push(format!("\"{name}\" = {{ {} }}", kind.replace("@N@", &target)));
                names.push(name);
            }
        }
        lines
    })
}

/// Questions, as the cases write them.
fn questions() -> impl Strategy<Value = Vec<(String, &'static str, &'static str)>> {
    let deep = (name(), proptest::option::of(name()), any::<bool>()).prop_map(|(name, more, upper)| {
        let whole = iter::once(name).chain(more).collect::<Vec<_>>().join(".") + ".gtm.example.com.";
        if upper { whole.to_ascii_uppercase() } else { whole }
    });
    let apex = Just("gtm.example.com.".to_owned());
    let name = prop_oneof![9 => deep, 1 => apex];
    vec(
        (
            name,
            proptest::sample::select(&TYPES[..]),
            proptest::sample::select(&OPTIONS[..]),
        ),
        1..30,
    )
}

/// Serves the owners that may stand together: those that are at fault are left out.
fn serve(mut owners: Vec<String>) -> (Vec<Zone>, Serving) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("zones")).unwrap();
    fs::write(folder.path().join("windrose.toml"), "[server]\nnsid = \"here\"\n").unwrap();
    loop {
        let head = "[records]\n\"@\".NS = \"ns.example.net.\"\n";
        let text = format!("{head}{}\n{REST}", owners.join("\n"));
        fs::write(folder.path().join("zones/gtm.example.com.toml"), text).unwrap();
        let loaded = load(Some(&folder.path().join("windrose.toml")));
        let faulty: Vec<usize> = loaded
            .faults
            .iter()
            .filter(|fault| fault.is_error())
            .map(|fault| fault.line_column().0 - 3)
            .collect();
        if faulty.is_empty() {
            return (loaded.zones.clone(), build(loaded));
        }
        let mut at = 0..;
        owners.retain(|_| !faulty.contains(&at.next().unwrap()));
    }
}

fn respond(octets: &[u8], transport: Transport, serving: &Serving, random: u64) -> Option<Vec<u8>> {
    let request = Request {
        bytes: octets,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        transport,
        random,
    };
    let mut response = ResponseBuffer::with_capacity(65_535);
    let (outcome, allocations) = allocation::during(|| answer::answer(&request, serving, &mut response));
    assert_eq!(allocations, 0, "answering allocates: {}", message::hex(octets));
    match outcome {
        Outcome::Dropped => None,
        Outcome::Answered(rcode) => {
            let octets = response.as_slice().to_vec();
            assert_eq!(
                message::decode(&octets).unwrap().rcode,
                rcode.0,
                "the outcome is that of the response"
            );
            Some(octets)
        }
    }
}

/// What holds of every response.
fn is_sound(query: &[u8], room: usize, response: &[u8]) {
    let got = message::decode(response).unwrap_or_else(|fault| panic!("{fault}: {}", message::hex(response)));
    second_opinion(&got, response).unwrap_or_else(|fault| panic!("{fault}: {}", message::hex(response)));
    assert!(
        response.len() <= room,
        "{} octets, where there is room for {room}",
        response.len()
    );
    assert_eq!(got.id.to_be_bytes(), query[..2]);
    assert_eq!(
        got.flags & 0xf900,
        0x8000 | u16::from_be_bytes([query[2] & 0x79, 0]),
        "QR, opcode and RD"
    );
    assert!(
        query[12..].starts_with(&got.questions),
        "the question is that of the query"
    );
    assert_eq!(got.flags & 0x00b0, 0, "RA, AD and CD are clear");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Compiled static answers are those of the plain algorithm.
    #[test]
    fn static_answers_are_those_of_the_algorithm(owners in owners(STATIC_KINDS), questions in questions()) {
        let (zones, serving) = serve(owners);
        for (name, rtype, options) in questions {
            let query = Query::parse(&format!("{name} {rtype} {options}"), 1).unwrap();
            let response = respond(&query.octets, Transport::Tcp, &serving, 0).unwrap();
            is_sound(&query.octets, 65_535, &response);
            let asked = Name::parse(&name, None).unwrap();
            let plain = plain::ask(&zones, &asked, RecordType::parse(rtype).unwrap());
            let got = message::decode(&response).unwrap();
            prop_assert!(plain.is_said_by(&got), "{name} {rtype}: {plain:?}\ngot {got:?}");
        }
    }

    /// Every response can be decoded and fits, steered ones too; the same request gets the same octets; and the stages side by
    /// side over a batch write what `answer` writes one by one.
    #[test]
    fn responses_are_sound_and_stages_agree(owners in owners(KINDS.len()), questions in questions(), random: u64) {
        let (_, serving) = serve(owners);
        let queries: Vec<Query> = questions
            .iter()
            .map(|(name, rtype, options)| Query::parse(&format!("{name} {rtype} {options}"), 1).unwrap())
            .collect();
        for transport in [Transport::Udp, Transport::Tcp] {
            let requests: Vec<Request<'_>> = queries
                .iter()
                .map(|query| Request { bytes: &query.octets, source: Ipv4Addr::LOCALHOST.into(), transport, random })
                .collect();
            let parsed: Vec<_> = requests.iter().map(|one| answer::parse(one.bytes, &serving.image.names.key)).collect();
            let located: Vec<_> =
                requests.iter().zip(&parsed).map(|(one, parsed)| answer::locate(parsed, one, &serving)).collect();
            let mut buffer = ResponseBuffer::with_capacity(65_535);
            for (((request, query), parsed), located) in requests.iter().zip(&queries).zip(&parsed).zip(&located) {
                answer::write(parsed, located, request, &serving, &mut buffer, &mut Silent);
                let response = respond(&query.octets, transport, &serving, random).unwrap();
                prop_assert_eq!(buffer.as_slice(), &response);
                let room = if transport == Transport::Udp { query.room } else { 65_535 };
                is_sound(&query.octets, room, &response);
            }
        }
    }

    /// Octets that are nearly queries, or not at all: no panic, and what comes back can be decoded.
    #[test]
    fn any_octets_are_dropped_or_answered(
        owners in owners(KINDS.len()),
        questions in questions(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<proptest::sample::Index>(),
        noise in vec(any::<u8>(), 0..80),
    ) {
        let (_, serving) = serve(owners);
        for (name, rtype, options) in questions {
            let mut octets = Query::parse(&format!("{name} {rtype} {options}"), 1).unwrap().octets;
            for (at, change) in &changes {
                let at = at.index(octets.len());
                octets[at] ^= change;
            }
            let short = octets[..cut.index(octets.len())].to_vec();
            for octets in [&octets, &short, &noise] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    if let Some(response) = respond(octets, transport, &serving, 7) {
                        let got = message::decode(&response);
                        prop_assert!(got.is_ok(), "{got:?}: {}", message::hex(octets));
                        prop_assert!(octets.len() >= 12 && octets[2] & 0x80 == 0, "a response to what has no header, or QR");
                        second_opinion(&got.unwrap(), &response).map_err(TestCaseError::fail)?;
                    }
                }
            }
        }
    }
}
