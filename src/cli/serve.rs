//! `windrose serve`: the daemon, in the foreground.
//!
//! Load, bind, answer, announce; then wait for signals. Nothing is announced before everything answers, so whoever reads
//! `ready` may ask.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::interval;

use super::log;
use crate::config::Control;
use crate::control::api::Api;
use crate::control::endpoint::{self, ControlSocket, NoSocket};
use crate::control::metrics::Sources;
use crate::control::prober::Prober;
use crate::control::publisher::Publisher;
use crate::control::reload::{Before, Reloader, build};
use crate::health::Verdicts;
use crate::image::Serving;
use crate::load::{self, Loaded};
use crate::policy::targets::Targets;
use crate::server::counters::Threads;
use crate::server::limit::Limits;
use crate::server::listen::{self, Bound};
use crate::server::stream::Streams;
use crate::server::syscall::give_back_freed_memory;
use crate::server::{Shared, udp};

/// Threads for streams, signals and timers; UDP has its own.
const RUNTIME_THREADS: usize = 2;

/// How often what is served no more is looked at, whether it can be freed.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until a signal says stop.
pub(super) fn run(config: Option<PathBuf>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    serve(config, json, out, err).unwrap_or_else(|faults| {
        for fault in faults {
            let _ = writeln!(err, "error: {fault}");
        }
        ExitCode::FAILURE
    })
}

/// The whole life of the daemon; the errors are those that keep it from starting.
fn serve(
    config: Option<PathBuf>,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Vec<String>> {
    let started = SystemTime::now();
    let told = |what: &'static str| move |error: io::Error| vec![format!("{what}: {error}")];
    let runtime = Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("runtime")
        .enable_all()
        .build()
        .map_err(told("the runtime cannot be started"))?;
    let within = runtime.enter();
    // From here on SIGHUP means to reload, if later, and no more to die.
    let hangup = signal(SignalKind::hangup()).map_err(told("SIGHUP cannot be caught"))?;

    let loaded = load::load(config.as_deref());
    for fault in &loaded.faults {
        let _ = writeln!(err, "{fault}");
    }
    if loaded.unusable {
        return Ok(ExitCode::FAILURE);
    }
    log::start(&loaded.settings.log);
    tell_what_is_missing(&loaded);

    let (settings, zones) = (loaded.settings.clone(), loaded.zones.len());
    let before = Before::of(&loaded);
    // What takes long comes before the sockets: whoever finds them open is answered.
    let (targets, warmup) = (Targets::of(&loaded.steering, &loaded.probes), settings.warmup);
    let threads = Threads::new(settings.listen.len() * listen::workers(&settings), RUNTIME_THREADS);
    let serving = build(loaded, threads.count());
    let publisher = Arc::new(Publisher::new(Serving::new(
        serving.image.clone(),
        &Verdicts::default(),
    )));
    let prober = Prober::start(publisher.clone());
    // Nobody is answered before the first round of probes is in, or the warm-up has passed.
    let served = prober.serve(serving, targets, warmup);
    if served.blocking_recv().is_err() {
        return Err(vec!["the probes cannot be started".to_owned()]);
    }
    give_back_freed_memory();
    let bound = listen::bind(&settings).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let control = ControlSockets::bind(&settings.control).map_err(|fault| vec![fault.to_string()])?;
    let ready = Ready {
        listening: bound.iter().map(|bound| bound.address).collect(),
        zones,
    };
    let mut stop = StopSignals::catch().map_err(told("signals cannot be caught"))?;
    let servers = Servers::start(bound, &publisher.shared(), &threads).map_err(told("serving cannot be started"))?;
    let count = threads.count();
    let reloader = Arc::new(Reloader::new(config, settings, before, count, prober.clone()));
    let sources = Sources {
        publisher: publisher.clone(),
        threads,
        admission: servers.streams.admission(),
        reloader: reloader.clone(),
        started,
    };
    let api = Api::new(prober, sources);
    let control = control.start(&api).map_err(told("the control API cannot be started"))?;
    runtime.spawn(reload_at(hangup, reloader));
    runtime.spawn(sweep(publisher));
    // Nobody may be reading; the daemon serves all the same.
    let _ = ready.announce(json, out);
    tracing::debug!(listening = ?ready.listening, zones, "ready");

    drop(within);
    let status = runtime.block_on(async {
        stop.wait().await;
        tracing::info!("stopping");
        tokio::select! {
            _ = async { tokio::join!(servers.stop(), api.stop()) } => ExitCode::SUCCESS,
            () = stop.wait() => ExitCode::FAILURE,
        }
    });
    // Without waiting for a reload that may be under way.
    runtime.shutdown_background();
    drop(control);
    Ok(status)
}

fn tell_what_is_missing(loaded: &Loaded) {
    for origin in &loaded.failed {
        tracing::error!("the zone {origin} is faulty: SERVFAIL for every name at and below it");
    }
    if loaded.zones.is_empty() && loaded.failed.is_empty() {
        tracing::warn!("no zone in {}: every query is refused", loaded.settings.zones.display());
    }
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

/// Where the control API will be reached.
struct ControlSockets {
    unix: Option<(ControlSocket, UnixListener)>,
    tcp: Option<TcpListener>,
}

impl ControlSockets {
    /// Only a live daemon on the socket is a reason not to start: whatever else keeps the API away, queries are answered without it.
    fn bind(settings: &Control) -> Result<Self, NoSocket> {
        let unix = match ControlSocket::bind(&settings.socket) {
            Ok(bound) => Some(bound),
            Err(fault @ NoSocket::Live(_)) => return Err(fault),
            Err(fault) => {
                tracing::warn!("{fault}");
                None
            }
        };
        let tcp = settings.listen.and_then(|address| match endpoint::bind_tcp(address) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!("{address}: the control API cannot be reached here: {error}");
                None
            }
        });
        Ok(Self { unix, tcp })
    }

    /// Answers on them, as far as there are any. The socket's file stays for as long as what is returned.
    fn start(self, api: &Api) -> io::Result<Option<ControlSocket>> {
        if let Some(listener) = self.tcp {
            tracing::info!("control API on http://{}", listener.local_addr()?);
            api.listen_tcp(listener)?;
        }
        let Some((socket, listener)) = self.unix else {
            return Ok(None);
        };
        api.listen_unix(listener)?;
        Ok(Some(socket))
    }
}

/// Whatever answers queries.
struct Servers {
    datagrams: Vec<JoinHandle<()>>,
    stop_datagrams: Arc<AtomicBool>,
    streams: Streams,
}

impl Servers {
    fn start(bound: Vec<Bound>, shared: &Shared, threads: &Arc<Threads>) -> io::Result<Self> {
        let mut servers = Self {
            datagrams: Vec::new(),
            stop_datagrams: Arc::default(),
            streams: Streams::new(shared.clone(), threads.clone(), Limits::default()),
        };
        for Bound { udp, tcp, .. } in bound {
            servers
                .datagrams
                .extend(udp::spawn(udp, shared, threads, &servers.stop_datagrams)?);
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

/// The signals that end the daemon.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

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
        // How it went is in the log.
        if spawn_blocking(move || drop(reloader.reload_and_log())).await.is_err() {
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
            let _ = spawn_blocking(move || {
                publisher.sweep();
                give_back_freed_memory();
            })
            .await;
        }
    }
}
