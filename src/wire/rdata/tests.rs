//! Record data against the RFCs' own examples, against another reader, and at random.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use data_encoding::HEXLOWER;
use domain::base::Name as OtherName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use proptest::prelude::*;

use super::form::FORMS;
use super::*;

fn name(text: &str) -> Name {
    Name::parse(text, None).unwrap()
}

fn read(rtype: RecordType, text: &str) -> Result<Box<[u8]>, RdataError> {
    parse(rtype, text, &name("example."))
}

/// Type, text and octets of every line of `vectors.txt`.
fn vectors() -> Vec<(RecordType, &'static str, Vec<u8>)> {
    let lines = include_str!("vectors.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (input, hex) = line.rsplit_once(" =>").unwrap();
            let (rtype, text) = input.split_once(' ').unwrap();
            (
                RecordType::parse(rtype).unwrap(),
                text,
                HEXLOWER.decode(hex.trim().as_bytes()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn reads_the_vectors_and_comes_back() {
    for (rtype, text, octets) in vectors() {
        let rdata = read(rtype, text).unwrap_or_else(|fault| panic!("{rtype} {text}: {fault:?}"));
        assert_eq!(HEXLOWER.encode(&rdata), HEXLOWER.encode(&octets), "{rtype} {text}");
        let shown = present(rtype, &rdata);
        assert_eq!(shown.starts_with("\\#"), rtype == RecordType(65280), "{rtype} {shown}");
        assert_eq!(read(rtype, &shown), Ok(rdata), "{rtype} {shown}");
        assert_eq!(
            *read(rtype, &write::write_generic(&octets)).unwrap(),
            *octets,
            "{rtype} {text}"
        );
    }
}

/// RFC 3597 5: a version or kind that no text format is known for.
#[test]
fn data_of_a_kind_without_text_is_read_as_octets() {
    for (rtype, text) in [
        ("LOC", "\\# 3 010203"),
        ("LOC", "\\# 16 01000000800000008000000000989680"),
        ("IPSECKEY", "\\# 5 0a04020102"),
        ("AMTRELAY", "\\# 2 0084"),
        ("AMTRELAY", "\\# 2 0004"),
    ] {
        let rtype = RecordType::parse(rtype).unwrap();
        let rdata = read(rtype, text).unwrap_or_else(|fault| panic!("{rtype} {text}: {fault:?}"));
        assert_eq!(present(rtype, &rdata), text, "{rtype}");
    }
}

/// RFC 9460 2.4.2: those who read an alias ignore its parameters, so that `no-default-alpn` may stand alone; what is `mandatory` is there all the same.
#[test]
fn parameters_of_an_alias_need_not_go_together() {
    for text in [
        "0 a. alpn=\"h2\" port=53",
        "0 . no-default-alpn",
        "0 . mandatory=key123 key123",
        "0 . key123",
    ] {
        let rtype = RecordType::parse("HTTPS").unwrap();
        let rdata = read(rtype, text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!(present(rtype, &rdata), text);
        assert_eq!(read(rtype, &write::write_generic(&rdata)), Ok(rdata), "{text}");
    }
}

#[test]
fn every_example_is_right() {
    for form in FORMS {
        let rdata = read(form.rtype, form.example).unwrap_or_else(|fault| panic!("{}: {fault:?}", form.rtype));
        assert_eq!(
            read(form.rtype, &present(form.rtype, &rdata)),
            Ok(rdata),
            "{}",
            form.rtype
        );
    }
}

/// Bad text: where it is wrong, and a part of what is said or advised.
#[rustfmt::skip]
const FAULTS: &[(&str, &str, usize, &str)] = &[
    ("A", "192.0.2.999", 0, "`192.0.2.999` is not an IPv4 address"),
    ("A", "2001:db8::1", 0, "write it under AAAA"),
    ("AAAA", " 192.0.2.1", 1, "write it under A"),
    ("A", "192.0.2.1 192.0.2.2", 10, "`192.0.2.2` is left over"),
    ("A", "", 0, "the data is empty"),
    ("A", "192.0.2.1 ; web", 10, "comment"),
    ("A", "192.0.2.1\n", 9, "one line"),
    ("MX", "mail", 0, "MX is `PREFERENCE NAME`, as in `10 mail`"),
    ("MX", "10 ", 2, "NAME is missing"),
    ("MX", "65536 mail", 0, "0 to 65535"),
    ("MX", "+1 mail", 0, "0 to 65535"),
    ("MX", "10 192.0.2.25", 3, "is an address; a name is expected"),
    ("MX", "10 a..b", 5, "a label is empty"),
    ("NS", "ns1 ns2", 4, "left over"),
    ("CNAME", "a\"b", 1, "not closed"),
    ("SRV", "0 5 sip", 4, "PORT"),
    ("SOA", "ns1 hostmaster 1 2h 3 4 5", 17, "REFRESH"),
    ("TXT", "\"open", 0, "not closed"),
    ("TXT", "a\\25", 1, "three"),
    ("CAA", "0 is-sue x", 2, "tag"),
    ("CAA", "256 issue x", 0, "0 to 255"),
    ("URI", "10 1 \"\"", 6, "TARGET is empty"),
    ("DS", "1 5 1 abc", 8, "odd"),
    ("DS", "1 5 1 abcd", 6, "has 2 octets, but one of algorithm 1 has 20"),
    ("DS", "\\# 5 0001050100", 0, "not DS data"),
    ("ZONEMD", "7 1 1 00", 6, "has 1 octets, but the least is 12"),
    ("ZONEMD", "7 1 240 0011", 8, "has 2 octets, but the least is 12"),
    ("SVCB", "3 a. tls-supported-groups=29,23,29", 5, "every group once"),
    ("DS", "1 5 1 ab cg", 10, "`g` does not belong in hexadecimal"),
    ("DS", "1 5 1", 5, "HEX is missing"),
    ("DNSKEY", "257 3 15 AQPS/", 13, "whole base64"),
    ("RRSIG", "A 5 3 1 20030230000000 1 1 x. AA==", 8, "is not a time"),
    ("NSEC", "x A FOO", 4, "`FOO` is not a record type"),
    ("LOC", "91 0 0 N 0 E 0", 0, "latitude"),
    ("LOC", "90 0 1 N 0 E 0", 0, "at most 90"),
    ("LOC", "42 60 N 0 E 0", 3, "0 to 59"),
    ("LOC", "42 N 71 E", 9, "ALTITUDE is missing"),
    ("EUI48", "00-00-5e-00-53", 0, "EUI48 is `ADDRESS`"),
    ("L64", "10 2001:db8::1", 3, "groups"),
    ("APL", "1:192.0.2.0/33", 12, "0 to 32"),
    ("APL", "3:x/1", 0, "family"),
    ("NS", "a\\\"b\"", 4, "not closed"),
    ("CAA", "0 \"\" x", 3, "tag"),
    ("IPSECKEY", "10 1 2 192.0.2.38", 17, "key is missing"),
    ("NSAP", "47.00", 0, "0x"),
    ("WKS", "192.0.2.1 TCP SMTP FOO", 19, "`FOO` is not a service"),
    ("WKS", "192.0.2.1 TCP 65536", 14, "not a service"),
    ("A6", "129 ::1 x", 0, "0 to 128"),
    ("A6", "0 ::1 x", 6, "left over"),
    ("A6", "64 ::1", 6, "NAME is missing"),
    ("A6", "64 x", 3, "not an IPv6 address"),
    ("NXT", "x A CAA", 4, "from 1 to 127"),
    ("TYPE65280", "1 2 3", 0, "\\# LENGTH HEX"),
    ("TYPE65280", "\\# 3 0102", 5, "followed by 2 octets"),
    ("TYPE65280", "\\# 1 012", 7, "odd"),
    ("TYPE65280", "\\# x", 3, "LENGTH"),
    ("A", "\\# 3 c00002", 0, "not A data"),
    ("MX", "\\# 4 000a0000", 0, "not MX data"),
    ("LOC", "\\# 3 000203", 0, "not LOC data"),
    ("IPSECKEY", "\\# 5 0a01020102", 0, "not IPSECKEY data"),
    ("AMTRELAY", "\\# 2 0083", 0, "not AMTRELAY data"),
    ("TXT", "\\# 0", 0, "not TXT data"),
    // RFC 9460 appendix D.3, and its sections 2.2, 7.1.1 and 8.
    ("SVCB", "1 foo.example.com. key123=abc key123=def", 30, "given twice"),
    ("SVCB", "1 foo.example.com. mandatory", 19, "at least one key"),
    ("SVCB", "1 foo.example.com. alpn", 19, "at least one protocol"),
    ("SVCB", "1 foo.example.com. port", 19, "one port"),
    ("SVCB", "1 foo.example.com. ipv4hint", 19, "IPv4 addresses"),
    ("SVCB", "1 foo.example.com. ipv6hint", 19, "IPv6 addresses"),
    ("SVCB", "1 foo.example.com. no-default-alpn=abc", 19, "takes no value"),
    ("SVCB", "1 foo.example.com. mandatory=key123", 19, "`key123`, which is not given"),
    ("SVCB", "1 foo.example.com. mandatory=mandatory", 19, "itself"),
    ("SVCB", "1 foo.example.com. mandatory=key123,key123 key123=abc", 19, "once"),
    ("SVCB", "1 . no-default-alpn", 4, "needs `alpn`"),
    ("SVCB", "1 . port=53 port=54", 12, "given twice"),
    ("SVCB", "0 foo.example.com. port", 19, "one port"),
    ("SVCB", "0 foo.example.com. mandatory=alpn", 19, "`alpn`, which is not given"),
    ("SVCB", "1 . key03=x", 4, "not a key"),
    ("SVCB", "1 . key65535=x", 4, "reserved"),
    ("SVCB", "1 . key3=8443", 4, "one port"),
    ("HTTPS", "1 . alnp=h2", 4, "did you mean `alpn`?"),
    ("HTTPS", "1 . ipv4hint=192.0.2.1,2001:db8::1", 23, "an IPv4 address is expected"),
    ("HTTPS", "1 . alpn=h2,,h3", 4, "1 to 255"),
    ("HTTPS", "alpn=h2", 0, "HTTPS is `PRIORITY NAME KEY=VALUE...`"),
];

#[test]
fn faults_say_where_and_what() {
    for (rtype, text, offset, said) in FAULTS {
        let fault = read(RecordType::parse(rtype).unwrap(), text).expect_err(text);
        let all = format!("{} / {}", fault.message, fault.hint.clone().unwrap_or_default());
        assert!(
            fault.offset == *offset && all.contains(said),
            "{rtype} {text}: at {}: {all}",
            fault.offset
        );
    }
}

#[test]
fn literal_text_is_cut_into_strings() {
    assert_eq!(*txt(""), [0]);
    assert_eq!(*txt("a\"\\"), *b"\x03a\"\\");
    let long = txt(&"x".repeat(300));
    assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
    assert_eq!(read(RecordType::TXT, &present(RecordType::TXT, &long)), Ok(long));
}

#[test]
fn only_rfc_1035_names_may_be_compressed() {
    let cut = |rtype, text: &str| {
        let rdata = read(rtype, text).unwrap();
        let show = |piece: &Piece<'_>| match piece {
            Piece::Name(wire) => Name::from_wire(wire).unwrap().to_string(),
            Piece::Octets(octets) => HEXLOWER.encode(octets),
        };
        pieces(rtype, &rdata).iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(cut(RecordType::MX, "10 a"), ["000a", "a.example."]);
    assert_eq!(
        cut(RecordType::SOA, "a b 1 2 3 4 5"),
        ["a.example.", "b.example.", "0000000100000002000000030000000400000005"]
    );
    assert_eq!(cut(RecordType::SRV, "0 0 0 ."), ["00000000000000"]);
    assert_eq!(cut(RecordType::DNAME, "."), ["00"]);
    for bad in [&b"\x00"[..], b"\x00\x0a\x05a", b"\x00\x0a\x00\x00", b"\x00\x0a\xc0\x0c"] {
        assert_eq!(pieces(RecordType::MX, bad), [Piece::Octets(bad)]);
    }
}

#[test]
fn targets() {
    let of = |rtype, text: &str| names(rtype, &read(rtype, text).unwrap());
    assert_eq!(of(RecordType::NS, "@"), [name("example.")]);
    assert_eq!(of(RecordType::SRV, "1 2 3 sip"), [name("sip.example.")]);
    assert_eq!(of(RecordType::HTTPS, "1 svc alpn=h2"), [name("svc.example.")]);
    assert_eq!(of(RecordType::SOA, "a b 1 2 3 4 5"), []);
    assert_eq!(names(RecordType::MX, b"\x00"), []);
}

/// What `domain` makes of the same text, for the types that it reads as their RFCs have them.
fn other_reading(rtype: RecordType, text: &str) -> Option<Vec<u8>> {
    use RecordType as T;
    let known = matches!(
        rtype,
        T::A | T::AAAA
            | T::NS
            | T::CNAME
            | T::DNAME
            | T::PTR
            | T::MX
            | T::SOA
            | T::SRV
            | T::TXT
            | T::HINFO
            | T::NAPTR
            | T::CAA
            | T::DS
            | T::CDS
            | T::DNSKEY
            | T::CDNSKEY
            | T::TLSA
            | T::SSHFP
            | T::OPENPGPKEY
            | T::ZONEMD
            | T::RRSIG
            | T::NSEC
            | T::NSEC3
            | T::NSEC3PARAM
            | T::MINFO
            | T::MB
            | T::MD
            | T::MF
            | T::MG
            | T::MR
            | T::RP
            | T::IPSECKEY
    );
    // It does not know these by name, which stand in lists of types.
    let unknown = [("NSAP-PTR", "TYPE23"), ("HHIT", "TYPE67"), ("BRID", "TYPE68")];
    let text = unknown
        .iter()
        .fold(text.to_owned(), |text, (name, number)| text.replace(name, number));
    let line = format!("@ 0 IN {rtype} {text}\n");
    let mut zone = Zonefile::from(line.as_str());
    zone.set_origin("example.".parse::<OtherName<_>>().ok()?);
    match zone.next_entry() {
        _ if !known => None,
        Ok(Some(Entry::Record(record))) => {
            let mut rdata = Vec::new();
            record.data().compose_rdata(&mut rdata).ok()?;
            Some(rdata)
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn another_reader_agrees() {
    for (rtype, _, octets) in vectors() {
        if let Some(other) = other_reading(rtype, &present(rtype, &octets)) {
            assert_eq!(HEXLOWER.encode(&other), HEXLOWER.encode(&octets), "{rtype}");
        }
    }
}

fn any_type() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        proptest::sample::select(FORMS).prop_map(|form| form.rtype),
        any::<u16>().prop_map(RecordType)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Right data with a few octets changed: what is still data of its type comes back, here and from `domain`.
    #[test]
    fn changed_data_comes_back(
        (rtype, _, octets) in proptest::sample::select(vectors()),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::weighted(0.1, any::<proptest::sample::Index>()),
    ) {
        let mut octets = octets;
        for (at, octet) in changes {
            if !octets.is_empty() {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
        }
        octets.truncate(cut.map_or(octets.len(), |cut| cut.index(octets.len() + 1)));
        let shown = present(rtype, &octets);
        if let Ok(rdata) = parse(rtype, &shown, &Name::root()) {
            prop_assert_eq!(&*rdata, &*octets, "{} {}", rtype, shown);
            if !shown.starts_with("\\#") && let Some(other) = other_reading(rtype, &shown) {
                prop_assert_eq!(other, octets, "{} {}", rtype, shown);
            }
        } else {
            prop_assert!(shown.starts_with("\\#"), "{} {}", rtype, shown);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(rtype in any_type(), text in r#"([ "\\();#,=.:/!@0-9a-f-]|\PC|.){0,40}"#) {
        match read(rtype, &text) {
            Ok(rdata) => {
                let shown = present(rtype, &rdata);
                prop_assert_eq!(read(rtype, &shown), Ok(rdata), "{} {}", rtype, shown);
            }
            Err(fault) => prop_assert!(fault.offset <= text.len()),
        }
    }

    #[test]
    fn text_read_comes_back(rtype in any_type(), text in "([0-9]{1,3} ){0,4}([a-z@.]{1,5} ?|[0-9]{1,3} |\"[^\"\\n]*\" ?){0,4}") {
        if let Ok(rdata) = read(rtype, &text) {
            let shown = present(rtype, &rdata);
            prop_assert_eq!(read(rtype, &shown), Ok(rdata), "{} {}", rtype, shown);
        }
    }

    #[test]
    fn any_octets_are_shown_and_cut(rtype in any_type(), octets in proptest::collection::vec(any::<u8>(), 0..60)) {
        let shown = present(rtype, &octets);
        if let Ok(again) = read(rtype, &shown) {
            prop_assert_eq!(&*again, &*octets);
        }
        let together: Vec<u8> = pieces(rtype, &octets)
            .into_iter()
            .flat_map(|piece| match piece { Piece::Octets(part) | Piece::Name(part) => part.to_vec() })
            .collect();
        prop_assert_eq!(together, octets.clone());
        names(rtype, &octets);
    }
}
