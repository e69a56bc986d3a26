//! DNS over streams (RFC 7766): who is let in, and how long connections live. What is said on one is in `conversation`.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

mod conversation;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::counters::{DropReason, Seat, Threads};
use super::limit::{Admission, Limits};
use crate::answer::{Outcome, Request, ResponseBuffer, Transport, answer_telling};
use crate::image::tally::Counting;

pub use conversation::converse;

/// How long accepting waits after an error such as "too many open files": such errors come straight back, and the
/// connection that caused one still waits, so that a loop without a pause would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stop waits for conversations to end by themselves before they are cut.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Every stream of the daemon: listeners, connections and their bounds.
#[derive(Debug, Clone)]
pub struct Streams {
    serving: Shared,
    threads: Arc<Threads>,
    limits: Limits,
    admission: Arc<Admission>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Streams {
    /// None yet. The threads of the runtime are among `threads`.
    pub fn new(serving: Shared, threads: Arc<Threads>, limits: Limits) -> Self {
        Self {
            serving,
            threads,
            limits,
            admission: Admission::new(&limits),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Answers on a listener (not blocking) until [`Self::stop`]. Called within a tokio runtime.
    pub fn listen(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        self.tasks.spawn(self.clone().accept_all(listener));
        Ok(())
    }

    /// Who is in, and who was turned away.
    pub fn admission(&self) -> Arc<Admission> {
        self.admission.clone()
    }

    /// Stops: nobody new is let in, what has arrived is answered, every connection is closed. Returns when all that is done.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        if timeout(STOP_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("{} connections were cut", self.admission.open());
        }
    }

    async fn accept_all(self, listener: TcpListener) {
        let mut failing = false;
        loop {
            // Accepting comes first: who stands in the queue when the stop comes has arrived.
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = self.stopping.cancelled() => return,
            };
            match accepted {
                Ok((stream, source)) => {
                    failing = false;
                    self.let_in(stream, source.ip());
                }
                // The client went away while it stood in the queue.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!("TCP connections cannot be accepted: {error}");
                    }
                    failing = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts the conversation, or closes the connection at once if there is no room for it.
    fn let_in(&self, stream: TcpStream, source: IpAddr) {
        let place = match self.admission.admit(source) {
            Ok(place) => place,
            Err(full) => {
                tracing::debug!("a connection from {source} is refused: {full:?} has too many");
                return;
            }
        };
        // Answers are gathered before they are written, so that waiting for more would only be a delay.
        let _ = stream.set_nodelay(true);
        let Self {
            serving,
            threads,
            limits,
            stopping,
            ..
        } = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let respond = |query: &[u8], outbox: &mut Vec<u8>| respond(query, source, &serving, &threads, outbox);
            if let Err(error) = converse(stream, &limits, &stopping, respond).await {
                tracing::trace!("connection from {source}: {error}");
            }
        });
    }
}

/// What a thread needs to answer. Answering never waits, so a thread of the runtime is in the midst of one answer at most: one
/// buffer of 65,535 octets a thread does for every connection, where one a connection would be 48 MiB, mostly idle.
struct Desk {
    response: ResponseBuffer,
    random: fastrand::Rng,
    seat: Option<Seat>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        response: ResponseBuffer::with_capacity(u16::MAX.into()),
        random: seeded(),
        seat: None,
    });
}

/// Appends the framed response to `outbox`. A query that makes answering panic (a bug of ours) gets none.
fn respond(query: &[u8], source: IpAddr, serving: &Shared, threads: &Arc<Threads>, outbox: &mut Vec<u8>) -> Outcome {
    DESK.with_borrow_mut(|Desk { response, random, seat }| {
        let seat = seat.get_or_insert_with(|| threads.take(Transport::Tcp));
        let request = Request {
            bytes: query,
            source,
            transport: Transport::Tcp,
            random: random.u64(..),
            now: super::unix_seconds(),
        };
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let serving = serving.load();
            let mut counting = Counting::new(&serving.image, seat.number);
            answer_telling(&request, &serving, response, &mut counting)
        }));
        let panicked = answered.is_err();
        let outcome = answered.unwrap_or(Outcome::Dropped);
        seat.counters().add(&[outcome], usize::from(panicked));
        if panicked {
            seat.counters().dropped(DropReason::Panic, 1);
            tracing::error!(
                ?query,
                "a query made the server panic; it was dropped: please report it"
            );
        }
        if outcome != Outcome::Dropped {
            conversation::frame(response.as_slice(), outbox);
        }
        outcome
    })
}

/// A generator seeded by the system; by time and thread if the system has no randomness to give.
pub(super) fn seeded() -> fastrand::Rng {
    getrandom::u64().map_or_else(|_| fastrand::Rng::new(), fastrand::Rng::with_seed)
}
