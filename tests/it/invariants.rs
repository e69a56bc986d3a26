//! What must hold of every decision, whatever the forest, the verdicts and the client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use windrose::health::Verdict;
use windrose::policy::decide::{
    Decision, Grounds, addresses, applies, decide, distance, grounds, has_family, scope_length, usable,
};
use windrose::policy::model::{Answers, Choose, Fallback, Member, NodeId, NodeKind, Steering};
use windrose::policy::{Client, Family};

use crate::forests::{FAMILIES, Scene, all_addresses, as_pool, distribution, pool_of, scenes};

/// All that a client can get from a root.
fn all_outcomes(scene: &Scene, root: NodeId, family: Family, client: &Client) -> BTreeMap<Decision, f64> {
    let (verdicts, last) = (&scene.verdicts, scene.last.as_ref());
    distribution(|chance| decide(&scene.steering, root, family, client, verdicts, last, chance))
}

/// The node, and all nodes beneath it.
fn below(steering: &Steering, node: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::from([node]);
    if let NodeKind::Policy(policy) = &steering.node(node).kind {
        policy
            .members
            .iter()
            .for_each(|member| found.extend(below(steering, member.node)));
    }
    found
}

/// Some backend of the pool has the family.
fn pool_has_family(steering: &Steering, pool: NodeId, family: Family) -> bool {
    as_pool(steering.node(pool)).is_some_and(|pool| {
        pool.backends.iter().any(|backend| {
            let addresses = all_addresses(backend);
            addresses.is_empty()
                || addresses
                    .iter()
                    .any(|(address, _)| address.is_ipv4() == (family == Family::Ipv4))
        })
    })
}

/// Calls a check with every root, family and client of a scene.
fn for_each_question(scene: &Scene, mut check: impl FnMut(NodeId, Family, &Client)) {
    for root in scene.roots() {
        for family in FAMILIES {
            scene.clients.iter().for_each(|client| check(root, family, client));
        }
    }
}

/// Whatever is decided may be handed out: the pool is beneath the root, or its fallback; each backend is another one, has an
/// address that is healthy by what the decision stands on, and no weight of 0 beside one that has.
fn check_eligible(scene: &Scene, root: NodeId, family: Family, client: &Client, decision: &Decision) {
    let steering = &scene.steering;
    let (pool_id, chosen) = match decision {
        Decision::Backends { pool, backends, .. } => (*pool, backends.clone()),
        Decision::Host { pool, backend, .. } => (*pool, vec![*backend]),
        Decision::NoFamily | Decision::Servfail { .. } => return,
    };
    let (start, grounds) = grounds(steering, root, family, client, &scene.verdicts, scene.last.as_ref()).unwrap();
    assert!(below(steering, start).contains(&pool_id));
    if start != root {
        assert_eq!(steering.node(root).root.fallback, Fallback::Pool(start));
    }
    let pool = as_pool(steering.node(pool_id)).unwrap();
    let healthy = |at: &usize| {
        let addresses = all_addresses(&pool.backends[*at]);
        let mut of_family = addresses
            .iter()
            .filter(|(address, _)| address.is_ipv4() == (family == Family::Ipv4));
        addresses.is_empty()
            || of_family.any(|(_, id)| match grounds {
                Grounds::Verdicts(verdicts) | Grounds::Last(verdicts) => verdicts.of(*id) != Verdict::Down,
                Grounds::Waived => true,
            })
    };
    assert!(!chosen.is_empty() && chosen.iter().all(healthy));
    assert_eq!(
        chosen.iter().collect::<BTreeSet<_>>().len(),
        chosen.len(),
        "each is another one"
    );
    let weights: BTreeSet<bool> = chosen.iter().map(|at| pool.backends[*at].weight > 0).collect();
    let heavy = (0..pool.backends.len())
        .filter(healthy)
        .filter(|at| pool.backends[*at].weight > 0)
        .count();
    assert_eq!(weights, BTreeSet::from([heavy > 0]));
    let candidates = if heavy > 0 {
        heavy
    } else {
        (0..pool.backends.len()).filter(healthy).count()
    };
    match pool.answers {
        Answers::Count(count) => assert_eq!(chosen.len(), candidates.min(usize::from(count))),
        Answers::All => assert_eq!(chosen.len(), candidates),
    }
    if let Grounds::Verdicts(verdicts) = grounds {
        assert!(usable(steering, pool_id, family, client, verdicts));
        for at in chosen {
            for address in addresses(&pool.backends[at], family, grounds) {
                let (_, id) = all_addresses(&pool.backends[at])
                    .into_iter()
                    .find(|(other, _)| *other == address)
                    .unwrap();
                assert!(verdicts.healthy(id));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_decided_is_eligible(scene in scenes()) {
        for_each_question(&scene, |root, family, client| {
            let outcomes = all_outcomes(&scene, root, family, client);
            assert!((outcomes.values().sum::<f64>() - 1.0).abs() < 1e-9);
            outcomes.keys().for_each(|decision| check_eligible(&scene, root, family, client, decision));
        });
    }

    /// While the root is usable, nothing unhealthy is handed out and no fallback is asked.
    #[test]
    fn a_fallback_serves_only_when_nothing_is_usable(scene in scenes()) {
        for_each_question(&scene, |root, family, client| {
            let usable = usable(&scene.steering, root, family, client, &scene.verdicts);
            let last = scene.last.as_ref();
            let way = grounds(&scene.steering, root, family, client, &scene.verdicts, last);
            assert!(!usable || way == Some((root, Grounds::Verdicts(&scene.verdicts))));
            let outcomes = all_outcomes(&scene, root, family, client);
            if outcomes.keys().any(|decision| matches!(decision, Decision::Servfail { .. })) {
                assert!(!usable && outcomes.len() == 1);
                let rules = below(&scene.steering, root).into_iter().any(|node| match &scene.steering.node(node).kind {
                    NodeKind::Policy(policy) => matches!(policy.choose, Choose::Rules(_)),
                    NodeKind::Pool(_) => false,
                });
                assert!(rules || scene.steering.node(root).root.fallback == Fallback::Servfail);
            }
        });
    }

    #[test]
    fn there_is_no_family_where_no_pool_has_it(scene in scenes()) {
        for_each_question(&scene, |root, family, client| {
            let some = below(&scene.steering, root).into_iter().any(|node| pool_has_family(&scene.steering, node, family));
            let outcomes = all_outcomes(&scene, root, family, client);
            assert_eq!(outcomes.contains_key(&Decision::NoFamily), !some);
            assert_eq!(has_family(&scene.steering, root, family), some);
        });
    }

    #[test]
    fn the_first_usable_member_serves(scene in scenes()) {
        for_each_question(&scene, |root, family, client| {
            let NodeKind::Policy(policy) = &scene.steering.node(root).kind else { return };
            let usable = |node| usable(&scene.steering, node, family, client, &scene.verdicts);
            let members = || policy.members.iter().map(|member| member.node);
            let pools = |node| -> BTreeMap<NodeId, i64> {
                let mut pools = BTreeMap::<NodeId, f64>::new();
                for (decision, share) in all_outcomes(&scene, node, family, client) {
                    *pools.entry(pool_of(&decision).unwrap()).or_default() += share;
                }
                pools.into_iter().map(|(pool, share)| (pool, (share * 1e9).round() as i64)).collect()
            };
            match (&policy.choose, usable(root)) {
                (Choose::Failover, true) => {
                    assert_eq!(pools(root), pools(members().find(|member| usable(*member)).unwrap()));
                }
                (Choose::Nearest, true) => {
                    let far = |member: &&Member| match client.whereabouts.coordinates {
                        Some(client) => distance(&scene.steering, member, client),
                        None => 0.0,
                    };
                    let usable = policy.members.iter().filter(|member| usable(member.node));
                    let nearest = usable.min_by(|a, b| far(a).total_cmp(&far(b))).unwrap();
                    assert_eq!(pools(root), pools(nearest.node));
                }
                (Choose::Failover | Choose::Nearest | Choose::Weighted, usable_root) => {
                    assert_eq!(usable_root, members().any(usable));
                }
                (Choose::Rules(rules), usable_root) => {
                    let matching = rules.rules.iter().filter(|rule| applies(&rule.condition, client));
                    let mut tried = matching.map(|rule| rule.member).chain([rules.otherwise]);
                    let serves = tried.find(|member| usable(policy.members[*member].node));
                    assert_eq!(usable_root, serves.is_some());
                    if let Some(member) = serves {
                        assert_eq!(pools(root), pools(policy.members[member].node));
                    }
                }
            }
        });
    }

    /// Where no draw is made in policies and every node is usable in both families or in neither.
    #[test]
    fn both_families_land_in_the_same_pool(mut scene in scenes()) {
        for node in &mut scene.steering.nodes {
            node.sticky |= as_pool(node).is_none();
        }
        let steering = &scene.steering;
        for (root, client) in scene.roots().flat_map(|root| scene.clients.iter().map(move |client| (root, client))) {
            let usable = |node, family| usable(steering, node, family, client, &scene.verdicts);
            let alike = below(steering, root).into_iter().all(|node| usable(node, Family::Ipv4) == usable(node, Family::Ipv6));
            if !(alike && usable(root, Family::Ipv4)) {
                continue;
            }
            let pools = FAMILIES.map(|family| {
                let outcomes = all_outcomes(&scene, root, family, client);
                outcomes.keys().map(pool_of).collect::<BTreeSet<_>>()
            });
            assert_eq!(pools[0].len(), 1);
            assert_eq!(pools[0], pools[1]);
        }
    }

    /// RFC 7871 7.3.1: the answer holds for every client inside address / scope.
    #[test]
    fn scopes_are_sound(scene in scenes(), host in any::<u128>()) {
        for_each_question(&scene, |root, family, client| {
            let scope = match scene.steering.node(root) {
                _ if !has_family(&scene.steering, root, family) => 0,
                _ => scope_length(&scene.steering, root, family, client),
            };
            let inside = |bits: u32| u128::MAX.checked_shr(128 - bits + u32::from(scope)).unwrap_or(0) & host;
            let neighbour = match client.address {
                IpAddr::V4(address) => (address.to_bits() ^ inside(32) as u32).to_be_bytes().into(),
                IpAddr::V6(address) => (address.to_bits() ^ inside(128)).to_be_bytes().into(),
            };
            let outcomes = all_outcomes(&scene, root, family, client);
            assert_eq!(outcomes, all_outcomes(&scene, root, family, &scene.client(neighbour)));
            let said = |decision: &Decision| match decision {
                Decision::NoFamily => 0,
                Decision::Backends { scope, .. } | Decision::Host { scope, .. } | Decision::Servfail { scope } => *scope,
            };
            assert!(outcomes.keys().all(|decision| said(decision) == scope), "one scope for all of a root's decisions");
        });
    }
}
