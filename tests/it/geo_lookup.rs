//! `windrose geo lookup`: what is known of an address, and from which file.

use serde_json::{Value, json};

use crate::daemon::{Ended, run};

const SETTINGS: &str = "[geo]\ncity = [\"geo/first.mmdb\", \"geo/second.mmdb\"]\nasn = \"geo/asn.mmdb\"\n";
const FILES: [(&str, &str); 4] = [
    ("windrose.toml", SETTINGS),
    (
        "geo/first.mmdb",
        "mmdb nested\n203.0.113.0/24 at=50.11,8.68\n2001:db8:7::/48 country=DE in=DE-HE continent=EU\n",
    ),
    (
        "geo/second.mmdb",
        "mmdb flat\n203.0.0.0/16 at=1.5,2.5 country=FR in=Bretagne\n198.51.100.0/24 at=0,0 country=ZZ\n",
    ),
    ("geo/asn.mmdb", "mmdb nested\n203.0.113.128/25 asn=3320\n"),
];

fn lookup(arguments: &[&str]) -> Ended {
    run(&FILES, &[&["geo", "lookup"], arguments].concat())
}

#[test]
fn each_fact_comes_with_its_file_and_network() {
    let ended = lookup(&["203.0.113.200"]);
    assert_eq!(ended.status.code(), Some(0));
    let expected = "203.0.113.200\n  location 50.1100, 8.6800 (geo/first.mmdb, 203.0.113.0/24)\n  place    FR, Bretagne, EU \
                    (geo/second.mmdb, 203.0.0.0/16)\n  asn      AS3320 (geo/asn.mmdb, 203.0.113.128/25)\n";
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.stderr, "");
}

#[test]
fn json_is_one_document() {
    let ended = lookup(&["2001:db8:7::1", "--json"]);
    assert_eq!(ended.status.code(), Some(0));
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = json!({
        "address": "2001:db8:7::1", "coordinates": null, "country": "DE", "subdivisions": ["DE-HE"], "continent": "EU", "asn": null,
        "from": {"coordinates": null, "place": {"file": "geo/first.mmdb", "network": "2001:db8:7::/48"}, "asn": null},
    });
    assert_eq!(told, expected);
}

#[test]
fn an_address_that_carries_another_is_where_that_is() {
    for address in ["::ffff:203.0.113.200", "64:ff9b::cb00:71c8", "2002:cb00:71c8::1"] {
        assert_eq!(
            lookup(&[address]).stdout,
            lookup(&["203.0.113.200"]).stdout,
            "{address}"
        );
    }
}

#[test]
fn what_nobody_knows_ends_with_1() {
    // In no file; in one that says it does not know; where files keep IPv4; where they lead to it.
    for address in [
        "192.0.2.1",
        "198.51.100.7",
        "2001:db8:8::",
        "::cb00:71c8",
        "2001:0:cb00:71c8::",
    ] {
        let ended = lookup(&[address]);
        assert_eq!(ended.status.code(), Some(1), "{address}: {}", ended.stdout);
        assert_eq!(
            ended.stdout,
            format!("{address}\n  unknown  no loaded database has it\n")
        );
        let told: Value = serde_json::from_str(&lookup(&[address, "--json"]).stdout).unwrap();
        assert_eq!((&told["coordinates"], &told["country"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn without_a_database_that_is_said() {
    let ended = run(&[], &["geo", "lookup", "203.0.113.1"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "203.0.113.1\n  unknown  no location database is loaded\n");
}

#[test]
fn a_broken_database_is_told() {
    let ended = run(&[("windrose.toml", SETTINGS)], &["geo", "lookup", "203.0.113.1"]);
    assert_eq!(ended.status.code(), Some(1));
    for file in ["geo/first.mmdb", "geo/second.mmdb", "geo/asn.mmdb"] {
        assert!(ended.stderr.contains(file), "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
    let broken = run(&[("geo/city.mmdb", "no database")], &["geo", "lookup", "203.0.113.1"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(broken.stderr.contains("geo/city.mmdb"), "{}", broken.stderr);
}

#[test]
fn wrong_use_is_2() {
    for arguments in [
        &["geo"][..],
        &["geo", "lookup"],
        &["geo", "lookup", "203.0.113"],
        &["geo", "lookup", "203.0.113.0/24"],
    ] {
        assert_eq!(run(&[], arguments).status.code(), Some(2), "{arguments:?}");
    }
}
