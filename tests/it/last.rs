//! Fallback "last" over reloads and restarts: what was usable last is found again by name, whatever became of ids.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::policy::Family;
use windrose::policy::alias::Chance;
use windrose::policy::client::ClientKey;
use windrose::policy::decide::{Grounds, grounds, handed_out, usable};
use windrose::policy::last::LastUsable;
use windrose::policy::model::{Backend, Choose, Fallback, MinHealthy, NodeId, NodeKind, Steering, Target};
use windrose::policy::trace::Silent;
use windrose::policy::tree::{End, Forest as Compiled, Tables};

use crate::forests::{FAMILIES, Forest, Scene, all_addresses, as_pool, histories};
use crate::tables::{compiled, oracle, questions};

/// The same forest after some other pools, so that every id is another.
fn moved(scene: &Scene, by: u32) -> Scene {
    let mut others = Forest::default();
    for other in 0..by {
        others.pool(&format!("others/{other}"), &format!("172.16.0.{other}"));
    }
    let mut moved = scene.clone();
    for node in &mut moved.steering.nodes {
        if let Fallback::Pool(NodeId(pool)) = &mut node.root.fallback {
            *pool += by;
        }
        match &mut node.kind {
            NodeKind::Policy(policy) => policy.members.iter_mut().for_each(|member| member.node.0 += by),
            NodeKind::Pool(pool) => {
                for backend in &mut pool.backends {
                    if let Target::Addresses { ipv4, ipv6 } = &mut backend.target {
                        ipv4.iter_mut().for_each(|(_, id)| id.0 += by);
                        ipv6.iter_mut().for_each(|(_, id)| id.0 += by);
                    }
                }
            }
        }
    }
    moved.steering.by_name.values_mut().for_each(|id| id.0 += by);
    moved.steering.nodes.splice(0..0, others.steering.nodes);
    moved.steering.by_name.extend(others.steering.by_name);
    moved.steering.addresses += by;
    moved
}

fn moved_verdicts(verdicts: &Verdicts, addresses: u32, by: u32) -> Verdicts {
    let mut moved = Verdicts::unknown((addresses + by) as usize);
    for id in 0..addresses {
        moved.set(AddressId(id + by), verdicts.of(AddressId(id)));
    }
    moved
}

/// As it is after it was written to a file and read.
fn through_a_file(last: &LastUsable) -> LastUsable {
    serde_json::from_str(&serde_json::to_string(last).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// "'last' is kept by name across reload and restart": where the names are the same, so is every decision, whatever came between.
    #[test]
    fn a_reload_of_the_same_changes_no_decision(
        (scene, moments) in histories(),
        reloads in prop::collection::vec(prop::option::of(0..4_u32), 5),
        seed: u64,
    ) {
        let addresses = scene.steering.addresses;
        let (mut by, mut here) = (0, scene.clone());
        let mut forest = Compiled::new(here.steering.clone(), here.map.clone());
        let mut tables: Option<Tables> = None;
        for (now, (verdicts, reload)) in moments.iter().zip(reloads).enumerate() {
            let last = reload.zip(tables.as_ref()).map(|(_, tables)| through_a_file(&LastUsable::of(&forest, tables)));
            if let Some(next) = reload {
                by = next;
                here = moved(&scene, by);
                forest = Compiled::new(here.steering.clone(), here.map.clone());
            }
            here.verdicts = moved_verdicts(verdicts, addresses, by);
            let tables = &*tables.insert(match (&last, reload) {
                (Some(last), _) => Tables::first(&forest, &here.verdicts, last),
                (None, Some(_)) => Tables::new(&forest, &here.verdicts, None),
                (None, None) => Tables::new(&forest, &here.verdicts, tables.as_ref()),
            });
            let history: Vec<Verdicts> =
                moments[..=now].iter().map(|moment| moved_verdicts(moment, addresses, by)).collect();
            for (root, family, client) in questions(&here.steering, &here) {
                let was_usable = |verdicts: &&Verdicts| usable(&here.steering, root, family, &client, verdicts);
                here.last = history.iter().rev().find(was_usable).map(|last| handed_out(&here.steering, last));
                let expected = oracle(&here, root, family, &client);
                for draw in 0..4_u64 {
                    let got = compiled(&forest, tables, &here, root, family, &client, seed.wrapping_add(draw));
                    prop_assert!(expected.contains_key(&got), "{got:?} is not in {expected:?}, at moment {now}");
                }
            }
        }
    }
}

/// What becomes of a backend when files change.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    Goes,
    IsRenamed,
    GetsOtherAddresses,
    LosesItsFirstAddress,
    IsJoinedByAnother,
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Nothing),
        1 => Just(Change::Goes),
        1 => Just(Change::IsRenamed),
        1 => Just(Change::GetsOtherAddresses),
        1 => Just(Change::LosesItsFirstAddress),
        1 => Just(Change::IsJoinedByAnother),
    ]
}

/// The forest after its files were changed: backends as said, and how many of a pool must be healthy. Pools stay, and keep their families.
fn changed(scene: &Scene, changes: &[Change], min_healthy: u32) -> Steering {
    let mut steering = scene.steering.clone();
    let mut changes = changes.iter().cycle();
    let mut unique = 1_000_u32..;
    for node in &mut steering.nodes {
        let NodeKind::Pool(pool) = &mut node.kind else { continue };
        pool.min_healthy = MinHealthy::Backends(min_healthy.min(pool.backends.len() as u32).max(1));
        let mut backends = Vec::new();
        for mut backend in pool.backends.drain(..) {
            let change = changes.next().unwrap();
            let mut other = |backend: &mut Backend| {
                if let Target::Addresses { ipv4, ipv6 } = &mut backend.target {
                    let mut bits = || unique.next().unwrap();
                    ipv4.iter_mut().for_each(|(address, _)| *address = bits().into());
                    ipv6.iter_mut()
                        .for_each(|(address, _)| *address = u128::from(bits()).into());
                }
            };
            match (change, &mut backend.target) {
                // The last one of a pool stays, so that no pool is empty.
                (Change::Goes, _) if !backends.is_empty() => continue,
                (Change::IsRenamed, _) => backend.name.push_str("-renamed"),
                (Change::GetsOtherAddresses, _) => other(&mut backend),
                (Change::LosesItsFirstAddress, Target::Addresses { ipv4, .. }) if ipv4.len() > 1 => {
                    ipv4.remove(0);
                }
                (Change::IsJoinedByAnother, _) => {
                    let mut another = backend.clone();
                    another.name.push_str("-another");
                    other(&mut another);
                    backends.push(another);
                }
                _ => {}
            }
            backends.push(backend);
        }
        pool.backends = backends;
    }
    let mut addresses = 0..;
    let mut renumber = |id: &mut AddressId| *id = AddressId(addresses.next().unwrap());
    for node in &mut steering.nodes {
        let NodeKind::Pool(pool) = &mut node.kind else { continue };
        for backend in &mut pool.backends {
            if let Target::Addresses { ipv4, ipv6 } = &mut backend.target {
                ipv4.iter_mut().for_each(|(_, id)| renumber(id));
                ipv6.iter_mut().for_each(|(_, id)| renumber(id));
            }
        }
    }
    steering.addresses = addresses.start;
    steering
}

/// What was handed out in an earlier forest, in a later one, address by address: "kept by name".
fn by_name(earlier: &Steering, handed_out: &Verdicts, later: &Steering) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for node in &later.nodes {
        let Some(pool) = as_pool(node) else { continue };
        let before = as_pool(earlier.node(earlier.by_name[&node.name])).unwrap();
        for backend in &pool.backends {
            let same = before.backends.iter().filter(|before| before.name == backend.name);
            let handed_out: BTreeSet<IpAddr> = same
                .flat_map(all_addresses)
                .filter(|(_, id)| handed_out.of(*id) == Verdict::Up)
                .map(|(address, _)| address)
                .collect();
            for (address, id) in all_addresses(backend) {
                let of_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
                let known: BTreeSet<&IpAddr> = handed_out.iter().filter(|known| of_family(known)).collect();
                let is_left = all_addresses(backend).iter().any(|(now, _)| known.contains(now));
                // One that has other addresses now is still the same.
                let is_up = known.contains(&address) || !known.is_empty() && !is_left;
                verdicts.set(id, if is_up { Verdict::Up } else { Verdict::Down });
            }
        }
    }
    verdicts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn after_a_change_what_was_usable_is_found_by_its_names(
        (scene, moments) in histories(),
        changes in prop::collection::vec(changes(), 1..12),
        min_healthy in 1..4_u32,
        some_are_up: bool,
        seed: u64,
    ) {
        let earlier = Compiled::new(scene.steering.clone(), scene.map.clone());
        let mut tables: Option<Tables> = None;
        for verdicts in &moments {
            tables = Some(Tables::new(&earlier, verdicts, tables.as_ref()));
        }
        let last = through_a_file(&LastUsable::of(&earlier, &tables.unwrap()));
        let mut later = scene.clone();
        later.steering = changed(&scene, &changes, min_healthy);
        later.verdicts = Verdicts::default();
        for id in (0..later.steering.addresses).map(AddressId) {
            later.verdicts.set(id, if some_are_up && id.0 % 3 == 0 { Verdict::Up } else { Verdict::Down });
        }
        let forest = Compiled::new(later.steering.clone(), later.map.clone());
        let tables = Tables::first(&forest, &later.verdicts, &last);
        for (root, family, client) in questions(&later.steering, &later) {
            let was_usable = |verdicts: &&Verdicts| usable(&scene.steering, root, family, &client, verdicts);
            let Some(moment) = moments.iter().rev().find(was_usable) else { continue };
            let moment = by_name(&scene.steering, &handed_out(&scene.steering, moment), &later.steering);
            later.last = Some(moment);
            let way = grounds(&later.steering, root, family, &client, &later.verdicts, later.last.as_ref());
            // Where nothing of it is left, an earlier moment of other clients may be.
            if let Some((_, Grounds::Waived)) = way {
                continue;
            }
            let expected = oracle(&later, root, family, &client);
            for draw in 0..4_u64 {
                let got = compiled(&forest, &tables, &later, root, family, &client, seed.wrapping_add(draw));
                prop_assert!(expected.contains_key(&got), "{got:?} is not in {expected:?}");
            }
        }
    }
}

/// A forest of pools, each a root with fallback "last"; and of one policy over the first two, likewise.
fn forest(pools: &[(&str, &str)]) -> Forest {
    let mut forest = Forest::default();
    for (name, backends) in pools {
        forest.pool(name, backends);
    }
    if let [(first, _), (second, _), ..] = pools {
        forest.policy("both", Choose::Failover, &format!("{first} {second}"));
    }
    for node in &mut forest.steering.nodes {
        node.root.fallback = Fallback::Last;
    }
    forest
}

/// The addresses of a root that may be handed out while all is down, after one moment after another of an earlier forest, in which these
/// addresses were down.
fn left(earlier: &Forest, moments: &[&str], later: &Forest, root: &str) -> String {
    let before = Compiled::without_databases(earlier.steering.clone());
    let mut tables: Option<Tables> = None;
    for down in moments {
        tables = Some(Tables::new(&before, &earlier.down(down), tables.as_ref()));
    }
    let last = LastUsable::of(&before, &tables.unwrap());
    let forest = Compiled::without_databases(later.steering.clone());
    let every: Vec<String> = (0..later.steering.nodes.len())
        .filter_map(|at| as_pool(&later.steering.nodes[at]))
        .flat_map(|pool| pool.backends.iter().flat_map(all_addresses))
        .map(|(address, _)| address.to_string())
        .collect();
    let all_down = later.down(&every.join(" "));
    let tables = Tables::first(&forest, &all_down, &last);
    // Nothing is lost by further verdicts, or by one more reload.
    let tables = Tables::new(&forest, &all_down, Some(&tables));
    let tables = Tables::first(&forest, &all_down, &LastUsable::of(&forest, &tables));
    told(&forest, &tables, later.steering.by_name[root])
}

/// Every address that a root may hand out: nothing above its pools draws.
fn told(forest: &Compiled, tables: &Tables, root: NodeId) -> String {
    let client = ClientKey {
        address: [192, 0, 2, 77].into(),
        class: 0,
    };
    let mut addresses = BTreeSet::new();
    for family in FAMILIES.into_iter().filter(|family| forest.has_family(root, *family)) {
        let End::Pool { table, .. } = forest.walk(tables, root, family, client, &mut Chance::new(1), &mut Silent)
        else {
            continue;
        };
        for place in (0..).take(table.backends().count()) {
            let octets = table.octets(place);
            addresses.extend(match family {
                Family::Ipv4 => octets
                    .as_chunks()
                    .0
                    .iter()
                    .map(|ipv4: &[u8; 4]| IpAddr::from(*ipv4))
                    .collect::<Vec<_>>(),
                Family::Ipv6 => octets
                    .as_chunks()
                    .0
                    .iter()
                    .map(|ipv6: &[u8; 16]| IpAddr::from(*ipv6))
                    .collect(),
            });
        }
    }
    let told: Vec<String> = addresses.into_iter().map(|address| address.to_string()).collect();
    told.join(" ")
}

#[test]
fn what_is_new_was_not_usable_and_what_is_gone_is_not_handed_out() {
    let earlier = forest(&[("a", "10.0.0.1 10.0.0.2 10.0.0.3"), ("b", "10.1.0.1")]);
    let moments = ["10.0.0.1", "10.0.0.1 10.0.0.2 10.0.0.3"];
    assert_eq!(left(&earlier, &moments, &earlier, "a"), "10.0.0.2 10.0.0.3");
    // "both" was usable at the second moment too, by its other member.
    assert_eq!(left(&earlier, &moments, &earlier, "both"), "10.1.0.1");
    let later = forest(&[("b", "10.1.0.1"), ("a", "10.0.0.9 10.0.0.3 10.0.0.1")]);
    assert_eq!(left(&earlier, &moments, &later, "a"), "10.0.0.3");
    // Nothing of it is left: as if every verdict were up.
    let later = forest(&[("a", "10.0.0.8 10.0.0.9")]);
    assert_eq!(left(&earlier, &moments, &later, "a"), "10.0.0.8 10.0.0.9");
    let later = forest(&[("c", "10.0.0.2 10.0.0.3")]);
    assert_eq!(left(&earlier, &moments, &later, "c"), "10.0.0.2 10.0.0.3");
}

#[test]
fn a_pool_that_was_not_usable_hands_out_nothing_though_one_of_its_backends_was_healthy() {
    let mut earlier = forest(&[("a", "10.0.0.1 10.0.0.2"), ("b", "10.1.0.1")]);
    earlier.pool_mut(NodeId(0)).min_healthy = MinHealthy::Backends(2);
    assert_eq!(left(&earlier, &["10.0.0.1"], &earlier, "both"), "10.1.0.1");
    // What was wanted then counts, not what is wanted now.
    let mut later = earlier.clone();
    later.pool_mut(NodeId(0)).min_healthy = MinHealthy::Backends(1);
    assert_eq!(left(&earlier, &["10.0.0.1"], &later, "both"), "10.1.0.1");
    assert_eq!(left(&later, &["10.0.0.1"], &earlier, "both"), "10.0.0.2");
}

#[test]
fn a_named_backend_that_moves_is_the_same_one() {
    let named = |addresses: &str| {
        let mut forest = forest(&[("a", &format!("{addresses} 10.0.0.2"))]);
        forest.pool_mut(NodeId(0)).backends[0].name = "one".to_owned();
        forest
    };
    let earlier = named("10.0.0.1,10.0.0.11");
    assert_eq!(left(&earlier, &["10.0.0.2"], &named("10.0.0.7"), "a"), "10.0.0.7");
    // While one of the old ones is left, a new one is not known to be fit.
    assert_eq!(
        left(&earlier, &["10.0.0.2"], &named("10.0.0.7,10.0.0.11"), "a"),
        "10.0.0.11"
    );
}

#[test]
fn each_root_and_family_has_moments_of_its_own() {
    let pools = [("a", "10.0.0.1,fd::1 10.0.0.2,fd::2"), ("b", "10.1.0.1 10.1.0.2")];
    let forest = forest(&pools);
    let moments = [
        // IPv4 of a is usable here for the last time, IPv6 below.
        "10.0.0.1 fd::2 10.1.0.1",
        "10.0.0.1 10.0.0.2 fd::1 10.1.0.1",
        "10.0.0.1 10.0.0.2 fd::1 fd::2 10.1.0.2",
        "10.0.0.1 10.0.0.2 fd::1 fd::2 10.1.0.1 10.1.0.2",
    ];
    assert_eq!(left(&forest, &moments, &forest, "a"), "10.0.0.2 fd::2");
    // The same pools at another moment: what was known of "a" by itself does not count for "both".
    assert_eq!(left(&forest, &moments, &forest, "both"), "10.1.0.1 fd::2");
    assert_eq!(left(&forest, &moments, &forest, "b"), "10.1.0.1");
}

#[test]
fn only_roots_that_fall_back_to_it_remember() {
    let mut earlier = forest(&[("a", "10.0.0.1 10.0.0.2")]);
    let later = earlier.clone();
    earlier.steering.nodes[0].root.fallback = Fallback::All;
    assert_eq!(left(&earlier, &["10.0.0.1"], &later, "a"), "10.0.0.1 10.0.0.2");
    assert_eq!(left(&later, &["10.0.0.1"], &earlier, "a"), "10.0.0.1 10.0.0.2");
}
