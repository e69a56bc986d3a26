//! Presentation form to wire form: one function walks the fields of a form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXLOWER_PERMISSIVE};

use super::form::{Field, Form, Lengths, Mnemonics, form};
use super::token::{Token, tokens};
use super::value::{self, address, join, number, record_type, time};
use super::{RDATA_MAX, RdataError, TEXT_MAX, gateway, loc, old, svcb, write};
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// How strictly data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As a person writes it for Windrose: what is hardly meant so is a fault.
    Strict,
    /// As master files have it: what other servers load is loaded, and times may have units.
    Master,
}

/// See [`super::parse`].
pub(super) fn read(rtype: RecordType, text: &str, origin: &Name) -> Result<Box<[u8]>, RdataError> {
    let read = tokens(text).and_then(|tokens| {
        let end = text.trim_end().len();
        read_tokens(rtype, &tokens, end, origin, Style::Strict)
    });
    read.map_err(|fault| match (&fault.hint, form(rtype)) {
        (None, Some(form)) => fault.hint(format!("{rtype} is `{}`, as in `{}`", form.usage, form.example)),
        _ => fault,
    })
}

/// Reads data that is cut into tokens, of which a text ends at `end`.
pub(super) fn read_tokens(
    rtype: RecordType,
    tokens: &[Token<'_>],
    end: usize,
    origin: &Name,
    style: Style,
) -> Result<Box<[u8]>, RdataError> {
    let form = form(rtype);
    // A list of addresses may be one of none (RFC 3123 4).
    if tokens.is_empty() && rtype == RecordType::APL {
        return Ok(Box::default());
    }
    let first = tokens
        .first()
        .ok_or_else(|| RdataError::new(end, "the data is empty"))?;
    let mut reader = Reader {
        rtype,
        origin,
        style,
        tokens,
        next: 0,
        end,
        out: Vec::new(),
    };
    if first.raw == "\\#" && !first.quoted {
        reader.generic(form)?;
    } else {
        let unknown = || {
            RdataError::new(first.offset, format!("the data of {rtype} has no text form here"))
                .hint("write it as `\\# LENGTH HEX` (RFC 3597), as in `\\# 3 010203`")
        };
        reader.fields(form.ok_or_else(unknown)?)?;
    }
    if let Some(token) = reader.rest().first() {
        return Err(token.fault(format!("{} is left over", token.shown())));
    }
    match reader.out.len() {
        length if length > RDATA_MAX => Err(RdataError::new(
            first.offset,
            format!("the data has {length} octets, but no more than {RDATA_MAX} fit"),
        )),
        _ => Ok(reader.out.into()),
    }
}

/// Whether a version or kind in the data has a value for which no text format is known: RFC 3597 5 has such data of known types as `\#`, "e.g., a
/// LOC RR with a VERSION other than 0".
fn is_of_a_kind_without_text(form: &Form, octets: &[u8]) -> bool {
    match (form.fields, octets) {
        ([Field::Loc], [version, ..]) => *version != 0,
        ([Field::IpsecKey], [_, kind, _, ..]) => *kind > gateway::GATEWAY_KIND_MAX,
        ([Field::AmtRelay], [_, kind, ..]) => kind & 0x7f > gateway::GATEWAY_KIND_MAX,
        _ => false,
    }
}

/// What length a digest should have, if it is not this one.
pub(super) fn digest_fault(lengths: Lengths, least: usize, algorithm: u8, length: usize) -> Option<String> {
    match lengths.iter().find(|(known, _)| *known == algorithm) {
        Some((_, right)) => (*right != length).then(|| format!("one of algorithm {algorithm} has {right}")),
        None => (length < least).then(|| format!("the least is {least}")),
    }
}

/// The tokens still to be read, and the octets made so far.
pub(super) struct Reader<'t> {
    rtype: RecordType,
    origin: &'t Name,
    style: Style,
    tokens: &'t [Token<'t>],
    next: usize,
    /// Where the text ends: the place of what is missing.
    end: usize,
    /// Wire form.
    pub(super) out: Vec<u8>,
}

impl<'t> Reader<'t> {
    /// RFC 3597 5.
    fn generic(&mut self, form: Option<&Form>) -> Result<(), RdataError> {
        let marker = self.take("`\\#`")?;
        let form_hint = "the form is `\\# LENGTH HEX`, as in `\\# 3 010203` (RFC 3597)";
        let length = self
            .number("LENGTH", RDATA_MAX as u64)
            .map_err(|fault| fault.hint(form_hint))?;
        let place = self.rest().first().map_or(self.end, |token| token.offset);
        self.out = self.hex_to_end().map_err(|fault| fault.hint(form_hint))?;
        if self.out.len() as u64 != length {
            let message = format!("`\\# {length}` is followed by {} octets", self.out.len());
            return Err(RdataError::new(place, message).hint(form_hint));
        }
        if form
            .is_some_and(|form| write::write(form, &self.out).is_none() && !is_of_a_kind_without_text(form, &self.out))
        {
            return Err(marker.fault(format!("these octets are not {} data", self.rtype)));
        }
        Ok(())
    }

    fn fields(&mut self, form: &Form) -> Result<(), RdataError> {
        for (index, field) in form.fields.iter().enumerate() {
            self.field(*field, form.label(index))?;
        }
        Ok(())
    }

    fn field(&mut self, field: Field, label: &str) -> Result<(), RdataError> {
        match field {
            Field::U8 => self.code(label, 1, &[]),
            Field::U16 => self.code(label, 2, &[]),
            Field::U32 => {
                let number = self.number(label, u32::MAX.into())?;
                self.push_number(number, 4);
                Ok(())
            }
            Field::Seconds => {
                let token = self.take(label)?;
                let seconds = match self.style {
                    Style::Strict => number(token.raw, u32::MAX.into()),
                    Style::Master => value::seconds(token.raw),
                };
                let seconds = seconds
                    .ok_or_else(|| token.fault(format!("{} is not a number of seconds ({label})", token.shown())))?;
                self.push_number(seconds, 4);
                Ok(())
            }
            Field::Code8(mnemonics) => self.code(label, 1, mnemonics),
            Field::Code16(mnemonics) => self.code(label, 2, mnemonics),
            Field::Type => {
                let token = self.take(label)?;
                let rtype = record_type(&token)?;
                self.push_number(rtype.0.into(), 2);
                Ok(())
            }
            Field::Time => {
                let token = self.take(label)?;
                let time = time(token.raw).ok_or_else(|| {
                    token.fault(format!(
                        "{} is not a time `YYYYMMDDHHmmSS` or a number of seconds ({label})",
                        token.shown()
                    ))
                })?;
                self.push_number(time.into(), 4);
                Ok(())
            }
            Field::Name => self.name(label),
            Field::Ipv4 => self
                .address::<Ipv4Addr>(label)
                .map(|address| self.out.extend(address.octets())),
            Field::Ipv6 => self
                .address::<Ipv6Addr>(label)
                .map(|address| self.out.extend(address.octets())),
            Field::Text => self.take(label).and_then(|token| self.text(&token)),
            Field::OptionalText => match self.rest().is_empty() {
                true => Ok(()),
                false => self.field(Field::Text, label),
            },
            Field::Texts => {
                self.field(Field::Text, label)?;
                self.rest_of_tokens().iter().try_for_each(|token| self.text(token))
            }
            Field::LongText | Field::OptionalLongText => {
                let token = self.take(label)?;
                let octets = token.octets()?;
                if octets.is_empty() && matches!(field, Field::LongText) {
                    return Err(token.fault(format!("{label} is empty")));
                }
                self.out.extend(octets);
                Ok(())
            }
            Field::Tag => {
                let token = self.take(label)?;
                if !write::is_tag(token.raw.as_bytes()) {
                    return Err(token.fault(format!("{} is not a tag: letters and digits", token.shown())));
                }
                self.push_counted(&token, token.raw.as_bytes())
            }
            Field::Salt => {
                let token = self.take(label)?;
                let salt = if token.raw == "-" {
                    Vec::new()
                } else {
                    self.hex(&token)?
                };
                self.push_counted(&token, &salt)
            }
            Field::Hash => {
                let token = self.take(label)?;
                let hash = BASE32HEX_NOPAD.decode(token.raw.to_ascii_uppercase().as_bytes());
                let hash = hash.ok().filter(|hash| !hash.is_empty());
                let hash = hash.ok_or_else(|| token.fault(format!("{} is not base32hex ({label})", token.shown())))?;
                self.push_counted(&token, &hash)
            }
            Field::Hex => {
                self.need(label)?;
                let octets = self.hex_to_end()?;
                self.out.extend(octets);
                Ok(())
            }
            Field::Digest(lengths, least) => {
                self.need(label)?;
                let place = self.rest().first().map_or(self.end, |token| token.offset);
                let octets = self.hex_to_end()?;
                let algorithm = self.out.last().copied().unwrap_or_default();
                if let Some(wanted) = digest_fault(lengths, least, algorithm, octets.len()) {
                    let message = format!("the digest has {} octets, but {wanted}", octets.len());
                    return Err(RdataError::new(place, message));
                }
                self.out.extend(octets);
                Ok(())
            }
            Field::Base64 => self.need(label).and_then(|()| self.base64_to_end()),
            Field::OptionalBase64 => self.base64_to_end(),
            Field::Bitmap => {
                let types = self
                    .rest_of_tokens()
                    .iter()
                    .map(record_type)
                    .collect::<Result<Vec<_>, _>>()?;
                self.out.extend(write::bitmap(types));
                Ok(())
            }
            Field::Eui(octets) => {
                let token = self.take(label)?;
                let form = format!("{octets} pairs of hexadecimal digits with `-` between");
                self.push_some(&token, value::pairs(token.raw, octets), &form)
            }
            Field::Locator => {
                let token = self.take(label)?;
                self.push_some(
                    &token,
                    value::locator(token.raw),
                    "4 groups of hexadecimal digits with `:` between",
                )
            }
            Field::Nsap => {
                let token = self.take(label)?;
                self.push_some(&token, value::nsap(token.raw), "`0x` and hexadecimal")
            }
            Field::Loc => loc::read(self),
            Field::Apl => gateway::read_apl(self),
            Field::IpsecKey => gateway::read_ipseckey(self),
            Field::AmtRelay => gateway::read_amtrelay(self),
            Field::Hip => gateway::read_hip(self),
            Field::SvcParams => svcb::read(self),
            Field::Wks => old::read_wks(self),
            Field::A6 => old::read_a6(self),
            Field::Nxt => old::read_nxt(self),
        }
    }

    /// The next token; `label` is what to call it if there is none.
    pub(super) fn take(&mut self, label: &str) -> Result<Token<'t>, RdataError> {
        let token = self.tokens.get(self.next).copied();
        self.next += 1;
        token.ok_or_else(|| RdataError::new(self.end, format!("{label} is missing")))
    }

    /// Whether there is anything left for a field that goes on to the end.
    pub(super) fn need(&self, label: &str) -> Result<(), RdataError> {
        match self.rest().iter().all(|token| token.raw.is_empty()) {
            true => Err(RdataError::new(self.end, format!("{label} is missing"))),
            false => Ok(()),
        }
    }

    /// What is left.
    pub(super) fn rest(&self) -> &[Token<'t>] {
        self.tokens.get(self.next..).unwrap_or_default()
    }

    /// What is left, taken.
    pub(super) fn rest_of_tokens(&mut self) -> Vec<Token<'t>> {
        let rest = self.rest().to_vec();
        self.next = self.tokens.len();
        rest
    }

    /// A number from 0 to `max`.
    pub(super) fn number(&mut self, label: &str, max: u64) -> Result<u64, RdataError> {
        let token = self.take(label)?;
        number(token.raw, max)
            .ok_or_else(|| token.fault(format!("{} is not a number from 0 to {max} ({label})", token.shown())))
    }

    /// A number of one or two octets, or its mnemonic.
    pub(super) fn code(&mut self, label: &str, octets: usize, mnemonics: Mnemonics) -> Result<(), RdataError> {
        let word = self.rest().first().map_or("", |token| token.raw);
        let named = mnemonics
            .iter()
            .find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(word));
        let number = match named {
            Some((_, number)) => self.take(label).map(|_| u64::from(*number))?,
            None => self.number(label, if octets == 1 { u8::MAX.into() } else { u16::MAX.into() })?,
        };
        self.push_number(number, octets);
        Ok(())
    }

    /// The low octets of a number, which was held to its range.
    pub(super) fn push_number(&mut self, number: u64, octets: usize) {
        let bytes = number.to_be_bytes();
        self.out
            .extend(bytes.get(bytes.len().saturating_sub(octets)..).unwrap_or_default());
    }

    /// Octets with their count before them, in one octet.
    pub(super) fn push_counted(&mut self, token: &Token<'_>, octets: &[u8]) -> Result<(), RdataError> {
        let count = u8::try_from(octets.len())
            .map_err(|_| token.fault(format!("{} octets are too many: up to {TEXT_MAX} fit", octets.len())))?;
        self.out.push(count);
        self.out.extend_from_slice(octets);
        Ok(())
    }

    fn text(&mut self, token: &Token<'_>) -> Result<(), RdataError> {
        let octets = token.octets()?;
        self.push_counted(token, &octets)
    }

    /// A name, taking the origin if it is relative.
    pub(super) fn name(&mut self, label: &str) -> Result<(), RdataError> {
        let token = self.take(label)?;
        if let Some(offset) = token.bare_quote() {
            return Err(RdataError::new(token.offset + offset, "a quote stands inside a name"));
        }
        // Where a host is meant, an address would otherwise pass as a relative name, and never resolve.
        let host = match self.rtype {
            _ if self.style == Style::Master => false,
            RecordType::NS | RecordType::MX | RecordType::SRV => true,
            // In a reverse zone names look like that (RFC 2317).
            RecordType::CNAME => !self.origin.to_string().to_ascii_lowercase().ends_with("arpa."),
            _ => false,
        };
        if host && token.raw.parse::<IpAddr>().is_ok() {
            return Err(token.fault(format!("{} is an address; a name is expected here", token.shown())));
        }
        let name = Name::parse(token.raw, Some(self.origin)).map_err(|fault| {
            RdataError::new(
                token.offset + fault.offset,
                format!("{}: {}", token.shown(), fault.message),
            )
        })?;
        self.out.extend_from_slice(name.wire());
        Ok(())
    }

    /// An address of the one family or the other.
    pub(super) fn address<T: FromStr + Into<IpAddr>>(&mut self, label: &str) -> Result<T, RdataError> {
        let token = self.take(label)?;
        address(&token, self.rtype)
    }

    fn hex(&self, token: &Token<'_>) -> Result<Vec<u8>, RdataError> {
        join(std::slice::from_ref(token), &HEXLOWER_PERMISSIVE, "hexadecimal")
    }

    /// All that is left, as hexadecimal.
    pub(super) fn hex_to_end(&mut self) -> Result<Vec<u8>, RdataError> {
        join(&self.rest_of_tokens(), &HEXLOWER_PERMISSIVE, "hexadecimal")
    }

    /// All that is left, as base64.
    pub(super) fn base64_to_end(&mut self) -> Result<(), RdataError> {
        let octets = join(&self.rest_of_tokens(), &BASE64, "base64")?;
        self.out.extend(octets);
        Ok(())
    }

    /// Octets that a token stands for, or a fault that says what form it does not have.
    fn push_some(&mut self, token: &Token<'_>, octets: Option<Vec<u8>>, form: &str) -> Result<(), RdataError> {
        self.out
            .extend(octets.ok_or_else(|| token.fault(format!("{} is not {form}", token.shown())))?);
        Ok(())
    }
}
