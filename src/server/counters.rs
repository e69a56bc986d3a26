//! What the threads that answer have done: plain numbers with one writer each, on cache lines of their own, that are added up when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::answer::{Outcome, Transport};
use crate::wire::code::Rcode;

/// Response codes that are counted apart. Ours are below it; it is a power of two, so that no code is looked up beyond it.
pub const RCODES: usize = 32;

/// Every thread that answers.
#[derive(Debug)]
pub struct Threads {
    /// Those of datagrams first.
    counters: Box<[Counters]>,
    datagrams: usize,
    taken: [AtomicUsize; 2],
}

/// One thread's place among them.
#[derive(Debug)]
pub struct Seat {
    /// The number of the thread: from 0, below [`Threads::count`].
    pub number: usize,
    threads: Arc<Threads>,
}

/// The counters of one thread. Only it writes them, so that a load and a store do where others need an atomic addition.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    received: AtomicU64,
    dropped: [AtomicU64; DROPS.len()],
    slipped: AtomicU64,
    unsent: AtomicU64,
    rcodes: [AtomicU64; RCODES],
}

/// Why a message got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It was a response, or too short to be a query.
    NoQuery,
    /// It came from port 0, to which nothing can be sent.
    PortZero,
    /// Answering it panicked.
    Panic,
    /// The network that it came from has had its share.
    RateLimit,
}

/// Every reason.
pub const DROPS: [DropReason; 4] = [
    DropReason::NoQuery,
    DropReason::PortZero,
    DropReason::Panic,
    DropReason::RateLimit,
];

/// What all threads of a transport have done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that came.
    pub received: u64,
    /// Those that got no answer, in the order of [`DROPS`].
    pub dropped: [u64; DROPS.len()],
    /// Answers that are TC and nothing else, since more would have been over a limit. They are among those with NOERROR too.
    pub slipped: u64,
    /// Answers that the kernel did not take.
    pub unsent: u64,
    /// Answers, by response code.
    pub rcodes: [u64; RCODES],
}

impl Threads {
    /// So many for datagrams and so many for streams.
    pub fn new(datagrams: usize, streams: usize) -> Arc<Self> {
        Arc::new(Self {
            // At least one of each, so that there is always a seat.
            counters: (0..datagrams.max(1) + streams.max(1))
                .map(|_| Counters::default())
                .collect(),
            datagrams: datagrams.max(1),
            taken: Default::default(),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.counters.len()
    }

    /// The next free seat, for good. There are as many as threads; were there more threads, they would share the last seat, and miscount.
    pub fn take(self: &Arc<Self>, transport: Transport) -> Seat {
        let taken = self.taken[transport as usize].fetch_add(1, Ordering::Relaxed);
        let (first, last) = match transport {
            Transport::Udp => (0, self.datagrams - 1),
            Transport::Tcp => (self.datagrams, self.count() - 1),
        };
        Seat {
            number: (first + taken).min(last),
            threads: self.clone(),
        }
    }

    /// What those of a transport have done so far.
    pub fn totals(&self, transport: Transport) -> Totals {
        let (datagrams, streams) = self.counters.split_at(self.datagrams);
        let mut totals = Totals::default();
        let add = |total: &mut u64, counter: &AtomicU64| *total += counter.load(Ordering::Relaxed);
        for counters in match transport {
            Transport::Udp => datagrams,
            Transport::Tcp => streams,
        } {
            add(&mut totals.received, &counters.received);
            add(&mut totals.slipped, &counters.slipped);
            add(&mut totals.unsent, &counters.unsent);
            let dropped = totals.dropped.iter_mut().zip(&counters.dropped);
            let rcodes = totals.rcodes.iter_mut().zip(&counters.rcodes);
            dropped.chain(rcodes).for_each(|(total, counter)| add(total, counter));
        }
        totals
    }
}

impl Seat {
    /// Its counters, for it alone.
    pub fn counters(&self) -> &Counters {
        &self.threads.counters[self.number]
    }
}

impl Counters {
    /// Messages came, with these outcomes. So many of those without an answer are counted as [`Counters::dropped`] by themselves.
    #[inline]
    pub fn add(&self, outcomes: &[Outcome], dropped_otherwise: usize) {
        increase(&self.received, outcomes.len());
        let mut dropped = 0;
        for outcome in outcomes {
            match outcome {
                Outcome::Answered(Rcode(rcode)) => increase(&self.rcodes[usize::from(*rcode) % RCODES], 1),
                Outcome::Dropped => dropped += 1,
            }
        }
        increase(
            &self.dropped[DropReason::NoQuery as usize],
            dropped - dropped_otherwise.min(dropped),
        );
    }

    /// So many messages got no answer.
    pub fn dropped(&self, why: DropReason, count: usize) {
        increase(&self.dropped[why as usize], count);
    }

    /// So many answers are TC and nothing else, since they are over a limit.
    pub fn slipped(&self, count: usize) {
        increase(&self.slipped, count);
    }

    /// So many answers were not taken by the kernel.
    pub fn unsent(&self, count: usize) {
        increase(&self.unsent, count);
    }
}

impl DropReason {
    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            DropReason::NoQuery => "no_query",
            DropReason::PortZero => "port_zero",
            DropReason::Panic => "panic",
            DropReason::RateLimit => "rate_limit",
        }
    }
}

fn increase(counter: &AtomicU64, by: usize) {
    counter.store(counter.load(Ordering::Relaxed) + by as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_apart_and_are_added_up() {
        let threads = Threads::new(2, 1);
        let seats = [Transport::Udp, Transport::Tcp, Transport::Udp].map(|transport| threads.take(transport));
        assert_eq!(seats.each_ref().map(|seat| seat.number), [0, 2, 1]);
        let outcomes = [
            Outcome::Answered(Rcode::NXDOMAIN),
            Outcome::Dropped,
            Outcome::Dropped,
            Outcome::Answered(Rcode::BADVERS),
        ];
        for seat in &seats {
            seat.counters().add(&outcomes, 1);
            seat.counters().dropped(DropReason::PortZero, 1);
        }
        seats[2].counters().unsent(3);
        seats[0].counters().slipped(5);
        let udp = threads.totals(Transport::Udp);
        assert_eq!((udp.received, udp.dropped, udp.unsent), (8, [2, 2, 0, 0], 3));
        assert_eq!(
            (
                udp.rcodes[3],
                udp.rcodes[16],
                udp.rcodes.iter().sum::<u64>(),
                udp.slipped
            ),
            (2, 2, 4, 5)
        );
        assert_eq!(threads.totals(Transport::Tcp).received, 4);
    }
}
