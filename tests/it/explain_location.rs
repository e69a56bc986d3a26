//! What `explain` says where the client's location decides: where it is and who says so, members by distance, each rule with its why; and that all
//! of it is true of the answer that is sent.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde_json::Value;
use windrose::answer::explain::{Question, deciding_address, explain};
use windrose::answer::{Request, ResponseBuffer, Transport, answer};
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::image::{Image, Options, Serving};
use windrose::load::{load, load_databases};
use windrose::policy::alias::Chance;
use windrose::policy::tree::Forest;
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;

use crate::atlases::octets_of;
use crate::daemon::run;
use crate::fixture::query_edns;
use crate::message::decode;

const ZONE: &str = r#"
[records]
"@".NS = "ns1"
ns1.A = "192.0.2.53"
near.steer = "near"
region.steer = "region"
tiers.steer = "tiers"

[policies.near]
choose = "nearest"
members = ["singapore", "ashburn", "frankfurt", "six"]
bias = { ashburn = 0.5 }

[policies.region]
choose = "rules"
rules = [
  { network = "203.0.113.0/24", use = "ashburn" },
  { country = ["DE", "AT"], use = "six" },
  { country = "FR", asn = 64500, use = "frankfurt" },
  { subdivision = "US-NY", use = "frankfurt" },
  { continent = "EU", use = "kept" },
  { country = "FR", use = "ashburn" },
]
otherwise = "near"

[policies.tiers]
choose = "failover"
members = ["region", "kept"]

[pools.frankfurt]
location = [50.11, 8.68]
backends = ["192.0.2.10", "2001:db8::10"]

[pools.ashburn]
location = [39.04, -77.49]
ttl = "20s"
backends = ["192.0.2.20"]

[pools.singapore]
location = [1.35, 103.82]
backends = ["192.0.2.30", "2001:db8::30"]

[pools.six]
location = [48.9, 2.4]
backends = ["2001:db8::60"]

[pools.kept]
sticky = true
backends = ["192.0.2.40", "192.0.2.41", "2001:db8::40", "2001:db8::41"]
"#;

const CITY: &str = "mmdb nested
198.51.100.0/25 at=48.85,2.35 country=FR continent=EU
198.51.100.128/25 at=40.71,-74.0 country=US in=US-NY continent=NA
192.0.2.0/24 country=DE continent=EU
2001:db8:1::/48 at=1.0,100.0 country=MY continent=AS
";

const ASN: &str = "mmdb flat
198.51.0.0/16 asn=3320
";

const FILES: [(&str, &str); 3] = [
    ("zones/gtm.example.com.toml", ZONE),
    ("geo/city.mmdb", CITY),
    ("geo/asn.mmdb", ASN),
];

fn told(arguments: &[&str]) -> String {
    run(&FILES, &[&["explain"], arguments].concat()).stdout
}

/// Holds what is printed to these parts, in this order.
#[track_caller]
fn says(arguments: &[&str], parts: &[&str]) {
    let told = told(arguments);
    let mut rest = told.as_str();
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("`{part}` is missing, or too early, in:\n{told}")
        };
        rest = after;
    }
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&told(&[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn nearest_tells_the_location_and_every_distance() {
    says(
        &["near.gtm.example.com", "--client", "198.51.100.0/24"],
        &[
            "location 48.8500, 2.3500 (",
            "geo/city.mmdb, 198.51.100.0/25)",
            "place    FR, EU (",
            "geo/city.mmdb, 198.51.100.0/25)",
            "asn      AS3320 (",
            "geo/asn.mmdb, 198.51.0.0/16)",
            "root     gtm.example.com/near",
            "nearest  gtm.example.com/near (IPv4, by distance)\n",
            "   six ",
            " 7 km, has no IPv4 backend\n",
            "-> frankfurt ",
            " 478 km, the nearest usable\n",
            "   ashburn ",
            " 6186 km x 0.5, farther",
            "   singapore ",
            " 10730 km, farther",
            "pool     gtm.example.com/frankfurt",
            "scope    /25",
            "answer   NOERROR aa",
            "near.gtm.example.com. 30 IN A 192.0.2.10",
        ],
    );
}

#[test]
fn an_unknown_client_gets_the_order_written() {
    says(
        &["near.gtm.example.com", "--client", "203.0.113.7"],
        &[
            "for 203.0.113.7 (from the client subnet)",
            "nearest  gtm.example.com/near (IPv4, in order)\n",
            "-> singapore ",
            "first usable in the order written (the client's location is unknown)",
            "   ashburn ",
            "later in the order",
        ],
    );
    let told = told(&["near.gtm.example.com", "--client", "203.0.113.7"]);
    assert!(!told.contains(" km"), "{told}");
    assert!(!told.contains("  location "), "{told}");
}

#[test]
fn every_rule_says_why() {
    says(
        &["region.gtm.example.com", "--client", "198.51.100.0/24", "--random", "5"],
        &[
            "rules    gtm.example.com/region (IPv4, by rules)\n",
            "   network 203.0.113.0/24 -> ashburn ",
            "198.51.100.0 is in none of the networks\n",
            "   country DE AT -> six ",
            "the client's country is FR\n",
            "   asn 64500, country FR -> frankfurt ",
            "the client's AS number is 3320\n",
            "   subdivision US-NY -> frankfurt ",
            "the client's subdivision is unknown\n",
            "-> continent EU -> kept ",
            "holds\n",
            "   country FR -> ashburn ",
            "holds too, later in the order\n",
            "   otherwise -> near ",
            "holds too, later in the order\n",
            "pool     gtm.example.com/kept",
            "scope    /25",
        ],
    );
}

#[test]
fn a_rule_whose_target_lacks_the_family_is_passed_over() {
    says(
        &["tiers.gtm.example.com", "--client", "192.0.2.77"],
        &[
            "place    DE, EU (",
            "failover gtm.example.com/tiers",
            "-> region ",
            "rules    gtm.example.com/region (IPv4, by rules)\n",
            "   country DE AT -> six ",
            "holds, but has no IPv4 backend\n",
            "-> continent EU -> kept ",
            "holds\n",
        ],
    );
}

#[test]
fn json_has_the_same() {
    let near = json(&["near.gtm.example.com", "--client", "198.51.100.0/24"]);
    let location = &near["location"];
    assert_eq!(location["coordinates"], serde_json::json!([48.85, 2.35]));
    assert_eq!(
        (&location["country"], &location["continent"]),
        (&"FR".into(), &"EU".into())
    );
    assert_eq!(location["asn"], 3320);
    for (fact, file, network) in [
        ("coordinates", "geo/city.mmdb", "198.51.100.0/25"),
        ("place", "geo/city.mmdb", "198.51.100.0/25"),
        ("asn", "geo/asn.mmdb", "198.51.0.0/16"),
    ] {
        let from = &location["from"][fact];
        assert_eq!(from["network"], network);
        assert!(from["file"].as_str().unwrap().ends_with(file), "{from}");
    }
    let step = &near["steps"][0];
    assert_eq!((&step["kind"], &step["by"]), (&"nearest".into(), &"distance".into()));
    let members: Vec<(&str, f64, Option<f64>, bool)> = step["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            let name = member["name"].as_str().unwrap();
            let distance = member["distance_km"].as_f64().unwrap();
            (name, distance, member["bias"].as_f64(), member["chosen"] == true)
        })
        .collect();
    let expected = [
        ("six", 6.7, None, false),
        ("frankfurt", 478.1, None, true),
        ("ashburn", 6186.5, Some(0.5), false),
        ("singapore", 10729.5, None, false),
    ];
    assert_eq!(members, expected);
    assert_eq!(near["scope"], 25);

    let region = json(&["region.gtm.example.com", "--client", "198.51.100.200"]);
    let rules: Vec<(&str, bool, bool)> = region["steps"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (
                rule["use"].as_str().unwrap(),
                rule["holds"] == true,
                rule["chosen"] == true,
            )
        })
        .collect();
    let expected = [
        ("ashburn", false, false),
        ("six", false, false),
        ("frankfurt", false, false),
        ("frankfurt", true, true),
        ("kept", false, false),
        ("ashburn", false, false),
        ("near", true, false),
    ];
    assert_eq!(rules, expected);
    assert_eq!(region["pool"], "gtm.example.com/frankfurt");
}

#[test]
fn the_location_is_that_of_whoever_decides() {
    // Source prefix length 0, or no client: the resolver.
    for arguments in [&["--client", "198.51.100.0/0"][..], &[]] {
        let resolver = ["near.gtm.example.com", "--resolver", "198.51.100.200"];
        let near = json(&[&resolver[..], arguments].concat());
        assert_eq!(near["location"]["country"], "US");
        assert_eq!(
            (&near["client_from"], &near["pool"]),
            (&"resolver".into(), &"gtm.example.com/ashburn".into())
        );
    }
    // An address that carries an IPv4 one.
    let carried = json(&["near.gtm.example.com", "--client", "2002:c633:6480::/48"]);
    assert_eq!(
        (&carried["location"]["country"], &carried["scope"]),
        (&"US".into(), &41.into())
    );
}

/// What is served, with some addresses down, and the databases.
fn serving() -> (Serving, windrose::load::geo::Databases) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in FILES.into_iter().chain([("windrose.toml", "")]) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, octets_of(text)).unwrap();
    }
    let loaded = load(Some(&folder.path().join("windrose.toml")));
    assert!(
        loaded.faults.iter().all(|fault| !fault.is_error()),
        "{:?}",
        loaded.faults
    );
    let options = Options {
        client_subnet: true,
        ..Options::default()
    };
    let mut verdicts = Verdicts::unknown(loaded.steering.addresses as usize);
    verdicts.set(AddressId(0), Verdict::Down);
    let forest = Forest::new(loaded.steering, loaded.locations.map);
    let image = Image::compile(&loaded.zones, &[], forest, options, [1, 2]);
    let (databases, _) = load_databases(Some(&folder.path().join("windrose.toml")));
    (Serving::new(Arc::new(image), &verdicts), databases)
}

/// A client among those that the files know, or anywhere.
fn client(chance: &mut Chance) -> (IpAddr, u8) {
    let word = chance.word();
    let known = [0xc633_6400_u32, 0xc000_0200, 0xcb00_7100, 0xc633_0000];
    let bits = match word % 5 {
        4 => (word >> 8) as u32,
        at => known[at as usize] | (word >> 8) as u32 & 0xff,
    };
    let length = (word >> 40 & 31) as u8 + 1;
    match word >> 60 {
        0..8 => (Ipv4Addr::from_bits(bits).into(), length),
        8 => (
            Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80).into(),
            16 + length,
        ),
        9 => (Ipv6Addr::from_bits(0xffff << 32 | u128::from(bits)).into(), 96 + length),
        _ => (
            Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(bits) << 60).into(),
            4 * length,
        ),
    }
}

#[test]
fn an_explanation_is_true_of_the_answer() {
    let (serving, databases) = serving();
    let mut chance = Chance::new(11);
    let mut response = ResponseBuffer::with_capacity(65_535);
    let mut pools = std::collections::BTreeSet::new();
    for round in 0..4_000_u64 {
        let (address, length) = client(&mut chance);
        let owner = ["near", "region", "tiers"][round as usize % 3];
        let name = format!("{owner}.gtm.example.com.");
        let rtype = if round % 7 < 4 { RecordType::A } else { RecordType::AAAA };
        let question = Question {
            name: Name::parse(&name, None).unwrap(),
            rtype,
            client: Some((address, length)),
            resolver: Ipv4Addr::new(198, 51, 100, 9).into(),
            random: chance.word(),
        };
        let sighting = databases.look_up(deciding_address(&question, &serving)).unwrap();
        let told = explain(&question, &serving, &sighting).unwrap();

        let network = ipnet::IpNet::new(address, length).unwrap().trunc();
        let (family, octets) = match network.network() {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        let octets = &octets[..usize::from(length).div_ceil(8)];
        let option = [&[0, 8, 0, octets.len() as u8 + 4, 0, family, length, 0], octets].concat();
        let bytes = query_edns(&name, rtype, &option);
        let request = Request {
            bytes: &bytes,
            source: question.resolver,
            transport: Transport::Udp,
            random: question.random,
            now: 0,
        };
        answer(&request, &serving, &mut response);
        let sent = decode(response.as_slice()).unwrap();
        let scope = sent
            .opt
            .as_ref()
            .unwrap()
            .options
            .iter()
            .find(|(code, _)| *code == 8)
            .unwrap()
            .1[3];
        let record = sent.sections[0].first().unwrap();
        let data = match rtype {
            RecordType::A => IpAddr::from(<[u8; 4]>::try_from(&record.rdata[..]).unwrap()),
            _ => IpAddr::from(<[u8; 16]>::try_from(&record.rdata[..]).unwrap()),
        };
        assert_eq!(
            (told.scope, told.ttl),
            (Some(scope), Some(record.ttl)),
            "{address}/{length} {name}"
        );
        assert!(
            told.answer[0].ends_with(&format!(" {data}")),
            "{address}/{length} {name}: {told:?}"
        );
        // What was chosen at each step leads to the next one, and to the pool whose address it is.
        let chosen = |node: &windrose::answer::explain::Node| {
            let of_rules = node
                .rules
                .iter()
                .find(|rule| rule.chosen)
                .map(|rule| rule.target.clone());
            of_rules.or_else(|| {
                node.members
                    .iter()
                    .find(|member| member.chosen)
                    .map(|member| member.name.clone())
            })
        };
        for pair in told.steps.windows(2) {
            assert_eq!(
                format!("gtm.example.com/{}", chosen(&pair[0]).unwrap()),
                pair[1].node,
                "{told:?}"
            );
        }
        let last = told.steps.last().unwrap();
        assert_eq!(
            (Some(&last.node), chosen(last)),
            (told.pool.as_ref(), Some(data.to_string())),
            "{told:?}"
        );
        // Members of nearest stand by distance, and the chosen one is the first that is usable.
        if let Some(node) = told.steps.iter().find(|node| node.by == "distance") {
            let far = |at: usize| node.members[at].distance_km.unwrap() * node.members[at].bias.unwrap_or(1.0);
            assert!(
                (1..node.members.len()).all(|at| far(at - 1) <= far(at) + 0.1),
                "{told:?}"
            );
        }
        pools.extend(told.pool);
    }
    assert_eq!(pools.len(), 5, "{pools:?}");
}

/// Each level names both policies of the level beneath: there are 2^40 ways down, and 82 nodes.
#[test]
fn policies_that_lead_to_one_another_in_very_many_ways_are_explained() {
    let mut zone = String::from(
        r#"
[records]
"@".NS = "ns.example.net."
www.steer = "a40"
[pools.a0]
location = [50.11, 8.68]
backends = ["192.0.2.1"]
[pools.b0]
location = [39.04, -77.49]
backends = ["192.0.2.2"]
"#,
    );
    for level in 1..=40 {
        for name in ["a", "b"] {
            let beneath = level - 1;
            zone += &format!(
                "[policies.{name}{level}]\nchoose = \"nearest\"\nmembers = [\"b{beneath}\", \"a{beneath}\"]\n"
            );
        }
    }
    let files = [
        ("windrose.toml", "[geo]\ncity = \"geo/city.mmdb\"\n"),
        ("geo/city.mmdb", "mmdb nested\n203.0.113.0/24 at=48.85,2.35\n"),
        ("zones/gtm.example.com.toml", &zone),
    ];
    let ended = run(&files, &["explain", "www.gtm.example.com", "--client", "203.0.113.1"]);
    assert!(ended.stdout.ends_with("30 IN A 192.0.2.1\n"), "{}", ended.stdout);
}

/// A list of networks may be long; what is told of it is not.
#[test]
fn long_lists_of_a_rule_are_cut_short() {
    let networks: Vec<String> = (0..20).map(|third| format!("\"10.0.{third}.0/24\"")).collect();
    let zone = format!(
        r#"
[records]
"@".NS = "ns.example.net."
www.steer = "web"
[networks]
office = [{}]
[policies.web]
choose = "rules"
rules = [{{ network = "office", use = "one" }}]
otherwise = "two"
[pools.one]
backends = ["192.0.2.1"]
[pools.two]
backends = ["192.0.2.2"]
"#,
        networks.join(", ")
    );
    let files = [("zones/gtm.example.com.toml", &*zone)];
    let ended = run(&files, &["explain", "www.gtm.example.com", "--client", "10.0.19.1"]);
    let line = "    -> network 10.0.0.0/24 10.0.1.0/24 10.0.2.0/24 10.0.3.0/24 10.0.4.0/24 10.0.5.0/24 10.0.6.0/24 10.0.7.0/24 and 12 more -> one  holds\n";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
}
