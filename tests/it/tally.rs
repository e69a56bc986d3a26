//! What is counted of decisions is what a listener hears of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrose::answer::{ResponseBuffer, answer_telling};
use windrose::health::Verdicts;
use windrose::image::tally::{CELLS_MAX, Counting, Decision};
use windrose::image::{Image, Options, Serving};
use windrose::policy::Family;
use windrose::policy::model::{Choose, Fallback, Steering};
use windrose::policy::trace::{Narrator, Step};
use windrose::policy::tree::Forest;
use windrose::wire::code::RecordType;

use crate::fixture::{policy, pool, query, request, serving, zone};

/// Answers once with each of two ears, and gives the pool and family that were told last.
fn heard(serving: &Serving, octets: &[u8], random: u64, thread: usize) -> Option<(String, Family)> {
    let mut response = ResponseBuffer::with_capacity(1232);
    let request = request(octets, random);
    let mut counting = Counting::new(&serving.image, thread);
    let outcome = answer_telling(&request, serving, &mut response, &mut counting);
    let mut narrator = Narrator::default();
    assert_eq!(answer_telling(&request, serving, &mut response, &mut narrator), outcome);
    narrator.steps.iter().rev().find_map(|step| match step {
        Step::HandedOut { pool, family, .. } => {
            let name = &serving.image.forest.steering.node(*pool).name;
            Some((name.clone(), *family))
        }
        _ => None,
    })
}

/// What was counted, zeros left out.
fn counted(serving: &Serving) -> BTreeMap<Decision, u64> {
    serving.image.tally.counts().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn what_is_counted_is_what_is_heard() {
    let serving = serving();
    let mut expected: BTreeMap<Decision, u64> = BTreeMap::new();
    let steering = &serving.image.forest.steering;
    let roots = steering
        .by_name
        .keys()
        .map(|root| (root.as_str(), root.as_str(), root.as_str()));
    // An alias, and a wildcard.
    let more = [("to-steered", "eight", "eight"), ("x.steered", "*.steered", "eight")];
    for (asked, record, root) in roots.chain(more) {
        for (at, rtype) in (0..200).zip([RecordType::A, RecordType::AAAA].into_iter().cycle()) {
            let octets = query(&format!("{asked}.example.com."), rtype);
            let random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at + 1);
            if let Some((pool, family)) = heard(&serving, &octets, random, 0) {
                let decision = Decision {
                    record: format!("{record}.example.com."),
                    root: root.to_owned(),
                    pool,
                    family,
                };
                *expected.entry(decision).or_default() += 1;
            }
        }
    }
    assert!(expected.len() > 50, "{expected:?}");
    assert_eq!(counted(&serving), expected);
}

#[test]
fn pools_that_stand_far_apart_and_a_fallback_are_told_apart() {
    let mut steering = Steering::default();
    for at in 0..70 {
        pool(&mut steering, &format!("p{at}"), "192.0.2.1");
    }
    // By their low bits these have one place.
    policy(&mut steering, "web", Choose::Weighted, "p1 p17 p33 p49 p65");
    let spare = steering.by_name["p9"];
    let (dead, _, root) = pool(&mut steering, "dead", "192.0.2.66");
    dead.min_healthy = windrose::policy::model::MinHealthy::Backends(1);
    root.fallback = Fallback::Pool(spare);
    let verdicts = crate::fixture::verdicts(&steering);
    let options = Options {
        threads: 2,
        ..Options::default()
    };
    let zone = zone("test.", &["web steer web", "dead steer dead"]);
    let image = Image::compile(&[zone], &[], Forest::without_databases(steering), options, [1, 2]);
    let serving = Serving::new(Arc::new(image), &verdicts);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for at in 0..400 {
        let name = if at % 4 == 0 { "dead.test." } else { "web.test." };
        let random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at + 1);
        let (pool, _) = heard(&serving, &query(name, RecordType::A), random, at as usize % 2).unwrap();
        *expected.entry(pool).or_default() += 1;
    }
    let counted = counted(&serving)
        .into_iter()
        .map(|(decision, count)| (decision.pool, count));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected);
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        ["p1", "p17", "p33", "p49", "p65", "p9"]
    );
    // A thread without a block counts nothing, and does no harm.
    assert!(heard(&serving, &query("web.test.", RecordType::A), 1, 2).is_some());
    assert_eq!(expected.values().sum::<u64>(), 400);
}

#[test]
fn records_beyond_the_limit_are_counted_together() {
    let mut steering = Steering::default();
    pool(&mut steering, "web", "192.0.2.1,2001:db8::1");
    // A root with one pool has two slots, and so four cells.
    let most = CELLS_MAX as usize / 4;
    let records: Vec<String> = (0..most + 10).map(|at| format!("r{at:05} steer web")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    let forest = Forest::without_databases(steering);
    let image = Image::compile(&[zone("test.", &records)], &[], forest, options, [1, 2]);
    let serving = Serving::new(Arc::new(image), &Verdicts::default());
    for at in most - 1..most + 2 {
        heard(&serving, &query(&format!("r{at:05}.test."), RecordType::A), 0, 0).unwrap();
    }
    let counted: Vec<(String, u64)> = counted(&serving)
        .into_iter()
        .map(|(decision, count)| (decision.record, count))
        .collect();
    assert_eq!(counted, [(String::new(), 2), (format!("r{:05}.test.", most - 1), 1)]);
    // A name for each record counted by itself, and one for the rest; of each family.
    assert_eq!(serving.image.tally.counts().count(), 2 * (most + 1));
}
