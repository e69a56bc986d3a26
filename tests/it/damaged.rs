//! Damaged databases: whatever is wrong with the octets of one, it is told, or what can be read is served; nothing panics, and all of it ends.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use windrose::geo::extract::Extract;
use windrose::geo::mmdb::Database;
use windrose::load::load;
use windrose::policy::client_map::ClientMap;
use windrose::policy::questions::Questions;

use crate::atlases::{addresses, atlases, small_space};
use crate::forests::scenes;
use crate::random_zones::{Change, changes};

/// Opens octets as a database, walks all of it, looks addresses up, and builds a map from it.
fn read(octets: Vec<u8>, questions: &Questions, addresses: &[IpAddr]) {
    let Ok(database) = Database::open("damaged", octets) else {
        return;
    };
    for is_ipv4 in [true, false] {
        for network in database.networks(is_ipv4) {
            let _ = network.and_then(|network| network.whereabouts());
        }
    }
    for address in addresses {
        let _ = database.lookup(*address);
    }
    let Ok(extract) = Extract::of(&database) else { return };
    let extracts = [Arc::new(extract)];
    for (places, asns) in [(&extracts[..], &[][..]), (&[], &extracts), (&extracts, &extracts)] {
        let (map, _) = ClientMap::build(questions, places, asns);
        for address in addresses {
            let placed = map.place(*address);
            assert!(placed.class < map.classes.count() && placed.length <= if address.is_ipv4() { 32 } else { 128 });
        }
    }
}

/// Octets of a database with something changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let octets = atlases().prop_filter_map("no file", |atlas| Some(atlas.places.first()?.octets()));
    (octets, vec(changes(), 1..6)).prop_map(|(mut octets, changes): (Vec<u8>, Vec<Change>)| {
        changes.iter().for_each(|change| change.apply(&mut octets));
        octets
    })
}

proptest! {
    #[test]
    fn damaged_databases_do_no_harm(octets in damaged(), scene in scenes(), clients in vec(addresses(), 8)) {
        let edges = [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into(), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let clients: Vec<IpAddr> = clients.into_iter().chain(edges).chain(small_space(false).step_by(100)).collect();
        read(octets, &scene.map.questions, &clients);
    }
}

const ZONE: &str = r#"
[records]
"@".NS = "ns.example.net."
www.steer = "web"

[policies.web]
choose = "nearest"
members = ["frankfurt", "region"]

[policies.region]
location = [10.0, 20.0]
choose = "rules"
rules = [{ country = ["DE", "US"], use = "frankfurt" }, { asn = [1, 2], use = "frankfurt" }]
otherwise = "singapore"

[pools.frankfurt]
location = [50.11, 8.68]
backends = ["192.0.2.10"]

[pools.singapore]
location = [1.35, 103.82]
backends = ["192.0.2.30"]
"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A load of a damaged file is a fault that names it, or a good load.
    #[test]
    fn a_load_tells_which_file_is_damaged(octets in damaged()) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, octets: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, octets).unwrap();
        };
        write("windrose.toml", b"[geo]\ncity = \"geo/damaged.mmdb\"\n");
        write("geo/damaged.mmdb", &octets);
        write("zones/example.com.toml", ZONE.as_bytes());
        let loaded = load(Some(&folder.path().join("windrose.toml")));
        let errors: Vec<_> = loaded.faults.iter().filter(|fault| fault.is_error()).collect();
        prop_assert_eq!(loaded.unusable, !errors.is_empty());
        prop_assert_eq!(loaded.zones.len(), usize::from(errors.is_empty()));
        for error in errors {
            prop_assert!(error.message.contains("geo/damaged.mmdb"), "{}", error);
            prop_assert!(error.path().ends_with("windrose.toml"), "{}", error);
        }
    }
}
