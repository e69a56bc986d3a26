//! The compiled tables decide as the oracle does: on random forests, verdicts and clients, every draw of theirs is one of its, as often as
//! it has it, with the same scope and the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::policy::alias::Chance;
use windrose::policy::decide::{
    Decision, addresses, decide, depends_on_location, depends_on_subnet, grounds, handed_out, has_family, usable,
};
use windrose::policy::model::{Fallback, MEMBERS_MAX, NodeId, NodeKind, Steering, Target};
use windrose::policy::trace::Silent;
use windrose::policy::tree::{End, Forest, Tables};
use windrose::policy::{Client, Family};

use crate::forests::{FAMILIES, Scene, all_addresses, distribution, histories, scenes};

/// Pool and backends that were handed out, whatever their order; none is SERVFAIL.
pub(crate) type Outcome = Option<(NodeId, BTreeSet<usize>)>;

pub(crate) fn oracle(scene: &Scene, root: NodeId, family: Family, client: &Client) -> BTreeMap<Outcome, f64> {
    distribution(|chance| {
        match decide(
            &scene.steering,
            root,
            family,
            client,
            &scene.verdicts,
            scene.last.as_ref(),
            chance,
        ) {
            Decision::NoFamily | Decision::Servfail { .. } => None,
            Decision::Backends { pool, backends, .. } => Some((pool, backends.into_iter().collect())),
            Decision::Host { pool, backend, .. } => Some((pool, [backend].into())),
        }
    })
}

/// One draw of the tables; the addresses handed out are held to the oracle's on the way.
pub(crate) fn compiled(
    forest: &Forest,
    tables: &Tables,
    scene: &Scene,
    root: NodeId,
    family: Family,
    client: &Client,
    seed: u64,
) -> Outcome {
    let mut chance = Chance::new(seed);
    let end = forest.walk(tables, root, family, scene.key(client), &mut chance, &mut Silent);
    let End::Pool {
        pool, table, sticky, ..
    } = end
    else {
        return None;
    };
    let mut places = vec![0; MEMBERS_MAX];
    let count = table.pick(sticky, client.address, &mut chance, MEMBERS_MAX, &mut places);
    let NodeKind::Pool(model) = &scene.steering.node(pool).kind else {
        panic!("a walk ends at a pool")
    };
    let (_, grounds) = grounds(
        &scene.steering,
        root,
        family,
        client,
        &scene.verdicts,
        scene.last.as_ref(),
    )
    .unwrap();
    let mut chosen = BTreeSet::new();
    for place in &places[..count] {
        let backend = usize::from(table.candidate(*place).backend);
        if let Target::Addresses { .. } = model.backends[backend].target {
            let expected: Vec<u8> = addresses(&model.backends[backend], family, grounds)
                .iter()
                .flat_map(|address| match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                })
                .collect();
            assert_eq!(table.octets(*place), expected);
        }
        assert!(chosen.insert(backend), "a backend twice in one answer");
    }
    // One host an answer, whatever the pool says: the writer ends there.
    if let Some(Target::Host(_)) = chosen.first().map(|backend| &model.backends[*backend].target) {
        chosen = [usize::from(table.candidate(places[0]).backend)].into();
    }
    Some((pool, chosen))
}

fn tables_of(forest: &Forest, scene: &Scene) -> Tables {
    let before = scene.last.as_ref().map(|last| Tables::new(forest, last, None));
    Tables::new(forest, &scene.verdicts, before.as_ref())
}

pub(crate) fn questions(steering: &Steering, scene: &Scene) -> Vec<(NodeId, Family, Client)> {
    let mut questions = Vec::new();
    for root in scene.roots() {
        for family in FAMILIES
            .into_iter()
            .filter(|family| has_family(steering, root, *family))
        {
            questions.extend(scene.clients.iter().map(|client| (root, family, client.clone())));
        }
    }
    questions
}

proptest! {
    #[test]
    fn every_draw_is_one_of_the_oracles(scene in scenes(), seed: u64) {
        let forest = Forest::new(scene.steering.clone(), scene.map.clone());
        let tables = tables_of(&forest, &scene);
        for root in scene.roots() {
            for family in FAMILIES {
                prop_assert_eq!(forest.has_family(root, family), has_family(&scene.steering, root, family));
                prop_assert_eq!(
                    forest.depends_on_location(root, family),
                    depends_on_location(&scene.steering, root, family)
                );
                prop_assert_eq!(
                    forest.depends_on_subnet(root, family),
                    depends_on_subnet(&scene.steering, root, family)
                );
            }
        }
        for (root, family, client) in questions(&scene.steering, &scene) {
            let expected = oracle(&scene, root, family, &client);
            for draw in 0..32u64 {
                let got = compiled(&forest, &tables, &scene, root, family, &client, seed.wrapping_add(draw));
                prop_assert!(expected.contains_key(&got), "{got:?} is not in {expected:?}");
            }
        }
    }
}

proptest! {
    /// "The members that were usable at the last moment when some were": when they were for this client.
    #[test]
    fn the_last_moment_is_each_clients_own((mut scene, moments) in histories(), seed: u64) {
        let forest = Forest::new(scene.steering.clone(), scene.map.clone());
        let mut tables: Option<Tables> = None;
        for (now, verdicts) in moments.iter().enumerate() {
            let tables = &*tables.insert(Tables::new(&forest, verdicts, tables.as_ref()));
            scene.verdicts = verdicts.clone();
            for (root, family, client) in questions(&scene.steering, &scene) {
                let was_usable = |verdicts: &&Verdicts| usable(&scene.steering, root, family, &client, verdicts);
                let last = moments[..=now].iter().rev().find(was_usable);
                scene.last = last.map(|last| handed_out(&scene.steering, last));
                let expected = oracle(&scene, root, family, &client);
                for draw in 0..4u64 {
                    let got = compiled(&forest, tables, &scene, root, family, &client, seed.wrapping_add(draw));
                    prop_assert!(expected.contains_key(&got), "{got:?} is not in {expected:?}, at moment {now}");
                }
            }
        }
    }
}

/// Whether nothing beneath each node has changed: neither the health of an address, nor a member.
fn unchanged(steering: &Steering, before: &Verdicts, now: &Verdicts) -> Vec<bool> {
    let mut unchanged: Vec<bool> = Vec::new();
    for node in &steering.nodes {
        unchanged.push(match &node.kind {
            NodeKind::Pool(pool) => {
                let mut addresses = pool.backends.iter().flat_map(all_addresses);
                addresses.all(|(_, id)| before.healthy(id) == now.healthy(id))
            }
            NodeKind::Policy(policy) => policy.members.iter().all(|member| unchanged[member.node.0 as usize]),
        });
    }
    unchanged
}

proptest! {
    /// Tables that follow from others decide as those that are worked out anew, and share with them what has not changed.
    #[test]
    fn what_has_not_changed_is_kept_and_all_is_as_anew(
        (mut scene, moments) in histories(),
        single in prop::collection::vec(any::<(prop::sample::Index, bool)>(), 0..12),
        fallback in prop::sample::select(vec![Fallback::All, Fallback::Servfail]),
        seed: u64,
    ) {
        for node in &mut scene.steering.nodes {
            node.root.fallback = fallback;
        }
        // Whole upheavals, and then one address after the other.
        let mut moments = moments;
        for (address, up) in single {
            let mut next = moments.last().cloned().unwrap_or_default();
            if scene.steering.addresses > 0 {
                let id = AddressId(address.index(scene.steering.addresses as usize) as u32);
                next.set(id, if up { Verdict::Up } else { Verdict::Down });
            }
            moments.push(next);
        }
        let forest = Forest::new(scene.steering.clone(), scene.map.clone());
        let mut before: Option<(Verdicts, Tables)> = None;
        for verdicts in moments {
            let tables = Tables::new(&forest, &verdicts, before.as_ref().map(|(_, tables)| tables));
            if let Some((was, earlier)) = &before {
                for (index, expected) in (0..).zip(unchanged(&scene.steering, was, &verdicts)) {
                    prop_assert_eq!(tables.shares(earlier, NodeId(index)), expected, "node {}", index);
                }
            }
            let anew = Tables::new(&forest, &verdicts, None);
            scene.verdicts = verdicts.clone();
            scene.last = None;
            for (root, family, client) in questions(&scene.steering, &scene) {
                for draw in 0..2u64 {
                    let of = |tables| compiled(&forest, tables, &scene, root, family, &client, seed.wrapping_add(draw));
                    prop_assert_eq!(of(&tables), of(&anew));
                }
            }
            before = Some((verdicts, tables));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn draws_come_as_often_as_the_oracle_has_them(scene in scenes(), seed: u64) {
        const DRAWS: u32 = 4000;
        let forest = Forest::new(scene.steering.clone(), scene.map.clone());
        let tables = tables_of(&forest, &scene);
        for (root, family, client) in questions(&scene.steering, &scene).into_iter().step_by(5).take(4) {
            let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
            let mut seeds = Chance::new(seed);
            for _ in 0..DRAWS {
                let got = compiled(&forest, &tables, &scene, root, family, &client, seeds.word());
                *counts.entry(got).or_default() += 1;
            }
            for (outcome, probability) in oracle(&scene, root, family, &client) {
                let expected = probability * f64::from(DRAWS);
                let got = f64::from(counts.get(&outcome).copied().unwrap_or(0));
                // Six standard deviations, and what is rarer than a draw may well not come.
                let bound = 6.0 * (expected * (1.0 - probability).max(0.0)).sqrt() + 3.0;
                prop_assert!((got - expected).abs() <= bound, "{outcome:?}: {got} of {expected} expected");
            }
        }
    }
}
