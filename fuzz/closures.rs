//! What every input is held to: shared by the fuzz targets and by the short test that runs with all others.
#![allow(dead_code, reason = "each target uses one of them")]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use windrose::answer::{Outcome, Request, ResponseBuffer, Transport, answer};
use windrose::config::{Settings, SystemFolders};
use windrose::diagnostic::Source;
use windrose::geo::coordinates::Coordinates;
use windrose::geo::extract::Extract;
use windrose::geo::mmdb::Database;
use windrose::health::Verdicts;
use windrose::image::{Image, Options, Serving};
use windrose::policy;
use windrose::policy::client_map::ClientMap;
use windrose::policy::model::{Condition, Steering};
use windrose::policy::names::Scope;
use windrose::policy::questions::{Questions, Site};
use windrose::policy::tree::Forest;
use windrose::spec::steering::SteeringSpec;
use windrose::spec::{Faults, file, settings};
use windrose::wire::code::RecordType;
use windrose::wire::cookie::{Place, Secrets, Standing};
use windrose::wire::name::Name;
use windrose::wire::rdata;
use windrose::zone;
use windrose::zone::check::Hold;
use windrose::zone::model::Zone;
use windrose::zone::{export, master, toml};

/// The time at which queries come, that of RFC 9018 A.1.
const NOW: u32 = 1_559_731_985;

/// Octets that come as a query, over both transports: there is no response, or one that another implementation reads to its end.
pub(crate) fn query(serving: &Serving, octets: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut response = ResponseBuffer::with_capacity(65_535);
        let request = Request {
            bytes: octets,
            source: IpAddr::from([192, 0, 2, 1]),
            transport,
            now: NOW,
            // As much chance as the octets hold, so that an input is all that a failure needs.
            random: octets
                .iter()
                .fold(7, |word: u64, octet| word.wrapping_mul(31) + u64::from(*octet)),
        };
        let outcome = answer(&request, serving, &mut response);
        let answerable = octets.len() >= 12 && octets[2] & 0x80 == 0;
        assert_eq!(outcome != Outcome::Dropped, answerable, "dropped or not, wrongly");
        if let Outcome::Answered(rcode) = outcome {
            well_formed(octets, response.as_slice(), rcode.0, transport);
        }
    }
}

fn well_formed(asked: &[u8], answered: &[u8], rcode: u16, transport: Transport) {
    // A client subnet of family 0 comes back as it was; hickory-proto does not know it, and stumbles over what stands beside it.
    let of_no_family = answered.windows(8).any(|option| option == [0, 8, 0, 4, 0, 0, 0, 0]);
    // RFC 8659 4.1 bounds the tag of a CAA by its octet of length alone; hickory-proto reads 15 octets at most (RFC 6844 5.1: SHOULD).
    let of_long_tag = answered
        .windows(12)
        .any(|record| record[..4] == [1, 1, 0, 1] && record[11] > 15);
    let mut decoder = BinDecoder::new(answered);
    let message = match hickory_proto::op::Message::read(&mut decoder) {
        Err(_) if of_no_family || of_long_tag => return,
        message => message.expect("a response that can be read"),
    };
    assert!(decoder.is_empty(), "octets follow the response");
    assert!(
        transport == Transport::Tcp || answered.len() <= 1232,
        "{} octets",
        answered.len()
    );
    assert_eq!(asked[..2], answered[..2], "another id");
    assert_eq!(
        asked[2] & 0x79 | 0x80,
        answered[2] & 0xf9,
        "another opcode or RD, or no QR"
    );
    assert_eq!(u16::from(answered[3]), rcode & 15, "another rcode, or RA, AD or CD");
    if let [0, 1] = answered[4..6] {
        let question = usize::from(message.queries[0].name().len() as u16) + 4;
        assert_eq!(
            asked[12..12 + question],
            answered[12..12 + question],
            "another question"
        );
    }
}

/// A secret, a client's address, a time and what its cookie option holds: what is answered is good for the same client, and for nobody else.
pub(crate) fn cookies(octets: &[u8]) {
    let Some((secret, rest)) = octets.split_first_chunk::<16>() else {
        return;
    };
    let Some((address, rest)) = rest.split_first_chunk::<16>() else {
        return;
    };
    let Some((now, shown)) = rest.split_first_chunk::<4>() else {
        return;
    };
    let now = u32::from_be_bytes(*now);
    let client = match address {
        [a, b, c, d, 0, 0, ..] => IpAddr::from([*a, *b, *c, *d]),
        _ => IpAddr::from(*address),
    };
    let place = Place::new(0, shown.len());
    assert_eq!(
        place.is_some(),
        shown.len() == 8 || (16..=40).contains(&shown.len()),
        "a length"
    );
    let Some(cookie) = place.and_then(|place| place.read(shown)) else {
        return;
    };
    let other = secret.map(|octet| octet ^ 1);
    let secrets = Secrets::new(*secret, &[]);
    let standing = secrets.standing(&cookie, client, now);
    assert_eq!(standing == Standing::Absent, shown.len() == 8, "there is one, or none");
    let answer = secrets.reply(&cookie, client, now);
    assert_eq!(answer[..8], shown[..8], "another client cookie");
    assert_eq!(
        standing == Standing::Fresh,
        answer[..] == *shown,
        "a good one is sent back, no other"
    );
    let answered = Place::new(0, answer.len()).and_then(|place| place.read(&answer));
    let answered = answered.expect("a cookie as an answer");
    let judged = |secrets: Secrets, client, now| secrets.standing(&answered, client, now);
    assert_eq!(judged(secrets, client, now), Standing::Fresh);
    assert_eq!(judged(Secrets::new(other, &[*secret]), client, now), Standing::Old);
    assert_eq!(
        judged(Secrets::new(other, &[]), client, now),
        Standing::Bad,
        "another secret"
    );
    assert_eq!(
        judged(secrets, client, now.wrapping_add(1 << 31)),
        Standing::Bad,
        "another time"
    );
    let elsewhere = match client {
        IpAddr::V4(client) => IpAddr::from((client.to_bits() ^ 1).to_be_bytes()),
        IpAddr::V6(client) => IpAddr::from((client.to_bits() ^ 1).to_be_bytes()),
    };
    assert_eq!(judged(secrets, elsewhere, now), Standing::Bad, "another client");
}

/// Text as a name: what it is read as reads back to itself, and is a name in wire form.
pub(crate) fn name(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let origin = Name::parse("example.com.", None).expect("a name");
    for origin in [None, Some(&origin)] {
        match Name::parse(text, origin) {
            Ok(name) => {
                let again = Name::parse(&name.to_string(), None).expect("the name that was written");
                assert_eq!(again.wire(), name.wire());
                assert!(Name::from_wire(name.wire()).is_some());
                assert!(name.is_at_or_below(&Name::root()) && name.labels().all(|label| label.len() < 64));
            }
            Err(error) => assert!(error.offset <= text.len(), "a fault outside the text"),
        }
    }
}

/// Two octets of type, then record data: as text, and as octets.
pub(crate) fn rdata(octets: &[u8]) {
    let Some(([high, low], data)) = octets.split_first_chunk::<2>().map(|(rtype, data)| (*rtype, data)) else {
        return;
    };
    let rtype = RecordType(u16::from_be_bytes([high, low]));
    let origin = Name::parse("example.com.", None).expect("a name");
    if let Ok(text) = std::str::from_utf8(data) {
        match rdata::parse(rtype, text, &origin) {
            Ok(data) => reads_back(rtype, &data),
            Err(error) => assert!(error.offset <= text.len(), "a fault outside the text"),
        }
    }
    if data.len() <= rdata::RDATA_MAX {
        // Octets of any kind can be shown, and cut into pieces that are all of them.
        rdata::present(rtype, data);
        rdata::names(rtype, data);
        let pieces = rdata::pieces(rtype, data).into_iter().map(|piece| match piece {
            rdata::Piece::Octets(octets) | rdata::Piece::Name(octets) => octets,
        });
        assert_eq!(pieces.collect::<Vec<_>>().concat(), data);
    }
}

/// A master file, of itself for what it includes: it is read without end of neither time nor memory, and what is a zone is written and
/// read to the same records.
pub(crate) fn master(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let origin = Name::parse("example.com.", None).expect("a name");
    let read = |text: &str| {
        let source = Source::new("fuzz.zone", text);
        let mut faults = Faults::new(&source);
        let mut included = 0;
        let mut include = |_: &str| {
            included += 1;
            if included < 20 {
                Ok(source.clone())
            } else {
                Err("enough".to_owned())
            }
        };
        let zone = master::read(&origin, &mut include, &mut faults);
        let errors = faults.errors();
        for fault in faults.into_sorted() {
            let _ = fault.to_string();
        }
        zone.filter(|_| errors == 0)
    };
    // Counted records are bounded, but too many for a fuzzer.
    if text.to_ascii_uppercase().contains("$GENERATE") && text.len() > 60 {
        return;
    }
    let Some(zone) = read(text) else { return };
    let exported = export::write(&zone, &|_| Vec::new());
    let again = read(&exported).expect("the zone that was written");
    assert_eq!(zone.owners.len(), again.owners.len());
    for (name, owner) in &zone.owners {
        assert_eq!(owner.rrsets, again.owners[name].rrsets, "{name}");
    }
    toml::write(&zone, Hold::Lenient);
}

/// A zone of random shape and a question: a master file up to the first octet of zero, then four octets and a name. The response must be well
/// formed, and what is sent whole over UDP is what is sent over TCP.
pub(crate) fn response(octets: &[u8]) {
    let mut parts = octets.splitn(2, |octet| *octet == 0);
    let (Some(text), Some(question)) = (parts.next(), parts.next()) else {
        return;
    };
    let Some(([how, size, high, low], name)) = question.split_first_chunk::<4>().map(|(four, name)| (*four, name))
    else {
        return;
    };
    let (Ok(text), Ok(name)) = (std::str::from_utf8(text), std::str::from_utf8(name)) else {
        return;
    };
    if text.to_ascii_uppercase().contains("$GENERATE") {
        return;
    }
    let origin = Name::parse("example.com.", None).expect("a name");
    let Ok(name) = Name::parse(name, Some(&origin)) else {
        return;
    };
    let source = Source::new("fuzz.zone", text);
    let mut faults = Faults::new(&source);
    let zone = master::read(&origin, &mut |_| Err("nothing is included".to_owned()), &mut faults);
    let Some(zone) = zone.filter(|_| faults.errors() == 0) else {
        return;
    };
    let serving = compiled(zone, Steering::default());
    let mut asked = vec![0x12, 0x34, how & 1, 0, 0, 1, 0, 0, 0, 0, 0, how >> 1 & 1];
    asked.extend(name.wire());
    asked.extend([high, low, 0, 1]);
    if how & 2 != 0 {
        asked.extend([0, 0, 41, size, 0, 0, 0, how & 0x80, 0, 0, 0]);
    }
    let whole = ask(&serving, &asked, Transport::Tcp);
    let room = match how & 2 {
        0 => 512,
        _ => (usize::from(size) << 8).clamp(512, 1232),
    };
    let cut = ask(&serving, &asked, Transport::Udp);
    assert!(cut.len() <= room, "{} octets of {room}", cut.len());
    if cut[2] & 2 == 0 {
        assert_eq!(
            cut[4..10],
            whole[4..10],
            "other answers over UDP, though nothing is said to be cut"
        );
    } else {
        assert!(whole.len() > room || whole[2] & 2 != 0, "cut without need");
    }
}

/// Text as a zone file and as windrose.toml: every fault has a place, and what has none is
/// served.
pub(crate) fn toml_files(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let source = Source::new("windrose.toml", text);
    let mut faults = Faults::new(&source);
    let spec = settings::read(&source, &mut faults);
    Settings::new(&spec, Path::new("/etc/windrose"), &SystemFolders::default());
    tell(faults);

    let source = Source::new("zones/example.com.toml", text);
    let (mut shared, mut faults) = (Faults::new(&Source::new("windrose.toml", "")), Faults::new(&source));
    let (nothing, spec) = (SteeringSpec::default(), file::read(&source, &mut faults));
    let origin = Name::parse("example.com.", None).expect("a name");
    let owners = spec.records.owners.iter();
    let mut scopes = [
        Scope {
            origin: None,
            spec: &nothing,
            roots: Vec::new(),
            faults: &mut shared,
        },
        Scope {
            origin: Some(origin.clone()),
            spec: &spec.steering,
            roots: owners
                .filter_map(|owner| Some(owner.steer.as_ref()?.name.value.as_str()))
                .collect(),
            faults: &mut faults,
        },
    ];
    let checked = policy::check::check(&mut scopes);
    let zone = zone::check::check(&spec, &origin, 1, &checked.roots(1), scopes[1].faults);
    let is_served = !spec.broken && scopes.iter().all(|scope| scope.faults.errors() == 0);
    let (steering, _) = checked.build(&scopes, &[true, is_served]);
    tell(faults);
    if !is_served {
        return;
    }
    let names: Vec<Name> = zone.owners.keys().take(20).cloned().collect();
    let serving = compiled(zone, steering);
    for name in names {
        for rtype in [1_u8, 28, 255] {
            let mut asked = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            asked.extend(name.wire());
            asked.extend([0, rtype, 0, 1]);
            ask(&serving, &asked, Transport::Tcp);
            ask(&serving, &asked, Transport::Udp);
        }
    }
}

/// Every fault can be shown, with a place in its text.
fn tell(faults: Faults) {
    for fault in faults.into_sorted() {
        let (line, column) = fault.line_column();
        assert!(line > 0 && column > 0 && !fault.to_string().is_empty());
    }
}

fn compiled(zone: Zone, steering: Steering) -> Serving {
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    let image = Image::compile(&[zone], &[], Forest::without_databases(steering), options, [7, 11]);
    Serving::new(Arc::new(image), &Verdicts::default())
}

/// A response that was held to be well formed.
fn ask(serving: &Serving, asked: &[u8], transport: Transport) -> Vec<u8> {
    let mut response = ResponseBuffer::with_capacity(65_535);
    let request = Request {
        bytes: asked,
        source: IpAddr::from([192, 0, 2, 1]),
        transport,
        random: 7,
        now: 0,
    };
    let Outcome::Answered(rcode) = answer(&request, serving, &mut response) else {
        panic!("a query got no response");
    };
    well_formed(asked, response.as_slice(), rcode.0, transport);
    response.as_slice().to_vec()
}

/// A location database: opened, walked, asked, and made into a map of clients.
pub(crate) fn mmdb(questions: &Questions, octets: &[u8]) {
    let Ok(database) = Database::open("fuzz", octets.to_vec()) else {
        return;
    };
    let addresses = [
        "203.0.113.7",
        "255.255.255.255",
        "::",
        "2001:db8::1",
        "2002:cb00:7107::",
    ];
    let addresses = addresses.map(|address| address.parse::<IpAddr>().expect("an address"));
    for address in addresses {
        if let Ok(Some((network, _))) = database.lookup(address) {
            assert!(network.contains(&address), "{address} is not in {network}");
        }
    }
    for is_ipv4 in [true, false] {
        for network in database.networks(is_ipv4).flatten() {
            assert!(network.range.first <= network.range.last, "a range that goes back");
            let _ = network.whereabouts();
        }
    }
    let Ok(extract) = Extract::of(&database) else { return };
    let extract = [Arc::new(extract)];
    let (map, known) = ClientMap::build(questions, &extract, &extract);
    assert_eq!(known.satisfied.len(), questions.conditions.len());
    for address in addresses {
        let placed = map.place(address);
        assert!(placed.class < map.classes.count(), "a class that is none");
        assert!(
            placed.length <= if address.is_ipv4() { 32 } else { 128 },
            "a prefix longer than an address"
        );
    }
}

/// What is asked of them: two sets of places, and each kind of condition.
pub(crate) fn mmdb_questions() -> Questions {
    let site = |latitude, longitude, bias| Site {
        coordinates: Coordinates { latitude, longitude },
        bias,
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut conditions = vec![
        Condition {
            network: vec![
                "203.0.113.0/24".parse().expect("a network"),
                "2001:db8::/32".parse().expect("a network"),
            ],
            ..Condition::default()
        },
        Condition {
            asn: vec![3320, 64500],
            ..Condition::default()
        },
        Condition {
            country: words(&["DE", "US"]),
            ..Condition::default()
        },
        Condition {
            subdivision: words(&["US-NY", "Hesse"]),
            continent: words(&["EU", "NA"]),
            ..Condition::default()
        },
    ];
    conditions.sort_unstable();
    Questions {
        sets: vec![
            vec![
                site(1.35, 103.82, 1.0),
                site(39.04, -77.49, 1.0),
                site(50.11, 8.68, 1.0),
            ],
            vec![site(39.04, -77.49, 0.5), site(50.11, 8.68, 1.0)],
        ],
        conditions,
    }
}

fn reads_back(rtype: RecordType, data: &[u8]) {
    let text = rdata::present(rtype, data);
    let again = rdata::parse(rtype, &text, &Name::root());
    assert_eq!(again.as_deref(), Ok(data), "{rtype} {text}");
}
