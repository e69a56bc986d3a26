//! Master files: written again by `export`, and as TOML by `import`, a zone stays what it was; another reader reads the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use windrose::answer::{Request, ResponseBuffer, Transport, answer};
use windrose::diagnostic::{Diagnostic, Source};
use windrose::health::Verdicts;
use windrose::image::{Image, Options, Serving};
use windrose::policy::model::Steering;
use windrose::policy::tree::Forest;
use windrose::spec::Faults;
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::zone::check::Hold;
use windrose::zone::model::{RRset, Zone};
use windrose::zone::roots::Roots;
use windrose::zone::{check, export, master, toml};

use crate::fixture::request;

/// Types and data, of every form that text can have.
const RECORDS: &[&str] = &[
    "A 192.0.2.1",
    "A 192.0.2.2",
    "AAAA 2001:db8::1",
    "NS ns",
    "NS ns.example.net.",
    "MX 10 mail",
    "CNAME target",
    "DNAME other.example.net.",
    "TXT plain \"with space\"",
    "TXT \"it's \\\"quoted\\\" \\\\ ; (\"",
    "TXT \\000\\255 \"\"",
    "TXT \"\u{fc}ber\"",
    "SRV 0 5 5060 sip",
    "CAA 0 issue \"ca.example.net\"",
    "HTTPS 1 . alpn=\"h2,h3\" port=8443",
    "NAPTR 100 10 \"S\" \"SIP+D2U\" \"\" _sip._udp",
    "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 10m",
    "TYPE65280 \\# 3 010203",
    "DS 60485 5 1 ( 2BB183AF5F22588179A5 ; a digest\n 3B0A98631FAD1A292118 )",
    "PTR a\\.b.\\@",
];

const OWNERS: &[&str] = &[
    "@",
    "a",
    "b.a",
    "*",
    "*.a",
    "A",
    "\\000\\046.c",
    "x\\\"y",
    "sub",
    "d.sub",
    "it's",
    "\\$\\@",
    "ttl",
    "steer",
];

const TTLS: &[&str] = &["", "60 ", "1h IN ", "IN 5m "];

/// Reads a zone `example.` and its faults.
fn read(text: &str) -> (Option<Zone>, Vec<Diagnostic>) {
    let source = Source::new("example.zone", text);
    let mut faults = Faults::new(&source);
    let origin = Name::parse("example.", None).unwrap();
    let zone = master::read(&origin, &mut |_| Err("no".to_owned()), &mut faults);
    let zone = zone.filter(|_| faults.errors() == 0);
    (zone, faults.into_sorted())
}

/// Every record set of a zone; the names as octets, since their case counts too.
fn sets(zone: &Zone) -> BTreeMap<(Vec<u8>, RecordType), RRset> {
    let owners = zone.owners.iter();
    let sets = owners.flat_map(|(name, owner)| {
        let sets = owner.rrsets.iter();
        sets.map(|(rtype, rrset)| ((name.wire().to_vec(), *rtype), rrset.clone()))
    });
    sets.collect()
}

/// What a zone that is served by itself answers to every type at names that it has, at those above and below them and beside.
fn answers(zone: &Zone, names: &BTreeSet<Name>) -> Vec<(Name, RecordType, Vec<u8>)> {
    let forest = Forest::without_databases(Steering::default());
    let image = Image::compile(std::slice::from_ref(zone), &[], forest, Options::default(), [3, 5]);
    let serving = Serving::new(Arc::new(image), &Verdicts::unknown(0));
    let types = RECORDS.iter().map(|record| record.split(' ').next().unwrap());
    let mut types: BTreeSet<RecordType> = types.map(|rtype| RecordType::parse(rtype).unwrap()).collect();
    types.extend([RecordType::SOA, RecordType::ANY, RecordType(65_281)]);
    let mut response = ResponseBuffer::with_capacity(65_535);
    let mut all = Vec::new();
    for name in names {
        for &rtype in &types {
            let question = [name.wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat();
            let query = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &question].concat();
            let request = Request {
                transport: Transport::Tcp,
                ..request(&query, 0)
            };
            answer(&request, &serving, &mut response);
            all.push((name.clone(), rtype, response.as_slice().to_vec()));
        }
    }
    all
}

/// The names of a zone, those above and below them, and some that it does not have.
fn names(zone: &Zone) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for owner in zone.owners.keys() {
        let mut at = Some(owner.clone());
        while let Some(name) = at {
            names.extend(
                [name.child(b"x"), name.child(b"*"), name.child(b"A")]
                    .into_iter()
                    .flatten(),
            );
            at = name.parent();
            names.insert(name);
        }
    }
    names
}

fn files() -> impl Strategy<Value = String> {
    let line = (0..OWNERS.len(), 0..TTLS.len(), 0..RECORDS.len());
    vec(line, 0..12).prop_map(|lines| {
        let mut text = "$TTL 300\n@ SOA ns host\\.master\\@x 1 2h 30m 14d 1m\n  NS ns.example.net.\n".to_owned();
        for (owner, ttl, record) in lines {
            text.push_str(&format!("{} {}{}\n", OWNERS[owner], TTLS[ttl], RECORDS[record]));
        }
        text
    })
}

#[test]
fn a_zone_exported_is_the_same_zone() {
    let served = AtomicUsize::new(0);
    proptest!(|(text in files())| {
        let (Some(zone), _) = read(&text) else { return Ok(()) };
        served.fetch_add(1, Ordering::Relaxed);
        let exported = export::write(&zone, &|_| Vec::new());
        let (again, faults) = read(&exported);
        let again = again.ok_or_else(|| TestCaseError::fail(format!("{exported}\n{faults:?}")))?;
        prop_assert_eq!(sets(&zone), sets(&again), "{}", exported);
        let names = names(&zone);
        prop_assert!(answers(&zone, &names) == answers(&again, &names), "{}", exported);
        prop_assert_eq!(zone.soa, again.soa);
    });
    assert!(served.into_inner() > 40, "hardly any zone was read");
}

#[test]
fn a_zone_imported_is_the_same_zone() {
    let served = AtomicUsize::new(0);
    proptest!(|(text in files())| {
        let (Some(zone), _) = read(&text) else { return Ok(()) };
        let written = toml::write(&zone, Hold::Lenient);
        let source = Source::new("example.toml", written.text.as_str());
        let mut faults = Faults::new(&source);
        let spec = windrose::spec::file::read(&source, &mut faults);
        prop_assert!(!spec.broken, "{}", written.text);
        let again = check::check(&spec, &zone.origin, 0, &Roots::default(), &mut faults);
        prop_assert_eq!(faults.errors(), 0, "{}\n{:?}", written.text, faults.into_sorted());
        served.fetch_add(1, Ordering::Relaxed);
        let left_out: BTreeSet<_> = written.left_out.iter().map(|(name, rtype)| (name.wire().to_vec(), *rtype)).collect();
        let mut expected = sets(&zone);
        expected.retain(|set, _| !left_out.contains(set));
        prop_assert_eq!(expected, sets(&again), "{}", written.text);
        // What is left out is what is never answered.
        let names = names(&zone);
        prop_assert!(answers(&zone, &names) == answers(&again, &names), "{}", written.text);
        prop_assert_eq!(zone.soa, again.soa);
    });
    assert!(served.into_inner() > 40, "hardly any zone was taken");
}

#[test]
fn another_reader_reads_the_same() {
    use domain::base::Record;
    use domain::base::iana::Class;
    use domain::zonefile::inplace::{Entry, Zonefile};
    let text = "$ORIGIN example.\n$TTL 300\n@ 300 IN SOA ns host\\.master 1 7200 1800 1209600 60\n 300 IN NS ns.example.net.\n\
                a 60 IN A ( 192.0.2.1 ; comment\n )\n\tIN TXT \"a b\" c\\032d \\101\n*.W 5 IN MX 10 mail\n$ORIGIN sub\n\
                x\\.y IN AAAA 2001:db8::1\nz IN TYPE65280 \\# 3 010203\n";
    let (zone, faults) = read(&text.replace("$ORIGIN sub", "$ORIGIN sub.example."));
    let sets = sets(&zone.unwrap_or_else(|| panic!("{faults:?}")));
    let mut theirs = Zonefile::from(text.replace("$ORIGIN sub", "$ORIGIN sub.example.").as_bytes());
    theirs.set_default_class(Class::IN);
    let mut count = 0;
    while let Some(entry) = theirs.next_entry().unwrap() {
        let Entry::Record(record) = entry else { continue };
        let record: Record<_, _> = record;
        let mut owner = Vec::new();
        domain::base::ToName::compose(record.owner(), &mut owner).unwrap();
        let mut data = Vec::new();
        domain::base::rdata::ComposeRecordData::compose_rdata(record.data(), &mut data).unwrap();
        let rtype = RecordType(record.rtype().to_int());
        let ours = sets
            .get(&(owner.clone(), rtype))
            .unwrap_or_else(|| panic!("{owner:?} {rtype}"));
        assert!(
            ours.rdata.iter().any(|ours| **ours == *data),
            "{rtype}: {data:?}, not {ours:?}"
        );
        assert_eq!(ours.ttl, record.ttl().as_secs(), "{owner:?} {rtype}");
        count += 1;
    }
    assert_eq!(count, 7);
    assert_eq!(sets.values().map(|set| set.rdata.len()).sum::<usize>(), count);
}

#[test]
fn commands_print_what_serves_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones");
    std::fs::create_dir(&zones).unwrap();
    std::fs::write(folder.path().join("windrose.toml"), "").unwrap();
    let steered = "[soa]\nserial = 1\n[records]\n\"@\".NS = \"ns.example.net.\"\nwww.steer = \"web\"\n[pools.a]\nbackends = [\"192.0.2.1\", \
                   \"2001:db8::1\"]\n[pools.b]\nbackends = [\"192.0.2.2\"]\n[policies.web]\nchoose = \"failover\"\nmembers = [\"a\", \
                   \"b\"]\nttl = \"10s\"\n";
    std::fs::write(zones.join("steered.example.toml"), steered).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_windrose"));
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, exported) = run(&["export", "steered.example"]);
    assert_eq!(status, Some(0));
    assert_eq!(
        exported.lines().skip(2).collect::<Vec<_>>(),
        [
            "steered.example. 300 IN NS ns.example.net.",
            "; www.steered.example. is steered by steered.example/web: all that it may answer",
            "www.steered.example. 10 IN A 192.0.2.1",
            "www.steered.example. 10 IN A 192.0.2.2",
            "www.steered.example. 10 IN AAAA 2001:db8::1",
        ]
    );
    assert_eq!(run(&["export", "other.example"]), (Some(1), String::new()));

    std::fs::write(folder.path().join("copy.zone"), exported).unwrap();
    let (status, imported) = run(&["import", "copy.zone", "--origin", "steered.example"]);
    assert_eq!(status, Some(0));
    std::fs::write(zones.join("steered.example.toml"), &imported).unwrap();
    assert_eq!(run(&["check"]).0, Some(0), "{imported}");
    // Named for another zone than it is of.
    assert_eq!(run(&["import", "copy.zone"]), (Some(1), String::new()));
}
