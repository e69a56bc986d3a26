//! The prober under a clock that is moved by hand: random targets, changes and reloads from fixed seeds, held to a replay that goes through
//! every millisecond and knows nothing but the words of the contract; and single rules, each by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Handle;
use windrose::health::Verdict;
use windrose::health::probe::Probe;
use windrose::image::Serving;

use crate::clockwork::{Moment, Ran, Says, Target, World, in_world, probe, served};

/// How long each random world lasts.
const END: Moment = 60_000;

/// In milliseconds: the clock's grain, on both sides.
const GRAIN: Moment = 2;

/// "A verdict change reaches the publisher": in milliseconds.
const PUBLISHED_WITHIN: Moment = 10;

/// Changes within so many milliseconds are published as one.
const BURST: Moment = 3;

/// A load that is handed in.
#[derive(Debug, Clone)]
struct Load {
    at: Moment,
    warmup: Moment,
    targets: Vec<Target>,
}

/// What was seen of a world.
struct Seen {
    ran: Vec<Ran>,
    /// Each publication: when, and what was handed out from then on.
    published: Vec<(Moment, u8, Vec<Target>)>,
    /// For each load that is not waiting any more: when that was known, and whether it was served.
    waiters: BTreeMap<u8, (Moment, bool)>,
    /// Verdict, streak and last result of each target at the end.
    end: Vec<(Target, Verdict, u32)>,
}

/// Plays a world: loads are handed in at their moments, and what is served is looked at every millisecond.
async fn play(world: World, loads: Vec<Load>) -> Seen {
    let waiters = Arc::new(Mutex::new(BTreeMap::new()));
    let mut published: Vec<(Moment, Arc<Serving>)> = Vec::new();
    let mut loads = (1..).zip(loads).collect::<VecDeque<(u8, Load)>>();
    for moment in 0..END {
        world.at(moment).await;
        while loads.front().is_some_and(|(_, load)| load.at <= moment) {
            let (number, load) = loads.pop_front().unwrap();
            let wait = world.load(number, &load.targets, load.warmup);
            let (waiters, here) = (waiters.clone(), world.clone());
            tokio::spawn(async move {
                let is_served = wait.await.is_ok();
                waiters.lock().unwrap().insert(number, (here.now(), is_served));
            });
        }
        let now = world.publisher.shared().load_full();
        if published.last().is_none_or(|(_, before)| !Arc::ptr_eq(before, &now)) {
            published.push((moment, now));
        }
    }
    let ran = world.ran();
    let snapshot = world.prober.snapshot().await.unwrap();
    let end = snapshot.targets.iter().map(|target| {
        let which = world
            .probes
            .iter()
            .position(|probe| *probe == target.key.probe)
            .unwrap();
        let last = target
            .key
            .address
            .to_string()
            .rsplit('.')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        ((last, which), target.tracker.verdict, target.tracker.streak)
    });
    let of = |(moment, serving): &(Moment, Arc<Serving>)| {
        let (number, up) = served(serving);
        (*moment, number, up)
    };
    let waiters = waiters.lock().unwrap().clone();
    Seen {
        ran,
        published: published.iter().map(of).collect(),
        waiters,
        end: end.collect(),
    }
}

/// "`fall` failures in a row take an address down, `rise` successes in a row bring it up. Before its first result a target is unknown; the
/// first result decides at once." All results are gone through again for every question.
fn by_the_words(probe: &Probe, results: &[bool]) -> Verdict {
    let Some(first) = results.first() else {
        return Verdict::Unknown;
    };
    let mut up = *first;
    for so_far in 1..=results.len() {
        let in_a_row = |wanted: bool| {
            results[..so_far]
                .iter()
                .rev()
                .take_while(|passed| **passed == wanted)
                .count()
        };
        if in_a_row(true) >= probe.rise as usize {
            up = true;
        }
        if in_a_row(false) >= probe.fall as usize {
            up = false;
        }
    }
    if up { Verdict::Up } else { Verdict::Down }
}

/// A target that is asked for and was not known before.
struct New {
    target: Target,
    at: Moment,
    /// When it is forgotten.
    until: Moment,
    /// When it is to be tried first.
    due: Moment,
}

/// What should have happened.
#[derive(Default)]
struct Replay {
    /// The results of every target that is asked, in order.
    known: BTreeMap<Target, Vec<bool>>,
    served: Option<(u8, Load)>,
    waiting: Option<(u8, Load)>,
    /// As [`Seen::waiters`].
    waiters: BTreeMap<u8, (Moment, bool)>,
    /// The targets that were not known before.
    new: Vec<New>,
    /// When verdicts on what is served changed.
    changes: Vec<Moment>,
}

impl Replay {
    /// One millisecond.
    fn step(&mut self, moment: Moment, probes: &[Probe], loads: &[Load], results: &[(Target, bool)]) {
        for (target, passed) in results {
            let Some(known) = self.known.get_mut(target) else {
                continue;
            };
            let before = by_the_words(&probes[target.1], known);
            known.push(*passed);
            if by_the_words(&probes[target.1], known) != before {
                self.changes.push(moment);
            }
        }
        for (number, load) in (1..).zip(loads).filter(|(_, load)| load.at == moment) {
            if let Some((superseded, _)) = self.waiting.take() {
                self.waiters.insert(superseded, (moment, false));
            }
            let unknown: Vec<Target> = load
                .targets
                .iter()
                .filter(|target| !self.known.contains_key(target))
                .copied()
                .collect();
            for (place, target) in (0..).zip(&unknown) {
                self.known.insert(*target, Vec::new());
                // "Spread over warm-up less the timeout."
                let window = load
                    .warmup
                    .saturating_sub(probes[target.1].timeout.as_millis() as Moment);
                self.new.push(New {
                    target: *target,
                    at: moment,
                    until: END,
                    due: moment + window * place / unknown.len() as u64,
                });
            }
            self.waiting = Some((number, load.clone()));
        }
        let is_ready = |(_, load): &mut (u8, Load)| {
            let all = load.targets.iter().all(|target| !self.known[target].is_empty());
            all || moment >= load.at + load.warmup
        };
        if let Some((number, load)) = self.waiting.take_if(is_ready) {
            for new in self
                .new
                .iter_mut()
                .filter(|new| new.until == END && !load.targets.contains(&new.target))
            {
                new.until = moment;
            }
            self.known.retain(|target, _| load.targets.contains(target));
            self.waiters.insert(number, (moment, true));
            self.served = Some((number, load));
        }
    }

    /// What is to be handed out.
    fn handed_out(&self, probes: &[Probe]) -> (u8, Vec<Target>) {
        let Some((number, load)) = &self.served else {
            return (0, Vec::new());
        };
        let is_up = |target: &&Target| by_the_words(&probes[target.1], &self.known[target]) != Verdict::Down;
        let mut up: Vec<Target> = load.targets.iter().filter(is_up).copied().collect();
        up.sort_unstable();
        (*number, up)
    }
}

/// Holds what was seen to the words, and gives the replay for more.
fn hold(probes: &[Probe], loads: &[Load], seen: &Seen) -> Replay {
    let mut replay = Replay::default();
    let mut expected: VecDeque<(u8, Vec<Target>)> = VecDeque::new();
    let mut results: BTreeMap<Moment, Vec<(Target, bool)>> = BTreeMap::new();
    for ran in &seen.ran {
        if let Some((to, Some(passed))) = ran.to {
            results.entry(to).or_default().push((ran.target, passed));
        }
    }
    let mut published = seen.published.iter().peekable();
    let mut now = (0, Vec::new());
    for moment in 0..END {
        let results = results.get(&moment).map_or(&[][..], Vec::as_slice);
        replay.step(moment, probes, loads, results);
        if let Some((_, number, up)) = published.next_if(|(at, ..)| *at == moment) {
            now = (*number, up.clone());
        }
        // What is handed out is what followed from the results at some moment of the last few milliseconds.
        expected.push_back(replay.handed_out(probes));
        if expected.len() as u64 > PUBLISHED_WITHIN {
            expected.pop_front();
        }
        assert!(expected.contains(&now), "at {moment}: {now:?} is none of {expected:?}");
    }
    for (number, (moment, was_served)) in &replay.waiters {
        let (at, is_served) = seen.waiters[number];
        assert_eq!(is_served, *was_served, "load {number}");
        assert!(at.abs_diff(*moment) <= GRAIN, "load {number} at {at}, not {moment}");
    }
    for (target, verdict, streak) in &seen.end {
        let results = &replay.known[target];
        let in_a_row = results
            .iter()
            .rev()
            .take_while(|passed| Some(*passed) == results.last())
            .count();
        assert_eq!(
            (*verdict, *streak as usize),
            (by_the_words(&probes[target.1], results), in_a_row),
            "{target:?}"
        );
    }
    replay
}

/// No target is probed twice at once, and never more run than may.
fn hold_to_cap(ran: &[Ran], cap: usize) {
    let mut running: BTreeMap<Target, Moment> = BTreeMap::new();
    for this in ran {
        running.retain(|_, to| *to > this.from);
        let to = this.to.map_or(Moment::MAX, |(to, _)| to);
        let other = running.insert(this.target, to);
        assert_eq!(other, None, "{:?} is probed twice at {}", this.target, this.from);
        assert!(running.len() <= cap, "{} run at {}", running.len(), this.from);
    }
}

/// The first probe in the first round, spread; all others exactly on the target's phase, whatever the others do.
fn hold_to_schedule(probes: &[Probe], replay: &Replay, ran: &[Ran]) {
    for New { target, at, until, due } in &replay.new {
        let millis = |duration: Duration| duration.as_millis() as Moment;
        let (interval, timeout) = (millis(probes[target.1].interval), millis(probes[target.1].timeout));
        let is_of_it = |ran: &&Ran| ran.target == *target && (*at..*until).contains(&ran.from);
        let of_it: Vec<&Ran> = ran.iter().filter(is_of_it).collect();
        let starts: Vec<Moment> = of_it.iter().map(|ran| ran.from).collect();
        let Some(first) = starts.first() else {
            assert!(due + GRAIN >= *until, "{target:?} is not tried at {due}");
            continue;
        };
        assert!(
            first.abs_diff(*due) <= GRAIN,
            "{target:?} is tried at {first}, not {due}"
        );
        let Some(second) = starts.get(1) else { continue };
        // Half an interval later at least, and not before the first has ended; then it is in its place.
        let (gap, least) = (second - first, (interval / 2).max(timeout));
        assert!(
            gap + GRAIN >= least && gap <= least + interval + GRAIN,
            "{target:?}: {starts:?}"
        );
        for (nth, start) in (0..).zip(&starts[1..]) {
            assert!(
                start.abs_diff(second + nth * interval) <= GRAIN,
                "{target:?}: {starts:?}"
            );
        }
    }
}

/// So many publications at most: one for each load, and one for each burst of changes.
fn hold_to_bursts(replay: &Replay, seen: &Seen) {
    let mut bursts = 0;
    let mut until = 0;
    for change in &replay.changes {
        if bursts == 0 || *change >= until {
            bursts += 1;
            until = change + BURST;
        }
    }
    let loads = replay.waiters.values().filter(|(_, is_served)| *is_served).count();
    // The first one is that of the beginning.
    let published = seen.published.len() - 1;
    assert!(
        published <= bursts + loads,
        "{published} publications of {bursts} bursts and {loads} loads"
    );
}

fn random_probes(rng: &mut Rng) -> Vec<Probe> {
    let one = |port: u16, rng: &mut Rng| {
        let interval = rng.u64(5..40) * 100;
        let timeout = rng.u64(1..interval / 50) * 50;
        probe(port, interval, timeout.min(interval - 50), rng.u32(1..4), rng.u32(1..4))
    };
    (1..4).map(|port| one(port, rng)).collect()
}

/// Each at a moment that is a whole number of ten milliseconds, when no result comes: what is first is never in doubt.
fn random_loads(rng: &mut Rng, probes: usize) -> Vec<Load> {
    let mut loads = Vec::new();
    let mut at = 0;
    while at < END {
        let mut targets = Vec::new();
        for which in 0..probes {
            targets.extend((1..7).filter(|_| rng.u8(..10) < 6).map(|last| (last, which)));
        }
        let warmup = rng.u64(0..400) * 10;
        loads.push(Load { at, warmup, targets });
        // Some come while the one before still waits.
        at += if rng.u8(..4) == 0 {
            rng.u64(1..100) * 10
        } else {
            rng.u64(300..1500) * 10
        };
    }
    loads
}

/// What each target says, changing at random moments. No result comes at a whole number of ten milliseconds.
fn random_says(rng: &mut Rng, probes: &[Probe]) -> impl Fn(Target, Moment) -> Says + Send + Sync + use<> {
    let mut plans: BTreeMap<Target, Vec<(Moment, Says)>> = BTreeMap::new();
    for (which, probe) in probes.iter().enumerate() {
        let timeout = probe.timeout.as_millis() as u64;
        for last in 1..7 {
            let mut plan = Vec::new();
            let mut at = 0;
            while at < END {
                let after = rng.u64(0..timeout);
                let says = [Says::After(after, true), Says::After(after, false), Says::Hangs][rng.usize(..3)];
                plan.push((at, says));
                at += rng.u64(200..9_000);
            }
            plans.insert((last, which), plan);
        }
    }
    let timeouts: Vec<u64> = probes.iter().map(|probe| probe.timeout.as_millis() as u64).collect();
    move |target, moment| {
        let plan = &plans[&target];
        let (after, passed) = match plan.iter().rev().find(|(at, _)| *at <= moment).unwrap().1 {
            Says::After(after, passed) => (after, passed),
            Says::Hangs => (timeouts[target.1], false),
        };
        Says::After(after + u64::from((moment + after) % 10 == 0), passed)
    }
}

/// Plays the world of a seed with so many probes at a time.
fn random_world(seed: u64, cap: usize) -> (Vec<Probe>, Vec<Load>, Seen) {
    let mut rng = Rng::with_seed(seed);
    let probes = random_probes(&mut rng);
    let loads = random_loads(&mut rng, probes.len());
    let says = random_says(&mut rng, &probes);
    let seen = in_world(probes.clone(), cap, says, |world| play(world, loads.clone()));
    (probes, loads, seen)
}

#[test]
fn random_worlds_go_by_the_words() {
    let (mut changes, mut superseded) = (0, 0);
    for seed in 0..24 {
        let (probes, loads, seen) = random_world(seed, 100);
        let replay = hold(&probes, &loads, &seen);
        hold_to_cap(&seen.ran, 100);
        hold_to_schedule(&probes, &replay, &seen.ran);
        hold_to_bursts(&replay, &seen);
        changes += replay.changes.len();
        superseded += replay.waiters.values().filter(|(_, is_served)| !is_served).count();
    }
    assert!(
        changes > 1_000 && superseded > 10,
        "{changes} {superseded}: these worlds are too quiet"
    );
}

#[test]
fn with_few_probes_at_a_time_verdicts_go_by_the_words_all_the_same() {
    for seed in 100..112 {
        let cap = 1 + seed as usize % 4;
        let (probes, loads, seen) = random_world(seed, cap);
        hold(&probes, &loads, &seen);
        hold_to_cap(&seen.ran, cap);
    }
}

fn all(count: u8) -> Vec<Target> {
    (1..=count).map(|last| (last, 0)).collect()
}

#[test]
fn what_waits_never_grows_beyond_the_targets() {
    let says = |_, _| Says::Hangs;
    in_world(vec![probe(1, 1_000, 1_000, 1, 1)], 2, says, |world| async move {
        let idle = Handle::current().metrics().num_alive_tasks();
        let wait = world.load(1, &all(50), 3_000);
        for moment in 0..120_000 {
            world.at(moment).await;
            assert!(world.running() <= 2);
            let alive = Handle::current().metrics().num_alive_tasks() - idle;
            assert!(alive <= 50, "{alive} at {moment}");
        }
        wait.await.unwrap();
        // Two a second, each in its turn: those that are tried first have one more.
        let counts: BTreeSet<usize> = all(50).into_iter().map(|target| world.starts(target).len()).collect();
        assert!(counts.iter().all(|count| (4..=6).contains(count)), "{counts:?}");
    });
}

#[test]
fn a_probe_that_takes_its_whole_interval_leaves_none_out() {
    let says = |(last, _), _| if last == 1 { Says::Hangs } else { Says::After(5, true) };
    in_world(vec![probe(1, 1_000, 1_000, 1, 3)], 100, says, |world| async move {
        let _served = world.load(1, &all(2), 0);
        world.at(60_500).await;
        let [hanging, other] = [1, 2].map(|last| world.starts((last, 0)).len());
        assert!(hanging + 1 >= other && other >= 60, "{hanging} {other}");
    });
}

#[test]
fn probes_are_spread_over_their_interval_and_no_other_delays_them() {
    let says = |(last, _), _| {
        if last % 2 == 0 {
            Says::Hangs
        } else {
            Says::After(0, true)
        }
    };
    in_world(vec![probe(1, 1_000, 900, 1, 1)], 100, says, |world| async move {
        let _served = world.load(1, &all(10), 2_000);
        world.at(30_000).await;
        for (place, target) in (0..).zip(all(10)) {
            let starts = world.starts(target);
            assert!(starts[0].abs_diff(1_100 * place / 10) <= GRAIN, "{starts:?}");
            assert!(
                starts[1..]
                    .iter()
                    .all(|start| (start % 1_000).abs_diff(100 * place) <= GRAIN),
                "{starts:?}"
            );
        }
    });
}

#[test]
fn a_burst_is_published_once() {
    // Whenever they start, all results of a second come at its end; some a little later.
    let says = |(last, _), moment: Moment| {
        let late = u64::from(last) % 3;
        Says::After(1_000 - (moment % 1_000) + late, !(10_000..12_000).contains(&moment))
    };
    in_world(vec![probe(1, 1_000, 1_000, 2, 1)], 200, says, |world| async move {
        let _served = world.load(1, &all(40), 0);
        world.at(9_900).await;
        let mut before = world.publisher.shared().load_full();
        let mut published = Vec::new();
        for moment in 9_900..16_000 {
            world.at(moment).await;
            let now = world.publisher.shared().load_full();
            if !Arc::ptr_eq(&before, &now) {
                published.push(world.served().1.len());
            }
            before = now;
        }
        assert_eq!(published, [0, 40], "all go, and all come back");
    });
}

#[test]
fn images_that_are_served_no_more_are_freed() {
    let says = |_, _| Says::After(1, true);
    in_world(vec![probe(1, 1_000, 500, 1, 1)], 10, says, |world| async move {
        world.load(1, &all(3), 1_000).await.unwrap();
        let image = Arc::downgrade(&world.publisher.shared().load().image);
        let reader = world.publisher.shared().load_full();
        let superseded = world.load(2, &all(4), 1_000);
        world.load(3, &all(5), 1_000).await.unwrap();
        assert!(
            superseded.await.is_err(),
            "who waits for a load that will not be served learns of it"
        );
        assert!(world.publisher.sweep(), "it is still read");
        drop(reader);
        assert!(image.upgrade().is_some(), "no reader frees it");
        assert!(!world.publisher.sweep());
        assert!(image.upgrade().is_none());
        assert_eq!(world.served().0, 3);
    });
}

#[test]
fn the_old_image_is_served_until_the_new_targets_have_spoken() {
    let says = |(last, _), _| {
        if last == 4 {
            Says::Hangs
        } else {
            Says::After(20, last != 2)
        }
    };
    in_world(vec![probe(1, 1_000, 600, 2, 3)], 10, says, |world| async move {
        world.load(1, &all(3), 1_000).await.unwrap();
        assert_eq!(world.served(), (1, vec![(1, 0), (3, 0)]));
        let (asked, at) = (world.ran().len(), world.now());
        let served = world.load(2, &all(4), 1_000);
        tokio::pin!(served);
        while served.as_mut().try_recv().is_err() {
            assert_eq!(world.served(), (1, vec![(1, 0), (3, 0)]));
            world.at(world.now() + 1).await;
        }
        // It has hung for its whole time limit: that is a result. What was known has kept its history.
        assert_eq!(world.now() - at, 601);
        assert_eq!(world.served(), (2, vec![(1, 0), (3, 0)]));
        let since = &world.ran()[asked..];
        assert_eq!(
            since
                .iter()
                .filter(|ran| ran.from == at && ran.target != (4, 0))
                .count(),
            0
        );
    });
}
