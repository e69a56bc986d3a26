//! `windrose serve`: the daemon, in the foreground.
//!
//! Load, bind, answer, announce; then wait for signals. Nothing is announced before everything answers, so whoever reads
//! `ready` may ask.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use super::daemon::{self, StopSignals};
use super::log;
use crate::control::director::Director;
use crate::control::reload::Reloader;
use crate::load::{self, Loaded};

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
    let told = |what: &'static str| move |error: io::Error| vec![format!("{what}: {error}")];
    let runtime = daemon::runtime().map_err(told("the runtime cannot be started"))?;
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

    let zones = loaded.zones.len();
    let director = runtime
        .block_on(Director::start(config, loaded))
        .map_err(|fault| fault.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
    let ready = Ready {
        listening: director.listening().to_vec(),
        zones,
    };
    let mut stop = StopSignals::catch().map_err(told("signals cannot be caught"))?;
    runtime.spawn(reload_at(hangup, director.reloader()));
    // Nobody may be reading; the daemon serves all the same.
    let _ = ready.announce(json, out);
    tracing::debug!(listening = ?ready.listening, zones, "ready");

    drop(within);
    let status = runtime.block_on(async {
        stop.wait().await;
        tracing::info!("stopping");
        tokio::select! {
            () = director.stop() => ExitCode::SUCCESS,
            () = stop.wait() => ExitCode::FAILURE,
        }
    });
    // Without waiting for a reload that may be under way.
    runtime.shutdown_background();
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
