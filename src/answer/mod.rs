//! Query bytes to response bytes: the one function that every transport, command, bench and behaviour test calls.

use std::net::IpAddr;

use crate::image::Serving;
use crate::wire::code::Rcode;

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
}

/// Where a response is written. Its capacity bounds it: 65,535 octets for streams; less will do for datagrams.
#[derive(Debug)]
pub struct ResponseBuffer {
    octets: Box<[u8]>,
    length: usize,
}

impl ResponseBuffer {
    /// An empty one. At least 512 octets, at most 65,535.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            octets: vec![0; capacity.clamp(512, 65_535)].into(),
            length: 0,
        }
    }

    /// The response written last.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is sent: it is a response itself, or has no header to answer.
    Dropped,
    /// The buffer holds the response.
    Answered(Rcode),
}

/// Writes the response to `request` and says what it was.
pub fn answer(_request: &Request<'_>, _serving: &Serving, _response: &mut ResponseBuffer) -> Outcome {
    Outcome::Dropped
}
