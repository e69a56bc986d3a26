//! A zone as the TOML that serves it: what `import` prints. Names are relative to the origin, record data is absolute.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::check::Hold;
use super::lookup::Lookup;
use super::model::{Owner, RRset, Zone};
use super::together::{AT_CUT, GLUE};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::wire::rdata;

/// The text of a zone without steered owners.
#[derive(Debug)]
pub struct ZoneText {
    /// All of it.
    pub text: String,
    /// The record sets that are left out since nothing is ever answered from them: they are at a cut or below it, or below a
    /// DNAME.
    pub left_out: Vec<(Name, RecordType)>,
}

/// Writes a zone that is to be held so hard.
pub fn write(zone: &Zone, hold: Hold) -> ZoneText {
    let ttl = usual_ttl(zone);
    let mut written = ZoneText {
        text: head(zone, ttl, hold),
        left_out: Vec::new(),
    };
    for (name, owner) in &zone.owners {
        // All, where nothing is hidden; and what stands beside NS of a wildcard is answered for other names.
        let shown: Option<&[RecordType]> = match zone.lookup(name) {
            Lookup::Cut(cut, _) if cut == name => (!name.is_wildcard()).then_some(AT_CUT),
            Lookup::Cut(..) => Some(GLUE),
            Lookup::Redirect(..) => Some(&[]),
            _ => None,
        };
        let is_shown = |rtype| shown.is_none_or(|shown| shown.contains(&rtype));
        write_owner(zone, name, owner, ttl, is_shown, &mut written);
    }
    written
}

/// The TTL that most record sets have: they need not name it.
fn usual_ttl(zone: &Zone) -> u32 {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for rrset in zone.owners.values().flat_map(|owner| owner.rrsets.values()) {
        *counts.entry(rrset.ttl).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or(super::check::TTL_DEFAULT, |(ttl, _)| ttl)
}

fn head(zone: &Zone, ttl: u32, hold: Hold) -> String {
    let soa = &zone.soa;
    let lenient = match hold {
        Hold::Strict => "",
        Hold::Lenient => "lenient = true\n",
    };
    // In a mailbox the sign would part the user from the host.
    let rname = soa.rname.to_string().replace("\\@", "\\064");
    format!(
        "[zone]\norigin = {}\nttl = {ttl}\n{lenient}\n[soa]\nmname = {}\nrname = {}\nserial = {}\nrefresh = {}\nretry = {}\nexpire = \
         {}\nminimum = {}\nttl = {}\n\n[records]\n",
        string(&zone.origin.to_string()),
        string(&soa.mname.to_string()),
        string(&rname),
        soa.serial,
        soa.refresh,
        soa.retry,
        soa.expire,
        soa.minimum,
        soa.ttl
    )
}

fn write_owner(
    zone: &Zone,
    name: &Name,
    owner: &Owner,
    usual: u32,
    shown: impl Fn(RecordType) -> bool,
    into: &mut ZoneText,
) {
    for (rtype, rrset) in owner.rrsets.iter().filter(|(rtype, _)| *rtype != RecordType::SOA) {
        if !shown(*rtype) {
            into.left_out.push((name.clone(), *rtype));
            continue;
        }
        let (key, data) = data(*rtype, rrset);
        let data = match data.as_slice() {
            [one] => string(one),
            many => {
                let lines: String = many.iter().map(|one| format!("    {},\n", string(one))).collect();
                format!("[\n{lines}]")
            }
        };
        let owner = self::key(&relative(name, &zone.origin));
        // A string takes no more than memory.
        let _ = match rrset.ttl == usual {
            true => writeln!(into.text, "{owner}.{key} = {data}"),
            false => writeln!(into.text, "{owner}.{key} = {{ data = {data}, ttl = {} }}", rrset.ttl),
        };
    }
}

/// The key of a record set, and its data as strings.
fn data(rtype: RecordType, rrset: &RRset) -> (String, Vec<String>) {
    if rtype == RecordType::TXT {
        let literal: Option<Vec<String>> = rrset.rdata.iter().map(|data| literal(data)).collect();
        return match literal {
            Some(texts) => ("TXT".to_owned(), texts),
            // Under its number a TXT record is what a master file has.
            None => ("TYPE16".to_owned(), present(rtype, rrset)),
        };
    }
    (rtype.to_string(), present(rtype, rrset))
}

fn present(rtype: RecordType, rrset: &RRset) -> Vec<String> {
    rrset.rdata.iter().map(|data| rdata::present(rtype, data)).collect()
}

/// The text that a TXT record is, if it is one that can be seen.
fn literal(data: &[u8]) -> Option<String> {
    let mut octets = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after.split_at_checked(usize::from(*length))?;
        octets.extend_from_slice(string);
        rest = after;
    }
    let text = String::from_utf8(octets).ok()?;
    (!text.chars().any(char::is_control) && *rdata::txt(&text) == *data).then_some(text)
}

/// A name without the origin that it is below.
fn relative(name: &Name, origin: &Name) -> String {
    let kept = name.wire().len() - origin.wire().len();
    let labels = [name.wire().get(..kept).unwrap_or_default(), &[0]].concat();
    match Name::from_wire(&labels).filter(|_| kept > 0) {
        Some(relative) => {
            let text = relative.to_string();
            text.strip_suffix('.').unwrap_or(&text).to_owned()
        }
        None => "@".to_owned(),
    }
}

/// A key of TOML: bare where it can be.
fn key(text: &str) -> String {
    let bare = text
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    if bare { text.to_owned() } else { string(text) }
}

/// A string of TOML: literal where it holds a backslash or a quote.
fn string(text: &str) -> String {
    if !text.contains(['\\', '"']) {
        format!("\"{text}\"")
    } else if !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
