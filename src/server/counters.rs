//! What a worker has done: plain numbers with one writer, on cache lines of their own.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one worker. Only it writes them, so that a load and a store do where others need an atomic addition.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Datagrams that came.
    pub received: AtomicU64,
    /// Datagrams that were answered.
    pub answered: AtomicU64,
    /// Answers that the kernel did not take.
    pub unsent: AtomicU64,
    /// Queries dropped because answering them panicked.
    pub panics: AtomicU64,
}

impl Counters {
    /// A batch was answered.
    pub fn add(&self, received: usize, answered: usize, sent: usize) {
        increase(&self.received, received);
        increase(&self.answered, answered);
        increase(&self.unsent, answered - sent.min(answered));
    }

    /// A query was dropped because answering it panicked.
    pub fn panicked(&self) {
        increase(&self.panics, 1);
    }
}

fn increase(counter: &AtomicU64, by: usize) {
    counter.store(counter.load(Ordering::Relaxed) + by as u64, Ordering::Relaxed);
}
