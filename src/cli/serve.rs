//! `windrose serve`: the daemon, in the foreground.
//!
//! Load, bind, answer, announce; then wait for signals. Nothing is announced before everything answers, so whoever reads
//! `ready` may ask.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::interval;

use super::log;
use crate::control::publisher::Publisher;
use crate::control::reload::{Reloader, build};
use crate::load::{self, Loaded};
use crate::server::limit::Limits;
use crate::server::listen::{self, Bound};
use crate::server::stream::Streams;
use crate::server::{Shared, udp};

/// Threads for streams, signals and timers; UDP has its own.
const RUNTIME_THREADS: usize = 2;

/// How often what is served no more is looked at, whether it can be freed.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until a signal says stop.
pub(super) fn run(config: Option<PathBuf>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let loaded = load::load(config.as_deref());
    for fault in &loaded.faults {
        let _ = writeln!(err, "{fault}");
    }
    if loaded.unusable {
        return ExitCode::FAILURE;
    }
    log::start(&loaded.settings.log);
    tell_what_is_missing(&loaded);
    match serve(config, loaded, json, out) {
        Ok(status) => status,
        Err(faults) => {
            for fault in faults {
                let _ = writeln!(err, "error: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

fn tell_what_is_missing(loaded: &Loaded) {
    for origin in &loaded.failed {
        tracing::error!("the zone {origin} is faulty: SERVFAIL for every name at and below it");
    }
    if loaded.zones.is_empty() && loaded.failed.is_empty() {
        tracing::warn!("no zone in {}: every query is refused", loaded.settings.zones.display());
    }
}

/// From what was loaded to the end of the daemon; the faults are those that keep it from starting.
fn serve(config: Option<PathBuf>, loaded: Loaded, json: bool, out: &mut dyn Write) -> Result<ExitCode, Vec<String>> {
    let told = |what: &'static str| move |error: io::Error| vec![format!("{what}: {error}")];
    let runtime = Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("runtime")
        .enable_all()
        .build()
        .map_err(told("the runtime cannot be started"))?;
    let bound =
        listen::bind(&loaded.settings).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let ready = Ready {
        listening: bound.iter().map(|bound| bound.address).collect(),
        zones: loaded.zones.len(),
    };
    let settings = loaded.settings.clone();
    let publisher = Arc::new(Publisher::new(build(loaded)));
    let reloader = Arc::new(Reloader::new(config, settings, publisher.clone()));

    let status = runtime.block_on(async {
        let mut signals = Signals::catch().map_err(told("signals cannot be caught"))?;
        let servers = Servers::start(bound, &publisher.shared()).map_err(told("serving cannot be started"))?;
        tokio::spawn(reload_at(signals.hangup, reloader));
        tokio::spawn(sweep(publisher));
        // Nobody may be reading; the daemon serves all the same.
        let _ = ready.announce(json, out);
        tracing::debug!(listening = ?ready.listening, zones = ready.zones, "ready");

        signals.stop.wait().await;
        tracing::info!("stopping");
        Ok(tokio::select! {
            () = servers.stop() => ExitCode::SUCCESS,
            () = signals.stop.wait() => ExitCode::FAILURE,
        })
    });
    // Without waiting for a reload that may be under way.
    runtime.shutdown_background();
    status
}

/// What is printed once everything answers.
#[derive(Debug, Serialize)]
struct Ready {
    listening: Vec<SocketAddr>,
    zones: usize,
}

impl Ready {
    fn announce(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        if json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
        } else {
            for address in &self.listening {
                writeln!(out, "listening on {address} (UDP and TCP)")?;
            }
            let zones = if self.zones == 1 { "zone" } else { "zones" };
            writeln!(out, "ready: {} {zones}", self.zones)?;
        }
        out.flush()
    }
}

/// Whatever answers queries.
struct Servers {
    datagrams: Vec<JoinHandle<()>>,
    stop_datagrams: Arc<AtomicBool>,
    streams: Streams,
}

impl Servers {
    fn start(bound: Vec<Bound>, shared: &Shared) -> io::Result<Self> {
        let mut servers = Self {
            datagrams: Vec::new(),
            stop_datagrams: Arc::default(),
            streams: Streams::new(shared.clone(), Limits::default()),
        };
        for Bound { udp, tcp, .. } in bound {
            servers
                .datagrams
                .extend(udp::spawn(udp, shared, &servers.stop_datagrams)?);
            servers.streams.listen(tcp)?;
        }
        Ok(servers)
    }

    /// Answers what has arrived and ends.
    async fn stop(self) {
        self.stop_datagrams.store(true, Ordering::Relaxed);
        let datagrams = spawn_blocking(|| self.datagrams.into_iter().for_each(|thread| drop(thread.join())));
        self.streams.stop().await;
        let _ = datagrams.await;
    }
}

/// The signals that mean something to the daemon.
struct Signals {
    hangup: Signal,
    stop: StopSignals,
}

struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let stop = StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            stop,
        })
    }
}

impl StopSignals {
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// One reload for every SIGHUP; those that come during one are one more after it.
async fn reload_at(mut hangup: Signal, reloader: Arc<Reloader>) {
    while hangup.recv().await.is_some() {
        let reloader = reloader.clone();
        if spawn_blocking(move || reloader.reload_and_log()).await.is_err() {
            tracing::error!("reload failed, everything stays as it was");
        }
    }
}

async fn sweep(publisher: Arc<Publisher>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        if publisher.has_retired() {
            let publisher = publisher.clone();
            let _ = spawn_blocking(move || publisher.sweep()).await;
        }
    }
}
