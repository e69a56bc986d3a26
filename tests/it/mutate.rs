//! Messages that nobody meant to send, over UDP and TCP to a real daemon: it answers what can be answered, each once and well formed, says
//! nothing to what must get no answer, goes on answering ordinary queries, and holds no more memory at the end than after the start.
//!
//! A short run is an ordinary test. `tests/mutate --packets N --seed S [--corpus FOLDER] [--engine portable]` makes a long one, and
//! prints what became of the messages.

mod asked;
mod changes;
mod datagrams;
mod seeds;
mod streams;
mod tally;
mod world;

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use self::changes::changed;
use self::seeds::Seeds;
use self::tally::Tally;
use self::world::{Engine, ORDINARY};
use crate::control;
use crate::daemon::{Daemon, wait_until};

/// Of the run that is part of every test: messages over each transport.
const PACKETS: usize = 6_000;
const SEED: u64 = 1035;

/// Clients of each transport at a time.
const CLIENTS: usize = 2;

/// Messages over each transport before memory is measured, so that every thread has its buffers; of a long run a twentieth.
const WARM_UP: usize = 3_000;

/// So much more memory may be in use at the end: of allocators and buffers that a busier moment needs. A leak of one octet a message would show
/// in a run of millions.
const GROWTH_MAX_KIB: u64 = 2_048;

/// hickory-server asks for 11 MB for a header that says 65,535 questions (docs/portable.md), and allocators keep what a thread had once.
const GROWTH_MAX_KIB_PORTABLE: u64 = 32_768;

/// What is asked of a run.
struct Plan {
    engine: Engine,
    packets: usize,
    seed: u64,
    corpus: Option<PathBuf>,
}

#[test]
fn whatever_comes_is_answered_well_or_not_at_all() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_portable = std::env::var("WINDROSE_MUTATE_ENGINE").is_ok_and(|name| name == "portable");
    run(&Plan {
        engine: if is_portable { Engine::Portable } else { Engine::Native },
        packets: number("WINDROSE_MUTATE_PACKETS").map_or(PACKETS, |packets| packets as usize),
        seed: number("WINDROSE_MUTATE_SEED").unwrap_or(SEED),
        corpus: std::env::var_os("WINDROSE_MUTATE_CORPUS")
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from),
    });
}

/// In short: what hickory-server does differently is in docs/portable.md.
#[test]
fn the_portable_engine_bears_it_too() {
    run(&Plan {
        engine: Engine::Portable,
        packets: PACKETS / 2,
        seed: SEED,
        corpus: None,
    });
}

fn run(plan: &Plan) {
    let files = world::files(plan.engine);
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    files.extend(plan.corpus.iter().map(|_| world::ROOT));
    let daemon = Daemon::start(&files);
    let folder = plan.corpus.as_ref();
    let seeds = folder.map_or(Seeds::Queries, |folder| Seeds::of_folder(folder));
    let mut tallies = [Tally::default(), Tally::default()];
    is_alive(&daemon);
    send(&daemon, plan, &seeds, plan.warm_up(), plan.seed ^ 1, &mut tallies);
    let after_warm_up = resident_kib(&daemon);
    let started = Instant::now();
    if let Seeds::Files(messages) = &seeds {
        send_as_they_are(&daemon, plan.engine, messages, &mut tallies);
    }
    send(&daemon, plan, &seeds, plan.packets, plan.seed, &mut tallies);
    let seconds = started.elapsed().as_secs_f64();
    is_alive(&daemon);
    println!(
        "UDP: {}\nTCP: {}\n{seconds:.0} s",
        tallies[0].words(),
        tallies[1].words()
    );
    memory_is_flat(plan, after_warm_up, resident_kib(&daemon));
    assert!(!daemon.log().contains("panic"), "{}", daemon.log());
    if plan.engine == Engine::Native {
        every_message_is_counted(&daemon, &tallies);
    }
    if plan.corpus.is_none() {
        tallies.iter().for_each(|tally| every_kind_came(tally, plan.engine));
    }
    assert!(daemon.stop().status.success());
}

impl Plan {
    fn warm_up(&self) -> usize {
        WARM_UP.max(self.packets / 20)
    }
}

/// Sends so many changed messages over UDP, then as many over TCP, from clients side by side.
fn send(daemon: &Daemon, plan: &Plan, seeds: &Seeds, count: usize, seed: u64, tallies: &mut [Tally; 2]) {
    let (address, engine) = (daemon.address(), plan.engine);
    let share = count.div_ceil(CLIENTS);
    let rng = |client: usize, transport: u64| {
        Rng::with_seed(seed.wrapping_mul(0x9e37_79b9) ^ (client as u64) << 8 ^ transport)
    };
    let message = |rng: &mut Rng| changed(rng, seeds);
    let over_udp = |client| {
        let mut datagrams = datagrams::Client::new(address, engine);
        datagrams.run(share, &mut rng(client, 1), message);
        datagrams.tally
    };
    let over_tcp = |client| {
        let mut streams = streams::Client::new(address, engine, 16);
        streams.run(share, &mut rng(client, 2), message);
        streams.tally
    };
    tallies[0].add_all(&side_by_side(over_udp));
    is_alive(daemon);
    tallies[1].add_all(&side_by_side(over_tcp));
}

fn side_by_side(client: impl Fn(usize) -> Tally + Sync) -> Vec<Tally> {
    thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Every message as it is, but for its ID; and once more with QR cleared.
fn send_as_they_are(daemon: &Daemon, engine: Engine, messages: &[Vec<u8>], tallies: &mut [Tally; 2]) {
    let cleared = messages.iter().map(|message| {
        let mut message = message.clone();
        message.iter_mut().skip(2).take(1).for_each(|flags| *flags &= 0x7f);
        message
    });
    let all: Vec<Vec<u8>> = messages.iter().cloned().chain(cleared).collect();
    let (mut datagrams, mut streams) = (
        datagrams::Client::new(daemon.address(), engine),
        streams::Client::new(daemon.address(), engine, 1),
    );
    let mut each = all.iter().cycle().cloned();
    datagrams.run(all.len(), &mut Rng::with_seed(1), |_| each.next().unwrap());
    let mut each = all.iter().cycle().cloned();
    streams.run(all.len(), &mut Rng::with_seed(1), |_| each.next().unwrap());
    println!(
        "{} messages as they are, and with QR cleared, over each",
        messages.len()
    );
    tallies[0] += &datagrams.tally;
    tallies[1] += &streams.tally;
}

fn is_alive(daemon: &Daemon) {
    let response = daemon.ask(ORDINARY.0);
    assert!(response.rcode() == 0 && response.holds(ORDINARY.1), "{response:?}");
    assert!(
        daemon
            .connect()
            .ask(7, ORDINARY.0)
            .is_some_and(|response| response.holds(ORDINARY.1))
    );
}

/// What the daemon holds of memory; 0 where there is no /proc.
fn resident_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident.map_or(0, |words| words.trim().trim_end_matches(" kB").parse().unwrap())
}

fn memory_is_flat(plan: &Plan, after_warm_up: u64, at_end: u64) {
    let growth_max = match plan.engine {
        Engine::Native => GROWTH_MAX_KIB,
        Engine::Portable => GROWTH_MAX_KIB_PORTABLE,
    };
    println!(
        "memory: {after_warm_up} KiB after {} messages over each, {at_end} KiB at the end",
        plan.warm_up()
    );
    assert!(
        at_end <= after_warm_up + growth_max,
        "memory grew from {after_warm_up} to {at_end} KiB"
    );
}

/// All that was sent was counted: answered, or dropped as no query.
fn every_message_is_counted(daemon: &Daemon, tallies: &[Tally; 2]) {
    let sum = |metrics: &str, prefix: &str| -> u64 {
        let samples = metrics.lines().filter(|line| line.starts_with(prefix));
        samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    };
    let metrics = || control::ask(daemon, "GET", "/metrics").body;
    wait_until("no connection is open", || {
        sum(&metrics(), "windrose_tcp_connections ") == 0
    });
    let metrics = metrics();
    for (transport, tally) in ["udp", "tcp"].iter().zip(tallies) {
        let of = |family: &str, label: &str| {
            sum(
                &metrics,
                &format!("windrose_{family}_total{{transport=\"{transport}\"{label}"),
            )
        };
        let (queries, responses) = (of("queries", ""), of("responses", ""));
        let dropped = of("queries_dropped", ",reason=\"no_query\"");
        assert_eq!(
            queries,
            responses + dropped,
            "{transport}: messages that are neither answered nor dropped"
        );
        assert_eq!(of("responses_unsent", ""), 0, "{transport}");
        assert_eq!(of("queries_dropped", ",reason=\"panic\""), 0, "{transport}");
        println!("{transport} metrics: {queries} came, {responses} answered, {dropped} dropped");
        // The ordinary queries of `is_alive` are not in the tally.
        let alive = responses.saturating_sub(tally.due);
        assert!(
            alive >= 2 && alive <= 8 + tally.unknown,
            "{transport}: {responses} answered, {tally:?}"
        );
        assert!(
            dropped >= tally.silent && dropped <= tally.silent + tally.unknown,
            "{transport}: {dropped} dropped, {tally:?}"
        );
    }
}

/// The messages were of every kind, so that a run means something.
fn every_kind_came(tally: &Tally, engine: Engine) {
    let mut missing = vec![0, 1, 2, 3, 4, 5, 16];
    missing.retain(|code| !tally.answers.contains_key(code));
    assert!(missing.is_empty(), "no answer had one of the codes {missing:?}");
    // hickory-server makes long answers longer, so that they are cut.
    let (long, silent) = match engine {
        Engine::Native => (1_100, 10),
        Engine::Portable => (400, 0),
    };
    assert!(tally.longest > long, "the longest answer has {} octets", tally.longest);
    assert!(tally.silent >= silent, "{} not to be answered", tally.silent);
}
