//! What the results of probes add up to, by the full name of each probe: a target that several names share counts for each of them.
//!
//! Counted by name and not by address, since a sum over targets would fall when one is taken out of the configuration, and a counter
//! must never fall; and so that there are as many as probes, not as backends. How each address fares is in its verdict.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::health::Verdict;
use crate::health::tracker::Outcome;

/// The upper bounds of the ranges that latencies are counted in, in milliseconds: from a connection in the same rack to the longest
/// time that is sensible to wait.
pub const LATENCY_BOUNDS_MS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000];

/// The results of every probe.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// By full name.
    pub probes: BTreeMap<String, ProbeResults>,
}

/// The results of one probe, on all its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeResults {
    /// Those that passed.
    pub passed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Changes of a verdict to up, and to down.
    pub turned: [u64; 2],
    /// How many of those that passed took at most so long and longer than the bound before, and beyond the last.
    pub latencies: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// How long those that passed took in all.
    pub latency: Duration,
}

impl Results {
    /// A result of a target with these names, and the verdict if it is another now.
    pub fn take(&mut self, names: &[String], outcome: &Outcome, turned: Option<Verdict>) {
        for name in names {
            // No name is taken in twice: this allocates only for the first result of a probe.
            if !self.probes.contains_key(name) {
                self.probes.insert(name.clone(), ProbeResults::default());
            }
            if let Some(probe) = self.probes.get_mut(name) {
                probe.take(outcome, turned);
            }
        }
    }

    /// Forgets the probes with other names.
    pub fn keep<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        let names: HashSet<&String> = names.collect();
        self.probes.retain(|name, _| names.contains(name));
    }
}

impl ProbeResults {
    fn take(&mut self, outcome: &Outcome, turned: Option<Verdict>) {
        match turned {
            Some(Verdict::Up) => self.turned[0] += 1,
            Some(Verdict::Down) => self.turned[1] += 1,
            Some(Verdict::Unknown) | None => {}
        }
        if !outcome.passed {
            self.failed += 1;
            return;
        }
        self.passed += 1;
        self.latency += outcome.latency;
        let bounds = LATENCY_BOUNDS_MS.iter();
        let at = bounds
            .take_while(|bound| outcome.latency > Duration::from_millis(**bound))
            .count();
        self.latencies[at] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: bool, millis: u64) -> Outcome {
        Outcome {
            passed,
            reason: String::new(),
            latency: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_result_counts_for_every_name() {
        let mut results = Results::default();
        let names = ["a/web", "b/web"].map(str::to_owned);
        results.take(&names, &outcome(true, 1), Some(Verdict::Up));
        results.take(&names[..1], &outcome(false, 2), Some(Verdict::Down));
        results.take(&names[..1], &outcome(true, 6_000), None);
        let of = |name: &str| {
            let probe = &results.probes[name];
            (probe.passed, probe.failed, probe.turned, probe.latency.as_millis())
        };
        assert_eq!(of("a/web"), (2, 1, [1, 1], 6_001));
        assert_eq!(of("b/web"), (1, 0, [1, 0], 1));
        // A bound is in the range that it ends.
        let latencies = &results.probes["a/web"].latencies;
        assert_eq!((latencies[0], latencies[11], latencies.iter().sum::<u64>()), (1, 1, 2));
        results.keep(names[1..].iter());
        assert_eq!(results.probes.keys().collect::<Vec<_>>(), ["b/web"]);
    }
}
