//! The portable engine: hickory-server's sockets in the place of ours, on any system. And the director as a part of somebody else's
//! server: [`Portable`] is a request handler as hickory-server calls it.
//!
//! hickory-server sends records, not octets. So each answer is written by `answer()`, taken apart, and put together again by hickory, with
//! names compressed in its own way. Where that is longer than what the client has room for, the answer is written anew for less room: it is cut
//! by our rules, not by hickory's, which leave out the OPT record. What else differs is in docs/portable.md.
//!
//! All that is said to hickory-server is said in this file.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::Iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder, Queries};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::counters::{DropReason, Seat, Threads};
use super::limit::Limits;
use super::listen::Bound;
use super::stream::seeded;
use crate::answer::{self, Limited, Outcome, ResponseBuffer, Transport};
use crate::image::Serving;
use crate::image::tally::Counting;
use crate::policy::trace::Silent;
use crate::wire::code;
use crate::wire::edns::{UDP_SIZE, UDP_SIZE_PLAIN};
use crate::wire::name::NAME_MAX;

/// Answers of one connection that hickory-server keeps until they are written. It reads no further query meanwhile.
const ANSWERS_KEPT: usize = 32;

/// How often an answer is written anew for less room. The second is shorter by what hickory added to the first, and fits unless names
/// are compressed worse in it; then it is cut once more.
const ATTEMPTS: usize = 4;

/// How long a socket rests that hickory-server has let go of, so that an error which comes straight back makes no loop.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// The director as a request handler of hickory-server. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Portable(Arc<Desks>);

#[derive(Debug)]
struct Desks {
    serving: Shared,
    /// One for each thread that may answer: whoever answers has one alone.
    desks: Box<[Mutex<Desk>]>,
    next: AtomicUsize,
    clock: fn() -> u32,
}

/// What it takes to answer, one query at a time.
#[derive(Debug)]
struct Desk {
    response: ResponseBuffer,
    random: fastrand::Rng,
    /// By [`Transport`].
    seats: [Seat; 2],
}

impl Portable {
    /// Answers from what is served, at up to so many desks at once, which take as many seats of each transport among `threads`.
    pub fn new(serving: Shared, threads: &Arc<Threads>, desks: usize) -> Self {
        Self::with_clock(serving, threads, desks, super::unix_seconds)
    }

    /// The same by a clock of the caller's: seconds since 1970, without what 32 bits do not hold.
    pub fn with_clock(serving: Shared, threads: &Arc<Threads>, desks: usize, clock: fn() -> u32) -> Self {
        let desk = |_| {
            Mutex::new(Desk {
                response: ResponseBuffer::with_capacity(u16::MAX.into()),
                random: seeded(),
                seats: [Transport::Udp, Transport::Tcp].map(|transport| threads.take(transport)),
            })
        };
        Self(Arc::new(Desks {
            serving,
            desks: (0..desks.max(1)).map(desk).collect(),
            next: AtomicUsize::new(0),
            clock,
        }))
    }

    /// A desk that is free, or else the next one that will be: answering never waits, so that will be soon.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        let Desks { desks, next, .. } = &*self.0;
        let first = next.fetch_add(1, Ordering::Relaxed) % desks.len();
        let (behind, ahead) = desks.split_at(first);
        let free = ahead.iter().chain(behind).find_map(|desk| desk.try_lock().ok());
        free.unwrap_or_else(|| desks[first].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is sent to a query, if anything is. A query that makes answering panic (a bug of ours) gets nothing.
    fn answer(&self, request: &Request) -> Option<Rebuilt> {
        let mut desk = self.desk();
        let transport = transport(request);
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let serving = self.0.serving.load();
            desk.answer(request, transport, (self.0.clock)(), &serving)
        }));
        let panicked = answered.is_err();
        let (outcome, limited, rebuilt) = answered.unwrap_or((Outcome::Dropped, Limited::default(), None));
        let counters = desk.seats[transport as usize].counters();
        counters.add(&[outcome], usize::from(panicked) + limited.dropped);
        counters.dropped(DropReason::RateLimit, limited.dropped);
        counters.slipped(limited.slipped);
        if panicked {
            counters.dropped(DropReason::Panic, 1);
            let query = request.as_slice();
            tracing::error!(
                ?query,
                "a query made the server panic; it was dropped: please report it"
            );
        }
        rebuilt
    }
}

fn transport(request: &Request) -> Transport {
    match request.protocol() {
        Protocol::Udp => Transport::Udp,
        _ => Transport::Tcp,
    }
}

impl Desk {
    fn answer(
        &mut self,
        request: &Request,
        transport: Transport,
        now: u32,
        serving: &Serving,
    ) -> (Outcome, Limited, Option<Rebuilt>) {
        let asked = answer::Request {
            bytes: request.as_slice(),
            // Somebody else's sockets may take IPv4 as a part of IPv6.
            source: request.src().ip().to_canonical(),
            transport,
            random: self.random.u64(..),
            now,
        };
        let parsed = answer::parse(asked.bytes, &serving.image.names.key);
        let mut located = answer::locate(&parsed, &asked, serving);
        let mut limited = Limited::default();
        if let Some(limiter) = &serving.image.limiter {
            answer::limit(limiter, &parsed, &mut located, &asked, serving, &mut limited);
        }
        let room = room(request, transport);
        self.response.limit(room);
        let mut counting = Counting::new(&serving.image, self.seats[transport as usize].number);
        let outcome = answer::write(&parsed, &located, &asked, serving, &mut self.response, &mut counting);
        if outcome == Outcome::Dropped {
            return (outcome, limited, None);
        }
        for _ in 0..ATTEMPTS {
            let rebuilt = self.rebuilt();
            let length = rebuilt.length();
            if length <= room {
                return (outcome, limited, Some(rebuilt));
            }
            // Less than what was written, not than what was allowed: records are left out whole.
            let less = self.response.as_slice().len().saturating_sub(length - room);
            self.response.limit(less);
            // A decision counts once, however often its answer is written.
            answer::write(&parsed, &located, &asked, serving, &mut self.response, &mut Silent);
        }
        (outcome, limited, Some(self.rebuilt().cut()))
    }

    /// The response written last. That it cannot be read would be a bug of ours, and is caught as one.
    fn rebuilt(&self) -> Rebuilt {
        Rebuilt::read(self.response.as_slice()).expect("a response of ours can be read")
    }
}

/// What a client has room for, with the bounds that `answer()` keeps too.
fn room(request: &Request, transport: Transport) -> usize {
    let octets = match (transport, &request.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => UDP_SIZE_PLAIN,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_SIZE_PLAIN, UDP_SIZE),
    };
    octets.into()
}

/// An answer as hickory has it.
#[derive(Debug)]
struct Rebuilt {
    metadata: Metadata,
    /// The question section, octet for octet.
    queries: Queries,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    edns: Option<Edns>,
}

/// What hickory-server sends.
type Response<'a> = MessageResponse<'a, 'a, Iter<'a, Record>, Iter<'a, Record>, Iter<'a, Record>, Iter<'a, Record>>;

impl Rebuilt {
    /// Takes a message of ours apart.
    fn read(octets: &[u8]) -> Result<Self, ProtoError> {
        let mut decoder = BinDecoder::new(octets);
        let Header { mut metadata, counts } = Header::read(&mut decoder)?;
        let queries = Queries::read(&mut decoder, counts.queries.into())?;
        let mut records = |count: u16| (0..count).map(|_| record(&mut decoder)).collect::<Result<Vec<_>, _>>();
        let answers = records(counts.answers)?;
        let authorities = records(counts.authorities)?;
        let mut additionals = records(counts.additionals)?;
        let opt = additionals.pop_if(|last| last.record_type() == RecordType::OPT);
        let edns = opt.as_ref().map(Edns::from);
        if let Some(edns) = &edns {
            metadata.merge_response_code(edns.rcode_high());
        }
        Ok(Self {
            metadata,
            queries,
            answers,
            authorities,
            additionals,
            edns,
        })
    }

    /// Without its records, and with TC.
    fn cut(mut self) -> Self {
        self.metadata.truncation = true;
        self.answers.clear();
        self.authorities.clear();
        self.additionals.clear();
        self
    }

    fn response(&self) -> Response<'_> {
        MessageResponseBuilder::new(&self.queries, self.edns.as_ref()).build(
            self.metadata,
            &self.answers,
            &self.authorities,
            &[],
            &self.additionals,
        )
    }

    /// How many octets hickory makes of it. Beyond what a message can have: more than that by the longest name, since all that hickory
    /// adds is one name of the question.
    fn length(&self) -> usize {
        let mut octets = Vec::new();
        let written = self.response().destructive_emit(&mut BinEncoder::new(&mut octets));
        match written {
            Ok(info) if info.truncation == self.metadata.truncation => octets.len(),
            _ => usize::from(u16::MAX) + NAME_MAX,
        }
    }
}

/// The next record. Its data stays as it is, octet for octet, but for names in it that may be compressed: hickory compresses those of the types
/// that it is let read here, and of the others each is written out (RFC 3597 4).
fn record(decoder: &mut BinDecoder<'_>) -> Result<Record, ProtoError> {
    use RecordType as T;
    use code::RecordType as O;
    let start = u16::try_from(decoder.index()).unwrap_or(u16::MAX);
    let mut ahead = decoder.clone(start);
    let owner = Name::read(&mut ahead)?;
    let rtype = RecordType::read(&mut ahead)?;
    if matches!(
        rtype,
        T::A | T::AAAA | T::NS | T::CNAME | T::SOA | T::PTR | T::MX | T::OPT
    ) {
        return Ok(Record::read(decoder)?);
    }
    *decoder = ahead;
    let class = DNSClass::read(decoder)?;
    let ttl = decoder.read_u32()?.unverified(/* any number is one */);
    let length = usize::from(decoder.read_u16()?.unverified(/* read_slice() looks */));
    let end = decoder.index() + length;
    let mut data = NULL::new();
    let names = match code::RecordType(rtype.into()) {
        O::MINFO => 2,
        O::MD | O::MF | O::MB | O::MG | O::MR => 1,
        _ => 0,
    };
    for _ in 0..names {
        data.anything.extend(Name::read(decoder)?.to_bytes()?);
    }
    let rest = decoder.read_slice(end.saturating_sub(decoder.index()))?;
    data.anything.extend_from_slice(rest.unverified(/* it is copied */));
    let mut record = Record::from_rdata(
        owner,
        ttl,
        RData::Unknown {
            code: rtype,
            rdata: data,
        },
    );
    record.dns_class = class;
    Ok(record)
}

#[async_trait::async_trait]
impl RequestHandler for Portable {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut client: R) -> ResponseInfo {
        let nothing = || {
            ResponseInfo::from(Header {
                metadata: Metadata::response_from_request(&request.metadata),
                counts: HeaderCounts::default(),
            })
        };
        let Some(rebuilt) = self.answer(request) else {
            return nothing();
        };
        client.send_response(rebuilt.response()).await.unwrap_or_else(|_| {
            let transport = transport(request) as usize;
            self.desk().seats[transport].counters().unsent(1);
            nothing()
        })
    }
}

/// The daemon's sockets, carried by hickory-server on threads of their own.
#[derive(Debug)]
pub struct Sockets {
    portable: Portable,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// Gone once it is stopped.
    runtime: Option<Runtime>,
}

/// A socket, kept so that it can be given to hickory-server again.
#[derive(Debug)]
enum Socket {
    Datagrams(UdpSocket),
    Streams(TcpListener),
}

impl Sockets {
    /// None yet. So many threads will answer.
    pub fn new(portable: Portable, threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("portable")
            .enable_all()
            .build()?;
        Ok(Self {
            portable,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Some(runtime),
        })
    }

    /// Answers on an address until [`Self::stop`].
    pub fn listen(&self, Bound { udp, tcp, .. }: Bound) -> io::Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _within = runtime.enter();
        let datagrams = udp.into_iter().map(Socket::Datagrams);
        for socket in datagrams.chain([Socket::Streams(tcp)]) {
            let server = socket.carried_by(&self.portable)?;
            let carrying = carry(socket, server, self.portable.clone(), self.stopping.clone());
            self.tasks.spawn_on(carrying, runtime.handle());
        }
        Ok(())
    }

    /// Stops, as fast as hickory-server does: what has not been answered by now is not.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sockets {
    /// A runtime must not be waited for inside of another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Socket {
    fn carried_by(&self, portable: &Portable) -> io::Result<Server<Portable>> {
        let mut server = Server::new(portable.clone());
        match self {
            Socket::Datagrams(socket) => {
                let socket = socket.try_clone()?;
                socket.set_nonblocking(true)?;
                server.register_socket(tokio::net::UdpSocket::from_std(socket)?);
            }
            Socket::Streams(listener) => server.register_listener(
                tokio::net::TcpListener::from_std(listener.try_clone()?)?,
                Limits::default().idle,
                ANSWERS_KEPT,
            ),
        }
        Ok(server)
    }
}

/// Keeps a socket served. hickory-server lets go of one for good after errors that a client can cause, such as ECONNABORTED.
async fn carry(socket: Socket, server: Server<Portable>, portable: Portable, stopping: CancellationToken) {
    let mut carried: io::Result<_> = Ok(server);
    loop {
        let ended = match &mut carried {
            Ok(server) => tokio::select! {
                ended = server.block_until_done() => ended.err().map(|error| error.to_string()),
                () = stopping.cancelled() => {
                    let _ = server.shutdown_gracefully().await;
                    return;
                }
            },
            Err(error) => Some(error.to_string()),
        };
        tracing::warn!("{socket:?} is taken up again, since hickory-server let go of it: {ended:?}");
        tokio::select! {
            () = tokio::time::sleep(AFTER_ERROR) => {}
            () = stopping.cancelled() => return,
        }
        carried = socket.carried_by(&portable);
    }
}
