//! `windrose check`: loads everything as `serve` would, and tells every fault.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::diagnostic::Fault;
use crate::load::{Loaded, load};
use crate::policy::model::NodeKind;

/// Prints faults to `err` and a summary to `out`, or with `json` one document to `out`. Fails if there is an error; warnings
/// alone are none.
pub(super) fn run(config: Option<&Path>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let loaded = load(config);
    let report = Report::new(&loaded);
    // Who closes a pipe early does not want to know.
    let _ = if json {
        report.write_json(out)
    } else {
        report.write_text(&loaded, out, err)
    };
    if report.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What is printed, as the JSON document has it.
#[derive(Debug, Serialize)]
struct Report {
    zones: usize,
    owners: usize,
    pools: usize,
    policies: usize,
    errors: usize,
    warnings: usize,
    faults: Vec<Fault>,
}

impl Report {
    fn new(loaded: &Loaded) -> Self {
        let is_pool = |kind: &NodeKind| matches!(kind, NodeKind::Pool(_));
        let pools = loaded.steering.nodes.iter().filter(|node| is_pool(&node.kind)).count();
        let errors = loaded.faults.iter().filter(|fault| fault.is_error()).count();
        Self {
            zones: loaded.zones.len(),
            owners: loaded.zones.iter().map(|zone| zone.owners.len()).sum(),
            pools,
            policies: loaded.steering.nodes.len() - pools,
            errors,
            warnings: loaded.faults.len() - errors,
            faults: loaded.faults.iter().map(Fault::from).collect(),
        }
    }

    fn write_json(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}", serde_json::to_string(self)?)
    }

    fn write_text(&self, loaded: &Loaded, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<()> {
        for fault in &loaded.faults {
            writeln!(err, "{fault}")?;
        }
        let faults = match (self.errors, self.warnings) {
            (0, 0) => "no faults".to_owned(),
            (0, warnings) => format!("no faults, {}", count(warnings, "warning", "warnings")),
            (errors, 0) => return writeln!(out, "{}", count(errors, "fault", "faults")),
            (errors, warnings) => {
                let warnings = count(warnings, "warning", "warnings");
                return writeln!(out, "{}, {warnings}", count(errors, "fault", "faults"));
            }
        };
        writeln!(
            out,
            "{}, {}, {}, {}: {faults}",
            count(self.zones, "zone", "zones"),
            count(self.owners, "owner", "owners"),
            count(self.pools, "pool", "pools"),
            count(self.policies, "policy", "policies"),
        )
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = r#"
[records]
"@".NS = "ns1.example.net."
www.steer = "web"
[pools.web]
backends = ["192.0.2.1"]
"#;

    /// Whether the check of a zone fails, and what it prints on stdout and on stderr.
    fn check(zone: &str, json: bool) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        std::fs::write(folder.path().join("zones/example.com.toml"), zone).unwrap();
        let config = folder.path().join("windrose.toml");
        std::fs::write(&config, "").unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = run(Some(&config), json, &mut out, &mut err);
        let text = |octets| {
            let prefix = format!("{}/", folder.path().display());
            String::from_utf8(octets).unwrap().replace(&prefix, "")
        };
        let fails = format!("{status:?}") == format!("{:?}", ExitCode::FAILURE);
        (fails, text(out), text(err))
    }

    #[test]
    fn sums_up_what_is_good() {
        let summary = "1 zone, 2 owners, 1 pool, 0 policies: no faults\n";
        assert_eq!(check(ZONE, false), (false, summary.into(), String::new()));
    }

    #[test]
    fn tells_what_is_not() {
        let (fails, out, err) = check(&ZONE.replace("\"web\"", "\"wbe\""), false);
        assert_eq!((fails, out.as_str()), (true, "1 fault\n"));
        assert_eq!(
            err,
            "zones/example.com.toml:4:13: error: no pool or policy is called `wbe`\n 4 | www.steer = \"wbe\"\n   |             \
             ^^^^^\n   = help: did you mean `web`?\n"
        );
    }

    #[test]
    fn json_is_one_document_with_both() {
        let (fails, out, err) = check(&format!("{ZONE}[pools.b]\nbackends = [\"192.0.2.2\"]\n"), true);
        assert_eq!((fails, err.as_str()), (false, ""));
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "zones": 1, "owners": 2, "pools": 2, "policies": 0, "errors": 0, "warnings": 1,
                "faults": [{
                    "file": "zones/example.com.toml", "line": 7, "column": 8, "severity": "warning",
                    "message": "nothing uses the pool `b`", "hint": null,
                }],
            })
        );
    }
}
