//! What a case says a response is, and whether one is that. The notation is described in `cases.rs`.

use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;

use crate::message::{self, Message, Record};

/// What should become of a query.
#[derive(Debug, Clone)]
pub(crate) enum Expect {
    /// Nothing is sent.
    Dropped,
    /// This is.
    Response(Box<Response>),
}

/// A response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    /// The response code and the flags, as one line.
    status: String,
    /// Answer, authority, additional.
    sections: [Section; 3],
    /// The words of the `edns:` line; a last `*` in a word stands for anything, and `any` alone for OPT record or none.
    edns: Option<Vec<String>>,
    /// All of it, octet by octet, where that is told too.
    octets: Vec<u8>,
}

/// The records of a section.
#[derive(Debug, Clone)]
struct Section {
    kind: Kind,
    alternatives: Vec<Vec<Pattern>>,
}

/// How the alternatives of a section are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is one.
    Fixed,
    /// Chance decides, and each must be seen.
    OneOf,
    /// One of them, and always the same.
    AlwaysOneOf,
    /// There is one list, and so many different records of it are in the response.
    Some(usize),
}

/// A record; without data any will do.
#[derive(Debug, Clone)]
struct Pattern {
    owner: Vec<u8>,
    rtype: u16,
    class: u16,
    ttl: u32,
    rdata: Option<Vec<u8>>,
}

const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

impl Default for Section {
    fn default() -> Self {
        Self {
            kind: Kind::Fixed,
            alternatives: vec![Vec::new()],
        }
    }
}

impl Expect {
    /// Reads the lines below a query.
    pub(crate) fn parse(lines: &[&str]) -> Result<Self, String> {
        let mut lines = lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let status = lines.next().ok_or("nothing is expected of it")?;
        if status == "dropped" {
            return Ok(Expect::Dropped);
        }
        let mut response = Response {
            status: status.into(),
            ..Response::default()
        };
        let mut current = None;
        for line in lines {
            if let Some(digits) = line.strip_prefix("octets:") {
                response.octets.extend(octets(&digits.replace(' ', ""))?);
            } else if let Some(words) = line.strip_prefix("edns:") {
                response.edns = Some(words.split_whitespace().map(str::to_owned).collect());
            } else if let Some((section, kind)) = section_head(line)? {
                response.sections[section].kind = kind;
                current = Some(section);
            } else {
                let section = current.ok_or_else(|| format!("`{line}` stands in no section"))?;
                let alternatives = &mut response.sections[section].alternatives;
                match line {
                    "or" => alternatives.push(Vec::new()),
                    _ => alternatives.last_mut().unwrap().push(pattern(line)?),
                }
            }
        }
        Ok(Expect::Response(Box::new(response)))
    }

    /// Whether it must not be truncated, so that UDP and TCP agree.
    pub(crate) fn fits_udp(&self) -> bool {
        match self {
            Expect::Dropped => true,
            Expect::Response(response) => !response.status.split(' ').any(|flag| flag == "tc"),
        }
    }

    /// The response code, unless it is dropped.
    pub(crate) fn rcode(&self) -> Option<&str> {
        match self {
            Expect::Dropped => None,
            Expect::Response(response) => response.status.split(' ').next(),
        }
    }

    /// Whether it is the same every time, to the last record.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Expect::Dropped => true,
            Expect::Response(response) => response.sections.iter().all(|section| section.kind == Kind::Fixed),
        }
    }

    /// How many alternatives chance decides between, if it does.
    pub(crate) fn chances(&self) -> Option<(Kind, usize)> {
        let Expect::Response(response) = self else { return None };
        let section = response
            .sections
            .iter()
            .find(|section| matches!(section.kind, Kind::OneOf | Kind::AlwaysOneOf))?;
        Some((section.kind, section.alternatives.len()))
    }

    /// Whether a response has the octets told, if any are. Of those that hickory-server writes nothing is told.
    pub(crate) fn octets_match(&self, got: Option<&[u8]>) -> Result<(), String> {
        match (self, got) {
            (Expect::Response(response), Some(octets)) if !response.octets.is_empty() && response.octets != octets => {
                Err(format!("the octets are\n    {}", message::hex(octets)))
            }
            _ => Ok(()),
        }
    }

    /// Holds a response (or none) against it: the index of the alternative it is, or what is wrong.
    pub(crate) fn judge(&self, query: &[u8], got: Option<&[u8]>) -> Result<usize, String> {
        match (self, got) {
            (Expect::Dropped, None) => Ok(0),
            (Expect::Dropped, Some(octets)) => Err(format!("should be dropped, but got\n{}", shown(octets))),
            (Expect::Response(_), None) => Err("got nothing".into()),
            (Expect::Response(response), Some(octets)) => response
                .judge(query, octets)
                .map_err(|fault| format!("{fault}; got\n{}", shown(octets))),
        }
    }
}

impl Response {
    fn judge(&self, query: &[u8], octets: &[u8]) -> Result<usize, String> {
        let got = message::decode(octets).map_err(|fault| format!("cannot be decoded: {fault}"))?;
        second_opinion(&got, octets)?;
        if query[..2] != got.id.to_be_bytes() {
            return Err("another ID than the query's".into());
        }
        if (got.flags >> 11) & 0xf != u16::from(query[2] >> 3) & 0xf {
            return Err("another opcode than the query's".into());
        }
        if status(&got) != self.status {
            return Err(format!("`{}` instead of `{}`", status(&got), self.status));
        }
        question_is_kept(query, &got)?;
        chain_is_in_order(&got)?;
        let words = got.opt.as_ref().map(message::edns_words);
        if !edns_matches(self.edns.as_deref(), words.as_deref()) {
            return Err(format!("EDNS is {words:?} instead of {:?}", self.edns));
        }
        let mut which = 0;
        for ((section, records), title) in self.sections.iter().zip(&got.sections).zip(SECTIONS) {
            let index = section
                .alternative_of(records)
                .ok_or_else(|| format!("the {title} section is another"))?;
            which = which.max(index);
        }
        Ok(which)
    }
}

impl Section {
    fn alternative_of(&self, records: &[Record]) -> Option<usize> {
        self.alternatives.iter().position(|patterns| {
            let wanted = if let Kind::Some(count) = self.kind {
                count
            } else {
                patterns.len()
            };
            // Records are all different (the decoder sees to that); so must the patterns be that they match.
            let mut free: Vec<&Pattern> = patterns.iter().collect();
            records.len() == wanted
                && records.iter().all(|record| {
                    free.iter()
                        .position(|pattern| pattern.matches(record))
                        .map(|at| free.swap_remove(at))
                        .is_some()
                })
        })
    }
}

impl Pattern {
    fn matches(&self, record: &Record) -> bool {
        (&self.owner, self.rtype, self.class, self.ttl) == (&record.owner, record.rtype, record.class, record.ttl)
            && self.rdata.as_ref().is_none_or(|rdata| *rdata == record.rdata)
    }
}

/// `answer:`, `answer one of:`, `answer always one of:` or `answer 2 of:`.
fn section_head(line: &str) -> Result<Option<(usize, Kind)>, String> {
    let Some(head) = line.strip_suffix(':') else {
        return Ok(None);
    };
    let (title, rest) = head.split_once(' ').unwrap_or((head, ""));
    let Some(section) = SECTIONS.iter().position(|known| *known == title) else {
        return Err(format!("there is no section `{title}`"));
    };
    let kind = match rest {
        "" => Kind::Fixed,
        "one of" => Kind::OneOf,
        "always one of" => Kind::AlwaysOneOf,
        _ => Kind::Some(
            rest.strip_suffix(" of")
                .and_then(|count| count.parse().ok())
                .ok_or("no such kind of section")?,
        ),
    };
    Ok(Some((section, kind)))
}

/// `owner ttl IN type data` (or CH); data `*` is any, and `\# length hex` is any type's (RFC 3597 5).
fn pattern(line: &str) -> Result<Pattern, String> {
    let fault = |what: &str| format!("`{line}`: {what}");
    let mut words = line.split_whitespace();
    let (owner, ttl, class, rtype) = (words.next(), words.next(), words.next(), words.next());
    let class = match class {
        Some("IN") => 1,
        Some("CH") => 3,
        _ => return Err(fault("is not `owner ttl IN type data`")),
    };
    let owner = Name::parse(owner.unwrap_or_default(), None).map_err(|error| fault(&error.to_string()))?;
    let rtype = RecordType::parse(rtype.unwrap_or_default())
        .ok_or_else(|| fault("has no type"))?
        .0;
    let words: Vec<&str> = words.collect();
    let rdata = match words.as_slice() {
        ["*"] => None,
        ["\\#", length, digits @ ..] => {
            let octets = octets(&digits.concat()).map_err(|what| fault(&what))?;
            if length.parse() != Ok(octets.len()) {
                return Err(fault("another length than it says"));
            }
            Some(octets)
        }
        _ => Some(presentation(&line.replacen(" CH ", " IN ", 1)).map_err(|what| fault(&what))?),
    };
    let rdata = rdata
        .map(|octets| message::canonical_rdata(rtype, &octets))
        .transpose()?;
    Ok(Pattern {
        owner: owner.wire().to_ascii_lowercase(),
        rtype,
        class,
        ttl: ttl
            .and_then(|ttl| ttl.parse().ok())
            .ok_or_else(|| fault("has no TTL"))?,
        rdata,
    })
}

/// The data of a record in presentation form, by NLnet Labs' reader of master files.
fn presentation(line: &str) -> Result<Vec<u8>, String> {
    let mut file = Zonefile::from(format!("{line}\n").as_bytes());
    file.set_origin(domain::base::Name::root_bytes());
    match file.next_entry() {
        Ok(Some(Entry::Record(record))) => {
            let mut octets = Vec::new();
            record
                .data()
                .compose_rdata(&mut octets)
                .map_err(|error| error.to_string())?;
            Ok(octets)
        }
        Ok(_) => Err("is no record".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Hexadecimal digits, with spaces anywhere, as octets.
pub(crate) fn octets(digits: &str) -> Result<Vec<u8>, String> {
    let digits: String = digits.split_whitespace().collect();
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .map_err(|error| format!("`{digits}`: {error}"))
}

fn status(message: &Message) -> String {
    message::rcode_name(message.rcode) + &message::flag_names(message.flags)
}

/// The question comes back octet for octet, its case too; where the query could not be read or is of a kind that is not
/// implemented, it may be left out.
fn question_is_kept(query: &[u8], got: &Message) -> Result<(), String> {
    let excused = matches!(got.rcode, 1 | 4);
    match got.question_count {
        0 if excused || query.get(4..6) == Some(&[0, 0]) => Ok(()),
        1 if query.get(12..).is_some_and(|rest| rest.starts_with(&got.questions)) => Ok(()),
        _ => Err("the question is not that of the query".into()),
    }
}

/// The answer section follows its aliases from the question's name on, each before what it leads to (RFC 1034 4.3.2).
fn chain_is_in_order(got: &Message) -> Result<(), String> {
    let mut name = got
        .questions
        .split_at(got.questions.len().saturating_sub(4))
        .0
        .to_ascii_lowercase();
    for record in &got.sections[0] {
        // A DNAME stands above the name, and before the alias that follows from it (RFC 6672 3.2).
        if record.rtype == 39 && record.owner != name && name.ends_with(&record.owner) {
            continue;
        }
        if record.owner != name {
            return Err("the answer section does not follow the chain of names".into());
        }
        if record.rtype == RecordType::CNAME.0 {
            name.clone_from(&record.rdata);
        }
    }
    Ok(())
}

fn edns_matches(expected: Option<&[String]>, got: Option<&[String]>) -> bool {
    if expected.is_some_and(|words| words == ["any"]) {
        return true;
    }
    let (Some(expected), Some(got)) = (expected, got) else {
        return expected.is_none() && got.is_none();
    };
    let fits = |pattern: &String, word: &String| match pattern.strip_suffix('*') {
        Some(start) => word.starts_with(start),
        None => pattern == word,
    };
    expected.len() == got.len()
        && got
            .iter()
            .all(|word| expected.iter().any(|pattern| fits(pattern, word)))
}

/// What is right and hickory-proto cannot read: data of no octets, outside UPDATE too (RFC 3597 5), and a client subnet of family
/// 0, as `dig +subnet=0` sends it.
const BEYOND_HICKORY: [&str; 2] = ["unexpected record with length 0", "unknown address family: 0x0"];

/// hickory-proto must read the same from the same octets.
pub(crate) fn second_opinion(got: &Message, octets: &[u8]) -> Result<(), String> {
    let other = match hickory_proto::op::Message::from_vec(octets) {
        Ok(other) => other,
        Err(error) if BEYOND_HICKORY.iter().any(|words| error.to_string().contains(words)) => return Ok(()),
        Err(error) => return Err(format!("hickory cannot decode it: {error}")),
    };
    let sections = [&other.answers, &other.authorities, &other.additionals];
    let theirs = sections.map(|records| {
        let fields = |record: &hickory_proto::rr::Record| {
            (
                record.name.to_lowercase().to_ascii(),
                u16::from(record.record_type()),
                record.ttl,
            )
        };
        records.iter().map(fields).collect::<Vec<_>>()
    });
    let ours = got.sections.each_ref().map(|records| {
        records
            .iter()
            .map(|record| (dotted(&record.owner), record.rtype, record.ttl))
            .collect::<Vec<_>>()
    });
    if theirs != ours || u16::from(other.metadata.response_code) != got.rcode {
        return Err("hickory reads another message".into());
    }
    Ok(())
}

fn dotted(wire: &[u8]) -> String {
    hickory_proto::rr::Name::from_labels(Name::from_wire(wire).unwrap().labels())
        .map(|name| name.to_ascii())
        .unwrap()
}

/// A response in the notation of the cases, as far as it can be read.
fn shown(octets: &[u8]) -> String {
    let raw = || format!("    {}\n", message::hex(octets));
    let Ok(got) = message::decode(octets) else { return raw() };
    let Ok(other) = hickory_proto::op::Message::from_vec(octets) else {
        return raw();
    };
    let mut text = format!("    {}\n", status(&got));
    for (records, title) in [&other.answers, &other.authorities, &other.additionals]
        .into_iter()
        .zip(SECTIONS)
    {
        if !records.is_empty() {
            text += &format!("    {title}:\n");
        }
        for record in records {
            text += &format!("    {record}\n");
        }
    }
    if let Some(opt) = &got.opt {
        text += &format!("    edns: {}\n", message::edns_words(opt).join(" "));
    }
    text
}
