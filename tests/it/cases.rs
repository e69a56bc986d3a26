//! The text cases of answers: `tests/cases/<subject>/NAME.case`, one for each rule or bug, all run by one function.
//!
//! ```text
//! # What it shows, and where it comes from.
//! --- zones/gtm.example.com.toml               a file of the folder that is served (`--- faulty zones/...`: it has a fault)
//! --- windrose.toml                            the settings, if any
//! --- geo/city.mmdb                            a location database, if any (`atlases.rs` has the form)
//! --- query www.gtm.example.com. A +edns       a query; `query.rs` has the options
//! NOERROR qr aa rd                             the response code and exactly the flags that are set
//! answer:                                      records as a set; a section that is not written is empty
//! www.gtm.example.com. 300 IN A 192.0.2.1      data `*` is any data
//! authority one of:                            chance decides between alternatives, parted by `or`; each must turn up
//! additional always one of:                    one of the alternatives, the same every time
//! additional 2 of:                             so many different records of those listed
//! edns: udp=1232 version=0 subnet=192.0.2.0/24/0   no line, no OPT record; a last `*` in a word is anything
//! octets: 0001 8580 ...                         all of it as octets, beside what is above; several lines are one
//! --- raw 0001 0100 ...                        a query as octets; lines below that are indented go on with it, up to a `;`
//! dropped                                      nothing is sent
//! --- down 192.0.2.1 192.0.2.2                 from here on these addresses are down, and no others (in process only)
//! ```
//!
//! Every query runs in process, and through a daemon over UDP and TCP (`+udp`, `+tcp`: over that alone; a response with `tc`
//! over UDP alone). `WINDROSE_CASE=word` runs only the cases whose path has the word.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, panic, thread};

use tempfile::TempDir;
use windrose::answer::{Outcome, Request, ResponseBuffer, Transport, answer};
use windrose::health::{Verdict, Verdicts};
use windrose::image::{Image, Options, Serving};
use windrose::load::load;
use windrose::policy::model::{NodeKind, Steering, Target};
use windrose::policy::tree::Forest;

use crate::allocation;
use crate::atlases::octets_of;
use crate::daemon::Daemon;
use crate::expect::{Expect, Kind};
use crate::portable::{self, Engine, Got};
use crate::query::Query;

/// The threads of a daemon under test, behind which other settings may be put.
const WORKERS: &str = "workers = 1\n";

/// The time in process: that of the cookies in RFC 9018 A.1.
pub(crate) const NOW: u32 = 1_559_731_985;

/// In-process runs of a query whose answer must not change.
const STEADY_DRAWS: u64 = 16;

/// In-process runs of a query that chance decides: enough to see every alternative, if none is rarer than one in a hundred.
const CHANCE_DRAWS: u64 = 2_000;

/// Fewer cases than this, and most of them were lost on the way.
const CASES_MIN: usize = 340;

/// One file.
struct Case {
    path: PathBuf,
    /// Names and texts.
    files: Vec<(String, String)>,
    /// The files that have a fault.
    faulty: Vec<String>,
    /// The addresses that are down, as said last.
    down: Vec<IpAddr>,
    asks: Vec<Ask>,
}

/// A query and what should become of it.
struct Ask {
    /// Where it stands, and its line.
    title: String,
    query: Query,
    expect: Expect,
    /// The addresses that are down meanwhile.
    down: Vec<IpAddr>,
}

#[test]
fn answer_cases_in_process() {
    run(Case::run_in_process);
}

#[test]
fn answer_cases_through_the_daemon() {
    run(Case::run_through_the_daemon);
}

#[test]
fn answer_cases_through_the_portable_engine() {
    run(Case::run_through_the_portable_engine);
}

#[test]
fn answer_cases_through_a_portable_daemon() {
    run(Case::run_through_a_portable_daemon);
}

/// Runs every case, on every core, and reports all that fail.
fn run(check: impl Fn(&Case) -> Vec<String> + Sync) {
    let only = env::var("WINDROSE_CASE").unwrap_or_default();
    let paths = case_files();
    assert!(paths.len() >= CASES_MIN, "only {} cases were found", paths.len());
    let paths: Vec<_> = paths
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(&only))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut faults = Vec::new();
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            match Case::read(path) {
                Ok(case) => faults.extend(check(&case)),
                Err(fault) => faults.push(format!("{}: {fault}", path.display())),
            }
        }
        faults
    };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let mut faults: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    faults.sort();
    assert!(
        faults.is_empty(),
        "{} failures in {} cases:\n\n{}",
        faults.len(),
        paths.len(),
        faults.join("\n")
    );
}

/// The cases of every subject but `check`, which has a notation of its own.
fn case_files() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let entries = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let subjects = entries(&top)
        .into_iter()
        .filter(|path| path.is_dir() && !path.ends_with("check"));
    let mut paths: Vec<_> = subjects
        .flat_map(|subject| entries(&subject))
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .collect();
    paths.sort();
    paths
}

impl Case {
    fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        if !text.starts_with('#') {
            return Err("does not open with what it shows".into());
        }
        let mut case = Case {
            path: path.into(),
            files: Vec::new(),
            faulty: Vec::new(),
            down: Vec::new(),
            asks: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let heads: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("--- ")).collect();
        for (index, &head) in heads.iter().enumerate() {
            let end = heads.get(index + 1).copied().unwrap_or(lines.len());
            let title = lines[head].trim_start_matches("--- ").trim();
            case.part(head + 1, title, &lines[head + 1..end])
                .map_err(|fault| format!("line {}: {fault}", head + 1))?;
        }
        if case.asks.is_empty() {
            return Err("asks nothing".into());
        }
        match case.files.iter_mut().find(|(name, _)| name == "windrose.toml") {
            Some((_, text)) => *text = settings(text),
            None => case.files.push(("windrose.toml".into(), settings(""))),
        }
        Ok(case)
    }

    /// One part: a file, or a query with what is expected of it.
    fn part(&mut self, line: usize, title: &str, lines: &[&str]) -> Result<(), String> {
        let (word, rest) = title.split_once(' ').unwrap_or((title, ""));
        let (query, lines) = match word {
            "query" => (Query::parse(rest, u16::try_from(0x4000 + line).unwrap())?, lines),
            "raw" => {
                let more = lines.iter().take_while(|line| line.starts_with(' ')).count();
                let (octets, lines) = lines.split_at(more);
                let octets: Vec<&str> = octets.iter().map(|line| line.split(';').next().unwrap()).collect();
                (Query::parse_raw(&format!("{rest} {}", octets.join(" ")))?, lines)
            }
            "down" => {
                let addresses: Result<_, _> = rest.split_whitespace().map(str::parse).collect();
                self.down = addresses.map_err(|_| "an address is none")?;
                return Ok(());
            }
            _ => {
                let name = if word == "faulty" { rest } else { title };
                let known = ["windrose.toml", "cookies.secret"].contains(&name);
                if !known && !name.starts_with("zones/") && !name.starts_with("geo/") {
                    return Err(format!("`{title}` is neither a file nor a query"));
                }
                if word == "faulty" {
                    self.faulty.push(name.into());
                }
                self.files.push((name.into(), lines.join("\n") + "\n"));
                return Ok(());
            }
        };
        let title = format!("{}:{line}: {title}", self.name());
        self.asks.push(Ask {
            title,
            query,
            expect: Expect::parse(lines)?,
            down: self.down.clone(),
        });
        Ok(())
    }

    /// Its files in a folder of their own. The daemon of a case listens where nobody else does.
    fn lay_out(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zones")).unwrap();
        fs::create_dir(folder.path().join("geo")).unwrap();
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), octets_of(text)).unwrap();
        }
        folder
    }

    fn run_in_process(&self) -> Vec<String> {
        self.run_compiled("in process", |image, verdicts, ask, transport| {
            ask.check_in_process(&Serving::new(image.clone(), verdicts), transport)
        })
    }

    /// The same through hickory-server's request handler.
    fn run_through_the_portable_engine(&self) -> Vec<String> {
        self.run_compiled("through the portable engine", |image, verdicts, ask, transport| {
            if ask.query.now.is_some() {
                return Ok(()); // Its clock is one for all.
            }
            let serving = || Serving::new(image.clone(), verdicts);
            ask.check_portable(&Engine::new(serving()), &serving(), transport)
        })
    }

    fn run_compiled(
        &self,
        how: &str,
        check: impl Fn(&Arc<Image>, &Verdicts, &Ask, Transport) -> Result<(), String>,
    ) -> Vec<String> {
        let folder = self.lay_out();
        let (image, steering) = match self.compile(folder.path()) {
            Ok(compiled) => compiled,
            Err(fault) => return vec![format!("{}: {fault}", self.name())],
        };
        let mut faults = Vec::new();
        for ask in &self.asks {
            let verdicts = verdicts(&steering, &ask.down);
            for transport in [Transport::Udp, Transport::Tcp] {
                if ask.runs_over(transport)
                    && let Err(fault) = check(&image, &verdicts, ask, transport)
                {
                    faults.push(format!("{} ({transport:?}, {how}): {fault}", ask.title));
                }
            }
        }
        faults
    }

    /// Asks a daemon of its own, once over each transport.
    fn run_through_the_daemon(&self) -> Vec<String> {
        self.run_through(None, |ask, server, transport| {
            let got = match transport {
                Transport::Udp => ask.query.over_udp(server),
                Transport::Tcp => ask.query.over_tcp(server),
            };
            ask.expect.octets_match(got.as_deref())?;
            ask.judge(got.as_deref(), transport).map(|_| ())
        })
    }

    /// Asks one that runs on hickory-server's sockets.
    fn run_through_a_portable_daemon(&self) -> Vec<String> {
        self.run_through(Some("portable"), |ask, server, transport| {
            let got = match transport {
                // It answers datagrams in any order.
                Transport::Udp if ask.expect.rcode().is_some() => Some(ask.query.alone_over_udp(server)),
                Transport::Udp => ask.query.over_udp(server),
                Transport::Tcp => ask.query.over_tcp(server),
            };
            if portable::is_settled_by_hickory(&ask.query.octets) {
                portable::settled_well(&ask.query.octets, got.as_deref())?;
                return portable::left_to_hickory(&ask.title, ask.expect.rcode());
            }
            ask.judge_portable(got.as_deref(), transport).map(|_| ())
        })
    }

    /// Asks a daemon of its own, with this engine if any is named, what can be asked of one.
    fn run_through(
        &self,
        engine: Option<&str>,
        check: impl Fn(&Ask, SocketAddr, Transport) -> Result<(), String>,
    ) -> Vec<String> {
        let engine = engine.map_or(String::new(), |engine| format!("engine = \"{engine}\"\n"));
        let files: Vec<(&str, String)> = self
            .files
            .iter()
            .map(|(name, text)| match name.as_str() {
                "windrose.toml" => (name.as_str(), text.replacen(WORKERS, &format!("{WORKERS}{engine}"), 1)),
                _ => (name.as_str(), text.clone()),
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let Ok(daemon) = panic::catch_unwind(|| Daemon::start(&files)) else {
            return vec![format!("{}: the daemon does not start", self.name())];
        };
        let mut faults = Vec::new();
        for ask in self.asks.iter().filter(|ask| ask.can_be_sent()) {
            for transport in [Transport::Udp, Transport::Tcp] {
                if ask.runs_over(transport)
                    && let Err(fault) = check(ask, daemon.address(), transport)
                {
                    faults.push(format!(
                        "{} ({transport:?}, through the daemon) {engine}: {fault}",
                        ask.title
                    ));
                }
            }
        }
        faults
    }

    /// As a reader of the report would call it.
    fn name(&self) -> String {
        self.path
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap_or(&self.path)
            .display()
            .to_string()
    }

    fn compile(&self, folder: &Path) -> Result<(Arc<Image>, Steering), String> {
        let loaded = load(Some(&folder.join("windrose.toml")));
        let mut at_fault: Vec<String> = Vec::new();
        for fault in loaded.faults.iter().filter(|fault| fault.is_error()) {
            let name = fault
                .path()
                .strip_prefix(folder)
                .unwrap_or(fault.path())
                .display()
                .to_string();
            if !self.faulty.contains(&name) {
                return Err(fault.to_string());
            }
            at_fault.push(name);
        }
        if let Some(name) = self.faulty.iter().find(|name| !at_fault.contains(name)) {
            return Err(format!("{name} should have a fault, and has none"));
        }
        let settings = &loaded.settings;
        let options = Options {
            client_subnet: settings.client_subnet,
            nsid: settings.nsid.clone().into(),
            version: settings.version.clone(),
            cookies: settings.cookies,
            secrets: loaded.cookie_secrets,
            rate_limit: settings.rate_limit.clone(),
            keepalive: 100,
            threads: 0,
        };
        let forest = Forest::new(loaded.steering.clone(), loaded.locations.map);
        let image = Image::compile(&loaded.zones, &loaded.failed, forest, options, [1, 2]);
        Ok((Arc::new(image), loaded.steering))
    }
}

impl Ask {
    fn runs_over(&self, transport: Transport) -> bool {
        match transport {
            Transport::Udp => self.query.udp,
            Transport::Tcp => self.query.tcp && (self.expect.fits_udp() || !self.query.udp),
        }
    }

    /// Whether a daemon can be asked: verdicts are not at hand there, nor its clock, and its clients are on this host.
    fn can_be_sent(&self) -> bool {
        let is_here = |from: IpAddr| from.is_ipv4() && from.is_loopback();
        self.down.is_empty() && self.query.now.is_none() && self.query.from.is_none_or(is_here)
    }

    /// Runs it with many draws: all must be as expected, and chance must reach every alternative.
    fn check_in_process(&self, serving: &Serving, transport: Transport) -> Result<(), String> {
        let chances = self.expect.chances();
        let draws = if chances.is_some() { CHANCE_DRAWS } else { STEADY_DRAWS };
        let mut response = ResponseBuffer::with_capacity(65_535);
        let mut seen = vec![0_u32; chances.map_or(1, |(_, alternatives)| alternatives)];
        for draw in 0..draws {
            let request = Request {
                bytes: &self.query.octets,
                source: self.query.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                transport,
                random: scatter(draw),
                now: self.query.now.unwrap_or(NOW),
            };
            let (outcome, allocations) = allocation::during(|| answer(&request, serving, &mut response));
            if allocations > 0 {
                return Err(format!("answering it allocates {allocations} times"));
            }
            let got = match outcome {
                Outcome::Dropped => None,
                Outcome::Answered(_) => Some(response.as_slice()),
            };
            self.expect.octets_match(got)?;
            seen[self.judge(got, transport)?] += 1;
        }
        match chances {
            Some((Kind::OneOf, _)) if seen.contains(&0) => Err(format!("not every alternative turns up: {seen:?}")),
            Some((Kind::AlwaysOneOf, _)) if seen.iter().filter(|count| **count > 0).count() > 1 => {
                Err(format!("it is not always the same: {seen:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Runs it through the portable engine as often as chance needs to reach every alternative. What is the same every time must be what
    /// `answer()` says.
    fn check_portable(&self, engine: &Engine, serving: &Serving, transport: Transport) -> Result<(), String> {
        let chances = self.expect.chances();
        let draws = if chances.is_some() { CHANCE_DRAWS } else { 1 };
        let mut seen = vec![0_u32; chances.map_or(1, |(_, alternatives)| alternatives)];
        for _ in 0..draws {
            let source = self.query.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let got = match engine.ask(&self.query.octets, source, transport) {
                Got::Hickory => return portable::left_to_hickory(&self.title, self.expect.rcode()),
                Got::Nothing => None,
                Got::Octets(octets) => Some(octets),
            };
            let Some(alternative) = self.judge_portable(got.as_deref(), transport)? else {
                return Ok(());
            };
            seen[alternative] += 1;
            let mut native = ResponseBuffer::with_capacity(65_535);
            let request = Request {
                bytes: &self.query.octets,
                source,
                transport,
                random: 0,
                now: NOW,
            };
            if let Some(octets) = got.filter(|_| self.expect.is_fixed()) {
                answer(&request, serving, &mut native);
                portable::same(native.as_slice(), &octets)?;
            }
        }
        match chances {
            Some((Kind::OneOf, _)) if seen.contains(&0) => Err(format!("not every alternative turns up: {seen:?}")),
            Some((Kind::AlwaysOneOf, _)) if seen.iter().filter(|count| **count > 0).count() > 1 => {
                Err(format!("it is not always the same: {seen:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The same, for what hickory-server wrote; no alternative is met by what was too long only as it writes it.
    fn judge_portable(&self, got: Option<&[u8]>, transport: Transport) -> Result<Option<usize>, String> {
        let judged = self.judge(got, transport);
        match got {
            Some(octets) if transport == Transport::Udp && portable::is_longer(&self.title) => {
                portable::is_cut_well(&self.title, octets, self.query.room, judged.is_ok()).map(|()| None)
            }
            _ => judged.map(Some),
        }
    }

    fn judge(&self, got: Option<&[u8]>, transport: Transport) -> Result<usize, String> {
        if let Some(octets) = got
            && transport == Transport::Udp
            && octets.len() > self.query.room
        {
            return Err(format!(
                "{} octets, where the client has room for {}",
                octets.len(),
                self.query.room
            ));
        }
        self.expect.judge(&self.query.octets, got)
    }
}

/// Verdicts that take some addresses down, wherever they stand, and leave the others unknown.
fn verdicts(steering: &Steering, down: &[IpAddr]) -> Verdicts {
    let mut verdicts = Verdicts::unknown(steering.addresses as usize);
    for node in &steering.nodes {
        let NodeKind::Pool(pool) = &node.kind else { continue };
        for backend in &pool.backends {
            let Target::Addresses { ipv4, ipv6 } = &backend.target else {
                continue;
            };
            let ipv4 = ipv4.iter().map(|(address, id)| (IpAddr::from(*address), *id));
            let ipv6 = ipv6.iter().map(|(address, id)| (IpAddr::from(*address), *id));
            for (_, id) in ipv4.chain(ipv6).filter(|(address, _)| down.contains(address)) {
                verdicts.set(id, Verdict::Down);
            }
        }
    }
    verdicts
}

/// The settings of a case, with addresses that are free and no HTTP.
fn settings(text: &str) -> String {
    let mut text = text.to_owned();
    for (table, line) in [
        ("[server]\n", format!("listen = [\"127.0.0.1:0\"]\n{WORKERS}")),
        ("[control]\n", "listen = \"\"\n".to_owned()),
    ] {
        match text.find(table) {
            Some(at) => text.insert_str(at + table.len(), &line),
            None => text = format!("{table}{line}{text}"),
        }
    }
    text
}

/// Numbers that look like chance, the same in every run (SplitMix64).
fn scatter(draw: u64) -> u64 {
    let mut z = draw.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
