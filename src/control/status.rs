//! What `GET /v1/status` and `windrose status --json` tell: every target, pool and backend of what is served, at one moment.
//!
//! Lengths of time are seconds with milliseconds; moments are RFC 3339 in UTC, worked out from the lengths by the clock of now, so that
//! they do not move when the clock was set in between.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::prober::{Snapshot, TargetSnapshot};
use crate::health::{AddressId, Verdict, Verdicts};
use crate::image::Serving;
use crate::policy::Family;
use crate::policy::model::{Backend, NodeId, NodeKind, Pool, Target};
use crate::policy::usable::Usable;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// When this was so.
    pub at: String,
    /// How many zones are served.
    pub zones: usize,
    /// The origins of zones that could not be loaded.
    pub failed: Vec<String>,
    /// Every pool, in the order of full names.
    pub pools: Vec<PoolStatus>,
    /// Every target, in the order in which pools name them.
    pub targets: Vec<TargetStatus>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its full name.
    pub name: String,
    /// Whether it can be answered from, for each family.
    pub usable: UsableStatus,
    /// The full names of its probes.
    pub probes: Vec<String>,
    /// In the order written.
    pub backends: Vec<BackendStatus>,
}

/// Whether a pool is usable. Null where it has no backend of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsableStatus {
    /// For A.
    pub ipv4: Option<bool>,
    /// For AAAA.
    pub ipv6: Option<bool>,
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its full name: that of the pool, a slash, its own.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// The host that is handed out, for a backend that is no address. It is not probed and counts as healthy.
    pub host: Option<String>,
    /// Its addresses.
    pub addresses: Vec<AddressStatus>,
}

/// An address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The address.
    pub address: IpAddr,
    /// `up`, `down` or `unknown`: of all probes of the pool together. Unknown counts as healthy.
    pub verdict: String,
}

/// One address under one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// The full names of the probes that are so defined.
    pub probes: Vec<String>,
    /// `tcp`, `http` or `https`.
    pub kind: String,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// `up`, `down` or `unknown`.
    pub verdict: String,
    /// Since when that is believed; null if nothing is known yet.
    pub since: Option<String>,
    /// For how long, in seconds.
    pub since_seconds: Option<f64>,
    /// How many results in a row were as the last one.
    pub streak: u32,
    /// The last result.
    pub last: Option<ResultStatus>,
    /// In how many seconds the next probe starts.
    pub next_seconds: Option<f64>,
}

/// A result of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultStatus {
    /// Whether it passed.
    pub passed: bool,
    /// What was seen: `200`, `503`, `connection refused`, `timeout after 2s`.
    pub reason: String,
    /// From its start to its end, in milliseconds.
    pub latency_ms: f64,
    /// When it came.
    pub at: String,
    /// How many seconds ago.
    pub ago_seconds: f64,
}

impl Status {
    /// Of what is known, by the clock of now.
    pub fn new(snapshot: &Snapshot, now: SystemTime) -> Self {
        let serving = &snapshot.serving;
        let steering = &serving.image.forest.steering;
        let pools = steering.by_name.iter().filter_map(|(name, id)| {
            let NodeKind::Pool(pool) = &steering.node(*id).kind else {
                return None;
            };
            Some(PoolStatus::new(name, *id, pool, serving, &snapshot.verdicts))
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: rfc3339(now),
            zones: serving.image.zones.len(),
            failed: serving.image.failed.iter().map(ToString::to_string).collect(),
            pools: pools.collect(),
            targets: snapshot
                .targets
                .iter()
                .map(|target| TargetStatus::new(target, now))
                .collect(),
        }
    }
}

impl PoolStatus {
    fn new(name: &str, id: NodeId, pool: &Pool, serving: &Serving, verdicts: &Verdicts) -> Self {
        let usable = |family| {
            let has_family = serving.image.forest.has_family(id, family);
            has_family.then(|| *serving.tables.usable(id, family) != Usable::Never)
        };
        Self {
            name: name.to_owned(),
            usable: UsableStatus {
                ipv4: usable(Family::Ipv4),
                ipv6: usable(Family::Ipv6),
            },
            probes: pool.probes.clone(),
            backends: pool
                .backends
                .iter()
                .map(|backend| BackendStatus::new(name, backend, verdicts))
                .collect(),
        }
    }
}

impl BackendStatus {
    fn new(pool: &str, backend: &Backend, verdicts: &Verdicts) -> Self {
        let status = |address: IpAddr, id: AddressId| AddressStatus {
            address,
            verdict: verdicts.of(id).word().to_owned(),
        };
        let (host, addresses) = match &backend.target {
            Target::Host(host) => (Some(host.to_string()), Vec::new()),
            Target::Addresses { ipv4, ipv6 } => {
                let ipv4 = ipv4.iter().map(|(address, id)| status((*address).into(), *id));
                let ipv6 = ipv6.iter().map(|(address, id)| status((*address).into(), *id));
                (None, ipv4.chain(ipv6).collect())
            }
        };
        Self {
            name: format!("{pool}/{}", backend.name),
            weight: backend.weight,
            host,
            addresses,
        }
    }
}

impl TargetStatus {
    fn new(target: &TargetSnapshot, now: SystemTime) -> Self {
        let (probe, tracker) = (&target.key.probe, &target.tracker);
        let believed_for = (tracker.verdict != Verdict::Unknown).then_some(target.believed_for);
        let last = tracker.last.as_ref().zip(target.last_ago);
        Self {
            probes: target.names.clone(),
            kind: probe.kind.word().to_owned(),
            address: target.key.address,
            port: probe.port,
            verdict: tracker.verdict.word().to_owned(),
            since: believed_for.map(|length| before(now, length)),
            since_seconds: believed_for.map(seconds),
            streak: tracker.streak,
            last: last.map(|((_, outcome), ago)| ResultStatus {
                passed: outcome.passed,
                reason: outcome.reason.clone(),
                latency_ms: outcome.latency.as_micros() as f64 / 1e3,
                at: before(now, ago),
                ago_seconds: seconds(ago),
            }),
            next_seconds: target.next_in.map(seconds),
        }
    }
}

/// In whole milliseconds.
fn seconds(length: Duration) -> f64 {
    length.as_millis() as f64 / 1e3
}

fn before(now: SystemTime, length: Duration) -> String {
    rfc3339(now.checked_sub(length).unwrap_or(UNIX_EPOCH))
}

/// A moment in UTC, to the millisecond: `2026-11-25T09:30:00.250Z`.
fn rfc3339(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years are counted from the first of March, so that the leap day is a year's last; from the year 0 on, 719,468 days before 1970.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year + next,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let at = |seconds, millis: u32| rfc3339(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_735_689_599, 7), "2024-12-31T23:59:59.007Z");
        assert_eq!(at(1_795_599_003, 250), "2026-11-25T09:30:03.250Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }
}
