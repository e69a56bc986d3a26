//! `windrose demo`: a director to play with, with a built-in zone, location table and three live backends on loopback.
//!
//! It shows itself before anybody has `dig` at hand: it asks its own sockets as clients in six cities, and again whenever a verdict
//! changes. It needs no file, no root and no terminal.

mod backends;
mod folder;
mod tour;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use self::folder::{Folder, ORIGIN};
use self::tour::{CLIENTS, Row};
use super::daemon::{self, StopSignals};
use super::log;
use crate::config::{DEFAULT_PORT, Settings};
use crate::control::director::{Director, NoStart};
use crate::control::endpoint;
use crate::control::prober::{Snapshot, TargetSnapshot};
use crate::health::Verdict;
use crate::load::geo::Databases;
use crate::load::{self, Loaded};
use crate::server::listen;

/// Where a free port for DNS is looked for.
const PORTS: RangeInclusive<u16> = DEFAULT_PORT..=DEFAULT_PORT + 99;

/// How often a port that was free and is taken after all is given up for another.
const ATTEMPTS_MAX: usize = 20;

/// Runs until a signal says stop, or until nobody reads what it prints.
pub(super) fn run(config: Option<&Path>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    if config.is_some() {
        let _ = writeln!(
            err,
            "error: the demo brings its own settings; `windrose serve` takes --config"
        );
        return ExitCode::from(2);
    }
    match demo(json, out, err) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ = writeln!(err, "error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn demo(json: bool, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), String> {
    let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let runtime = daemon::runtime().map_err(told("the runtime cannot be started"))?;
    let within = runtime.enter();
    let mut stop = StopSignals::catch().map_err(told("signals cannot be caught"))?;

    let backends = backends::bind(&backends::SITES).map_err(told("the backends find no port"))?;
    let sites: Vec<Site> = backends
        .iter()
        .map(|backend| Site {
            city: backend.city,
            address: backend.address,
        })
        .collect();
    let folder = Folder::write(&backends).map_err(told("no temporary folder"))?;
    for backend in backends {
        backend.start().map_err(told("a backend cannot be started"))?;
    }
    let finished = runtime.block_on(async {
        let started = tokio::select! {
            started = start(&folder, err) => started?,
            () = stop.wait() => return Ok(()),
        };
        let (director, databases) = started;
        let scene = Scene {
            server: director.listening().first().copied().ok_or("no address is served")?,
            director: &director,
            databases,
            sites,
            config: &folder.config(),
            json,
        };
        let told = scene.play(&mut stop, out).await;
        tokio::select! {
            () = director.stop() => {}
            () = stop.wait() => {}
        }
        told
    });
    drop(within);
    runtime.shutdown_background();
    finished
}

/// Starts the director on the first port that is free. Another program may take it before it is bound; then the next one is tried.
async fn start(folder: &Folder, err: &mut dyn Write) -> Result<(Director, Databases), String> {
    let mut attempts = ATTEMPTS_MAX;
    loop {
        let written = folder.write_settings(free_port(), free_control_port());
        written.map_err(|error| format!("the temporary folder: {error}"))?;
        let config = folder.config();
        let loaded = load::load(Some(&config));
        tell_faults(&loaded, err)?;
        log::start(&loaded.settings.log);
        attempts -= 1;
        match Director::start(Some(config.clone()), loaded).await {
            Ok(director) => return Ok((director, load::load_databases(Some(&config)).0)),
            Err(NoStart::Unbound(_)) if attempts > 0 => {}
            Err(fault) => return Err(fault.to_string()),
        }
    }
}

/// The demo's own files have no fault unless somebody has built it with one.
fn tell_faults(loaded: &Loaded, err: &mut dyn Write) -> Result<(), String> {
    for fault in &loaded.faults {
        let _ = writeln!(err, "{fault}");
    }
    match loaded.unusable || !loaded.failed.is_empty() {
        true => Err("the built-in zone is faulty; please report this".to_owned()),
        false => Ok(()),
    }
}

/// Where to serve: the default port, or the next one that is free for UDP and TCP; any if none is.
fn free_port() -> SocketAddr {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let is_free = |address: &SocketAddr| {
        let settings = Settings {
            listen: vec![*address],
            listen_is_default: false,
            ..Settings::default()
        };
        listen::try_bind(&settings).is_ok()
    };
    PORTS.map(at).find(is_free).unwrap_or(at(0))
}

/// The default, or any free one.
fn free_control_port() -> SocketAddr {
    let default = Settings::default().control.listen;
    default
        .filter(|address| endpoint::bind_tcp(*address).is_ok())
        .unwrap_or((Ipv4Addr::LOCALHOST, 0).into())
}

/// A backend.
#[derive(Debug, Clone, Serialize)]
struct Site {
    city: &'static str,
    address: SocketAddr,
}

/// All that the demo tells of.
struct Scene<'a> {
    server: SocketAddr,
    director: &'a Director,
    databases: Databases,
    sites: Vec<Site>,
    config: &'a Path,
    json: bool,
}

/// What `--json` prints, a document a line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    /// Everything answers.
    Ready {
        listening: SocketAddr,
        control: Option<SocketAddr>,
        config: &'a Path,
        backends: &'a [Site],
        answers: &'a [Row],
    },
    /// A verdict has changed.
    Verdict {
        backend: &'a str,
        address: SocketAddr,
        verdict: &'a str,
        reason: &'a str,
        answers: &'a [Row],
    },
}

/// Verdicts by the address and port of their target.
type Believed = BTreeMap<SocketAddr, Verdict>;

impl Scene<'_> {
    /// Tells what there is and then every change, until the stop.
    async fn play(&self, stop: &mut StopSignals, out: &mut dyn Write) -> Result<(), String> {
        let mut published = self.director.published();
        let known = self.snapshot().await?;
        let mut rows = self.ask(&known).await?;
        let mut believed = believed(&known);
        if self.open(&rows, out).is_err() {
            return Ok(());
        }
        loop {
            tokio::select! {
                () = stop.wait() => return Ok(()),
                _ = published.changed() => {}
            }
            let known = self.snapshot().await?;
            let now = self::believed(&known);
            let changed = known.targets.iter().filter(|target| {
                let at = address(target);
                believed.get(&at) != now.get(&at)
            });
            let before = std::mem::replace(&mut rows, self.ask(&known).await?);
            for target in changed {
                // Nobody reads any more.
                if self.tell_change(target, &before, &rows, out).is_err() {
                    return Ok(());
                }
            }
            believed = now;
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        let snapshot = self.director.prober().snapshot().await;
        snapshot.ok_or_else(|| "the probes have ended".to_owned())
    }

    async fn ask(&self, known: &Snapshot) -> Result<Vec<Row>, String> {
        tour::ask_all(self.server, &format!("www.{ORIGIN}"), known, &self.databases).await
    }

    fn open(&self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        if self.json {
            let ready = Event::Ready {
                listening: self.server,
                control: self.director.control(),
                config: self.config,
                backends: &self.sites,
                answers: rows,
            };
            writeln!(out, "{}", serde_json::to_string(&ready)?)?;
            return out.flush();
        }
        writeln!(
            out,
            "windrose demo: a director on {}, and three backends:\n",
            self.server
        )?;
        for Site { city, address } in &self.sites {
            writeln!(out, "  {city:<9}  http://{address}")?;
        }
        writeln!(
            out,
            "\nwww.{ORIGIN}, asked over UDP as clients in six cities (EDNS Client Subnet):\n"
        )?;
        table(rows, rows, out)?;
        self.tell_what_to_try(out)?;
        out.flush()
    }

    fn tell_what_to_try(&self, out: &mut dyn Write) -> io::Result<()> {
        let dig = format!(
            "dig @{} -p {} +short www.{ORIGIN}",
            self.server.ip(),
            self.server.port()
        );
        writeln!(out, "\nAsk it yourself, from another terminal:\n")?;
        for (client, city) in CLIENTS.iter().step_by(2) {
            writeln!(out, "  {dig} +subnet={client:<16} # {city}")?;
        }
        writeln!(out, "  {dig} {:<24} # loopback has no location: the order written", "")?;
        let program = std::env::current_exe().unwrap_or_else(|_| "windrose".into());
        let windrose = format!("{} --config {}", program.display(), self.config.display());
        writeln!(out, "\nSee why, and what is known:\n")?;
        writeln!(out, "  {windrose} explain www.{ORIGIN} --client 198.51.100.7 --live")?;
        writeln!(out, "  {windrose} status")?;
        if let Some(control) = self.director.control() {
            writeln!(out, "  curl http://{control}/v1/status")?;
            writeln!(out, "  curl http://{control}/metrics")?;
        }
        if let Some(Site { city, address }) = self.sites.get(1) {
            writeln!(
                out,
                "\nFail a backend, and watch the clients of {city} move (1 to 2 seconds), and come back:\n"
            )?;
            writeln!(out, "  curl http://{address}/fail")?;
            writeln!(out, "  curl http://{address}/heal")?;
        }
        writeln!(out, "\nCtrl-C ends it. Every change of a verdict is told here.")
    }

    fn tell_change(
        &self,
        target: &TargetSnapshot,
        before: &[Row],
        rows: &[Row],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let address = address(target);
        let city = self
            .sites
            .iter()
            .find(|site| site.address == address)
            .map_or("a backend", |site| site.city);
        let verdict = target.tracker.verdict.word();
        let reason = target.tracker.last.as_ref().map_or("", |(_, outcome)| &outcome.reason);
        if self.json {
            let change = Event::Verdict {
                backend: city,
                address,
                verdict,
                reason,
                answers: rows,
            };
            writeln!(out, "{}", serde_json::to_string(&change)?)?;
        } else {
            writeln!(out, "\n{city} (http://{address}) is {verdict}: {reason}\n")?;
            table(rows, before, out)?;
        }
        out.flush()
    }
}

fn address(target: &TargetSnapshot) -> SocketAddr {
    (target.key.address, target.key.probe.port).into()
}

fn believed(known: &Snapshot) -> Believed {
    let verdict = |target: &TargetSnapshot| (address(target), target.tracker.verdict);
    known.targets.iter().map(verdict).collect()
}

/// The answers; those that are not as they were are marked.
fn table(rows: &[Row], before: &[Row], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "    {:<17}  {:<9}  {:<9}  why", "client", "city", "answer")?;
    for (row, old) in rows.iter().zip(before) {
        let is_same = (&row.answer, &row.site) == (&old.answer, &old.site);
        let mark = if is_same { ' ' } else { '>' };
        let Row {
            client,
            city,
            answer,
            why,
            ..
        } = row;
        writeln!(out, "  {mark} {client:<17}  {city:<9}  {answer:<9}  {why}")?;
    }
    Ok(())
}
