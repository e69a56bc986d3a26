//! `windrose status`: what the daemon knows of its pools and of what it probes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use hyper::Method;

use super::client;
use crate::control::status::{PoolStatus, Status, TargetStatus};

/// Prints it, for people or as the document.
pub(super) fn run(config: Option<&Path>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let answer = match client::ask(config, Method::GET, "/v1/status") {
        Ok(answer) => answer,
        Err(unreachable) => return unreachable.tell(err),
    };
    let status: Status = match answer.document() {
        Ok(status) => status,
        Err(fault) => {
            let _ = writeln!(err, "error: {fault}");
            return ExitCode::FAILURE;
        }
    };
    // Who closes a pipe early does not want to know.
    let _ = match json {
        true => answer.write_json(out),
        false => write_text(&status, out),
    };
    ExitCode::SUCCESS
}

fn write_text(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let zones = if status.zones == 1 { "zone" } else { "zones" };
    writeln!(out, "windrose {}: {} {zones}", status.version, status.zones)?;
    for origin in &status.failed {
        writeln!(out, "the zone {origin} could not be loaded")?;
    }
    let mut pools = vec![
        ["POOL", "IPV4", "IPV6", "ADDRESS", "VERDICT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    pools.extend(status.pools.iter().flat_map(pool_rows));
    let mut targets = vec![
        [
            "PROBE",
            "TARGET",
            "VERDICT",
            "SINCE",
            "STREAK",
            "LAST RESULT",
            "TOOK",
            "NEXT",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    targets.extend(status.targets.iter().map(target_row));
    for table in [pools, targets].into_iter().filter(|table| table.len() > 1) {
        writeln!(out)?;
        write_table(&table, out)?;
    }
    Ok(())
}

/// A line for the pool, and one for each address or host.
fn pool_rows(pool: &PoolStatus) -> Vec<Vec<String>> {
    let word = |usable| match usable {
        Some(true) => "usable",
        Some(false) => "unusable",
        None => "-",
    };
    let (ipv4, ipv6) = (word(pool.usable.ipv4), word(pool.usable.ipv6));
    let mut rows = vec![vec![pool.name.clone(), ipv4.to_owned(), ipv6.to_owned()]];
    for backend in &pool.backends {
        let name = backend.name.strip_prefix(&format!("{}/", pool.name));
        let mut name = format!("  {}", name.unwrap_or(&backend.name));
        if backend.weight != 1 {
            name += &format!(" (weight {})", backend.weight);
        }
        let mut row = |what: String, verdict: &str| {
            // Only the first line of a backend has its name.
            let name = std::mem::take(&mut name);
            rows.push(vec![name, String::new(), String::new(), what, verdict.to_owned()]);
        };
        if let Some(host) = &backend.host {
            row(host.clone(), "-");
        }
        for address in &backend.addresses {
            row(address.address.to_string(), &address.verdict);
        }
    }
    rows
}

fn target_row(target: &TargetStatus) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let last = target.last.as_ref();
    vec![
        target.probes.join(" "),
        format!(
            "{} {}",
            target.kind,
            std::net::SocketAddr::new(target.address, target.port)
        ),
        target.verdict.clone(),
        or_dash(target.since_seconds.map(|seconds| format!("{} ago", rough(seconds)))),
        target.streak.to_string(),
        or_dash(last.map(|last| {
            let ago = rough(last.ago_seconds);
            let word = if last.passed { "passed" } else { "failed" };
            format!("{word}: {}, {ago} ago", last.reason)
        })),
        or_dash(last.map(|last| format!("{:.1} ms", last.latency_ms))),
        or_dash(target.next_seconds.map(|seconds| format!("in {}", rough(seconds)))),
    ]
}

/// A length of time in the one or two units that matter.
fn rough(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

/// Columns as wide as they need; rows may be short.
fn write_table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{AddressStatus, BackendStatus, ResultStatus, UsableStatus};

    #[test]
    fn tables_are_for_people() {
        let address = |text: &str, verdict: &str| AddressStatus {
            address: text.parse().unwrap(),
            verdict: verdict.to_owned(),
        };
        let backend = |name: &str, weight, addresses| BackendStatus {
            name: format!("example.com/web/{name}"),
            weight,
            host: None,
            addresses,
        };
        let target = |verdict: &str, since_seconds, last| TargetStatus {
            probes: vec!["example.com/http".to_owned()],
            kind: "http".to_owned(),
            address: "192.0.2.1".parse().unwrap(),
            port: 80,
            verdict: verdict.to_owned(),
            since: None,
            since_seconds,
            streak: 3,
            last,
            next_seconds: Some(0.25),
        };
        let last = ResultStatus {
            passed: false,
            reason: "503".to_owned(),
            latency_ms: 1.25,
            at: String::new(),
            ago_seconds: 12.7,
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            at: String::new(),
            zones: 1,
            failed: vec!["example.net.".to_owned()],
            pools: vec![PoolStatus {
                name: "example.com/web".to_owned(),
                usable: UsableStatus {
                    ipv4: Some(false),
                    ipv6: None,
                },
                probes: Vec::new(),
                backends: vec![
                    backend("a", 1, vec![address("192.0.2.1", "down"), address("192.0.2.3", "up")]),
                    backend("b", 20, vec![address("192.0.2.2", "unknown")]),
                ],
            }],
            targets: vec![target("down", Some(3_725.0), Some(last)), target("unknown", None, None)],
        };
        let mut out = Vec::new();
        write_text(&status, &mut out).unwrap();
        let expected = "\
windrose 1.2.3: 1 zone
the zone example.net. could not be loaded

POOL             IPV4      IPV6  ADDRESS    VERDICT
example.com/web  unusable  -
  a                              192.0.2.1  down
                                 192.0.2.3  up
  b (weight 20)                  192.0.2.2  unknown

PROBE             TARGET             VERDICT  SINCE          STREAK  LAST RESULT            TOOK    NEXT
example.com/http  http 192.0.2.1:80  down     1 h 2 min ago  3       failed: 503, 12 s ago  1.2 ms  in 0.2 s
example.com/http  http 192.0.2.1:80  unknown  -              3       -                      -       in 0.2 s
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lengths_of_time_are_rough() {
        let told = [0.04, 9.96, 61.0, 90_000.0].map(rough);
        assert_eq!(told, ["0.0 s", "10.0 s", "1 min 1 s", "1 d 1 h"]);
    }
}
