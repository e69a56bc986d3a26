//! DNS over UDP: one blocking thread for each socket, no other system call than receive and send.
//!
//! A batch goes through the stages of an answer side by side: each stage asks for the memory that the next one reads, so that the
//! waits of up to 32 queries overlap. What comes out is what [`crate::answer::answer`] would have written.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::Cache;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use super::Shared;
use super::counters::{DropReason, Seat, Threads};
use super::syscall::{BATCH, Batch};
use crate::answer::{self, Limited, Located, Outcome, Refusal, Request, ResponseBuffer, Transport};
use crate::image::Serving;
use crate::image::limiter::Limiter;
use crate::image::tally::Counting;
use crate::wire::edns::UDP_SIZE;
use crate::wire::query::{Kind, Parsed};

/// How long a receive may block before the thread looks whether it should stop, and lets go of what is served no more.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long what has arrived is still answered after a stop.
const LAST_CALL: Duration = Duration::from_millis(500);

/// How long to wait after an error of the socket that no query caused, so that the thread never spins.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// Every thread of datagrams.
#[derive(Debug, Default)]
pub struct Datagrams {
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl Datagrams {
    /// Answers on each of these sockets until [`Self::stop`].
    pub fn listen(&mut self, sockets: Vec<UdpSocket>, serving: &Shared, threads: &Arc<Threads>) -> io::Result<()> {
        for (worker, socket) in sockets.into_iter().enumerate() {
            socket.set_read_timeout(Some(PATIENCE))?;
            let worker_state = Worker::new(&socket, threads.take(Transport::Udp))?;
            let (serving, stop) = (serving.clone(), self.stopping.clone());
            let thread = thread::Builder::new()
                .name(format!("udp-{worker}"))
                .spawn(move || worker_state.run(&socket, serving, &stop))?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Answers what has arrived and ends.
    pub async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let joined = spawn_blocking(|| self.threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = joined.await;
    }
}

struct Worker {
    batch: Batch,
    stages: Stages,
    random: fastrand::Rng,
    seat: Seat,
}

/// What the edge adds to the queries of a batch: chance, and the time, read once.
type Edge = (u64, u32);

/// What the stages leave for one another, one for each query of a batch. Kept from batch to batch, since clearing it would cost
/// more than filling it.
struct Stages {
    parsed: [Parsed; BATCH],
    located: [Located; BATCH],
    clients: [Option<IpAddr>; BATCH],
    outcomes: [Outcome; BATCH],
    limited: Limited,
    responses: Vec<ResponseBuffer>,
}

impl Worker {
    fn new(socket: &UdpSocket, seat: Seat) -> io::Result<Self> {
        let stages = Stages {
            parsed: [Parsed::empty(Kind::Drop); BATCH],
            located: [Located::Refused(Refusal::Drop); BATCH],
            clients: [None; BATCH],
            outcomes: [Outcome::Dropped; BATCH],
            limited: Limited::default(),
            responses: (0..BATCH)
                .map(|_| ResponseBuffer::with_capacity(usize::from(UDP_SIZE)))
                .collect(),
        };
        let random = super::stream::seeded();
        Ok(Self {
            batch: Batch::new(socket)?,
            stages,
            random,
            seat,
        })
    }

    fn run(mut self, socket: &UdpSocket, serving: Shared, stop: &AtomicBool) {
        let mut serving = Cache::new(serving);
        let mut last_call = None;
        loop {
            if stop.load(Ordering::Relaxed) {
                let until = *last_call.get_or_insert_with(|| Instant::now() + LAST_CALL);
                if socket.set_nonblocking(true).is_err() || Instant::now() > until {
                    return;
                }
            }
            match self.batch.receive(socket) {
                Ok(count) => self.serve(socket, serving.load(), count),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if last_call.is_some() {
                        return;
                    }
                    serving.load();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!(%error, "receiving failed");
                    thread::sleep(AFTER_ERROR);
                }
            }
        }
    }

    /// Answers a batch. If that panics (a bug of ours) it is gone through again one by one: only the query at fault is lost.
    fn serve(&mut self, socket: &UdpSocket, serving: &Serving, count: usize) {
        let edge = (self.random.u64(..), super::unix_seconds());
        self.stages.limited = Limited::default();
        let counting = Counting::new(&serving.image, self.seat.number);
        let whole = catch_unwind(AssertUnwindSafe(|| {
            self.stages.answer(&self.batch, serving, edge, count, counting)
        }));
        let dropped = match whole {
            Ok(from_port_zero) => (DropReason::PortZero, from_port_zero),
            Err(_) => (DropReason::Panic, self.one_by_one(serving, edge, count)),
        };
        // Before they are sent: whoever has an answer finds it counted.
        let counters = self.seat.counters();
        let limited = self.stages.limited;
        counters.add(&self.stages.outcomes[..count], dropped.1 + limited.dropped);
        counters.dropped(dropped.0, dropped.1);
        if limited != Limited::default() {
            counters.dropped(DropReason::RateLimit, limited.dropped);
            counters.slipped(limited.slipped);
        }
        let responses = self.stages.outcomes[..count]
            .iter()
            .zip(&self.stages.responses)
            .enumerate();
        let responses = responses.filter(|(_, (outcome, _))| **outcome != Outcome::Dropped);
        let (answered, sent) = self.batch.send(
            socket,
            responses.map(|(index, (_, response))| (index, response.as_slice())),
        );
        counters.unsent(answered - sent.min(answered));
    }

    /// Returns how many panicked. Decisions of the batch were counted as far as it came; they are not counted again.
    #[cold]
    fn one_by_one(&mut self, serving: &Serving, edge: Edge, count: usize) -> usize {
        let mut panicked = 0;
        // Nothing is held against a limit here.
        self.stages.limited = Limited::default();
        for index in 0..count {
            let request = request(&self.batch, index, edge);
            let response = &mut self.stages.responses[index];
            let one = catch_unwind(AssertUnwindSafe(|| answer::answer(&request, serving, response)));
            self.stages.outcomes[index] = one.unwrap_or_else(|_| {
                panicked += 1;
                error!(query = ?request.bytes, "a query made the server panic; it was dropped: please report it");
                Outcome::Dropped
            });
        }
        panicked
    }
}

/// A query of a batch. Its chance comes from that of the batch.
#[inline]
fn request(batch: &Batch, index: usize, (random, now): Edge) -> Request<'_> {
    let datagram = batch.datagram(index);
    Request {
        bytes: datagram.bytes,
        source: datagram.source,
        transport: Transport::Udp,
        random: random ^ (index as u64).wrapping_mul(0xd6e8_feb8_6659_fd93),
        now,
    }
}

/// What of a batch is over its limit gets a refusal in its place.
#[inline(never)]
fn limit(
    limiter: &Limiter,
    batch: &Batch,
    edge: Edge,
    serving: &Serving,
    parsed: &[Parsed],
    located: &mut [Located],
) -> Limited {
    let mut limited = Limited::default();
    for (index, (parsed, located)) in parsed.iter().zip(located).enumerate() {
        // From port 0 it is counted as that.
        if batch.datagram(index).port != 0 {
            let request = request(batch, index, edge);
            answer::limit(limiter, parsed, located, &request, serving, &mut limited);
        }
    }
    limited
}

impl Stages {
    /// Every query of a batch through the stages, side by side. Returns how many came from port 0 and get no answer.
    fn answer(
        &mut self,
        batch: &Batch,
        serving: &Serving,
        edge: Edge,
        count: usize,
        mut counting: Counting<'_>,
    ) -> usize {
        let image = &*serving.image;
        let parsed = &mut self.parsed[..count];
        let located = &mut self.located[..count];
        for (index, parsed) in parsed.iter_mut().enumerate() {
            *parsed = answer::parse(batch.datagram(index).bytes, &image.names.key);
            image.names.prefetch_slot(parsed.hash);
        }
        for parsed in &*parsed {
            image.names.prefetch_owner(parsed.hash);
        }
        for parsed in &*parsed {
            image.prefetch_entries(parsed.hash);
        }
        let clients = &mut self.clients[..count];
        for (index, ((parsed, located), client)) in parsed.iter().zip(&mut *located).zip(&mut *clients).enumerate() {
            let request = request(batch, index, edge);
            *located = answer::locate(parsed, &request, serving);
            if let Located::Found(found) = located {
                image.prefetch_tail(found);
            }
            *client = answer::located_client(parsed, located, &request, serving);
            if let Some(client) = client {
                image.prefetch_client(*client);
            }
        }
        if let Some(limiter) = &image.limiter {
            self.limited = limit(limiter, batch, edge, serving, parsed, located);
        }
        for client in clients.iter().flatten() {
            image.prefetch_client_node(*client);
        }
        let stages = parsed
            .iter()
            .zip(located)
            .zip(&mut self.responses)
            .zip(&mut self.outcomes);
        let mut from_port_zero = 0;
        for (index, (((parsed, located), response), outcome)) in stages.enumerate() {
            let request = request(batch, index, edge);
            *outcome = match batch.datagram(index).port {
                // Nobody asks from port 0, and nobody would get the answer.
                0 => {
                    from_port_zero += 1;
                    Outcome::Dropped
                }
                _ => answer::write(parsed, located, &request, serving, response, &mut counting),
            };
        }
        from_port_zero
    }
}
