//! Query bytes to response bytes: the one function that every transport, command, bench and behaviour test calls.
//!
//! It is made of three stages. [`answer`] runs them one after another; the UDP path runs each over a whole batch and asks for memory in
//! between, with the same result.

pub mod explain;
mod follow;
mod gate;
mod limit;
mod steer;
mod write;

use std::net::IpAddr;

use crate::image::Serving;
use crate::image::lookup::{Case, Found};
use crate::policy::trace::{Ear, Silent};
use crate::wire::code::Rcode;
use crate::wire::cookie::{Cookies, Standing};
use crate::wire::query::{self, NameKey, Parsed};

pub use gate::Refusal;
pub use limit::{Limited, limit};
pub use write::{ResponseBuffer, write};

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: the response is bounded by what the client can take.
    Udp,
    /// A stream: up to 65,535 octets.
    Tcp,
}

/// One query, and what the edge adds to it: the core reads no clock and no random source.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: IpAddr,
    /// How.
    pub transport: Transport,
    /// Chance: 64 uniform bits, new for each query.
    pub random: u64,
    /// Seconds since 1970, without what 32 bits do not hold.
    pub now: u32,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is sent: it is a response itself, or has no header to answer.
    Dropped,
    /// The buffer holds the response.
    Answered(Rcode),
}

/// Where the answer to a query is.
#[derive(Debug, Clone, Copy)]
pub enum Located {
    /// In no zone: this is said instead.
    Refused(Refusal),
    /// In the image.
    Found(Found),
}

/// Writes the response to `request` and says what it was.
#[inline]
pub fn answer(request: &Request<'_>, serving: &Serving, response: &mut ResponseBuffer) -> Outcome {
    answer_telling(request, serving, response, &mut Silent)
}

/// The same, telling every step of a decision.
#[inline]
pub fn answer_telling(
    request: &Request<'_>,
    serving: &Serving,
    response: &mut ResponseBuffer,
    ear: &mut impl Ear,
) -> Outcome {
    let parsed = parse(request.bytes, &serving.image.names.key);
    let located = locate(&parsed, request, serving);
    write(&parsed, &located, request, serving, response, ear)
}

/// The first stage: what the octets say. It borrows nothing.
#[inline]
pub fn parse(bytes: &[u8], key: &NameKey) -> Parsed {
    query::parse(bytes, key)
}

/// The address whose location the answer depends on, if it depends on one: what the map of clients will be asked for.
#[inline]
pub fn located_client(parsed: &Parsed, located: &Located, request: &Request<'_>, serving: &Serving) -> Option<IpAddr> {
    let Located::Found(Found {
        case: Case::Entry(entry),
        ..
    }) = located
    else {
        return None;
    };
    let image = &*serving.image;
    let steered_by = image.steers.get(image.entries[*entry as usize].steer as usize)?;
    steer::located_client(parsed, request, steered_by, image.options.client_subnet)
}

/// Whether the client has shown that it gets what is sent to the address it asks from: by a stream, or by a good server cookie.
pub fn proves_its_address(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> bool {
    request.transport == Transport::Tcp
        || (serving.image.options.cookies != Cookies::Off
            && gate::standing(parsed, request, serving).is_some_and(Standing::is_good))
}

/// The second stage: whether it can be answered, and where the answer is.
#[inline]
pub fn locate(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> Located {
    match gate::refusal(parsed, request, serving) {
        Some(refusal) => Located::Refused(refusal),
        None => Located::Found(serving.image.find(parsed, request.bytes)),
    }
}
