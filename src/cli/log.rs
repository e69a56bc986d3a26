//! Log lines, to stderr. Never on the query path.

use std::io::{self, IsTerminal};

use crate::config::{Log, LogFormat};

/// Starts to log as the settings say. A second call changes nothing.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_target(false)
        .with_writer(io::stderr)
        // Nobody may be reading stderr any more; that is no reason to end.
        .log_internal_errors(false);
    let _already = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).try_init(),
    };
}
