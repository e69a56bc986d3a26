//! What a message asks, read plainly, and whether an answer may be one to it. It shares no code with the server.
//!
//! Whatever the octets are, RFC 1035, RFC 6891 and docs/conformance.md say which of a few things they must be answered with; here that is
//! worked out once more, slowly, for messages that nobody meant to send.

use windrose::answer::Transport;

use crate::message::{Message, decode, rcode_name};
use crate::random_zones::hickory_reads;
use crate::rfc;

/// A query over UDP that is longer is malformed, and so is a response.
const DATAGRAM: usize = 1_232;

/// A response to a client that says nothing of its size.
const PLAIN: usize = 512;

const OPT: u16 = 41;

const SUBNET: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;

const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;

/// What a message is to be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: a response, or less than a header.
    Silence,
    /// An opcode other than QUERY, whatever follows.
    NotImplemented,
    /// It cannot be read, or must not be so.
    FormatError,
    /// Another version of EDNS.
    BadVersion,
    /// Any other response code.
    Answer,
}

/// The OPT record of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opt {
    Absent,
    /// Of a message that cannot be read: there may be one.
    Unclear,
    Present {
        size: u16,
        dnssec_ok: bool,
    },
}

/// A message, as far as what it is answered with depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    octets: &'a [u8],
    pub(crate) due: Due,
    /// The octets of the one question, if it can be sent back.
    question: &'a [u8],
    opt: Opt,
    /// Whether it has one question and no records but OPT.
    pub(crate) is_plain: bool,
    /// Whether it has a client subnet of family 0, which hickory-server refuses.
    pub(crate) has_no_family: bool,
}

/// The records of a message that can be read to its end.
struct Whole<'a> {
    opt: Option<OptRecord<'a>>,
    records: usize,
}

struct OptRecord<'a> {
    size: u16,
    version: u8,
    dnssec_ok: bool,
    options: Vec<(u16, &'a [u8])>,
}

impl<'a> Asked<'a> {
    /// Reads a message.
    pub(crate) fn read(octets: &'a [u8], transport: Transport) -> Self {
        let mut asked = Self {
            octets,
            due: Due::Silence,
            question: &[],
            opt: Opt::Absent,
            is_plain: false,
            has_no_family: false,
        };
        if octets.len() < 12 || octets[2] & 0x80 != 0 {
            return asked;
        }
        let questions = number(octets, 4).unwrap_or(0);
        let end = question_end(octets);
        if let (1, Some(end)) = (questions, end) {
            asked.question = &octets[12..end];
        }
        // What is too long for a datagram need not have been read to its end.
        let too_long = transport == Transport::Udp && octets.len() > DATAGRAM;
        let whole = match (questions, end) {
            _ if too_long => None,
            (0, _) => whole(octets, 12),
            (1, Some(end)) => whole(octets, end),
            _ => None,
        };
        asked.opt = match &whole {
            None => Opt::Unclear,
            Some(Whole { opt: None, .. }) => Opt::Absent,
            Some(Whole { opt: Some(opt), .. }) => Opt::Present {
                size: opt.size,
                dnssec_ok: opt.dnssec_ok,
            },
        };
        asked.due = due(octets, questions, whole.as_ref(), transport);
        if let Some(whole) = whole {
            let of_no_family = |(code, data): &(u16, &[u8])| *code == SUBNET && data.starts_with(&[0, 0]);
            asked.is_plain = questions == 1 && whole.records == usize::from(whole.opt.is_some());
            asked.has_no_family = whole.opt.is_some_and(|opt| opt.options.iter().any(of_no_family));
        }
        asked
    }

    /// The most octets that a response may have.
    fn most(&self, transport: Transport) -> usize {
        match (transport, self.opt) {
            (Transport::Tcp, _) => 65_535,
            (Transport::Udp, Opt::Present { size, .. }) => usize::from(size).clamp(PLAIN, DATAGRAM),
            (Transport::Udp, Opt::Absent | Opt::Unclear) => PLAIN,
        }
    }

    /// Whether this is a response to it; returns its response code.
    pub(crate) fn holds(&self, answer: &[u8], transport: Transport) -> Result<u16, String> {
        let message = decode(answer)?;
        hickory_reads(answer)?;
        rfc::header(self.octets, &message)?;
        if answer.len() > self.most(transport) {
            return Err(format!(
                "{} octets, where {} are allowed",
                answer.len(),
                self.most(transport)
            ));
        }
        if message.questions != self.question || message.question_count != u16::from(!self.question.is_empty()) {
            return Err("the question is another".to_owned());
        }
        self.holds_code(&message)?;
        self.holds_opt(&message)?;
        Ok(message.rcode)
    }

    fn holds_code(&self, message: &Message) -> Result<(), String> {
        let as_due = match self.due {
            Due::Silence => false,
            Due::NotImplemented => message.rcode == NOTIMP,
            Due::FormatError => message.rcode == FORMERR,
            Due::BadVersion => message.rcode == BADVERS,
            Due::Answer => ![FORMERR, NOTIMP, BADVERS].contains(&message.rcode),
        };
        let empty = message.sections.iter().all(Vec::is_empty);
        let has_records = matches!(message.rcode, 0 | 3 | 6);
        match as_due {
            false => Err(format!("{} for {:?}", rcode_name(message.rcode), self.due)),
            true if !empty && !has_records => Err(format!("records beside {}", rcode_name(message.rcode))),
            true => Ok(()),
        }
    }

    fn holds_opt(&self, message: &Message) -> Result<(), String> {
        let told = message.opt.as_ref().map(|opt| (opt.udp, opt.version, opt.flags));
        let expected = match self.opt {
            Opt::Absent => None,
            Opt::Present { dnssec_ok, .. } => Some((1_232, 0, u16::from(dnssec_ok) << 15)),
            Opt::Unclear => return Ok(()),
        };
        if told != expected {
            return Err(format!("the OPT record is {told:?}, not {expected:?}"));
        }
        Ok(())
    }
}

/// In the order of docs/conformance.md: an unknown opcode comes first, then what cannot be read, then the version of EDNS, which says how
/// the options are to be read.
fn due(octets: &[u8], questions: u16, whole: Option<&Whole<'_>>, transport: Transport) -> Due {
    if octets[2] & 0x78 != 0 {
        return Due::NotImplemented;
    }
    let Some(Whole { opt, .. }) = whole else {
        return Due::FormatError;
    };
    if opt.as_ref().is_some_and(|opt| opt.version > 0) {
        return Due::BadVersion;
    }
    let options = opt.as_ref().map(|opt| opt.options.as_slice()).unwrap_or_default();
    // RFC 7873 5.4: without a question only a cookie can be asked for.
    let asks = questions == 1 || options.iter().any(|(code, _)| *code == COOKIE);
    match asks && options_are_good(options, transport) {
        true => Due::Answer,
        false => Due::FormatError,
    }
}

fn options_are_good(options: &[(u16, &[u8])], transport: Transport) -> bool {
    let of = |wanted: u16| options.iter().filter(move |(code, _)| *code == wanted);
    let lengths = |(_, data): &(u16, &[u8])| data.len() == 8 || (16..=40).contains(&data.len());
    let mut subnets = of(SUBNET);
    let subnet_is_good = subnets.next().is_none_or(|(_, data)| is_subnet(data)) && subnets.next().is_none();
    // RFC 7873 5.2: of several the first counts.
    let cookie_is_good = of(COOKIE).next().is_none_or(lengths);
    // RFC 7828 3.2.1, 3.2.2: a client states no time; over UDP the option means nothing.
    let keepalive_is_good = transport == Transport::Udp || of(KEEPALIVE).all(|(_, data)| data.is_empty());
    subnet_is_good && cookie_is_good && keepalive_is_good
}

/// RFC 7871 6: family, source, a scope of zero, and as many octets as the source needs, without bits beyond it.
fn is_subnet(data: &[u8]) -> bool {
    let [family_high, family, source, scope, address @ ..] = data else {
        return false;
    };
    let longest = match (family_high, family) {
        (0, 0) => 0,
        (0, 1) => 32,
        (0, 2) => 128,
        _ => return false,
    };
    let bits_beyond = || {
        let beyond = |bit: &usize| address[bit / 8] >> (7 - bit % 8) & 1 == 1;
        (usize::from(*source)..address.len() * 8).any(|bit| beyond(&bit))
    };
    *source <= longest && *scope == 0 && address.len() == usize::from(*source).div_ceil(8) && !bits_beyond()
}

fn number(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().unwrap()))
}

/// Where the question at octet 12 ends: a name without pointers of at most 255 octets, a type and a class.
pub(super) fn question_end(octets: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match *octets.get(at)? {
            0 => break,
            length @ 1..=63 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
    let end = at + 5;
    (at - 12 < 255 && end <= octets.len()).then_some(end)
}

/// The records from there to the end of the message.
fn whole(octets: &[u8], start: usize) -> Option<Whole<'_>> {
    let mut found = Whole { opt: None, records: 0 };
    let mut at = start;
    for (section, count) in [6, 8, 10].into_iter().enumerate() {
        for _ in 0..number(octets, count)? {
            let (owner_is_root, fixed) = owner(octets, at)?;
            let length = usize::from(number(octets, fixed + 8)?);
            let data = octets.get(fixed + 10..fixed + 10 + length)?;
            at = fixed + 10 + length;
            found.records += 1;
            if number(octets, fixed)? == OPT {
                // RFC 6891 6.1.1: one, of the root, in the additional section.
                if section != 2 || !owner_is_root || found.opt.is_some() {
                    return None;
                }
                found.opt = Some(opt(octets, fixed, data)?);
            }
        }
    }
    (at == octets.len()).then_some(found)
}

/// Whether the owner at an octet is the root, and where it ends. Where a pointer leads is of no interest: nobody needs that name.
fn owner(octets: &[u8], start: usize) -> Option<(bool, usize)> {
    let mut at = start;
    loop {
        match *octets.get(at)? {
            0 => return Some((at == start, at + 1)),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0.. => return Some((false, at + 2)),
            _ => return None,
        }
    }
}

/// The OPT record whose type stands at `fixed`.
fn opt<'a>(octets: &[u8], fixed: usize, data: &'a [u8]) -> Option<OptRecord<'a>> {
    let mut options = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let length = usize::from(number(data, at + 2)?);
        options.push((number(data, at)?, data.get(at + 4..at + 4 + length)?));
        at += 4 + length;
    }
    Some(OptRecord {
        size: number(octets, fixed + 2)?,
        version: octets[fixed + 5],
        dnssec_ok: octets[fixed + 6] & 0x80 != 0,
        options,
    })
}
