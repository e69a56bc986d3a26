//! What is read from whole folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ipnet::IpNet;
use mmdb_writer::{IpVersion, Writer};

use super::{Loaded, load, load_again};
use crate::health::probe::{Http, Kind, Verify};
use crate::policy::model::{Answers, Choose, Fallback, MinHealthy, Node, NodeKind, Target};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::zone::model::{SteerTtl, Zone};

const NS: &str = "[records]\n\"@\".NS = \"ns.example.net.\"\n";

/// Loads files from a folder of their own, and an empty windrose.toml unless there is one.
fn load_files(files: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("windrose.toml"), "").unwrap();
    for (path, text) in files {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    load(Some(&folder.path().join("windrose.toml")))
}

/// The errors, without their places.
fn errors(loaded: &Loaded) -> Vec<&str> {
    loaded
        .faults
        .iter()
        .filter(|fault| fault.is_error())
        .map(|fault| fault.message.as_str())
        .collect()
}

fn name(zone: &Zone, text: &str) -> Name {
    Name::parse(text, Some(&zone.origin)).unwrap()
}

#[test]
fn a_zone_is_read_whole() {
    let text = r#"
[zone]
ttl = "1m"
[soa]
rname = "dns@example.net"
[records]
"@".NS = ["ns1", "ns2.example.net."]
"@".MX = { data = "10 mail", ttl = "1d" }
ns1.A = "192.0.2.1"
mail = { A = "192.0.2.25", TXT = "v=spf1 -all", ttl = "1h" }
sub.NS = "ns.sub"
"ns.sub".A = "192.0.2.3"
"#;
    let loaded = load_files(&[("zones/gtm.example.com.toml", text)]);
    assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
    let zone = &loaded.zones[0];
    assert_eq!(zone.origin.to_string(), "gtm.example.com.");
    assert_eq!(zone.soa.mname, name(zone, "ns1"));
    assert_eq!(zone.soa.rname.to_string(), "dns.example.net.");
    assert_eq!(
        [
            zone.soa.refresh,
            zone.soa.retry,
            zone.soa.expire,
            zone.soa.minimum,
            zone.soa.ttl
        ],
        [7_200, 1_800, 1_209_600, 60, 3_600]
    );
    let ttl = |owner, rtype| zone.owners[&name(zone, owner)].rrsets.get(&rtype).unwrap().ttl;
    assert_eq!(ttl("@", RecordType::SOA), 3_600);
    assert_eq!(ttl("@", RecordType::NS), 60);
    assert_eq!(ttl("@", RecordType::MX), 86_400);
    assert_eq!(ttl("mail", RecordType::TXT), 3_600);
    assert_eq!(zone.owners.len(), 5);
}

#[test]
fn the_ttl_of_steered_answers_is_the_record_sets_then_the_owners_then_the_roots() {
    let text = r#"
[records]
"@".NS = "ns.example.net."
a = { steer = { data = "web", ttl = "10s" }, ttl = "20s" }
b = { steer = "web", ttl = { min = "5s", max = "2m" }, TXT = "x" }
c.steer = "web"
[pools.web]
ttl = "40s"
backends = ["192.0.2.1"]
"#;
    let loaded = load_files(&[("zones/example.com.toml", text)]);
    let zone = &loaded.zones[0];
    let ttl = |owner| zone.owners[&name(zone, owner)].steer.clone().unwrap().ttl;
    assert_eq!(ttl("a"), Some(SteerTtl::fixed(10)));
    assert_eq!(ttl("b"), Some(SteerTtl { min: 5, max: 120 }));
    assert_eq!(ttl("c"), None);
    assert_eq!(loaded.steering.nodes[0].root.ttl, Some(SteerTtl::fixed(40)));
    // The range is for steered answers only.
    assert_eq!(
        zone.owners[&name(zone, "b")].rrsets.get(&RecordType::TXT).unwrap().ttl,
        300
    );
}

#[test]
fn the_forest_is_built_members_first() {
    let config = r#"
[pools.shared]
location = "fra"
probe = ["web"]
min_healthy = "50%"
answers = 2
backends = [{ name = "b", address = ["192.0.2.1", "2001:db8::1"], weight = 3 }, "192.0.2.2"]
[locations]
fra = [50, 8.5]
[probes.web]
kind = "tcp"
port = 80
"#;
    let zone = r#"
[records]
"@".NS = "ns.example.net."
www.steer = "web"
[policies.web]
choose = "rules"
rules = [{ asn = 64496, use = "split" }, { country = "de", network = "192.0.2.0/24", use = "shared" }, { asn = 1, use = "split" }]
otherwise = "shared"
fallback = "zz"
[policies.split]
choose = "weighted"
members = { zz = 0, shared = 7 }
sticky = true
[pools.zz]
backends = [{ host = "edge" }]
"#;
    let loaded = load_files(&[("windrose.toml", config), ("zones/Example.com.toml", zone)]);
    assert_eq!(errors(&loaded), [""; 0]);
    let steering = &loaded.steering;
    let node = |name: &str| -> &Node { steering.node(steering.by_name[name]) };
    assert_eq!(
        steering.by_name.keys().collect::<Vec<_>>(),
        ["example.com/split", "example.com/web", "example.com/zz", "shared"]
    );

    let NodeKind::Pool(shared) = &node("shared").kind else {
        panic!()
    };
    assert_eq!(
        (shared.answers, shared.min_healthy),
        (Answers::Count(2), MinHealthy::Percent(50))
    );
    assert_eq!(shared.probes, ["web"]);
    assert_eq!(
        shared.backends.iter().map(|backend| &backend.name).collect::<Vec<_>>(),
        ["b", "192.0.2.2"]
    );
    assert_eq!(steering.addresses, 3);
    assert_eq!(node("shared").location.map(|location| location.longitude), Some(8.5));
    assert_eq!(loaded.probes["web"].port, 80);

    let NodeKind::Policy(web) = &node("example.com/web").kind else {
        panic!()
    };
    let Choose::Rules(rules) = &web.choose else { panic!() };
    assert_eq!(
        web.members
            .iter()
            .map(|member| member.name.as_str())
            .collect::<Vec<_>>(),
        ["split", "shared"]
    );
    assert_eq!(
        rules.rules.iter().map(|rule| rule.member).collect::<Vec<_>>(),
        [0, 1, 0]
    );
    assert_eq!(
        (rules.otherwise, rules.rules[1].condition.country.as_slice()),
        (1, ["DE".to_owned()].as_slice())
    );
    assert_eq!(
        node("example.com/web").root.fallback,
        Fallback::Pool(steering.by_name["example.com/zz"])
    );

    let NodeKind::Policy(split) = &node("example.com/split").kind else {
        panic!()
    };
    assert_eq!(
        split.members.iter().map(|member| member.weight).collect::<Vec<_>>(),
        [0, 7]
    );
    assert!(node("example.com/split").sticky);
    let NodeKind::Pool(hosts) = &node("example.com/zz").kind else {
        panic!()
    };
    assert!(matches!(&hosts.backends[0].target, Target::Host(host) if host.to_string() == "edge.Example.com."));
    assert_eq!(
        loaded.zones[0].owners[&name(&loaded.zones[0], "www")]
            .steer
            .as_ref()
            .unwrap()
            .root,
        "example.com/web"
    );
}

#[test]
fn a_faulty_zone_fails_alone() {
    let bad = format!("{NS}www.steer = \"web\"\n[pools.web]\nbackends = [\"192.0.2\"]\n");
    let good = format!("{NS}www.steer = \"web\"\n[pools.web]\nbackends = [\"192.0.2.1\"]\n");
    let broken = "[zone]\norigin = \"named.example\"\n[records\n";
    let loaded = load_files(&[
        ("zones/bad.example.toml", &bad),
        ("zones/good.example.toml", &good),
        ("zones/broken.toml", broken),
        ("zones/root.zone", ""),
        ("zones/old.example.zone", ""),
    ]);
    let failed: Vec<_> = loaded.failed.iter().map(Name::to_string).collect();
    assert_eq!(failed, ["bad.example.", "named.example.", "old.example.", "."]);
    assert_eq!(
        loaded
            .zones
            .iter()
            .map(|zone| zone.origin.to_string())
            .collect::<Vec<_>>(),
        ["good.example."]
    );
    assert_eq!(loaded.steering.by_name.keys().collect::<Vec<_>>(), ["good.example/web"]);
    assert!(!loaded.unusable);
}

#[test]
fn of_two_files_for_one_zone_neither_is_served() {
    let twice = format!("[zone]\norigin = \"a.example.\"\n{NS}");
    let loaded = load_files(&[("zones/a.example.toml", NS), ("zones/b.toml", &twice)]);
    assert_eq!((loaded.zones.len(), loaded.failed.len()), (0, 1));
}

#[test]
fn a_faulty_windrose_toml_leaves_nothing_to_serve() {
    let loaded = load_files(&[
        ("windrose.toml", "[server]\nworkers = -1\n"),
        ("zones/a.example.toml", NS),
    ]);
    assert!(loaded.unusable && loaded.zones.is_empty());
    assert_eq!(loaded.settings.workers, 0);
}

#[test]
fn what_is_named_and_not_there_is_told() {
    let missing = load(Some(Path::new("/nowhere/windrose.toml")));
    assert!(missing.unusable && missing.faults.len() == 1);
    assert_eq!(missing.faults[0].path(), Path::new("/nowhere/windrose.toml"));

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("windrose.toml");
    std::fs::write(&config, "").unwrap();
    let without_zones = load(Some(&config));
    assert!(without_zones.unusable);
    assert_eq!(without_zones.faults[0].path(), folder.path().join("zones"));
}

#[test]
fn the_serial_is_the_time_of_the_newest_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    let (config, zone) = (
        folder.path().join("windrose.toml"),
        folder.path().join("zones/a.example.toml"),
    );
    std::fs::write(&config, "").unwrap();
    std::fs::write(&zone, NS).unwrap();
    let set = |path: &Path, seconds| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    set(&config, 1_000);
    set(&zone, 2_000);
    assert_eq!(load(Some(&config)).zones[0].soa.serial, 2_000);
    set(&config, 3_000);
    assert_eq!(load(Some(&config)).zones[0].soa.serial, 3_000);
    std::fs::write(&zone, format!("[soa]\nserial = 7\n{NS}")).unwrap();
    assert_eq!(load(Some(&config)).zones[0].soa.serial, 7);
}

/// A folder whose policies ask for locations, and a database.
struct Located(tempfile::TempDir);

impl Located {
    const ZONE: &str = r#"
[records]
"@".NS = "ns.example.net."
www.steer = "near"
[policies.near]
choose = "nearest"
members = ["a", "b"]
[pools.a]
location = [50.0, 8.0]
backends = ["192.0.2.1"]
[pools.b]
location = [1.0, 100.0]
backends = ["192.0.2.2"]
"#;

    fn new() -> Self {
        let located = Self(tempfile::tempdir().unwrap());
        for folder in ["zones", "geo"] {
            fs::create_dir(located.0.path().join(folder)).unwrap();
        }
        located.write("windrose.toml", b"[geo]\ncity = \"geo/city.mmdb\"\n");
        located.write("zones/a.example.toml", Self::ZONE.as_bytes());
        located.write_database(8.5);
        located
    }

    /// Writes by renaming, as good programs do: another file, if of the same length.
    fn write(&self, path: &str, octets: &[u8]) {
        let draft = self.0.path().join("draft~");
        fs::write(&draft, octets).unwrap();
        fs::rename(draft, self.0.path().join(path)).unwrap();
    }

    fn write_database(&self, longitude: f64) {
        let mut writer = Writer::builder("test").ip_version(IpVersion::V4).build();
        let record = BTreeMap::from([("latitude", 50.0), ("longitude", longitude)]);
        writer
            .insert("203.0.113.0/24".parse::<IpNet>().unwrap(), &record)
            .unwrap();
        self.write("geo/city.mmdb", &writer.to_bytes().unwrap());
    }

    fn load_again(&self, before: Option<&Loaded>) -> Loaded {
        let config = self.0.path().join("windrose.toml");
        let loaded = load_again(Some(&config), before.map(|before| &before.locations));
        assert_eq!(errors(&loaded), [""; 0]);
        loaded
    }
}

/// Whether the map of a load is that of the one before it.
fn is_kept(before: &Loaded, after: &Loaded) -> bool {
    Arc::ptr_eq(&before.locations.map, &after.locations.map)
}

/// Whether the first database of a load was not read for it, but for the one before it.
fn is_unread(before: &Loaded, after: &Loaded) -> bool {
    let extract = |loaded: &Loaded| loaded.locations.places[0].extract.clone().unwrap();
    Arc::ptr_eq(&extract(before), &extract(after))
}

#[test]
fn databases_are_not_read_again_while_nothing_about_them_changes() {
    let located = Located::new();
    let first = located.load_again(None);
    assert!(!is_kept(&Loaded::default(), &first));
    // Records, names, the order of policies and what does not ask for locations are no matter.
    let other = Located::ZONE.replace("policies.near", "policies.close");
    let other = other
        .replace("steer = \"near\"", "steer = \"close\"")
        .replace("www", "web");
    let other = other.replace("[\"a\", \"b\"]", "[\"b\", \"a\"]") + "[pools.c]\nbackends = [\"192.0.2.3\"]\n";
    located.write("zones/a.example.toml", other.as_bytes());
    let second = located.load_again(Some(&first));
    assert!(is_kept(&first, &second));
    // Nor is another zone that asks the same.
    located.write("zones/b.example.toml", Located::ZONE.as_bytes());
    let third = located.load_again(Some(&second));
    assert!(is_kept(&first, &third));
    assert_eq!(third.zones.len(), 2);
}

#[test]
fn what_is_asked_anew_or_of_another_file_is_worked_out_anew() {
    let located = Located::new();
    let first = located.load_again(None);
    located.write(
        "zones/a.example.toml",
        Located::ZONE.replace("[1.0, 100.0]", "[1.5, 100.0]").as_bytes(),
    );
    let moved = located.load_again(Some(&first));
    assert!(
        !is_kept(&first, &moved) && is_unread(&first, &moved),
        "a site that has moved"
    );
    let length = fs::metadata(located.0.path().join("geo/city.mmdb")).unwrap().len();
    located.write_database(9.5);
    assert_eq!(
        fs::metadata(located.0.path().join("geo/city.mmdb")).unwrap().len(),
        length
    );
    let changed = located.load_again(Some(&moved));
    assert!(
        !is_kept(&moved, &changed) && !is_unread(&moved, &changed),
        "a file of the same length"
    );
    let rules = format!(
        "{}[policies.region]\nchoose = \"rules\"\nrules = [{{ network = \"192.0.2.0/24\", use = \"a\" }}]\notherwise = \"near\"\n",
        Located::ZONE.replace("\"near\"", "\"region\"")
    );
    located.write("zones/a.example.toml", rules.as_bytes());
    let ruled = located.load_again(Some(&changed));
    assert!(!is_kept(&changed, &ruled) && is_unread(&changed, &ruled), "a rule");
    located.write("windrose.toml", b"[geo]\ncity = []\n");
    let without = load_again(Some(&located.0.path().join("windrose.toml")), Some(&ruled.locations));
    assert!(
        !Arc::ptr_eq(&ruled.locations.map, &without.locations.map),
        "another list of files"
    );
}

#[test]
fn a_file_that_is_named_for_something_else_is_read_anew() {
    let located = Located::new();
    let zone = format!(
        "{}[policies.region]\nchoose = \"rules\"\nrules = [{{ asn = 7, use = \"b\" }}]\notherwise = \"near\"\n",
        Located::ZONE.replace("steer = \"near\"", "steer = \"region\"")
    );
    located.write("zones/a.example.toml", zone.as_bytes());
    // Points and AS numbers in one file: which of them count is a matter of where it is named.
    let mut writer = Writer::builder("test").ip_version(IpVersion::V4).build();
    let record = BTreeMap::from([("latitude", 1.0), ("longitude", 100.0), ("asn", 7.0)]);
    writer
        .insert("198.51.100.0/24".parse::<IpNet>().unwrap(), &record)
        .unwrap();
    located.write("geo/more.mmdb", &writer.to_bytes().unwrap());
    located.write(
        "windrose.toml",
        b"[geo]\ncity = \"geo/city.mmdb\"\nasn = \"geo/more.mmdb\"\n",
    );
    let first = located.load_again(None);
    located.write(
        "windrose.toml",
        b"[geo]\ncity = [\"geo/city.mmdb\", \"geo/more.mmdb\"]\nasn = []\n",
    );
    let second = located.load_again(Some(&first));
    assert!(!is_kept(&first, &second));
}

#[test]
fn a_load_that_fails_for_a_database_serves_nothing() {
    let located = Located::new();
    let first = located.load_again(None);
    located.write("geo/city.mmdb", b"no database");
    let loaded = load_again(Some(&located.0.path().join("windrose.toml")), Some(&first.locations));
    assert!(loaded.unusable && loaded.zones.is_empty());
    let told = errors(&loaded);
    assert!(told.len() == 1 && told[0].contains("geo/city.mmdb"), "{told:?}");
}

#[test]
fn a_default_database_that_was_read_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["zones", "geo"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("windrose.toml"), "").unwrap();
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("geo/demo.mmdb"),
        path("geo/city.mmdb"),
    )
    .unwrap();
    let first = load(Some(&path("windrose.toml")));
    std::fs::remove_file(path("geo/city.mmdb")).unwrap();
    let again = || load_again(Some(&path("windrose.toml")), Some(&first.locations));
    let told = again();
    assert!(told.unusable && errors(&told)[0].contains("geo/city.mmdb: cannot be read: "));
    // Who wants to do without it says so.
    std::fs::write(path("windrose.toml"), "[geo]\ncity = []\n").unwrap();
    assert_eq!(errors(&again()), [""; 0]);
    // A start knows of none.
    std::fs::write(path("windrose.toml"), "").unwrap();
    assert_eq!(errors(&load(Some(&path("windrose.toml")))), [""; 0]);
}

#[test]
fn certificates_of_probes_count_from_the_folder_of_the_settings() {
    let probe = |ca: &str| format!("kind = \"https\"\nca = \"{ca}\"\n");
    let settings = format!("[probes.shared]\n{}", probe("pki/ca.pem"));
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let far = other.path().join("ca.pem");
    let zone = format!(
        "{NS}[probes.own]\n{}[probes.far]\n{}",
        probe("own.pem"),
        probe(&far.display().to_string())
    );
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("zones")).unwrap();
    fs::create_dir(at("pki")).unwrap();
    let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    for path in [at("pki/ca.pem"), at("own.pem"), far.clone()] {
        fs::write(path, &certificate).unwrap();
    }
    fs::write(at("windrose.toml"), settings).unwrap();
    fs::write(at("zones/example.com.toml"), zone).unwrap();
    let loaded = load(Some(&at("windrose.toml")));
    let file = |name: &str| match &loaded.probes[name].kind {
        Kind::Http(Http {
            tls: Some(Verify::File(path)),
            ..
        }) => path.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(file("shared"), at("pki/ca.pem"));
    assert_eq!(file("example.com/own"), at("own.pem"));
    assert_eq!(file("example.com/far"), far);
}
