//! `GET /metrics`: what the daemon has done and how it is, for Prometheus. Everything is added up when it is asked for; between two
//! scrapes it costs what plain counters cost.
//!
//! What each number means is in docs/metrics.md. How many there are is bounded by what is configured.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::exposition::{Exposition, Kind};
use super::prober::Snapshot;
use super::publisher::Publisher;
use super::reload::{self, Reloader};
use super::results::{LATENCY_BOUNDS_MS, ProbeResults};
use crate::answer::Transport;
use crate::health::Verdict;
use crate::policy::Family;
use crate::policy::model::NodeKind;
use crate::policy::usable::Usable;
use crate::server::counters::{DROPS, DropReason, RCODES, Threads, Totals};
use crate::server::limit::{self, Admission};
use crate::wire::code::Rcode;

/// The response codes that are told even before there was one.
const KNOWN_RCODES: [Rcode; 9] = [
    Rcode::NOERROR,
    Rcode::FORMERR,
    Rcode::SERVFAIL,
    Rcode::NXDOMAIN,
    Rcode::NOTIMP,
    Rcode::REFUSED,
    Rcode::YXDOMAIN,
    Rcode::BADVERS,
    Rcode::BADCOOKIE,
];

/// Where the numbers come from that the prober does not tell.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What is served, and what was decided.
    pub publisher: Arc<Publisher>,
    /// Queries.
    pub threads: Arc<Threads>,
    /// Connections, if the engine counts them.
    pub admission: Option<Arc<Admission>>,
    /// Reloads.
    pub reloader: Arc<Reloader>,
    /// When the daemon was started.
    pub started: SystemTime,
}

impl Sources {
    /// All of it, as Prometheus reads it.
    pub fn expose(&self, snapshot: &Snapshot) -> String {
        let mut out = Exposition::default();
        let mut build = out.family(
            "windrose_build_info",
            Kind::Gauge,
            "Always 1; the version of the daemon is in the label.",
        );
        build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp)];
        queries(
            &mut out,
            transports.map(|(word, transport)| (word, self.threads.totals(transport))),
        );
        if let Some(admission) = &self.admission {
            connections(&mut out, admission.counts());
        }
        self.decisions(&mut out);
        pools(&mut out, snapshot);
        targets(&mut out, snapshot);
        probes(&mut out, snapshot);
        self.image(&mut out, snapshot);
        reloads(&mut out, self.reloader.counts(), self.started);
        process(&mut out, self.started);
        out.finish()
    }

    fn decisions(&self, out: &mut Exposition) {
        let mut family = out.family(
            "windrose_decisions_total",
            Kind::Counter,
            "Decisions, by the record asked for, the policy or pool that it names, and the pool that was chosen.",
        );
        for (decision, count) in self.publisher.decisions() {
            let labels = [
                ("record", decision.record.as_str()),
                ("root", &decision.root),
                ("pool", &decision.pool),
                ("family", family_word(decision.family)),
            ];
            family.sample(&labels, count);
        }
    }

    fn image(&self, out: &mut Exposition, snapshot: &Snapshot) {
        let image = &snapshot.serving.image;
        let publishes = *self.publisher.published().borrow();
        out.single(
            "windrose_publishes_total",
            Kind::Counter,
            "How often what is served was replaced: by loads and by changes of verdicts.",
            publishes,
        );
        out.single(
            "windrose_image_timestamp_seconds",
            Kind::Gauge,
            "Since when the zones and policies are served that are served now.",
            unix(self.publisher.image_since()),
        );
        out.single(
            "windrose_zones",
            Kind::Gauge,
            "Zones that are served.",
            image.zones.len(),
        );
        out.single(
            "windrose_failed_zones",
            Kind::Gauge,
            "Zones that could not be loaded: SERVFAIL at and below their origin.",
            image.failed.len(),
        );
        out.single(
            "windrose_owners",
            Kind::Gauge,
            "Owners in all zones.",
            image.zones.iter().map(|zone| zone.owners).sum::<usize>(),
        );
        let mut serials = out.family("windrose_zone_serial", Kind::Gauge, "The serial number of each zone.");
        for zone in &image.zones {
            serials.sample(&[("zone", &zone.origin.to_string())], zone.serial);
        }
    }
}

fn queries(out: &mut Exposition, transports: [(&str, Totals); 2]) {
    let mut received = out.family("windrose_queries_total", Kind::Counter, "Messages that came.");
    for (transport, totals) in &transports {
        received.sample(&[("transport", transport)], totals.received);
    }
    let mut responses = out.family(
        "windrose_responses_total",
        Kind::Counter,
        "Queries that were answered, by response code.",
    );
    for (transport, totals) in &transports {
        for (code, count) in (0..RCODES as u16).map(Rcode).zip(totals.rcodes) {
            if count > 0 || KNOWN_RCODES.contains(&code) {
                responses.sample(&[("transport", transport), ("rcode", &code.to_string())], count);
            }
        }
    }
    let mut dropped = out.family(
        "windrose_queries_dropped_total",
        Kind::Counter,
        "Messages that got no answer, by reason.",
    );
    for (transport, totals) in &transports {
        for (reason, count) in DROPS.iter().zip(totals.dropped) {
            // No connection comes from port 0, and none has a limit.
            if *transport == "udp" || !matches!(reason, DropReason::PortZero | DropReason::RateLimit) {
                dropped.sample(&[("transport", transport), ("reason", reason.word())], count);
            }
        }
    }
    let [(transport, totals), _] = &transports;
    let mut limited = out.family(
        "windrose_rate_limited_total",
        Kind::Counter,
        "Queries whose responses would have been over a limit, by what was done.",
    );
    limited.sample(&[("action", "drop")], totals.dropped[DropReason::RateLimit as usize]);
    limited.sample(&[("action", "slip")], totals.slipped);
    let mut unsent = out.family(
        "windrose_responses_unsent_total",
        Kind::Counter,
        "Answers that the kernel did not take.",
    );
    unsent.sample(&[("transport", transport)], totals.unsent);
}

fn connections(out: &mut Exposition, counts: limit::Counts) {
    out.single(
        "windrose_tcp_connections",
        Kind::Gauge,
        "TCP connections of clients that are open.",
        counts.open,
    );
    out.single(
        "windrose_tcp_connections_admitted_total",
        Kind::Counter,
        "TCP connections that were let in.",
        counts.admitted,
    );
    let mut refused = out.family(
        "windrose_tcp_connections_refused_total",
        Kind::Counter,
        "TCP connections that were closed at once, by the limit that was reached: of the server or of one client.",
    );
    refused.sample(&[("limit", "server")], counts.refused_by_server);
    refused.sample(&[("limit", "client")], counts.refused_by_client);
}

fn pools(out: &mut Exposition, snapshot: &Snapshot) {
    let serving = &snapshot.serving;
    let forest = &serving.image.forest;
    let mut usable = out.family(
        "windrose_pool_usable",
        Kind::Gauge,
        "Whether a pool is usable for a family of addresses.",
    );
    for (name, id) in &forest.steering.by_name {
        let is_pool = matches!(forest.steering.node(*id).kind, NodeKind::Pool(_));
        for family in [Family::Ipv4, Family::Ipv6] {
            if is_pool && forest.has_family(*id, family) {
                let is_usable = *serving.tables.usable(*id, family) != Usable::Never;
                usable.sample(&[("pool", name), ("family", family_word(family))], u8::from(is_usable));
            }
        }
    }
}

fn targets(out: &mut Exposition, snapshot: &Snapshot) {
    let mut up = out.family(
        "windrose_target_up",
        Kind::Gauge,
        "The verdict on an address under a probe: 1 up, 0 down; nothing before the first result.",
    );
    let mut by_verdict = [Verdict::Up, Verdict::Down, Verdict::Unknown].map(|verdict| (verdict, 0));
    for target in &snapshot.targets {
        let verdict = target.tracker.verdict;
        by_verdict
            .iter_mut()
            .filter(|(one, _)| *one == verdict)
            .for_each(|(_, count)| *count += 1);
        if verdict == Verdict::Unknown {
            continue;
        }
        let address = target.key.address.to_string();
        for name in &target.names {
            up.sample(
                &[("probe", name), ("address", &address)],
                u8::from(verdict == Verdict::Up),
            );
        }
    }
    let mut targets = out.family("windrose_targets", Kind::Gauge, "Addresses under a probe, by verdict.");
    for (verdict, count) in by_verdict {
        targets.sample(&[("verdict", verdict.word())], count);
    }
}

fn probes(out: &mut Exposition, snapshot: &Snapshot) {
    // Also those that have no result yet.
    let none = ProbeResults::default();
    let mut probes: BTreeMap<&str, (&str, &ProbeResults)> = BTreeMap::new();
    for target in &snapshot.targets {
        for name in &target.names {
            let results = snapshot.results.probes.get(name).unwrap_or(&none);
            probes.insert(name, (target.key.probe.kind.word(), results));
        }
    }
    let mut results = out.family(
        "windrose_probe_results_total",
        Kind::Counter,
        "Results of a probe, on all its addresses together.",
    );
    for (name, (kind, probe)) in &probes {
        for (result, count) in [("passed", probe.passed), ("failed", probe.failed)] {
            results.sample(&[("probe", name), ("kind", kind), ("result", result)], count);
        }
    }
    let mut durations = out.family(
        "windrose_probe_duration_seconds",
        Kind::Histogram,
        "How long probes took that passed.",
    );
    for (name, (kind, probe)) in &probes {
        let bounds = LATENCY_BOUNDS_MS.map(|bound| (bound as f64 / 1e3).to_string());
        let (latencies, beyond) = probe.latencies.split_at(bounds.len());
        let bounds: Vec<(String, u64)> = bounds.into_iter().zip(latencies.iter().copied()).collect();
        let labels = [("probe", *name), ("kind", *kind)];
        durations.histogram(&labels, &bounds, beyond.iter().sum(), probe.latency.as_secs_f64());
    }
    let mut turned = out.family(
        "windrose_verdict_changes_total",
        Kind::Counter,
        "Verdicts that have changed, the first one of a target counted too, by what they are now.",
    );
    for (name, (_, probe)) in &probes {
        for (verdict, count) in [Verdict::Up, Verdict::Down].iter().zip(probe.turned) {
            turned.sample(&[("probe", name), ("verdict", verdict.word())], count);
        }
    }
    let [running, waiting] = snapshot.in_flight;
    out.single("windrose_probes_running", Kind::Gauge, "Probes that run.", running);
    out.single(
        "windrose_probes_waiting",
        Kind::Gauge,
        "Probes that are due and wait for others to end.",
        waiting,
    );
}

fn reloads(out: &mut Exposition, counts: reload::Counts, started: SystemTime) {
    let mut reloads = out.family("windrose_reloads_total", Kind::Counter, "Reloads, by how they went.");
    reloads.sample(&[("result", "done")], counts.done);
    reloads.sample(&[("result", "refused")], counts.refused);
    let (at, done) = counts.last.unwrap_or((started, true));
    out.single(
        "windrose_last_reload_successful",
        Kind::Gauge,
        "Whether the last reload was done; 1 before the first.",
        u8::from(done),
    );
    out.single(
        "windrose_last_reload_timestamp_seconds",
        Kind::Gauge,
        "When the last reload ended, done or not; before the first, when the daemon was started.",
        unix(at),
    );
}

/// By the names that Prometheus' clients use for every process. What the system does not tell is left out.
fn process(out: &mut Exposition, started: SystemTime) {
    out.single(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process was started.",
        unix(started),
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    if let Some(kib) = resident.and_then(first_number) {
        out.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory that the process occupies.",
            kib * 1024,
        );
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // One of them is that of the folder.
        let open = descriptors.count().saturating_sub(1);
        out.single("process_open_fds", Kind::Gauge, "Descriptors that are open.", open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(most) = most.and_then(first_number) {
        out.single("process_max_fds", Kind::Gauge, "Descriptors that may be open.", most);
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Seconds since 1970, to the millisecond.
fn unix(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}

fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}
