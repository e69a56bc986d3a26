//! From the results of one target to its verdict: streaks, and when they turn it.
//!
//! Pure: results come as arguments, and so does time, as the duration since some moment that the caller keeps.

use std::time::Duration;

use super::Verdict;

/// One result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it passed.
    pub passed: bool,
    /// What was seen, in few words: `200`, `503`, `connection refused`, `timeout after 2s`.
    pub reason: String,
    /// From its start to its end.
    pub latency: Duration,
}

/// What is known of a target.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    /// What is believed of it.
    pub verdict: Verdict,
    /// When that began to be believed.
    pub since: Duration,
    /// How many results in a row were as the last one.
    pub streak: u32,
    /// The last result, and when it came.
    pub last: Option<(Duration, Outcome)>,
}

impl Tracker {
    /// Takes a result, and gives the new verdict if it has changed. `fall` failures in a row take the target down, `rise` successes bring
    /// it up; the first result of all decides at once.
    pub fn take(&mut self, outcome: Outcome, rise: u32, fall: u32, now: Duration) -> Option<Verdict> {
        let as_before = self
            .last
            .as_ref()
            .is_some_and(|(_, last)| last.passed == outcome.passed);
        self.streak = if as_before { self.streak.saturating_add(1) } else { 1 };
        let (turned, needed) = match outcome.passed {
            true => (Verdict::Up, rise),
            false => (Verdict::Down, fall),
        };
        let first = self.last.is_none();
        self.last = Some((now, outcome));
        if self.verdict == turned || !(first || self.streak >= needed) {
            return None;
        }
        self.verdict = turned;
        self.since = now;
        Some(turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(passed: bool) -> Outcome {
        Outcome {
            passed,
            reason: if passed { "200" } else { "503" }.to_owned(),
            latency: Duration::from_millis(1),
        }
    }

    /// Results in a word, `+` and `-`; the verdict after each.
    fn verdicts(results: &str, rise: u32, fall: u32) -> String {
        let mut tracker = Tracker::default();
        let results = results.chars().map(|result| outcome(result == '+'));
        let after = (1..).zip(results).map(|(second, outcome)| {
            tracker.take(outcome, rise, fall, Duration::from_secs(second));
            match tracker.verdict {
                Verdict::Up => '+',
                Verdict::Down => '-',
                Verdict::Unknown => '?',
            }
        });
        after.collect()
    }

    #[test]
    fn the_first_result_decides_and_streaks_after_it() {
        assert_eq!(verdicts("-++-", 2, 3), "--++");
        assert_eq!(verdicts("+--+---", 2, 3), "++++++-");
        assert_eq!(verdicts("-+-+-++", 2, 3), "------+");
        assert_eq!(verdicts("+-+", 1, 1), "+-+");
    }

    #[test]
    fn a_change_is_told_once_with_its_moment() {
        let mut tracker = Tracker::default();
        let mut take = |passed, second| tracker.take(outcome(passed), 1, 2, Duration::from_secs(second));
        assert_eq!(take(true, 1), Some(Verdict::Up));
        assert_eq!([take(true, 2), take(false, 3)], [None, None]);
        assert_eq!(take(false, 4), Some(Verdict::Down));
        assert_eq!(take(false, 5), None);
        assert_eq!((tracker.since, tracker.streak), (Duration::from_secs(4), 3));
    }

    proptest! {
        /// Straight from the words: after the first result, it takes so many in a row to turn a verdict.
        #[test]
        fn it_takes_as_many_in_a_row_as_is_said(results in prop::collection::vec(any::<bool>(), 1..60), rise in 1..4_u32, fall in 1..4_u32) {
            let text: String = results.iter().map(|passed| if *passed { '+' } else { '-' }).collect();
            let got: Vec<char> = verdicts(&text, rise, fall).chars().collect();
            let mut expected = results[0];
            for at in 0..results.len() {
                let needed = if results[at] { rise } else { fall } as usize;
                let in_a_row = results[..=at].iter().rev().take_while(|passed| **passed == results[at]).count();
                if in_a_row >= needed {
                    expected = results[at];
                }
                prop_assert_eq!(got[at], if expected { '+' } else { '-' }, "{} at {}", text, at);
            }
        }
    }
}
