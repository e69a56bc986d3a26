//! What became of the messages of one client, and of all.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use windrose::answer::Transport;

use super::asked::{Asked, Due};
use super::world::{Engine, ORDINARY};
use crate::message::{hex, rcode_name};

/// Counts of one transport.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Messages sent: changed ones and, between them, ordinary queries.
    pub(crate) sent: u64,
    /// Those that are answered for certain.
    pub(crate) due: u64,
    /// Those that the server reads and does not answer.
    pub(crate) silent: u64,
    /// Those of which nobody knows whether the server read them before their connection was reset, or closed over what came before.
    pub(crate) unknown: u64,
    /// By response code.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// The longest answer.
    pub(crate) longest: usize,
    /// Connections, by what was done to them.
    pub(crate) connections: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Holds an answer to the message that it is for.
    pub(crate) fn judge(&mut self, octets: &[u8], answer: &[u8], transport: Transport, engine: Engine) {
        let asked = Asked::read(octets, transport);
        let by_hickory = engine == Engine::Portable && is_of_hickory(&asked, octets, answer);
        let judged = if by_hickory {
            Ok(1)
        } else {
            asked.holds(answer, transport)
        };
        let rcode = judged.unwrap_or_else(|fault| {
            panic!(
                "{fault}\n  {transport:?} message {}\n  answer {}",
                hex(octets),
                hex(answer)
            )
        });
        *self.answers.entry(rcode).or_default() += 1;
        self.longest = self.longest.max(answer.len());
    }

    /// Holds the answer to the ordinary query.
    pub(crate) fn judge_ordinary(&mut self, answer: &[u8]) {
        let right = answer[3] & 15 == 0 && answer.windows(4).any(|octets| octets == ORDINARY.1);
        assert!(right, "an ordinary query is answered {}", hex(answer));
        *self.answers.entry(0).or_default() += 1;
    }

    /// Adds those of several clients.
    pub(crate) fn add_all(&mut self, others: &[Tally]) {
        others.iter().for_each(|other| *self += other);
    }

    /// The answers that came.
    pub(crate) fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// The counts in words.
    pub(crate) fn words(&self) -> String {
        let codes = self
            .answers
            .iter()
            .map(|(code, count)| format!("{} {count}", rcode_name(*code)));
        let kinds = self.connections.iter().map(|(kind, count)| format!("{count} {kind}"));
        let read = self.due + self.silent;
        let mut text = format!(
            "{} sent, {read} read for certain, {} answered",
            self.sent,
            self.answered()
        );
        text += &format!(" ({})", codes.collect::<Vec<_>>().join(", "));
        if !self.connections.is_empty() {
            text += &format!("; connections: {}", kinds.collect::<Vec<_>>().join(", "));
        }
        text + &format!(
            "; {} not to be answered; the longest answer has {} octets",
            self.silent, self.longest
        )
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.due += other.due;
        self.silent += other.silent;
        self.unknown += other.unknown;
        self.longest = self.longest.max(other.longest);
        other
            .answers
            .iter()
            .for_each(|(code, count)| *self.answers.entry(*code).or_default() += count);
        other
            .connections
            .iter()
            .for_each(|(kind, count)| *self.connections.entry(kind).or_default() += count);
    }
}

/// What hickory-server says by itself (docs/portable.md): FORMERR of 12 octets for what it cannot read, and it reads records of which nobody
/// else needs more than their length.
fn is_of_hickory(asked: &Asked<'_>, octets: &[u8], answer: &[u8]) -> bool {
    let fine = asked.due == Due::Answer && asked.is_plain && !asked.has_no_family;
    let formerr = matches!(answer, [_, _, _, code, 0, 0, 0, 0, 0, 0, 0, 0] if code & 15 == 1);
    !fine && formerr && answer[2] & 0x80 != 0 && octets.starts_with(&answer[..2])
}
