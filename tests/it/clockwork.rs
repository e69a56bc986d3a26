//! A prober whose time is moved by hand and whose targets are imagined: what each says at each moment is drawn beforehand, and all that happens
//! is written down, to be held to the words of the contract. Moments are whole milliseconds since the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until};
use windrose::control::prober::{Prober, Run};
use windrose::control::publisher::Publisher;
use windrose::health::probe::{Kind, Probe};
use windrose::health::tracker::Outcome;
use windrose::health::{AddressId, Verdicts};
use windrose::image::{Image, Options, Serving};
use windrose::policy::Family;
use windrose::policy::last::LastUsable;
use windrose::policy::model::{
    Answers, Backend, MinHealthy, Node, NodeId, NodeKind, Pool, Root, Steering, Target as Handed,
};
use windrose::policy::targets::{TargetKey, Targets};
use windrose::policy::trace::Under;
use windrose::policy::tree::{Forest, Walked};

/// A target: the last octet of its address, and which of the probes asks it.
pub(crate) type Target = (u8, usize);

/// Since the start, in milliseconds.
pub(crate) type Moment = u64;

/// What a target says to a probe that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// A result, after so many milliseconds.
    After(u64, bool),
    /// Nothing: the probe fails when its time is over.
    Hangs,
}

/// One probe that was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) target: Target,
    pub(crate) from: Moment,
    /// When it ended, and whether it passed; `None` for one that was let go.
    pub(crate) to: Option<(Moment, Option<bool>)>,
}

/// Where everything happens.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) probes: Arc<Vec<Probe>>,
    pub(crate) start: Instant,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) prober: Prober,
    ran: Arc<Mutex<Vec<Ran>>>,
}

/// A probe of a TCP port, of times in milliseconds.
pub(crate) fn probe(port: u16, interval: u64, timeout: u64, rise: u32, fall: u32) -> Probe {
    Probe {
        kind: Kind::Tcp,
        port,
        interval: Duration::from_millis(interval),
        timeout: Duration::from_millis(timeout),
        rise,
        fall,
    }
}

/// Runs something in a world of its own, whose clock moves only when all wait for it. Probes are told apart by their ports.
pub(crate) fn in_world<F: Future>(
    probes: Vec<Probe>,
    in_flight_max: usize,
    says: impl Fn(Target, Moment) -> Says + Send + Sync + 'static,
    then: impl FnOnce(World) -> F,
) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (start, probes) = (Instant::now(), Arc::new(probes));
        let publisher = Arc::new(Publisher::new(empty(Vec::new())));
        let ran = Arc::new(Mutex::new(Vec::new()));
        let run = imagined(start, probes.clone(), ran.clone(), says);
        let prober = Prober::start_with(publisher.clone(), LastUsable::default(), in_flight_max, run);
        then(World {
            probes,
            start,
            publisher,
            prober,
            ran,
        })
        .await
    })
}

/// The way to probe imagined targets.
fn imagined(
    start: Instant,
    probes: Arc<Vec<Probe>>,
    ran: Arc<Mutex<Vec<Ran>>>,
    says: impl Fn(Target, Moment) -> Says + Send + Sync + 'static,
) -> Arc<Run> {
    let says = Arc::new(says);
    Arc::new(move |key: Arc<TargetKey>, _| {
        let (says, ran, probes) = (says.clone(), ran.clone(), probes.clone());
        Box::pin(async move {
            let from = start.elapsed().as_millis() as Moment;
            let which = probes.iter().position(|probe| *probe == key.probe).unwrap();
            let octets = match key.address {
                std::net::IpAddr::V4(address) => address.octets(),
                std::net::IpAddr::V6(address) => panic!("{address} is none of ours"),
            };
            let target = (octets[3], which);
            let mut noted = Noted::new(ran, start, target, from);
            let (after, passed) = match says(target, from) {
                Says::After(after, passed) => (after, passed),
                Says::Hangs => (key.probe.timeout.as_millis() as Moment, false),
            };
            sleep_until(start + Duration::from_millis(from + after)).await;
            noted.passed = Some(passed);
            Outcome {
                passed,
                reason: String::new(),
                latency: Duration::from_millis(after),
            }
        })
    })
}

/// Writes down when a probe ends, however it does.
struct Noted {
    ran: Arc<Mutex<Vec<Ran>>>,
    place: usize,
    start: Instant,
    passed: Option<bool>,
}

impl Noted {
    fn new(ran: Arc<Mutex<Vec<Ran>>>, start: Instant, target: Target, from: Moment) -> Self {
        let mut list = ran.lock().unwrap();
        list.push(Ran { target, from, to: None });
        let place = list.len() - 1;
        drop(list);
        Self {
            ran,
            place,
            start,
            passed: None,
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let now = self.start.elapsed().as_millis() as Moment;
        self.ran.lock().unwrap()[self.place].to = Some((now, self.passed));
    }
}

impl World {
    /// Until a moment.
    pub(crate) async fn at(&self, moment: Moment) {
        sleep_until(self.start + Duration::from_millis(moment)).await;
    }

    pub(crate) fn now(&self) -> Moment {
        self.start.elapsed().as_millis() as Moment
    }

    /// All probes so far, in the order in which they started.
    pub(crate) fn ran(&self) -> Vec<Ran> {
        self.ran.lock().unwrap().clone()
    }

    /// How many run now.
    pub(crate) fn running(&self) -> usize {
        self.ran.lock().unwrap().iter().filter(|ran| ran.to.is_none()).count()
    }

    /// When the probes of one target started.
    pub(crate) fn starts(&self, target: Target) -> Vec<Moment> {
        let ran = self.ran();
        let of = ran.iter().filter(|ran| ran.target == target);
        of.map(|ran| ran.from).collect()
    }

    /// Hands in a load that names these targets, one pool for each probe, and that can be told by its number.
    pub(crate) fn load(&self, number: u8, targets: &[Target], warmup: u64) -> tokio::sync::oneshot::Receiver<()> {
        let (steering, named) = steering(&self.probes, targets);
        let list = Targets::of(&steering, &named);
        assert_eq!(list.list.len(), targets.len());
        let image = Image::compile(
            &[],
            &[],
            Forest::without_databases(steering),
            Options {
                nsid: vec![number],
                ..Options::default()
            },
            [1, 2],
        );
        self.prober.serve(Arc::new(image), list, Duration::from_millis(warmup))
    }

    /// The number of the load that is served, and which of its targets are handed out.
    pub(crate) fn served(&self) -> (u8, Vec<Target>) {
        served(&self.publisher.shared().load())
    }
}

/// The number of a load, and which of its targets are handed out.
pub(crate) fn served(serving: &Serving) -> (u8, Vec<Target>) {
    let forest = &serving.image.forest;
    let mut up = Vec::new();
    for (pool, node) in (0..).map(NodeId).zip(&forest.steering.nodes) {
        let NodeKind::Pool(model) = &node.kind else { continue };
        let walk = Walked {
            root: pool,
            family: Family::Ipv4,
            class: 0,
            under: Under::Verdicts,
        };
        let names = forest.candidates(&serving.tables, walk, pool).into_iter();
        up.extend(names.map(|place| (model.backends[place].name.parse().unwrap(), node.name.parse().unwrap())));
    }
    up.sort_unstable();
    (serving.image.options.nsid.first().copied().unwrap_or(0), up)
}

fn empty(nsid: Vec<u8>) -> Serving {
    let options = Options {
        nsid,
        ..Options::default()
    };
    let forest = Forest::without_databases(Steering::default());
    let image = Image::compile(&[], &[], forest, options, [1, 2]);
    Serving::new(Arc::new(image), &Verdicts::default())
}

/// A pool for each probe, named by its number, of the addresses that it asks.
fn steering(probes: &[Probe], targets: &[Target]) -> (Steering, BTreeMap<String, Probe>) {
    let mut steering = Steering::default();
    let mut named = BTreeMap::new();
    for (which, probe) in probes.iter().enumerate() {
        let mut backends = Vec::new();
        for (last, _) in targets.iter().filter(|target| target.1 == which) {
            let id = AddressId(steering.addresses);
            steering.addresses += 1;
            backends.push(Backend {
                name: last.to_string(),
                weight: 1,
                target: Handed::Addresses {
                    ipv4: vec![([192, 0, 2, *last].into(), id)],
                    ipv6: Vec::new(),
                },
            });
        }
        named.insert(which.to_string(), probe.clone());
        let kind = NodeKind::Pool(Pool {
            answers: Answers::All,
            min_healthy: MinHealthy::Backends(1),
            backends,
            probes: vec![which.to_string()],
        });
        steering.nodes.push(Node {
            name: which.to_string(),
            location: None,
            sticky: false,
            root: Root::default(),
            kind,
        });
    }
    (steering, named)
}
