//! The secrets that cookies are made with: random, another every day, the one before accepted for as long as a client may use its cookies.

use std::time::{Duration, Instant};

use crate::wire::cookie::{Secret, Secrets};

/// How long a secret is in use (RFC 7873 7.1 has a day or so, and at most 36).
const IN_USE: Duration = Duration::from_secs(24 * 3_600);

/// How long the one before is still accepted: more than the hour for which a cookie is good.
const ACCEPTED: Duration = Duration::from_secs(2 * 3_600);

/// The secret in use, and the one before.
pub(super) struct CookieSecrets {
    active: Secret,
    since: Instant,
    before: Option<Secret>,
}

impl std::fmt::Debug for CookieSecrets {
    /// Says nothing: what is shown may end up in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecrets")
    }
}

impl CookieSecrets {
    /// A first one.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            active: random(),
            since: now,
            before: None,
        }
    }

    /// Those in force.
    pub(super) fn in_force(&self) -> Secrets {
        Secrets::new(self.active, self.before.as_slice())
    }

    /// Takes another one into use, or forgets the one before, if it is time; says whether anything has changed.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let used = now.saturating_duration_since(self.since);
        if used >= IN_USE {
            self.before = Some(std::mem::replace(&mut self.active, random()));
            self.since = now;
            return true;
        }
        used >= ACCEPTED && self.before.take().is_some()
    }
}

fn random() -> Secret {
    let mut secret = [0; 16];
    if getrandom::fill(&mut secret).is_err() {
        fastrand::fill(&mut secret);
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_in_use_and_two_hours_accepted() {
        let start = Instant::now();
        let mut secrets = CookieSecrets::new(start);
        let first = secrets.active;
        assert!(!secrets.turn(start + IN_USE - Duration::from_secs(1)));
        assert!(secrets.turn(start + IN_USE));
        assert_ne!(secrets.active, first);
        assert_eq!(secrets.in_force(), Secrets::new(secrets.active, &[first]));
        assert!(!secrets.turn(start + IN_USE + ACCEPTED - Duration::from_secs(1)));
        assert!(secrets.turn(start + IN_USE + ACCEPTED));
        assert_eq!(secrets.in_force(), Secrets::new(secrets.active, &[]));
        assert!(!secrets.turn(start + IN_USE + ACCEPTED));
    }
}
