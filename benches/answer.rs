//! Instructions and time of one `answer()`, by kind of answer, counted as the server counts it.
//!
//! `cargo bench` prints a table and lines such as `instructions static-A 170` for scripts. Instructions do not depend on what else the
//! machine does: the program runs itself under `valgrind --tool=callgrind`, once for N queries of a kind and once for 2N, and the
//! difference divided by N is one query. Without valgrind there are only times. `cargo bench -- --quick` takes fewer queries,
//! `cargo bench -- static` only the kinds whose name has the word.
#![allow(clippy::unwrap_used, reason = "in a bench a panic is the report")]

use std::hint::black_box;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use mmdb_writer::{IpVersion, Value, Writer};
use windrose::answer::{self, Limited, Located, Outcome, Refusal, Request, ResponseBuffer, Transport, answer_telling};
use windrose::geo::coordinates::Coordinates;
use windrose::geo::extract::Extract;
use windrose::geo::mmdb::Database;
use windrose::health::Verdicts;
use windrose::image::tally::Counting;
use windrose::image::{Image, Options, Serving};
use windrose::policy::alias::Chance;
use windrose::policy::client_map::ClientMap;
use windrose::policy::model::{Answers, Choose, Condition, Rule, Rules, Steering};
use windrose::policy::questions::Questions;
use windrose::policy::tree::Forest;
use windrose::server::counters::{Counters, Threads};
use windrose::spec::rate_limit::RateLimit;
use windrose::wire::code::RecordType;
use windrose::wire::query::Parsed;

use fixture::{SUBNET, many, policy, pool, query, query_edns, zone};

#[path = "../tests/it/fixture.rs"]
mod fixture;

/// The hosts of the zone.
const HOSTS: usize = 1000;

/// As many queries go through the stages side by side, as on the UDP path.
const BATCH: usize = 32;

/// Any two random words: what the index of names hashes with.
const KEY: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// A kind of answer: what is asked, and what steers the owner that is asked for, if anything does.
struct Kind {
    name: &'static str,
    queries: fn() -> Vec<Vec<u8>>,
    steering: fn(&mut Steering),
    form: Form,
    rate_limited: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// By [`answer`].
    OneByOne,
    /// By its stages, over [`BATCH`] queries.
    Batch,
}

static KINDS: [Kind; 16] = [
    Kind::of("static-A", || hosts(RecordType::A, "", ""), |_| {}),
    Kind::of("static-AAAA", || hosts(RecordType::AAAA, "", ""), |_| {}),
    Kind::of("name-error", || hosts(RecordType::A, "no", ""), |_| {}),
    Kind::of("wildcard", || hosts(RecordType::A, "", ".w"), |_| {}),
    Kind::of("referral", || hosts(RecordType::A, "", ".sub"), |_| {}),
    Kind::of("alias-chain", || vec![query("alias.bench.", RecordType::A)], |_| {}),
    Kind::of("weighted-8-pools", steered, |steering| {
        let names = sites(steering);
        policy(steering, "root", Choose::Weighted, &names);
    }),
    Kind::of("nearest-8-sites", steered, |steering| {
        let names = sites(steering);
        policy(steering, "root", Choose::Nearest, &names);
    }),
    Kind::of("rules-8", steered, |steering| {
        let names = sites(steering);
        let rule = |member: usize| Rule {
            condition: Condition {
                country: vec![COUNTRIES[member].to_owned()],
                ..Condition::default()
            },
            member,
        };
        let rules = (0..7).map(rule).collect();
        policy(steering, "root", Choose::Rules(Rules { rules, otherwise: 7 }), &names);
    }),
    Kind::of("sticky-8", steered, |steering| {
        *pool(steering, "root", &many(8)).1 = true;
    }),
    Kind::of("sticky-32", steered, |steering| {
        *pool(steering, "root", &many(32)).1 = true;
    }),
    Kind::of("answers-4-of-16", steered, |steering| {
        pool(steering, "root", &many(16)).0.answers = Answers::Count(4);
    }),
    Kind::of("answers-all-of-16", steered, |steering| {
        pool(steering, "root", &many(16)).0.answers = Answers::All;
    }),
    Kind::of(
        "subnet-weighted",
        || vec![query_edns("root.bench.", RecordType::A, &SUBNET)],
        |steering| {
            pool(steering, "root", &many(8));
        },
    ),
    Kind {
        rate_limited: true,
        form: Form::Batch,
        ..Kind::of("batch-rate-limited-A", || hosts(RecordType::A, "", ""), |_| {})
    },
    Kind {
        form: Form::Batch,
        ..Kind::of("batch-static-A", || hosts(RecordType::A, "", ""), |_| {})
    },
];

/// The countries of the location database.
const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "BR", "JP", "SG", "ZA", "AU"];

/// Eight pools, each somewhere else; their names.
fn sites(steering: &mut Steering) -> String {
    let places = [
        (50.1, 8.7),
        (39.0, -77.5),
        (1.3, 103.8),
        (-23.5, -46.6),
        (35.7, 139.7),
        (-33.9, 151.2),
        (-26.2, 28.0),
        (37.4, -122.0),
    ];
    let names: Vec<String> = (1..=places.len()).map(|at| format!("site{at}")).collect();
    for (name, (latitude, longitude)) in names.iter().zip(places) {
        pool(steering, name, &many(4));
        if let Some(node) = steering.nodes.last_mut() {
            node.location = Some(Coordinates { latitude, longitude });
        }
    }
    names.join(" ")
}

/// Where clients are: a database of a thousand networks at random, if anything asks for one.
fn clients(steering: &Steering) -> ClientMap {
    let (questions, _) = Questions::of(steering);
    if !questions.ask_for_places() {
        return ClientMap::without_databases(&questions);
    }
    let mut writer = Writer::builder("bench").ip_version(IpVersion::V4).build();
    let mut chance = Chance::new(7);
    let mut networks: Vec<IpNet> = (0..1000)
        .map(|_| {
            let address = IpAddr::V4((chance.word() as u32).into());
            IpNet::new(address, 8 + chance.below(17) as u8).unwrap().trunc()
        })
        .collect();
    networks.sort_by_key(IpNet::prefix_len);
    for network in networks {
        let degrees = |most: usize, chance: &mut Chance| chance.below(2 * most) as f64 - most as f64 + 0.5;
        let location = [
            ("latitude", Value::from(degrees(60, &mut chance))),
            ("longitude", Value::from(degrees(180, &mut chance))),
            ("country", Value::from(COUNTRIES[chance.below(8)])),
        ];
        writer.insert_value(network, Value::map(location)).unwrap();
    }
    let database = Database::open("bench", writer.to_bytes().unwrap()).unwrap();
    let extract = Extract::of(&database).unwrap();
    ClientMap::build(&questions, &[Arc::new(extract)], &[]).0
}

impl Kind {
    const fn of(name: &'static str, queries: fn() -> Vec<Vec<u8>>, steering: fn(&mut Steering)) -> Self {
        Self {
            name,
            queries,
            steering,
            form: Form::OneByOne,
            rate_limited: false,
        }
    }

    /// What serves it: a zone of its own, so that little else is compiled under valgrind.
    fn serving(&self) -> Serving {
        let mut steering = Steering::default();
        (self.steering)(&mut steering);
        let mut records: Vec<String> = ["*.w A 192.0.2.1", "sub NS ns.sub", "ns.sub A 192.0.2.2"]
            .map(str::to_owned)
            .into();
        records.extend(["alias CNAME alias2", "alias2 CNAME h1"].map(str::to_owned));
        for host in 0..HOSTS {
            records.push(format!("h{host} A 192.0.2.1"));
            records.push(format!("h{host} AAAA 2001:db8::1"));
        }
        records.extend(steering.by_name.keys().map(|root| format!("{root} steer {root}")));
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let options = Options {
            client_subnet: true,
            threads: 1,
            rate_limit: self.rate_limited.then(|| RateLimit::new(1000)),
            ..Options::default()
        };
        let clients = Arc::new(clients(&steering));
        let image = Image::compile(
            &[zone("bench.", &records)],
            &[],
            Forest::new(steering, clients),
            options,
            KEY,
        );
        Serving::new(Arc::new(image), &Verdicts::default())
    }
}

/// A query for each host: `before`, its name, `after`.
fn hosts(rtype: RecordType, before: &str, after: &str) -> Vec<Vec<u8>> {
    let name = |host| format!("{before}h{host}{after}.bench.");
    (0..HOSTS).map(|host| query(&name(host), rtype)).collect()
}

fn steered() -> Vec<Vec<u8>> {
    vec![query("root.bench.", RecordType::A)]
}

/// Answers so many queries. The name is what callgrind is told to count.
#[inline(never)]
fn measured_loop(
    kind: &Kind,
    queries: &[Vec<u8>],
    serving: &Serving,
    counters: &Counters,
    responses: &mut [ResponseBuffer],
    count: usize,
) {
    let mut counting = Counting::new(&serving.image, 0);
    let mut outcomes = [Outcome::Dropped; BATCH];
    for start in (0..count).step_by(BATCH) {
        match kind.form {
            Form::OneByOne => {
                for (at, outcome) in outcomes.iter_mut().enumerate() {
                    let request = request(&queries[(start + at) % queries.len()], start + at);
                    *outcome = black_box(answer_telling(&request, serving, &mut responses[0], &mut counting));
                }
            }
            Form::Batch => answer_batch(queries, start, serving, &mut counting, responses, &mut outcomes),
        }
        counters.add(&outcomes, 0);
    }
}

/// Another client and another chance for each query.
#[inline]
fn request(bytes: &[u8], at: usize) -> Request<'_> {
    Request {
        bytes,
        source: IpAddr::V4((at as u32).wrapping_mul(0x9e37_79b1).into()),
        transport: Transport::Udp,
        random: (at as u64).wrapping_mul(0xd6e8_feb8_6659_fd93),
        now: 0,
    }
}

/// The stages side by side with their prefetches, as `server::udp` runs them.
#[inline]
fn answer_batch(
    queries: &[Vec<u8>],
    start: usize,
    serving: &Serving,
    counting: &mut Counting<'_>,
    responses: &mut [ResponseBuffer],
    outcomes: &mut [Outcome; BATCH],
) {
    let image = &*serving.image;
    let request = |at: usize| request(&queries[(start + at) % queries.len()], start + at);
    let mut parsed: [Option<Parsed>; BATCH] = [const { None }; BATCH];
    for (at, slot) in parsed.iter_mut().enumerate() {
        let query = answer::parse(request(at).bytes, &image.names.key);
        image.names.prefetch_slot(query.hash);
        *slot = Some(query);
    }
    parsed
        .iter()
        .flatten()
        .for_each(|query| image.names.prefetch_owner(query.hash));
    parsed
        .iter()
        .flatten()
        .for_each(|query| image.prefetch_entries(query.hash));
    let mut located = [Located::Refused(Refusal::Drop); BATCH];
    for (at, (query, slot)) in parsed.iter().flatten().zip(&mut located).enumerate() {
        *slot = answer::locate(query, &request(at), serving);
        if let Located::Found(found) = slot {
            image.prefetch_tail(found);
        }
    }
    if let Some(limiter) = &image.limiter {
        for (at, (query, slot)) in parsed.iter().flatten().zip(&mut located).enumerate() {
            answer::limit(limiter, query, slot, &request(at), serving, &mut Limited::default());
        }
    }
    for (at, query) in parsed.iter().flatten().enumerate() {
        let response = &mut responses[at];
        outcomes[at] = black_box(answer::write(
            query,
            &located[at],
            &request(at),
            serving,
            response,
            counting,
        ));
    }
}

/// Everything that a run needs.
fn run(kind: &'static Kind, count: usize) -> impl FnMut() {
    let (queries, serving) = ((kind.queries)(), kind.serving());
    let mut responses: Vec<ResponseBuffer> = (0..BATCH).map(|_| ResponseBuffer::with_capacity(1232)).collect();
    // Listening as the measured loop does: a second way to answer would keep the compiler from making one piece of the first.
    let mut counting = Counting::new(&serving.image, 0);
    let first = answer_telling(&request(&queries[0], 0), &serving, &mut responses[0], &mut counting);
    assert!(
        matches!(first, Outcome::Answered(rcode) if [0, 3].contains(&rcode.0)),
        "{}: {first:?}",
        kind.name
    );
    let seat = Threads::new(1, 1).take(Transport::Udp);
    move || measured_loop(kind, &queries, &serving, seat.counters(), &mut responses, count)
}

/// The least nanoseconds a query takes, of some rounds.
fn nanoseconds(kind: &'static Kind, count: usize) -> f64 {
    let mut round = run(kind, count);
    let rounds = (0..5).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64 / count as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// The instructions of so many queries, counted by callgrind; `None` if there is no valgrind.
fn collected(kind: &Kind, count: usize) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=*measured_loop*",
    ]);
    command.arg(std::env::current_exe().unwrap());
    let output = match command.args(["--measure", kind.name, &count.to_string()]).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().find_map(|line| line.split_once("Collected :"));
    let line = line.unwrap_or_else(|| panic!("callgrind told nothing of {}: {told}", kind.name));
    line.1.trim().parse().ok()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--measure", name, count] = arguments[..] {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        run(kind, count.parse().unwrap())();
        return;
    }
    if !arguments.contains(&"--bench") {
        // `cargo test --all-targets` asks whether the bench runs at all.
        KINDS.iter().for_each(|kind| run(kind, BATCH)());
        return;
    }
    let quick = arguments.contains(&"--quick");
    let words: Vec<&&str> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let (counted, timed) = if quick {
        (BATCH * 30, 50_000)
    } else {
        (BATCH * 300, 500_000)
    };
    let mut lines = Vec::new();
    let mut has_valgrind = true;
    println!("{:<20}{:>14}{:>10}", "kind", "instructions", "ns");
    for kind in &KINDS {
        if !words.is_empty() && !words.iter().any(|word| kind.name.contains(**word)) {
            continue;
        }
        let once = collected(kind, counted).filter(|_| has_valgrind);
        let twice = once.and_then(|_| collected(kind, 2 * counted));
        let instructions = once.zip(twice).map(|(once, twice)| (twice - once) / counted as u64);
        has_valgrind &= instructions.is_some();
        let told = instructions.map_or_else(|| "-".to_owned(), |instructions| instructions.to_string());
        println!("{:<20}{told:>14}{:>10.1}", kind.name, nanoseconds(kind, timed));
        lines.extend(instructions.map(|instructions| format!("instructions {} {instructions}", kind.name)));
    }
    if !has_valgrind {
        println!("valgrind was not found: times only. Instructions need it (`apt install valgrind`).");
    }
    println!();
    lines.iter().for_each(|line| println!("{line}"));
}
