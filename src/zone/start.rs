//! The start of authority: what `[soa]` says, or the defaults; and that the apex names its servers.

use super::check::{Hold, Owners};
use super::model::Soa;
use crate::diagnostic::Diagnostic;
use crate::spec::Faults;
use crate::spec::file::{SoaSpec, ZoneSpec};
use crate::spec::value::Text;
use crate::wire::code::RecordType;
use crate::wire::name::{Name, NameError};

const REFRESH: u32 = 2 * 3_600;
const RETRY: u32 = 30 * 60;
const EXPIRE: u32 = 14 * 86_400;
const MINIMUM: u32 = 60;
const TTL: u32 = 3_600;

/// A zone without name servers cannot be reached (RFC 1034 4.2.1).
pub(super) fn check_apex(spec: &ZoneSpec, owners: &Owners<'_>, faults: &mut Faults) {
    let apex = owners.placed.get(owners.origin);
    let said = apex.is_some_and(|apex| apex.spec.poisoned || apex.has(RecordType::NS));
    if said || owners.may_hide(owners.origin) {
        return;
    }
    let message = format!("the zone {} has no NS records at its apex", owners.origin);
    let hint = "write them under [records], as in `\"@\".NS = [\"ns1\", \"ns2\"]`".to_owned();
    match apex.map(|apex| &apex.spec.key.span).or(spec.records.span.as_ref()) {
        Some(span) => owners.hold.odd(span, message, Some(hint), faults),
        None => {
            let fault = match owners.hold {
                Hold::Strict => Diagnostic::file(&spec.source.path, message),
                Hold::Lenient => Diagnostic::file_warning(&spec.source.path, message),
            };
            faults.push(fault.hint(hint));
        }
    }
}

/// The SOA record.
pub(super) fn soa(spec: &ZoneSpec, owners: &Owners<'_>, serial: u32, faults: &mut Faults) -> Soa {
    let SoaSpec {
        refresh,
        retry,
        expire,
        minimum,
        ttl,
        ..
    } = spec.soa;
    let origin = owners.origin;
    let mname = spec
        .soa
        .mname
        .as_ref()
        .and_then(|text| name(text, Name::parse(&text.text, Some(origin)), faults));
    let rname = spec
        .soa
        .rname
        .as_ref()
        .and_then(|text| name(text, mailbox(&text.text, origin), faults));
    Soa {
        mname: mname
            .or_else(|| first_name_server(owners))
            .unwrap_or_else(|| origin.clone()),
        rname: rname
            .or_else(|| origin.child(b"hostmaster"))
            .unwrap_or_else(|| origin.clone()),
        serial: spec.soa.serial.unwrap_or(serial),
        refresh: refresh.unwrap_or(REFRESH),
        retry: retry.unwrap_or(RETRY),
        expire: expire.unwrap_or(EXPIRE),
        minimum: minimum.unwrap_or(MINIMUM),
        ttl: ttl.unwrap_or(TTL),
    }
}

fn first_name_server(owners: &Owners<'_>) -> Option<Name> {
    let targets = &owners.placed.get(owners.origin)?.targets;
    targets
        .iter()
        .find(|target| target.rtype == RecordType::NS)
        .map(|target| target.name.clone())
}

fn name(text: &Text, parsed: Result<Name, NameError>, faults: &mut Faults) -> Option<Name> {
    parsed
        .map_err(|error| {
            faults.error(
                &text.place(error.offset),
                format!("`{}` is no name: {error}", text.text),
            )
        })
        .ok()
}

/// Reads a mailbox (`host.master@example.com`) or the name that stands for one (RFC 1035 8). The domain of a mailbox is absolute.
fn mailbox(text: &str, origin: &Name) -> Result<Name, NameError> {
    let Some((local, domain)) = text.rsplit_once('@').filter(|_| text != "@") else {
        return Name::parse(text, Some(origin));
    };
    let domain = Name::parse(domain, None).map_err(|error| NameError {
        offset: local.len() + 1 + error.offset,
        ..error
    })?;
    domain.child(local.as_bytes()).ok_or(NameError {
        offset: 0,
        message: "the part before `@` has 1 to 63 octets",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_mailbox() {
        let origin = Name::parse("example.com", None).unwrap();
        let read = |text| mailbox(text, &origin).map(|name| name.to_string());
        assert_eq!(read("host.master@example.net"), Ok("host\\.master.example.net.".into()));
        assert_eq!(read("admin"), Ok("admin.example.com.".into()));
        assert_eq!(
            read("host\\.master.example.net."),
            Ok("host\\.master.example.net.".into())
        );
        for text in ["@example.com", "a@", "a@b..c", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
