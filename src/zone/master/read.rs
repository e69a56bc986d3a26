//! Lines to records: owner, TTL, class and type in front of the data, and the directives that change what the next line means.

use std::sync::Arc;

use super::generate::{self, Template};
use super::scan::{Line, Scanner};
use super::told::{ERRORS_MAX, Told};
use super::{Include, Place, Record};
use crate::diagnostic::{Source, nearest_word};
use crate::spec::Span;
use crate::wire::code::{RECORD_TYPES, RecordType};
use crate::wire::name::Name;
use crate::wire::rdata::{self, Token};
use crate::zone::model::TTL_MAX;

/// The TTL of records for which nothing in the file says one: an hour, as NSD has it.
const TTL_DEFAULT: u32 = 3_600;

/// How deep files may include others: deeper is a circle.
const DEPTH_MAX: u32 = 8;

/// The most files that a zone includes, each as often as it is included.
const INCLUDES_MAX: u32 = 1_000;

/// The most characters of generated data that a fault quotes.
const SHOWN_MAX: usize = 80;

/// What was read of a zone.
#[derive(Debug)]
pub(super) struct ReadRecords {
    /// Every record at or below the origin, in the order of the file.
    pub(super) records: Vec<Record>,
    /// The owner of an SOA record that is not at the origin, and its place.
    pub(super) other_soa: Option<(Name, Place)>,
}

/// A name that lines take from those before them.
#[derive(Debug, Clone)]
enum Taken {
    /// None has been given yet.
    Nothing,
    /// One was given that is none: what depends on it is not told again.
    Faulty,
    /// This.
    Name(Name),
}

/// The state between lines.
pub(super) struct Reader<'a, 'f> {
    zone: &'a Name,
    include: Include<'a>,
    told: &'a mut Told<'f>,
    read: ReadRecords,
    /// The origin of relative names.
    origin: Taken,
    /// The owner of the last record.
    owner: Taken,
    /// `$TTL` (RFC 2308 4).
    default_ttl: Option<u32>,
    /// The TTL that was written last (RFC 1035 5.1).
    last_ttl: Option<u32>,
    depth: u32,
    included: u32,
    generated: u32,
}

/// What stands before the data of a record.
struct Head<'r, 't> {
    /// `None` without one that is written.
    ttl: Option<u32>,
    rtype: RecordType,
    /// Where the type is.
    type_span: Span,
    data: &'r [Token<'t>],
}

/// A fault at a place, and what to do about it.
type Wrong = (Span, String, Option<String>);

impl<'a, 'f> Reader<'a, 'f> {
    pub(super) fn new(zone: &'a Name, include: Include<'a>, told: &'a mut Told<'f>) -> Self {
        Self {
            zone,
            include,
            told,
            read: ReadRecords {
                records: Vec::new(),
                other_soa: None,
            },
            origin: Taken::Name(zone.clone()),
            owner: Taken::Nothing,
            default_ttl: None,
            last_ttl: None,
            depth: 0,
            included: 0,
            generated: 0,
        }
    }

    /// What was read.
    pub(super) fn finish(self) -> ReadRecords {
        self.read
    }

    /// Reads a file, whose number is given.
    pub(super) fn file(&mut self, source: &Arc<Source>, number: u32) {
        for line in Scanner::new(&source.text) {
            match line {
                Ok(line) => self.line(&line, source, number),
                Err(fault) => {
                    let hint = fault.last.then(|| "the rest of the file was not read".to_owned());
                    self.told.error(number, fault.span, fault.message, hint);
                    // Its owner may have been a new one.
                    self.owner = Taken::Faulty;
                }
            }
            if self.told.errors() > ERRORS_MAX {
                break;
            }
        }
    }

    fn line(&mut self, line: &Line<'_>, source: &Arc<Source>, file: u32) {
        let Some(first) = line.tokens.first() else { return };
        let done = if first.raw.starts_with('$') && !first.quoted {
            self.directive(first, line, source, file)
        } else {
            self.record(line, file)
        };
        if let Err((span, message, hint)) = done {
            self.told.error(file, span, message, hint);
        }
    }

    fn record(&mut self, line: &Line<'_>, file: u32) -> Result<(), Wrong> {
        let mut tokens = line.tokens.as_slice();
        let mut owner_span = line.end..line.end;
        if let Some((first, rest)) = tokens.split_first().filter(|_| !line.indented) {
            owner_span = span(first);
            tokens = rest;
            self.owner = Taken::Faulty;
            if let Some(owner) = self.name(first)? {
                self.owner = Taken::Name(owner);
            }
        }
        let head = self.head(tokens, line.end, file)?;
        let owner = match &self.owner {
            Taken::Name(owner) => owner.clone(),
            Taken::Faulty => return Ok(()),
            Taken::Nothing => {
                let message = "no owner: the line begins with a space, and there is none before it";
                let hint = "write the owner at the very start of the line, `@` for the origin".to_owned();
                return Err((head.type_span, message.to_owned(), Some(hint)));
            }
        };
        let Taken::Name(origin) = &self.origin else {
            return Ok(());
        };
        let data = data(&head, line.end, origin)?;
        let place = Place::new(file, &head.type_span);
        let ttl = self.ttl(&head, &data, &place);
        let rtype = head.rtype;
        self.keep(
            Record {
                owner,
                rtype,
                ttl,
                data,
                place,
            },
            owner_span,
        );
        Ok(())
    }

    /// Keeps a record, if it is the zone's.
    fn keep(&mut self, record: Record, owner_span: Span) {
        if record.owner.is_at_or_below(self.zone) {
            if record.rtype == RecordType::SOA && record.owner != *self.zone {
                self.read.other_soa.get_or_insert((record.owner, record.place));
            } else {
                self.read.records.push(record);
            }
            return;
        }
        if record.rtype == RecordType::SOA {
            self.read.other_soa.get_or_insert((record.owner, record.place));
            return;
        }
        let at = match owner_span.is_empty() {
            true => record.place.span(),
            false => owner_span,
        };
        let message = format!(
            "{} is outside the zone {}: the record is left out",
            record.owner, self.zone
        );
        let hint = "a name that ends in a dot is absolute; without the dot it is relative to $ORIGIN";
        self.told.warning(record.place.file, at, message, hint);
    }

    /// A name; `None` if it depends on an origin that is faulty.
    fn name(&self, token: &Token<'_>) -> Result<Option<Name>, Wrong> {
        let origin = match &self.origin {
            Taken::Name(origin) => origin,
            _ if token.raw.ends_with('.') => self.zone,
            _ => return Ok(None),
        };
        name(token, origin).map(Some)
    }

    /// TTL and class, in either order, and the type.
    fn head<'r, 't>(&mut self, tokens: &'r [Token<'t>], end: usize, file: u32) -> Result<Head<'r, 't>, Wrong> {
        let (mut ttl, mut class) = (None, None);
        let mut rest = tokens;
        while let Some((token, after)) = rest.split_first() {
            if token.raw.starts_with(|c: char| c.is_ascii_digit()) && ttl.is_none() {
                ttl = Some(self.written_ttl(token, file)?);
            } else if let Some(number) = class_of(token.raw).filter(|_| class.is_none()) {
                if number != crate::wire::code::class::IN {
                    let message = format!("{} is not the class IN, the only one that is served", token.shown());
                    return Err((span(token), message, None));
                }
                class = Some(number);
            } else {
                let rtype = record_type(token)?;
                return Ok(Head {
                    ttl,
                    rtype,
                    type_span: span(token),
                    data: after,
                });
            }
            rest = after;
        }
        let hint = "a line is `OWNER TTL CLASS TYPE DATA`; a space before it repeats the owner".to_owned();
        Err((end..end, "the type of the record is missing".to_owned(), Some(hint)))
    }

    fn written_ttl(&mut self, token: &Token<'_>, file: u32) -> Result<u32, Wrong> {
        let ttl = rdata::seconds(token.raw).ok_or_else(|| {
            let hint = "seconds, or numbers with the units w, d, h, m and s, as in `1h30m`".to_owned();
            (span(token), format!("{} is not a TTL", token.shown()), Some(hint))
        })?;
        if ttl <= TTL_MAX {
            return Ok(ttl);
        }
        let message = format!("a TTL of {ttl} seconds is taken for 0 (RFC 2181 8)");
        self.told
            .warning(file, span(token), message, "it goes up to 2147483647");
        Ok(0)
    }

    /// The TTL of a record: written, by `$TTL`, as the last one (RFC 1035 5.1), or from the SOA.
    fn ttl(&mut self, head: &Head<'_, '_>, data: &[u8], place: &Place) -> u32 {
        if let Some(ttl) = head.ttl {
            self.last_ttl = Some(ttl);
            return ttl;
        }
        if let Some(ttl) = self.default_ttl.or(self.last_ttl) {
            return ttl;
        }
        let minimum = data.last_chunk::<4>().copied().map(u32::from_be_bytes);
        let minimum = minimum.filter(|ttl| head.rtype == RecordType::SOA && *ttl <= TTL_MAX);
        let ttl = minimum.unwrap_or(TTL_DEFAULT);
        self.default_ttl = Some(ttl);
        let message = format!("no TTL is given: {ttl} seconds are taken");
        let hint = "write `$TTL` before the first record (RFC 2308 4)";
        self.told.warning_at(place, message, hint);
        ttl
    }

    fn directive(&mut self, first: &Token<'_>, line: &Line<'_>, source: &Arc<Source>, file: u32) -> Result<(), Wrong> {
        let word = first.raw.to_ascii_uppercase();
        match word.as_str() {
            "$ORIGIN" => {
                let [_, name] = line.tokens.as_slice() else {
                    return Err((span(first), "$ORIGIN takes one name".to_owned(), None));
                };
                let before = std::mem::replace(&mut self.origin, Taken::Faulty);
                let origin = match &before {
                    Taken::Name(before) => before,
                    _ => self.zone,
                };
                self.origin = Taken::Name(self::name(name, origin)?);
            }
            "$TTL" => {
                let [_, ttl] = line.tokens.as_slice() else {
                    return Err((span(first), "$TTL takes one time".to_owned(), None));
                };
                self.default_ttl = Some(self.written_ttl(ttl, file)?);
            }
            "$INCLUDE" => self.include(first, line)?,
            "$GENERATE" => self.generate(line, source, file)?,
            _ => {
                let known = ["$ORIGIN", "$TTL", "$INCLUDE", "$GENERATE"];
                let hint = match nearest_word(&word, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "known are $ORIGIN, $TTL, $INCLUDE and $GENERATE; an owner with a `$` is written `\\$`"
                        .to_owned(),
                };
                let message = format!("{} is not a directive", first.shown());
                return Err((span(first), message, Some(hint)));
            }
        }
        Ok(())
    }

    /// RFC 1035 5.1: `$INCLUDE FILE [ORIGIN]`. Origin and owner are afterwards what they were; `$TTL` stays as the file left it.
    fn include(&mut self, first: &Token<'_>, line: &Line<'_>) -> Result<(), Wrong> {
        let (path, origin) = match line.tokens.as_slice() {
            [_, path] => (path, self.origin.clone()),
            [_, path, origin] => (path, self.name(origin)?.map_or(Taken::Faulty, Taken::Name)),
            _ => {
                let message = "$INCLUDE takes a file, and a name if it has another origin".to_owned();
                return Err((span(first), message, None));
            }
        };
        let wrong = |message: String| (span(path), message, None);
        if self.depth == DEPTH_MAX {
            return Err(wrong(format!("files include one another more than {DEPTH_MAX} deep")));
        }
        if self.included == INCLUDES_MAX {
            return Err(wrong(format!("more than {INCLUDES_MAX} files are included")));
        }
        self.included += 1;
        let octets = path.octets().map_err(|fault| wrong(fault.message))?;
        let name = String::from_utf8_lossy(&octets).into_owned();
        let source = (self.include)(&name).map_err(wrong)?;
        let number = self.told.add_file(&source);
        let origin = std::mem::replace(&mut self.origin, origin);
        let owner = std::mem::replace(&mut self.owner, Taken::Nothing);
        self.depth += 1;
        self.file(&source, number);
        self.depth -= 1;
        (self.origin, self.owner) = (origin, owner);
        Ok(())
    }

    /// `$GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA`, as BIND has it.
    fn generate(&mut self, line: &Line<'_>, source: &Arc<Source>, file: u32) -> Result<(), Wrong> {
        let [_, range, owner, rest @ ..] = line.tokens.as_slice() else {
            let hint = "as in `$GENERATE 1-9 host-$ A 192.0.2.$`".to_owned();
            let message = "$GENERATE takes a range, an owner, a type and data".to_owned();
            return Err((line.end..line.end, message, Some(hint)));
        };
        let numbers = generate::range(range)?;
        let head = self.head(rest, line.end, file)?;
        let owner_text = Template::read(owner.raw, owner.offset)?;
        let (data_text, data_at) = match head.data {
            [] => return Err((line.end..line.end, "the data is empty".to_owned(), None)),
            [only] => (only.raw, only.offset),
            [from, ..] => (source.text.get(from.offset..line.end).unwrap_or_default(), from.offset),
        };
        let data_text_of = Template::read(data_text, data_at)?;
        let data_span = data_at..data_at + data_text.len();
        for number in numbers {
            self.generated += 1;
            if self.generated > generate::RECORDS_MAX {
                let message = format!("more than {} records are generated", generate::RECORDS_MAX);
                return Err((span(range), message, None));
            }
            if owner_text.overflows(number) || data_text_of.overflows(number) {
                let message = format!("{number} with what is added to it is above {}", i32::MAX);
                return Err((span(range), message, None));
            }
            let text = owner_text.with(number);
            let token = Token {
                offset: owner.offset,
                raw: &text,
                quoted: false,
            };
            // Places in what is generated are none in the file.
            let in_owner = |(_, message, hint): Wrong| (span(owner), message, hint);
            let Some(name) = self.name(&token).map_err(in_owner)? else {
                return Ok(());
            };
            let Taken::Name(origin) = &self.origin else {
                return Ok(());
            };
            let text = data_text_of.with(number);
            let tokens = match Scanner::new(&text).next() {
                Some(Ok(line)) => line.tokens,
                _ => Vec::new(),
            };
            let made = Head {
                data: &tokens,
                type_span: head.type_span.clone(),
                ..head
            };
            let data = data(&made, text.len(), origin).map_err(|(_, message, hint)| {
                let made: String = text.chars().take(SHOWN_MAX).collect();
                (data_span.clone(), format!("{made}: {message}"), hint)
            })?;
            let place = Place::new(file, &head.type_span);
            let ttl = self.ttl(&made, &data, &place);
            let rtype = head.rtype;
            self.owner = Taken::Name(name.clone());
            self.keep(
                Record {
                    owner: name,
                    rtype,
                    ttl,
                    data,
                    place,
                },
                span(owner),
            );
        }
        Ok(())
    }
}

/// The octets of a token.
pub(super) fn span(token: &Token<'_>) -> Span {
    token.offset..token.offset + token.raw.len()
}

fn name(token: &Token<'_>, origin: &Name) -> Result<Name, Wrong> {
    Name::parse(token.raw, Some(origin)).map_err(|fault| {
        let at = token.offset + fault.offset;
        (
            at..at + 1,
            format!("{} is no name: {}", token.shown(), fault.message),
            None,
        )
    })
}

/// The number of a class, by its word or as `CLASSnnn` (RFC 3597 5).
fn class_of(text: &str) -> Option<u16> {
    let known = [("IN", 1), ("CS", 2), ("CH", 3), ("HS", 4)];
    let known = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    known.map(|(_, number)| *number).or_else(|| {
        let is_class = text.get(..5)?.eq_ignore_ascii_case("CLASS");
        let digits = text.get(5..).filter(|_| is_class)?;
        digits
            .parse()
            .ok()
            .filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn record_type(token: &Token<'_>) -> Result<RecordType, Wrong> {
    let Some(rtype) = RecordType::parse(token.raw).filter(|_| !token.quoted) else {
        let near = nearest_word(
            token.raw.get(..12.min(token.raw.len())).unwrap_or_default(),
            RECORD_TYPES.iter().map(|(_, word)| *word),
        );
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "TYPEnnn stands for a type without a name".to_owned(),
        };
        let message = format!("{} is not a record type", token.shown());
        return Err((span(token), message, Some(hint)));
    };
    if rtype.is_meta() {
        let message = format!("{rtype} is a type of queries or messages: no zone holds records of it (RFC 6895 3.1)");
        return Err((span(token), message, None));
    }
    Ok(rtype)
}

fn data(head: &Head<'_, '_>, end: usize, origin: &Name) -> Result<Box<[u8]>, Wrong> {
    rdata::parse_master(head.rtype, head.data, end, origin).map_err(|fault| {
        let token = head.data.iter().find(|token| {
            let length = token.raw.len().max(1);
            (token.offset..token.offset + length).contains(&fault.offset)
        });
        let end = token.map_or(fault.offset, |token| token.offset + token.raw.len());
        (fault.offset..end.max(fault.offset), fault.message, fault.hint)
    })
}
