//! What is settled before any zone is looked at: messages that are dropped, faulty or not for us.

use super::{Request, Transport};
use crate::image::Options;
use crate::wire::code::{Rcode, RecordType, class};
use crate::wire::query::{Kind, Parsed, UDP_QUERY_MAX};

/// What is said in the place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing.
    Drop,
    /// This, without any record.
    Say(Rcode),
    /// The server's version (`version.bind TXT CH`, by custom: RFC 4892 1).
    Version,
}

/// Whether a message is settled here.
#[inline]
pub(super) fn refusal(parsed: &Parsed, request: &Request<'_>, options: &Options) -> Option<Refusal> {
    match parsed.kind {
        Kind::Query => {}
        Kind::Drop => return Some(Refusal::Drop),
        Kind::FormatError => return Some(Refusal::Say(Rcode::FORMERR)),
        Kind::NotImplemented => return Some(Refusal::Say(Rcode::NOTIMP)),
        Kind::BadVersion => return Some(Refusal::Say(Rcode::BADVERS)),
    }
    if request.transport == Transport::Udp && request.bytes.len() > UDP_QUERY_MAX {
        return Some(Refusal::Say(Rcode::FORMERR));
    }
    if options.client_subnet && parsed.edns.is_some_and(|edns| edns.bad_subnet) {
        return Some(Refusal::Say(Rcode::FORMERR));
    }
    if parsed.qclass != class::IN {
        return Some(other_class(parsed, request.bytes, options));
    }
    // Zones are not handed out whole: there is nothing to transfer from an answer that depends on who asks.
    matches!(parsed.qtype, RecordType::AXFR | RecordType::IXFR).then_some(Refusal::Say(Rcode::REFUSED))
}

#[cold]
fn other_class(parsed: &Parsed, bytes: &[u8], options: &Options) -> Refusal {
    // A length octet is below 64, so below every letter.
    let asked = parsed.name(bytes);
    let is_version = asked.eq_ignore_ascii_case(b"\x07version\x04bind\x00")
        || asked.eq_ignore_ascii_case(b"\x07version\x06server\x00");
    let is_text = matches!(parsed.qtype, RecordType::TXT | RecordType::ANY);
    if parsed.qclass == class::CH && is_version && is_text && !options.version.is_empty() {
        return Refusal::Version;
    }
    Refusal::Say(Rcode::REFUSED)
}
