//! `windrose explain`: why a client gets what it gets, from the files, or with `--live` from the daemon.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::client::{self, Unreachable};
use crate::answer::explain::Question;
use crate::control::explain::{explain_one, parse_client, parse_name, parse_type, question};
use crate::control::reload::build;
use crate::health::Verdicts;
use crate::image::Serving;
use crate::load;
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// What `explain` takes.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The name asked for; absolute, its final dot may be left out
    #[arg(value_parser = parse_name)]
    name: Name,

    /// The type asked for
    #[arg(default_value = "A", value_name = "TYPE", value_parser = parse_type)]
    rtype: RecordType,

    /// The client, and how many bits of its address its resolver tells (EDNS Client Subnet) [default: all of them]
    #[arg(long, value_name = "IP[/LEN]", value_parser = parse_client, required_unless_present_any = ["clients", "resolver"])]
    client: Option<(IpAddr, u8)>,

    /// Explain for each client of this file, one IP[/LEN] a line (`-`: standard input); with --json one document a line
    #[arg(long, value_name = "FILE", conflicts_with = "client")]
    clients: Option<PathBuf>,

    /// The resolver that asks [default: the client itself]
    #[arg(long, value_name = "IP")]
    resolver: Option<IpAddr>,

    /// Ask the daemon instead of the files: what it serves, under the verdicts in force
    #[arg(long)]
    live: bool,

    /// Draw with this number instead of a random one, so that a draw can be repeated
    #[arg(long, value_name = "N")]
    random: Option<u64>,
}

impl ExplainArgs {
    fn question(&self, client: Option<(IpAddr, u8)>) -> Question {
        question(self.name.clone(), self.rtype, client, self.resolver, self.random)
    }

    /// The same as a request.
    fn target(&self, client: Option<(IpAddr, u8)>) -> String {
        let mut target = format!(
            "/v1/explain?name={}&type={}",
            escaped(&self.name.to_string()),
            escaped(&self.rtype.to_string())
        );
        if let Some((address, length)) = client {
            target += &format!("&client={}", escaped(&format!("{address}/{length}")));
        }
        if let Some(resolver) = self.resolver {
            target += &format!("&resolver={}", escaped(&resolver.to_string()));
        }
        if let Some(random) = self.random {
            target += &format!("&random={random}");
        }
        target
    }
}

/// For a query of HTTP: percent-encoded, but for what is never special (RFC 3986 2.3).
fn escaped(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

/// What is read of the daemon's answer.
#[derive(Debug, Deserialize)]
struct Shown {
    rcode: String,
    shown: String,
}

/// Has the daemon explain, for each client.
fn live(
    config: Option<&Path>,
    json: bool,
    args: &ExplainArgs,
    clients: &[Option<(IpAddr, u8)>],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Unreachable> {
    let mut status = ExitCode::SUCCESS;
    for client in clients {
        let answer = client::ask(config, Method::GET, &args.target(*client))?;
        let shown: Shown = match answer.document() {
            Ok(shown) => shown,
            Err(fault) => {
                let _ = writeln!(err, "error: {fault}");
                return Ok(ExitCode::from(if answer.status == StatusCode::BAD_REQUEST {
                    WRONG_USE
                } else {
                    1
                }));
            }
        };
        let told = match json {
            true => answer.write_json(out),
            false => writeln!(out, "{}", shown.shown),
        };
        if told.is_err() {
            // Who closes a pipe early does not want to know.
            break;
        }
        if shown.rcode != "NOERROR" {
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

/// The status of wrong use.
const WRONG_USE: u8 = 2;

/// The clients of a file, one a line; empty lines are passed over.
fn read_clients(path: &Path) -> Result<Vec<(IpAddr, u8)>, String> {
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| parse_client(line).map_err(|fault| format!("{}:{at}: {fault}", path.display())))
        .collect()
}

/// Explains from the files, for one client or for each of a list. Ends with 1 if no zone here has the name, or the name does not exist.
pub(super) fn run(
    config: Option<PathBuf>,
    json: bool,
    args: ExplainArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let clients = match &args.clients {
        None => vec![args.client],
        Some(path) => match read_clients(path) {
            Ok(clients) => clients.into_iter().map(Some).collect(),
            Err(fault) => {
                let _ = writeln!(err, "error: {fault}");
                return ExitCode::from(WRONG_USE);
            }
        },
    };
    if args.live {
        return live(config.as_deref(), json, &args, &clients, out, err).unwrap_or_else(|fault| fault.tell(err));
    }
    let loaded = load::load(config.as_deref());
    for fault in loaded.faults.iter().filter(|fault| fault.is_error()) {
        let _ = writeln!(err, "{fault}");
    }
    if loaded.unusable {
        return ExitCode::FAILURE;
    }
    let (databases, _) = load::load_databases(config.as_deref());
    // Nothing is known of any backend: every one is taken to be healthy.
    let serving = Serving::new(build(loaded, 0), &Verdicts::default());
    let mut status = ExitCode::SUCCESS;
    for client in clients {
        let explanation = match explain_one(&args.question(client), &serving, &databases) {
            Ok(explanation) => explanation,
            Err(fault) => {
                let _ = writeln!(err, "error: {fault}");
                return ExitCode::FAILURE;
            }
        };
        let told = match (json, &args.clients) {
            (true, None) => serde_json::to_string_pretty(&explanation).unwrap_or_default(),
            (true, Some(_)) => serde_json::to_string(&explanation).unwrap_or_default(),
            (false, _) => explanation.to_string(),
        };
        if writeln!(out, "{}", told.trim_end()).is_err() {
            // Who closes a pipe early does not want to know.
            break;
        }
        if explanation.rcode != "NOERROR" {
            status = ExitCode::FAILURE;
        }
    }
    status
}
