//! Runs the probes of what is served, and turns their results into verdicts and verdicts into answers: one task that owns every tracker, so
//! that nothing of this needs a lock.
//!
//! A new load is handed in whole. What it probes and was probed before keeps its history; what is new is tried once, spread over the
//! warm-up, while what was served goes on being served. Then the new image is published with all that is known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::publisher::Publisher;
use super::results::Results;
use crate::health::probe::{Kind, Probe, Verify};
use crate::health::tracker::{Outcome, Tracker};
use crate::health::{Verdict, Verdicts};
use crate::image::{Image, Serving};
use crate::policy::last::LastUsable;
use crate::policy::targets::{TargetKey, Targets};
use crate::probe::{self, Certificates};
use crate::server::syscall::raise_descriptor_limit;

/// Changes of verdicts that come so close together are published as one.
const COALESCE: Duration = Duration::from_millis(3);

/// The most probes that run at a time, however many descriptors there are: a bound on memory, at 24 KiB for one that
/// hangs after its request over HTTP.
const IN_FLIGHT_MAX: usize = 4_096;

/// The fewest, however few there are.
const IN_FLIGHT_MIN: usize = 64;

/// Descriptors that are left to others: 768 connections of queries, 64 of the control API, and 192 for listeners and files.
const DESCRIPTORS_LEFT: u64 = 768 + 64 + 192;

/// How a target is probed: a future that ends with the result, within the probe's time limit.
pub type Run = dyn Fn(Arc<TargetKey>, Arc<Certificates>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// Hands loads to the task, and asks it what it knows.
#[derive(Debug, Clone)]
pub struct Prober {
    commands: mpsc::UnboundedSender<Command>,
    in_flight_max: usize,
}

/// What the task is asked for.
#[derive(Debug)]
enum Command {
    Serve(Box<Load>),
    Tell(oneshot::Sender<Snapshot>),
}

/// What is known at one moment of what is served.
#[derive(Debug)]
pub struct Snapshot {
    /// What is served.
    pub serving: Arc<Serving>,
    /// The verdicts that it is served under.
    pub verdicts: Verdicts,
    /// Its targets, in the order in which pools name them.
    pub targets: Vec<TargetSnapshot>,
    /// What the results of probes add up to.
    pub results: Results,
    /// How many probes run now, and how many wait for others to end.
    pub in_flight: [usize; 2],
}

/// What is known at that moment of a target.
#[derive(Debug)]
pub struct TargetSnapshot {
    /// What is asked of whom.
    pub key: Arc<TargetKey>,
    /// The full names of the probes that are so defined.
    pub names: Vec<String>,
    /// Its verdict, streak and last result.
    pub tracker: Tracker,
    /// How long its verdict has been believed.
    pub believed_for: Duration,
    /// How long ago the last result came.
    pub last_ago: Option<Duration>,
    /// How soon the next probe starts; zero if it is due.
    pub next_in: Option<Duration>,
}

/// Something new to serve.
#[derive(Debug)]
pub struct Load {
    /// What will be served.
    pub image: Arc<Image>,
    /// What is probed for it.
    pub targets: Targets,
    /// What certificates are checked against.
    pub certificates: Certificates,
    /// How long its first round may take.
    pub warmup: Duration,
    /// Told when it is served.
    pub served: oneshot::Sender<()>,
}

impl Prober {
    /// Starts the task, within a runtime. `last` is what was usable last when something was served before, by an earlier daemon.
    pub fn start(publisher: Arc<Publisher>, last: LastUsable) -> Self {
        let run =
            |key: Arc<TargetKey>, certificates: Arc<Certificates>| -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
                Box::pin(async move { probe::run(&key.probe, key.address, &certificates).await })
            };
        let descriptors = raise_descriptor_limit().unwrap_or_else(|error| {
            tracing::warn!("the limit of descriptors is not known: {error}");
            0
        });
        Self::start_with(publisher, last, in_flight_max(descriptors), Arc::new(run))
    }

    /// The same with a way to probe, of which so many run at a time. All its time is tokio's: a test can move it by hand.
    pub fn start_with(publisher: Arc<Publisher>, last: LastUsable, in_flight_max: usize, run: Arc<Run>) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        tokio::spawn(Task::new(publisher, last, in_flight_max, run).run(received));
        Self {
            commands,
            in_flight_max,
        }
    }

    /// Hands a load in. What is to be waited for ends when it is served, or with an error if the task is gone.
    pub fn serve(&self, image: Arc<Image>, targets: Targets, warmup: Duration) -> oneshot::Receiver<()> {
        let (served, wait) = oneshot::channel();
        if let Some(fault) = too_many(&targets, self.in_flight_max) {
            tracing::warn!("{fault}");
        }
        let ways = targets.list.iter().filter_map(|(key, _)| match &key.probe.kind {
            Kind::Http(http) => http.tls.as_ref(),
            Kind::Tcp => None,
        });
        let certificates = Certificates::read(ways.collect::<Vec<&Verify>>());
        let load = Load {
            image,
            targets,
            certificates,
            warmup,
            served,
        };
        // If the task is gone, whoever waits is told by the channel that went with the load.
        let _ = self.commands.send(Command::Serve(Box::new(load)));
        wait
    }

    /// What is known now. `None` if the task is gone, or nothing is served yet.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (tell, told) = oneshot::channel();
        self.commands.send(Command::Tell(tell)).ok()?;
        told.await.ok()
    }
}

/// A target, by a number that it keeps for as long as it is probed.
type Id = u64;

/// What is probed, and what is known of it.
struct Probed {
    key: Arc<TargetKey>,
    tracker: Tracker,
    /// The full names of its probes, for people.
    names: Vec<String>,
    certificates: Arc<Certificates>,
    /// Where in its interval it is probed after the first round.
    phase: Duration,
    /// The probe of it that runs, or waits for others to end. It is not joined by a second one: so what waits never grows beyond the targets.
    running: Option<Running>,
    /// Whether the next probe has become due while it runs: it starts when this one has ended.
    missed: bool,
}

/// A probe that runs. It ends when nobody wants its result any more: a target that is left out, and comes back, is never probed twice at once.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is served, and the numbers of its targets, by place in their list.
struct Served {
    serving: Arc<Serving>,
    targets: Targets,
    ids: Vec<Id>,
}

/// A load that waits for its first round.
struct Waiting {
    image: Arc<Image>,
    targets: Targets,
    ids: Vec<Id>,
    /// The targets that have no result yet.
    missing: HashSet<Id>,
    served: oneshot::Sender<()>,
    until: Instant,
}

struct Task {
    publisher: Arc<Publisher>,
    start: Instant,
    ids: BTreeMap<Arc<TargetKey>, Id>,
    probed: HashMap<Id, Probed>,
    next_id: Id,
    /// When each target is probed next, the first first.
    schedule: BinaryHeap<Reverse<(Instant, Id)>>,
    now_served: Option<Served>,
    /// What was usable last before anything was served.
    last: LastUsable,
    waiting: Option<Waiting>,
    /// When changed verdicts are published.
    publish_at: Option<Instant>,
    run: Arc<Run>,
    in_flight: Arc<Semaphore>,
    in_flight_max: usize,
    counted: Results,
    results: mpsc::UnboundedSender<(Id, Outcome)>,
    incoming: mpsc::UnboundedReceiver<(Id, Outcome)>,
}

impl Task {
    fn new(publisher: Arc<Publisher>, last: LastUsable, in_flight_max: usize, run: Arc<Run>) -> Self {
        let (results, incoming) = mpsc::unbounded_channel();
        Self {
            publisher,
            start: Instant::now(),
            ids: BTreeMap::new(),
            probed: HashMap::new(),
            next_id: 0,
            schedule: BinaryHeap::new(),
            now_served: None,
            last,
            waiting: None,
            publish_at: None,
            run,
            in_flight: Arc::new(Semaphore::new(in_flight_max)),
            in_flight_max,
            counted: Results::default(),
            results,
            incoming,
        }
    }

    /// Until nobody can ask for anything any more.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let next = self.next_event();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Serve(load)) => self.take_load(*load),
                    Some(Command::Tell(tell)) => self.tell(tell),
                    None => return,
                },
                result = self.incoming.recv() => if let Some((id, outcome)) = result {
                    self.take_result(id, outcome);
                },
                () = sleep_until(next.unwrap_or(self.start)), if next.is_some() => {}
            }
            self.advance(Instant::now());
        }
    }

    /// When something is to be done if nothing comes before.
    fn next_event(&self) -> Option<Instant> {
        let due = self.schedule.peek().map(|Reverse((due, _))| *due);
        let until = self.waiting.as_ref().map(|waiting| waiting.until);
        [due, until, self.publish_at].into_iter().flatten().min()
    }

    fn take_load(&mut self, load: Load) {
        let now = Instant::now();
        let certificates = Arc::new(load.certificates);
        let count = load.targets.list.len().max(1) as u32;
        let mut new = Vec::new();
        let mut ids = Vec::with_capacity(load.targets.list.len());
        for (place, (key, names)) in (0..).zip(&load.targets.list) {
            let id = match self.ids.get(key) {
                Some(id) => *id,
                None => {
                    self.next_id += 1;
                    let key = Arc::new(key.clone());
                    self.ids.insert(key.clone(), self.next_id);
                    let probed = Probed {
                        // Probes are spread over their interval evenly, whatever the others.
                        phase: key.probe.interval * place / count,
                        key,
                        tracker: Tracker::default(),
                        names: Vec::new(),
                        certificates: certificates.clone(),
                        running: None,
                        missed: false,
                    };
                    self.probed.insert(self.next_id, probed);
                    new.push(self.next_id);
                    self.next_id
                }
            };
            if let Some(probed) = self.probed.get_mut(&id) {
                probed.names.clone_from(names);
                probed.certificates = certificates.clone();
            }
            ids.push(id);
        }
        // The first round ends with the warm-up.
        for (place, id) in (0..).zip(&new) {
            let timeout = self
                .probed
                .get(id)
                .map_or(Duration::ZERO, |probed| probed.key.probe.timeout);
            let window = load.warmup.saturating_sub(timeout);
            self.schedule
                .push(Reverse((now + window * place / new.len() as u32, *id)));
        }
        let has_no_result = |id: &&Id| self.probed.get(id).is_some_and(|probed| probed.tracker.last.is_none());
        // A load that waited is not served any more: this one has come after it.
        self.waiting = Some(Waiting {
            missing: ids.iter().filter(has_no_result).copied().collect(),
            image: load.image,
            targets: load.targets,
            ids,
            served: load.served,
            until: now + load.warmup,
        });
    }

    fn take_result(&mut self, id: Id, outcome: Outcome) {
        let Some(probed) = self.probed.get_mut(&id) else { return };
        probed.running = None;
        let missed = std::mem::take(&mut probed.missed);
        let (rise, fall, reason) = (probed.key.probe.rise, probed.key.probe.fall, outcome.reason.clone());
        let turned = probed.tracker.take(outcome.clone(), rise, fall, self.start.elapsed());
        self.counted.take(&probed.names, &outcome, turned);
        if let Some(verdict) = turned {
            let (address, probe) = (probed.key.address, probed.names.join(" "));
            tracing::info!(%address, probe, verdict = verdict.word(), reason, "verdict");
            self.publish_at.get_or_insert(Instant::now() + COALESCE);
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.missing.remove(&id);
        }
        if missed {
            self.start_probe(id);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        self.start_probes(now);
        let is_ready = |waiting: &mut Waiting| waiting.missing.is_empty() || now >= waiting.until;
        if let Some(waiting) = self.waiting.take_if(is_ready) {
            self.serve(waiting);
        } else if self.publish_at.is_some_and(|at| now >= at) {
            self.publish_changes();
        }
    }

    /// Serves what is served under the verdicts of now.
    fn publish_changes(&mut self) {
        self.publish_at = None;
        if let Some(mut served) = self.now_served.take() {
            let verdicts = self.verdicts(&served.targets, &served.ids);
            served.serving = self.publisher.publish(served.serving.under(&verdicts));
            self.now_served = Some(served);
        }
    }

    /// Tells what is known of what is served. Changes that wait are published first, so that what is told is what is answered.
    fn tell(&mut self, tell: oneshot::Sender<Snapshot>) {
        if self.publish_at.is_some() {
            self.publish_changes();
        }
        let Some(served) = &self.now_served else { return };
        let (now, elapsed) = (Instant::now(), self.start.elapsed());
        let due: HashMap<Id, Instant> = self.schedule.iter().map(|Reverse((due, id))| (*id, *due)).collect();
        let running = self.in_flight_max - self.in_flight.available_permits();
        let begun = self.probed.values().filter(|probed| probed.running.is_some()).count();
        let snapshot = |id: &Id| {
            let probed = self.probed.get(id)?;
            let last = probed.tracker.last.as_ref();
            Some(TargetSnapshot {
                key: probed.key.clone(),
                names: probed.names.clone(),
                tracker: probed.tracker.clone(),
                believed_for: elapsed.saturating_sub(probed.tracker.since),
                last_ago: last.map(|(at, _)| elapsed.saturating_sub(*at)),
                next_in: due.get(id).map(|due| due.saturating_duration_since(now)),
            })
        };
        // Who asked may have gone.
        let _ = tell.send(Snapshot {
            serving: served.serving.clone(),
            verdicts: self.verdicts(&served.targets, &served.ids),
            targets: served.ids.iter().filter_map(snapshot).collect(),
            results: self.counted.clone(),
            in_flight: [running, begun.saturating_sub(running)],
        });
    }

    /// Serves what has waited, under the verdicts of now. What was usable last is handed on by name.
    fn serve(&mut self, waiting: Waiting) {
        let Waiting {
            image,
            targets,
            ids,
            served,
            ..
        } = waiting;
        self.publish_at = None;
        let last = match &self.now_served {
            Some(before) => before.serving.last_usable(),
            None => std::mem::take(&mut self.last),
        };
        let serving = Serving::first(image, &self.verdicts(&targets, &ids), &last);
        let serving = self.publisher.publish(serving);
        let still: HashSet<Id> = ids.iter().copied().collect();
        self.probed.retain(|id, _| still.contains(id));
        self.ids.retain(|_, id| still.contains(id));
        self.counted.keep(self.probed.values().flat_map(|probed| &probed.names));
        self.now_served = Some(Served { serving, targets, ids });
        // Who handed it in may have gone.
        let _ = served.send(());
    }

    /// The verdicts of now on the addresses of a load, from those on its targets.
    fn verdicts(&self, targets: &Targets, ids: &[Id]) -> Verdicts {
        let of = |id: &Id| {
            self.probed
                .get(id)
                .map_or(Verdict::Unknown, |probed| probed.tracker.verdict)
        };
        targets.verdicts(|place| ids.get(place).map_or(Verdict::Unknown, of))
    }

    fn start_probes(&mut self, now: Instant) {
        while let Some(Reverse((due, id))) = self.schedule.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.schedule.pop();
            // What is not probed any more is passed over.
            let Some(probed) = self.probed.get_mut(&id) else {
                continue;
            };
            let (interval, timeout) = (probed.key.probe.interval, probed.key.probe.timeout);
            let mut next = match probed.tracker.last {
                // From the first round to its own place: not so soon that the first probe may still run.
                None => in_phase(self.start + probed.phase, due + timeout.max(interval / 2), interval),
                Some(_) => due + interval,
            };
            // Those that were missed, by a machine that slept, are not made up for.
            if next <= now {
                next = in_phase(next, now, interval);
            }
            self.schedule.push(Reverse((next, id)));
            self.start_probe(id);
        }
    }

    /// Starts a probe, unless one of the same target still runs: then it comes after that.
    fn start_probe(&mut self, id: Id) {
        let Some(probed) = self.probed.get_mut(&id) else { return };
        if probed.running.is_some() {
            probed.missed = true;
            return;
        }
        let (run, key, certificates) = (self.run.clone(), probed.key.clone(), probed.certificates.clone());
        let (in_flight, results) = (self.in_flight.clone(), self.results.clone());
        let task = tokio::spawn(async move {
            let Ok(_permit) = in_flight.acquire_owned().await else {
                return;
            };
            let outcome = run(key, certificates).await;
            // If the task is gone, so is everything.
            let _ = results.send((id, outcome));
        });
        probed.running = Some(Running(task.abort_handle()));
    }
}

/// How many probes may run at a time where the process may have so many descriptors.
fn in_flight_max(descriptors: u64) -> usize {
    let left = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_LEFT)).unwrap_or(usize::MAX);
    left.clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX)
}

/// What is told if more probes may hang at once, when all backends do, than may run.
fn too_many(targets: &Targets, in_flight_max: usize) -> Option<String> {
    let share = |probe: &Probe| probe.timeout.as_secs_f64() / probe.interval.as_secs_f64();
    let hanging = targets
        .list
        .iter()
        .map(|(key, _)| share(&key.probe))
        .sum::<f64>()
        .ceil() as usize;
    let told = || {
        format!(
            "{hanging} probes may hang at once, {in_flight_max} may run: then failures are seen late (docs/health.md)"
        )
    };
    (hanging > in_flight_max).then(told)
}

/// The first moment after another one that is a whole number of intervals from a base.
fn in_phase(base: Instant, after: Instant, interval: Duration) -> Instant {
    let passed = after.saturating_duration_since(base).as_nanos();
    let intervals = passed / interval.as_nanos().max(1) + u128::from(after >= base);
    base + interval * u32::try_from(intervals).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_run_in_what_descriptors_are_left() {
        assert_eq!(in_flight_max(0), 64);
        assert_eq!(in_flight_max(1_024), 64);
        assert_eq!(in_flight_max(2_048), 1_024);
        assert_eq!(in_flight_max(u64::MAX), 4_096);
    }

    #[test]
    fn more_probes_than_may_run_are_told() {
        let second = Duration::from_secs(1);
        let target = |last: u8| {
            let probe = Probe {
                kind: Kind::Tcp,
                port: 80,
                interval: 10 * second,
                timeout: 2 * second,
                rise: 1,
                fall: 1,
            };
            let address = [192, 0, 2, last].into();
            (TargetKey { probe, address }, Vec::new())
        };
        let mut targets = Targets::default();
        targets.list = (1..=10).map(target).collect();
        assert_eq!(too_many(&targets, 2), None);
        targets.list.push(target(11));
        let told = too_many(&targets, 2).unwrap();
        assert!(told.starts_with("3 probes may hang at once, 2 may run"), "{told}");
    }

    #[test]
    fn phases_are_kept() {
        let base = Instant::now();
        let at = |millis: u64| base + Duration::from_millis(millis);
        let second = Duration::from_secs(1);
        assert_eq!(in_phase(at(300), at(0), second), at(300));
        assert_eq!(in_phase(at(300), at(300), second), at(1300));
        assert_eq!(in_phase(at(300), at(5200), second), at(5300));
        assert_eq!(in_phase(at(300), at(5400), second), at(6300));
    }
}
