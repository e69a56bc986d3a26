//! What the RFCs say of every response, straight from the model: shares nothing with the code that composes answers.

use std::collections::BTreeSet;

use windrose::answer::Transport;
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::zone::model::Zone;

use crate::message::{Message, Record, canonical_rdata};
use crate::plain::{Answering, answering, chain_end};
use crate::questions::Question;
use crate::worlds::World;

const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const YXDOMAIN: u16 = 6;

/// The kinds of answers that a random question may meet.
pub(crate) const KINDS: [&str; 20] = [
    "data",
    "NODATA",
    "NXDOMAIN",
    "referral",
    "glue",
    "DS",
    "alias",
    "aliases",
    "alias to NODATA",
    "alias to NXDOMAIN",
    "alias to a referral",
    "alias to elsewhere",
    "DNAME",
    "DNAMEs",
    "SERVFAIL",
    "REFUSED",
    "truncated",
    "large",
    "scope",
    "additional",
];

/// What a response is.
pub(crate) fn kinds(question: &Question, message: &Message) -> Vec<&'static str> {
    let [answers, authority, additional] = &message.sections;
    let has = |section: &[Record], rtype: RecordType| section.iter().filter(|record| record.rtype == rtype.0).count();
    let aliases = has(answers, RecordType::CNAME);
    let (soa, referral) = (has(authority, RecordType::SOA) > 0, has(authority, RecordType::NS) > 0);
    let truncated = message.flags & TC != 0;
    let options = message.opt.iter().flat_map(|opt| &opt.options);
    let scope = options.filter(|(code, data)| *code == 8 && data[3] > 0).count() > 0;
    let name_error = message.rcode == NXDOMAIN;
    let kinds = [
        ("data", aliases == 0 && !answers.is_empty()),
        ("NODATA", aliases == 0 && soa && !name_error),
        ("NXDOMAIN", aliases == 0 && soa && name_error),
        ("referral", aliases == 0 && referral),
        ("glue", referral && !additional.is_empty()),
        ("DS", has(answers, RecordType::DS) > 0),
        ("alias", aliases == 1),
        ("aliases", aliases > 2),
        ("alias to NODATA", aliases > 0 && soa && !name_error),
        ("alias to NXDOMAIN", aliases > 0 && soa && name_error),
        ("alias to a referral", aliases > 0 && referral),
        (
            "alias to elsewhere",
            aliases > 0 && answers.len() == aliases && authority.is_empty(),
        ),
        ("DNAME", has(answers, RecordType::DNAME) == 1 && aliases > 0),
        ("DNAMEs", has(answers, RecordType::DNAME) > 1),
        ("SERVFAIL", message.rcode == 2),
        ("REFUSED", message.rcode == 5),
        ("truncated", truncated),
        (
            "large",
            question.transport == Transport::Tcp
                && answers.iter().map(|record| record.rdata.len()).sum::<usize>() > 16_384,
        ),
        ("scope", scope),
        ("additional", !referral && !additional.is_empty()),
    ];
    kinds.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
}

fn hold(what: bool, rule: &str) -> Result<(), String> {
    if what { Ok(()) } else { Err(rule.to_owned()) }
}

/// RFC 1035 4.1.1: the identifier, opcode and RD are those of the query; nothing is recursive, and AD and CD are not ours to set.
pub(crate) fn header(query: &[u8], message: &Message) -> Result<(), String> {
    hold(message.id == u16::from_be_bytes([query[0], query[1]]), "another id")?;
    let asked = u16::from_be_bytes([query[2], query[3]]);
    hold(message.flags & 0x8000 != 0, "no response")?;
    hold(message.flags & 0x7900 == asked & 0x7900, "another opcode or RD")?;
    hold(message.flags & 0x00f0 == 0, "RA, Z, AD or CD")
}

/// RFC 6891 6.1.1 and 7: who sends an OPT record gets one, be it one that cannot be read; who sends none gets none.
pub(crate) fn opt_for_opt(query: &[u8], message: &Message) -> Result<(), String> {
    match sends_opt(query) {
        Some(true) => hold(message.opt.is_some(), "no OPT record for one"),
        Some(false) | None => hold(message.opt.is_none(), "an OPT record for none"),
    }
}

/// Whether a message has an OPT record, as far as it can be read; `None` if it cannot be read to its end, and has none before.
fn sends_opt(query: &[u8]) -> Option<bool> {
    let count = |at: usize| u32::from(u16::from_be_bytes([query[at], query[at + 1]]));
    let mut at = 12;
    for _ in 0..count(4) {
        at = after_name(query, at)? + 4;
    }
    for _ in 0..count(6) + count(8) + count(10) {
        let fixed = after_name(query, at)?;
        let fields = query.get(fixed..fixed + 10)?;
        if fields[..2] == RecordType::OPT.0.to_be_bytes() {
            return Some(true);
        }
        at = fixed + 10 + usize::from(u16::from_be_bytes([fields[8], fields[9]]));
        query.get(..at)?;
    }
    Some(false)
}

/// Where a name ends; a pointer is not followed.
fn after_name(query: &[u8], start: usize) -> Option<usize> {
    match *query.get(start)? {
        0 => Some(start + 1),
        length @ 1..64 => after_name(query, start + 1 + usize::from(length)),
        0xc0.. => Some(start + 2),
        _ => None,
    }
}

/// What holds of the records of a response to a well-formed query.
pub(crate) fn records(world: &World, question: &Question, message: &Message) -> Result<(), String> {
    let [answers, authority, additional] = &message.sections;
    let empty = message.sections.iter().all(Vec::is_empty);
    let Answering::Zone(zone) = answering(world, &question.name, question.qtype) else {
        hold(matches!(message.rcode, 2 | 5), "an answer of a zone that is not ours")?;
        return hold(
            empty && message.flags & (AA | TC) == 0,
            "records or flags beside an error",
        );
    };
    owners_are_a_chain(question, answers)?;
    sets_are_whole(world, question, message)?;
    if message.rcode == YXDOMAIN {
        return too_long(question, message);
    }
    if message.rcode != NOERROR && message.rcode != NXDOMAIN {
        return hold(empty && message.flags & AA == 0, "records or AA beside an error");
    }
    owners_are_a_chain(question, answers)?;
    sets_are_whole(world, question, message)?;
    let soa = authority.iter().any(|record| record.rtype == RecordType::SOA.0);
    let referral = !soa && !authority.is_empty();
    // RFC 1035 4.1.1: the bit speaks of the first owner of the answer section.
    if message.flags & TC == 0 || !empty {
        let authoritative = !(referral && answers.is_empty());
        hold(
            (message.flags & AA != 0) == authoritative,
            "AA is clear in referrals without answers, and there only",
        )?;
    }
    direct_data(zone, question, message)?;
    pointed_at(answers, authority, additional)?;
    none_is_occluded(world, additional)?;
    let end = Name::from_wire(&chain_end(answers, &question.name)).ok_or("no name")?;
    // Where the chain ends decides, be it in another zone.
    let Answering::Zone(zone) = answering(world, &end, question.qtype) else {
        return hold(authority.is_empty(), "an authority section of no zone here");
    };
    if soa {
        negative(zone, authority)?;
    }
    if message.rcode == NXDOMAIN {
        name_error(zone, &end)?;
    } else if soa {
        no_data(zone, &end, question)?;
    }
    if referral {
        let cut = Name::from_wire(&authority[0].owner).ok_or("no name")?;
        hold(
            authority.iter().all(|record| record.rtype == RecordType::NS.0),
            "other records than NS in a referral",
        )?;
        hold(
            cut != zone.origin && cut.is_at_or_below(&zone.origin),
            "a referral to elsewhere than below",
        )?;
        hold(end.is_at_or_below(&cut), "a referral that leads away from the name")?;
        hold(
            question.qtype != RecordType::DS || end != cut || !answers.is_empty(),
            "DS is the parent's",
        )?;
    } else if message.flags & TC == 0 && answers.is_empty() && !steered_somewhere(zone) {
        hold(soa, "RFC 2308 3: a negative answer has the SOA")?;
    }
    Ok(())
}

/// RFC 6672 2.2: the DNAME, and a name that it would make too long.
fn too_long(question: &Question, message: &Message) -> Result<(), String> {
    let [answers, authority, additional] = &message.sections;
    let end = chain_end(answers, &question.name);
    let above = |record: &&Record| record.rtype == RecordType::DNAME.0 && is_below(&end, &record.owner);
    let dname = answers.iter().find(above).ok_or("YXDOMAIN without a DNAME")?;
    let length = end.len() - dname.owner.len() + dname.rdata.len();
    hold(length > 255, "YXDOMAIN for a name that is short enough")?;
    hold(authority.is_empty() && additional.is_empty(), "more beside YXDOMAIN")
}

/// Whether a name in wire form is below another.
fn is_below(name: &[u8], above: &[u8]) -> bool {
    let (name, above) = (Name::from_wire(name).unwrap(), Name::from_wire(above).unwrap());
    name != above && name.is_at_or_below(&above)
}

fn steered_somewhere(zone: &Zone) -> bool {
    zone.owners.values().any(|owner| owner.steer.is_some())
}

/// RFC 1034 4.3.2, 3a: the answers are the name's own or those of the alias before; the last is of the type asked.
fn owners_are_a_chain(question: &Question, answers: &[Record]) -> Result<(), String> {
    let mut at = question.name.to_lowercase().wire().to_vec();
    let mut seen = BTreeSet::from([at.clone()]);
    for record in answers {
        // RFC 6672 3.2: before the alias that follows from it, once.
        if record.rtype == RecordType::DNAME.0 && is_below(&at, &record.owner) {
            continue;
        }
        hold(record.owner == at, "an answer that nothing leads to")?;
        let any = question.qtype == RecordType::ANY;
        hold(
            any || record.rtype == question.qtype.0 || record.rtype == RecordType::CNAME.0,
            "a type not asked for",
        )?;
        let dname = |above: &Record| above.rtype == RecordType::DNAME.0 && is_below(&at, &above.owner);
        let made = answers.iter().any(dname);
        if record.rtype == RecordType::CNAME.0 && (made || question.qtype != RecordType::CNAME) {
            at.clone_from(&record.rdata);
            let end = std::ptr::eq(record, &answers[answers.len() - 1]);
            hold(seen.insert(at.clone()) || end, "an alias is followed twice")?;
        }
    }
    Ok(())
}

/// RFC 2181 5.1: a record set is sent whole or not at all.
fn sets_are_whole(world: &World, question: &Question, message: &Message) -> Result<(), String> {
    for section in &message.sections {
        for record in section {
            let owner = Name::from_wire(&record.owner).ok_or("no name")?;
            let sent = section
                .iter()
                .filter(|other| (&other.owner, other.rtype) == (&record.owner, record.rtype));
            let sent: BTreeSet<&[u8]> = sent.map(|record| record.rdata.as_slice()).collect();
            let rtype = RecordType(record.rtype);
            // Of the name itself, of whatever wildcard may stand for it, or steered.
            let whole = world
                .zones
                .iter()
                .filter(|zone| owner.is_at_or_below(&zone.origin))
                .any(|zone| {
                    let above = std::iter::successors(owner.parent(), Name::parent);
                    let wildcards = above.filter_map(|name| name.child(b"*"));
                    let candidates = std::iter::once(owner.clone()).chain(wildcards);
                    let mut owners = candidates.filter_map(|name| zone.owners.get(&name));
                    owners.any(|owner| {
                        let steered = matches!(rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME);
                        owner.steer.is_some() && steered
                            || owner.rrsets.get(&rtype).is_some_and(|set| {
                                let data = set
                                    .rdata
                                    .iter()
                                    .map(|data| canonical_rdata(record.rtype, data).unwrap());
                                data.collect::<BTreeSet<_>>()
                                    .iter()
                                    .map(Vec::as_slice)
                                    .eq(sent.iter().copied())
                            })
                    })
                });
            let minimal = question.qtype == RecordType::ANY && rtype == RecordType::HINFO;
            let made = |other: &Record| other.rtype == RecordType::DNAME.0 && is_below(&record.owner, &other.owner);
            let made = rtype == RecordType::CNAME && message.sections[0].iter().any(made);
            hold(
                whole || minimal || made,
                &format!("{owner} {rtype} is no whole set of the zones"),
            )?;
        }
    }
    Ok(())
}

/// RFC 2308 3 and 5: the SOA of the zone, with the lesser of its TTL and its minimum.
fn negative(zone: &Zone, authority: &[Record]) -> Result<(), String> {
    let [soa] = authority else {
        return Err("more than an SOA in a negative answer".to_owned());
    };
    hold(
        soa.owner == zone.origin.to_lowercase().wire(),
        "the SOA of another zone",
    )?;
    hold(soa.ttl == zone.soa.ttl.min(zone.soa.minimum), "the TTL of the SOA")
}

/// RFC 8020 2 and RFC 4592 3.3.1: nothing is at the name or below it, and no wildcard stands for it.
fn name_error(zone: &Zone, name: &Name) -> Result<(), String> {
    let exists = |name: &Name| zone.owners.keys().any(|owner| owner.is_at_or_below(name));
    hold(name.is_at_or_below(&zone.origin), "NXDOMAIN for a name of another zone")?;
    hold(!exists(name), "NXDOMAIN for a name that exists")?;
    let encloser = std::iter::successors(name.parent(), Name::parent).find(exists);
    let wildcard = encloser.and_then(|encloser| encloser.child(b"*"));
    hold(
        !wildcard.is_some_and(|wildcard| exists(&wildcard)),
        "NXDOMAIN beside a wildcard",
    )
}

/// RFC 2308 2.2: the name exists, or a wildcard for it, and neither has the type.
fn no_data(zone: &Zone, name: &Name, question: &Question) -> Result<(), String> {
    let exists = |name: &Name| zone.owners.keys().any(|owner| owner.is_at_or_below(name));
    let found = match exists(name) {
        true => Some(name.clone()),
        false => std::iter::successors(name.parent(), Name::parent)
            .find(exists)
            .and_then(|encloser| encloser.child(b"*")),
    };
    let found = found.filter(exists).ok_or("NODATA for a name that does not exist")?;
    let has = zone.owners.get(&found).is_some_and(|owner| {
        owner.rrsets.contains_key(&question.qtype) || owner.rrsets.contains_key(&RecordType::CNAME)
    });
    hold(!has, "NODATA for a type that is there")
}

/// What stands at the name itself and is not below a cut is in the answer, record by record.
fn direct_data(zone: &Zone, question: &Question, message: &Message) -> Result<(), String> {
    let Some(owner) = zone.owners.get(&question.name) else {
        return Ok(());
    };
    let Some(set) = owner.rrsets.get(&question.qtype) else {
        return Ok(());
    };
    let above = std::iter::successors(Some(question.name.clone()), Name::parent);
    let mut above = above.take_while(|name| *name != zone.origin).peekable();
    let at_cut = |name: &Name| {
        zone.owners
            .get(name)
            .is_some_and(|owner| owner.rrsets.contains_key(&RecordType::NS))
    };
    if question.qtype == RecordType::DS {
        above.next();
    }
    let redirected = std::iter::successors(question.name.parent(), Name::parent)
        .take_while(|name| name.is_at_or_below(&zone.origin))
        .any(|name| {
            zone.owners
                .get(&name)
                .is_some_and(|owner| owner.rrsets.contains_key(&RecordType::DNAME))
        });
    if redirected || above.any(|name| at_cut(&name)) || message.flags & TC != 0 {
        return Ok(());
    }
    let expected: BTreeSet<Vec<u8>> = set
        .rdata
        .iter()
        .map(|data| canonical_rdata(question.qtype.0, data).unwrap())
        .collect();
    let got: BTreeSet<Vec<u8>> = message.sections[0].iter().map(|record| record.rdata.clone()).collect();
    hold(got == expected, "not the data of the name")?;
    hold(
        message.sections[0].iter().all(|record| record.ttl == set.ttl),
        "not the TTL of the set",
    )
}

/// RFC 1035 3.3.9, 3.3.11, RFC 2782: additional data are addresses of what the other sections point to.
fn pointed_at(answers: &[Record], authority: &[Record], additional: &[Record]) -> Result<(), String> {
    let pointing = answers.iter().chain(authority);
    let targets: BTreeSet<Vec<u8>> = pointing
        .filter_map(|record| match RecordType(record.rtype) {
            RecordType::NS => Some(record.rdata.clone()),
            RecordType::MX => Some(record.rdata[2..].to_vec()),
            RecordType::SRV => Some(record.rdata[6..].to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    for record in additional {
        hold(
            matches!(RecordType(record.rtype), RecordType::A | RecordType::AAAA),
            "additional data of another type",
        )?;
        hold(
            targets.contains(&record.owner),
            "additional data that nothing points to",
        )?;
    }
    Ok(())
}

/// RFC 6672 2.4: what stands below a DNAME is never seen, unless a cut above that makes it glue.
fn none_is_occluded(world: &World, additional: &[Record]) -> Result<(), String> {
    for record in additional {
        let owner = Name::from_wire(&record.owner).ok_or("no name")?;
        let above: Vec<Name> = std::iter::successors(owner.parent(), Name::parent).collect();
        let seen = |zone: &Zone| {
            let mut down = above.iter().rev().filter(|name| name.is_at_or_below(&zone.origin));
            let hides = down.find_map(|name| {
                let rrsets = &zone.owners.get(name)?.rrsets;
                let cut = *name != zone.origin && rrsets.contains_key(&RecordType::NS);
                (cut || rrsets.contains_key(&RecordType::DNAME)).then_some(!cut)
            });
            owner.is_at_or_below(&zone.origin) && hides != Some(true)
        };
        hold(world.zones.iter().any(seen), "additional data from below a DNAME")?;
    }
    Ok(())
}
