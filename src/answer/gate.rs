//! What is settled before any zone is looked at: messages that are dropped, faulty or not for us.

use super::{Request, Transport};
use crate::image::{Options, Serving};
use crate::wire::code::{Rcode, RecordType, class};
use crate::wire::cookie::{Cookies, Standing};
use crate::wire::edns::{Edns, Keepalive};
use crate::wire::query::{Kind, Parsed, UDP_QUERY_MAX};

/// What is said in the place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing.
    Drop,
    /// This, without any record.
    Say(Rcode),
    /// The same, since such a thing is not done here at all.
    NotSupported(Rcode),
    /// Only that it should be asked over TCP.
    Truncated,
    /// What the server says of itself: its version (`version.bind TXT CH`, by custom: RFC 4892 2), or which one it is (`id.server TXT CH`,
    /// the same).
    About(About),
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The version, as configured.
    Version,
    /// Its identifier, the same as NSID (RFC 5001).
    Identifier,
}

impl About {
    /// What is said; empty for nothing.
    pub fn text(self, options: &Options) -> &[u8] {
        match self {
            About::Version => options.version.as_bytes(),
            About::Identifier => &options.nsid,
        }
    }
}

/// Whether a message is settled here.
#[inline]
pub(super) fn refusal(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> Option<Refusal> {
    let options = &serving.image.options;
    if parsed.kind != Kind::Query {
        return Some(no_query(parsed, request, serving));
    }
    if let Some(fault) = faulty(parsed, request, options) {
        return Some(fault);
    }
    if options.cookies == Cookies::Required && !super::proves_its_address(parsed, request, serving) {
        return Some(unproven(parsed));
    }
    if parsed.qclass != class::IN
        && let Some(refusal) = other_class(parsed, request.bytes, options)
    {
        return Some(refusal);
    }
    // Zones are not handed out whole: there is nothing to transfer from an answer that depends on who asks.
    matches!(parsed.qtype, RecordType::AXFR | RecordType::IXFR).then_some(Refusal::NotSupported(Rcode::REFUSED))
}

/// What is no query for a name.
#[cold]
fn no_query(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> Refusal {
    match parsed.kind {
        Kind::Query | Kind::Drop => Refusal::Drop,
        Kind::FormatError => Refusal::Say(Rcode::FORMERR),
        Kind::NotImplemented => Refusal::NotSupported(Rcode::NOTIMP),
        Kind::BadVersion => Refusal::Say(Rcode::BADVERS),
        Kind::CookieOnly => {
            faulty(parsed, request, &serving.image.options).unwrap_or_else(|| cookie_only(parsed, request, serving))
        }
    }
}

/// Whether something that can be read must not be so.
#[inline]
fn faulty(parsed: &Parsed, request: &Request<'_>, options: &Options) -> Option<Refusal> {
    let is_too_long = request.transport == Transport::Udp && request.bytes.len() > UDP_QUERY_MAX;
    let has_bad_option = || {
        let edns = parsed.edns.as_ref();
        edns.is_some_and(|edns| has_bad_option(edns, request.transport, options))
    };
    (is_too_long || has_bad_option()).then_some(Refusal::Say(Rcode::FORMERR))
}

/// Whether an option says what it must not, as far as it is read.
#[inline]
fn has_bad_option(edns: &Edns, transport: Transport, options: &Options) -> bool {
    (edns.bad_subnet && options.client_subnet)
        || (edns.bad_cookie && options.cookies != Cookies::Off)
        // RFC 7828 3.3.1: over UDP the option means nothing, whatever it says.
        || (edns.keepalive == Keepalive::Stated && transport == Transport::Tcp)
}

/// What the server cookie of a query is worth; none where it shows no cookie.
pub(super) fn standing(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> Option<Standing> {
    let cookie = parsed.edns?.cookie?.read(request.bytes)?;
    Some(serving.secrets.standing(&cookie, request.source, request.now))
}

/// RFC 7873 5.4: whoever asks for a cookie gets it; whoever asks about one that is not good is told so.
#[cold]
fn cookie_only(parsed: &Parsed, request: &Request<'_>, serving: &Serving) -> Refusal {
    Refusal::Say(match standing(parsed, request, serving) {
        Some(_) if serving.image.options.cookies == Cookies::Off => Rcode::FORMERR,
        Some(Standing::Bad) => Rcode::BADCOOKIE,
        Some(_) => Rcode::NOERROR,
        None => Rcode::FORMERR,
    })
}

/// RFC 7873 5.2.3, 5.2.4: who can read cookies gets one to ask with again. All others are sent to TCP, which proves as much.
#[cold]
fn unproven(parsed: &Parsed) -> Refusal {
    match parsed.edns.and_then(|edns| edns.cookie) {
        Some(_) => Refusal::Say(Rcode::BADCOOKIE),
        None => Refusal::Truncated,
    }
}

/// Zones are of class IN. Under ANY they are answered all the same, though without authority ([`super::write`]).
#[cold]
fn other_class(parsed: &Parsed, bytes: &[u8], options: &Options) -> Option<Refusal> {
    if parsed.qclass == class::ANY {
        return None;
    }
    let asked = parsed.name(bytes);
    let is = |known: &[&[u8]]| known.iter().any(|name| name.eq_ignore_ascii_case(asked));
    let is_text = matches!(parsed.qtype, RecordType::TXT | RecordType::ANY);
    let about = match parsed.qclass == class::CH && is_text {
        true if is(&[b"\x07version\x04bind\x00", b"\x07version\x06server\x00"]) => Some(About::Version),
        true if is(&[b"\x08hostname\x04bind\x00", b"\x02id\x06server\x00"]) => Some(About::Identifier),
        _ => None,
    };
    let about = about.filter(|about| !about.text(options).is_empty());
    Some(about.map_or(Refusal::Say(Rcode::REFUSED), Refusal::About))
}
