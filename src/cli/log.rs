//! Log lines, to stderr. Never on the query path.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Whose lines are for their own developers: hickory-server has two for each query, and others that anybody can cause.
const SILENT: [&str; 3] = ["hickory_server", "hickory_net", "hickory_proto"];

/// Starts to log as the settings say. A second call changes nothing.
pub(super) fn start(log: &Log) {
    let filter = Targets::new()
        .with_default(log.level)
        .with_targets(SILENT.map(|target| (target, LevelFilter::OFF)));
    let lines = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_target(false)
        .with_writer(io::stderr)
        // Nobody may be reading stderr any more; that is no reason to end.
        .log_internal_errors(false);
    let _already = match log.format {
        LogFormat::Text => lines
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .with(filter)
            .try_init(),
        LogFormat::Json => lines
            .with_ansi(false)
            .json()
            .flatten_event(true)
            .finish()
            .with(filter)
            .try_init(),
    };
}
