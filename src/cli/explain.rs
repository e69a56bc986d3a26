//! `windrose explain`: why a client gets what it gets, from the files, without a daemon.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::answer::explain::{Candidate, Explanation, Node, Question, Rule, deciding_address, explain};
use crate::control::reload::build;
use crate::image::Serving;
use crate::load;
use crate::load::geo::Databases;
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

    /// Draw with this number instead of a random one, so that a draw can be repeated
    #[arg(long, value_name = "N")]
    random: Option<u64>,
}

fn parse_name(text: &str) -> Result<Name, String> {
    Name::parse(text, None).map_err(|error| error.to_string())
}

fn parse_type(text: &str) -> Result<RecordType, String> {
    RecordType::parse(text).ok_or_else(|| "no such record type; others are written as TYPE65280".to_owned())
}

fn parse_client(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("`{address}` is not an IP address"))?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => width,
        Some(length) => length.parse().ok().filter(|length| *length <= width).ok_or(format!(
            "`{length}` is not a prefix length: 0 to {width} for this family"
        ))?,
    };
    Ok((address, length))
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
    let loaded = load::load(config.as_deref());
    for fault in loaded.faults.iter().filter(|fault| fault.is_error()) {
        let _ = writeln!(err, "{fault}");
    }
    if loaded.unusable {
        return ExitCode::FAILURE;
    }
    let (databases, _) = load::load_databases(config.as_deref());
    let serving = build(loaded);
    let mut status = ExitCode::SUCCESS;
    for client in clients {
        let explanation = match explain_one(&args, client, &serving, &databases) {
            Ok(explanation) => explanation,
            Err(fault) => {
                let _ = writeln!(err, "error: {fault}");
                return ExitCode::FAILURE;
            }
        };
        let told = match (json, &args.clients) {
            (true, None) => serde_json::to_string_pretty(&explanation).unwrap_or_default(),
            (true, Some(_)) => serde_json::to_string(&explanation).unwrap_or_default(),
            (false, _) => text(&explanation),
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

fn explain_one(
    args: &ExplainArgs,
    client: Option<(IpAddr, u8)>,
    serving: &Serving,
    databases: &Databases,
) -> Result<Explanation, String> {
    let question = Question {
        name: args.name.clone(),
        rtype: args.rtype,
        client,
        resolver: args
            .resolver
            .or(client.map(|(address, _)| address))
            .unwrap_or(Ipv4Addr::LOCALHOST.into()),
        random: args.random.unwrap_or_else(|| fastrand::u64(..)),
    };
    let sighting = databases
        .look_up(deciding_address(&question, serving))
        .map_err(|error| format!("a location database: {error}"))?;
    explain(&question, serving, &sighting)
        .ok_or_else(|| "the answer cannot be read back; please report this".to_owned())
}

/// For people: what was asked, who answers, every step, the answer.
fn text(explanation: &Explanation) -> String {
    let mut lines = vec![format!(
        "{} {} for {} (from the {}), asked by {}",
        explanation.name, explanation.rtype, explanation.client, explanation.client_from, explanation.resolver
    )];
    let mut line = |word: &str, what: String| lines.push(format!("  {word:<8} {what}"));
    for (word, what) in explanation.location.lines() {
        line(word, what);
    }
    if let Some(zone) = &explanation.zone {
        line("zone", zone.clone());
    }
    if let (Some(owner), Some(found)) = (&explanation.owner, explanation.found) {
        line("owner", format!("{owner} ({found})"));
    }
    if let Some(note) = explanation.note {
        line("note", note.to_owned());
    }
    if let Some(root) = &explanation.root {
        line("root", root.clone());
    }
    if explanation.fell_back {
        line(
            "fallback",
            "nothing under the root is usable: its fallback decides".to_owned(),
        );
    }
    for node in &explanation.steps {
        lines.extend(step(node));
    }
    let mut line = |word: &str, what: String| lines.push(format!("  {word:<8} {what}"));
    if explanation.steps.iter().any(|node| node.by == "draw") {
        line("draw", format!("--random {} repeats it", explanation.random));
    }
    match explanation.scope {
        Some(scope) => line("scope", format!("/{scope}")),
        None => line("scope", "none: no client subnet was sent".to_owned()),
    }
    if let Some(ttl) = explanation.ttl {
        line("ttl", ttl.to_string());
    }
    let flags: String = explanation.flags.iter().map(|flag| format!(" {flag}")).collect();
    line("answer", format!("{}{flags}", explanation.rcode));
    let sections = [&explanation.answer, &explanation.authority, &explanation.additional];
    for (name, section) in ["answer", "authority", "additional"].iter().zip(sections) {
        lines.extend(section.iter().map(|record| format!("    {name:<10} {record}")));
    }
    lines.join("\n")
}

fn step(node: &Node) -> Vec<String> {
    let by = match node.by {
        "order" => "in order",
        "draw" => "by a draw",
        "distance" => "by distance",
        "rules" => "by rules",
        _ => "by the client's subnet",
    };
    let under = match node.under {
        "verdicts" => String::new(),
        under => format!(", verdicts: {under}"),
    };
    let mut lines = vec![format!(
        "  {:<8} {} ({}, {by}{under})",
        node.kind, node.node, node.family
    )];
    if node.rules.is_empty() {
        let width = widest(node.members.iter().map(|member| &member.name));
        lines.extend(node.members.iter().map(|member| member_line(member, width)));
    } else {
        let asked: Vec<String> = node
            .rules
            .iter()
            .map(|rule| format!("{} -> {}", rule.rule, rule.target))
            .collect();
        let width = widest(asked.iter());
        lines.extend(
            node.rules
                .iter()
                .zip(&asked)
                .map(|(rule, asked)| rule_line(rule, asked, width)),
        );
    }
    lines
}

/// The widest column that others are made as wide as: what is wider stands out, and the formatter takes no width above 65,535.
const COLUMN_MAX: usize = 160;

fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    let widest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    widest.min(COLUMN_MAX)
}

fn member_line(member: &Candidate, width: usize) -> String {
    let mark = if member.chosen { "->" } else { "  " };
    let mut facts = String::new();
    if let Some(weight) = member.weight {
        facts += &format!("weight {weight}, ");
    }
    if let Some(distance) = member.distance_km {
        facts += &format!("{distance:.0} km");
        facts += &member
            .bias
            .map_or_else(|| ", ".to_owned(), |bias| format!(" x {bias}, "));
    }
    format!("    {mark} {:<width$}  {facts}{}", member.name, member.why)
}

fn rule_line(rule: &Rule, asked: &str, width: usize) -> String {
    let mark = if rule.chosen { "->" } else { "  " };
    format!("    {mark} {asked:<width$}  {}", rule.why)
}
