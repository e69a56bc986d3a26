//! Chains of aliases that depend on the query, plainly: after a DNAME above the name asked, or the CNAME of a host.
//!
//! The server goes along them link by link, each target written out in full, so that what fits is worked out link by link here too.

use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::wire::response::Writer;
use windrose::zone::lookup::Lookup;
use windrose::zone::model::{Owner, RRset, Zone};
use windrose::zone::sections::{CHAIN_MAX, Reach, compose};

use crate::message::{Record, canonical_rdata};
use crate::plain::{Answering, Plain, answering, composed, decoded, fitting, room, steer};
use crate::questions::Question;
use crate::worlds::World;

/// How far pointers reach into a message.
const POINTER_MAX: usize = 0x3fff;

/// What a chain has passed.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// The names, the one that it has come to last.
    names: Vec<Name>,
    /// The owners of the DNAMEs that are in the answer.
    redirections: Vec<Name>,
    /// Octets of the sections so far.
    length: usize,
    /// Names looked up, but for the question's.
    steps: usize,
    decided: bool,
}

/// Something on the way does not fit.
struct TooLong;

/// Everything that may be answered to a question for a name below a DNAME.
pub(crate) fn redirected(world: &World, question: &Question) -> Vec<Plain> {
    let way = Way {
        names: vec![question.name.clone()],
        redirections: Vec::new(),
        length: 0,
        steps: 0,
        decided: false,
    };
    let plain = Plain {
        authoritative: true,
        ..Plain::default()
    };
    go_on(world, question, way, plain.clone()).unwrap_or_else(|TooLong| {
        vec![Plain {
            truncated: true,
            ..plain
        }]
    })
}

/// Adds what follows a host's CNAME, which ends `length` octets into the sections. False if that is needed and does not fit.
pub(crate) fn after_host(
    world: &World,
    question: &Question,
    host: &Name,
    length: usize,
    way: Option<&Way>,
    plain: &mut Plain,
) -> bool {
    if matches!(question.qtype, RecordType::CNAME | RecordType::ANY) {
        return true;
    }
    let owners = plain.sections[0].iter().chain(&plain.steered.1);
    let mut next = way.cloned().unwrap_or_else(|| Way {
        names: owners.map(|record| Name::from_wire(&record.owner).unwrap()).collect(),
        redirections: Vec::new(),
        length: 0,
        steps: 0,
        decided: true,
    });
    (next.length, next.decided) = (length, true);
    if !next.come_to(host.clone()) {
        return true;
    }
    match go_on(world, question, next, plain.clone()) {
        Ok(mut plains) => *plain = plains.remove(0),
        // What a host leads to is left out, what a DNAME leads to is not.
        Err(TooLong) => return way.is_none(),
    }
    true
}

/// The SOA of the zone that has a name, as it follows that name: its octets, and the record.
pub(crate) fn no_data(world: &World, name: &Name) -> (usize, Vec<Record>) {
    let Answering::Zone(zone) = answering(world, name, RecordType::A) else {
        panic!("{name}");
    };
    let mut writer = Writer::after_question(name, name.label_count() - zone.origin.label_count());
    let none = |_: &_| Reach::default();
    let sections = compose(zone, name, Lookup::Empty, RecordType::A, &none, &|_| None, &mut writer);
    let [_, authority, _] = decoded(name, writer.sections(), &sections).sections;
    (writer.position(), authority)
}

impl Way {
    /// Goes to another name; false if it has been passed, or the chain has gone far enough.
    fn come_to(&mut self, name: Name) -> bool {
        if self.names.contains(&name) || self.steps == CHAIN_MAX {
            return false;
        }
        self.steps += 1;
        self.names.push(name);
        true
    }

    /// Makes room for so many octets.
    fn add(&mut self, world: &World, question: &Question, plain: &Plain, length: usize) -> Result<(), TooLong> {
        let start = 12 + question.name.wire().len() + 4;
        self.length += length;
        let fits = self.length <= room(world, question, plain) && start + self.length <= POINTER_MAX;
        if fits { Ok(()) } else { Err(TooLong) }
    }
}

fn go_on(world: &World, question: &Question, mut way: Way, mut plain: Plain) -> Result<Vec<Plain>, TooLong> {
    loop {
        let name = way.names[way.names.len() - 1].clone();
        let Answering::Zone(zone) = answering(world, &name, question.qtype) else {
            return Ok(vec![plain]);
        };
        let mut endless = false;
        let target = match zone.lookup(&name) {
            Lookup::Redirect(above, owner) => {
                let dname = owner.rrsets.get(&RecordType::DNAME).unwrap();
                if !way.redirections.contains(above) {
                    let pointer = if above.is_root() { 1 } else { 2 };
                    way.add(world, question, &plain, pointer + 10 + dname.rdata[0].len())?;
                    plain.sections[0].push(record(above, RecordType::DNAME, dname));
                    way.redirections.push(above.clone());
                }
                let kept = &name.wire()[..name.wire().len() - above.wire().len()];
                let Some(target) = Name::from_wire(&[kept, &dname.rdata[0]].concat()) else {
                    plain.rcode = 6;
                    plain.sections[0].sort();
                    return Ok(vec![plain]);
                };
                let rdata = vec![target.wire().into()];
                let cname = RRset { ttl: dname.ttl, rdata };
                // It leads below itself without end.
                endless = Name::from_wire(&dname.rdata[0]).unwrap().is_at_or_below(above);
                (target, cname)
            }
            Lookup::Found(_, owner) | Lookup::Wildcard(_, owner) if is_link(owner, question.qtype) => {
                let cname = owner.rrsets.get(&RecordType::CNAME).unwrap().clone();
                (Name::from_wire(&cname.rdata[0]).unwrap(), cname)
            }
            _ => return end(world, zone, question, &name, way, plain),
        };
        let (target, cname) = target;
        way.add(world, question, &plain, 12 + target.wire().len())?;
        plain.sections[0].push(record(&name, RecordType::CNAME, &cname));
        plain.sections[0].sort();
        if endless || question.qtype == RecordType::CNAME || !way.come_to(target) {
            return Ok(vec![plain]);
        }
    }
}

/// Whether a name is an alias for who asks for a type.
fn is_link(owner: &Owner, qtype: RecordType) -> bool {
    let rrsets = &owner.rrsets;
    let stays = [RecordType::ANY, RecordType::RRSIG, RecordType::NSEC].contains(&qtype);
    !stays && !rrsets.contains_key(&qtype) && rrsets.contains_key(&RecordType::CNAME)
}

fn record(owner: &Name, rtype: RecordType, rrset: &RRset) -> Record {
    Record {
        owner: owner.to_lowercase().wire().to_vec(),
        rtype: rtype.0,
        class: 1,
        ttl: rrset.ttl,
        rdata: canonical_rdata(rtype.0, &rrset.rdata[0]).unwrap(),
    }
}

/// What a name has that is no alias.
fn end(
    world: &World,
    zone: &Zone,
    question: &Question,
    name: &Name,
    mut way: Way,
    mut plain: Plain,
) -> Result<Vec<Plain>, TooLong> {
    let (sections, mut length, mut message) = composed(world, zone, name, question);
    if let Some(steered) = &sections.steer {
        if way.decided {
            return Ok(vec![plain]);
        }
        way.decided = true;
        return Ok(steer(world, question, steered.steer, way.length, Some(&way), &plain));
    }
    let is_dname = |record: &Record| record.rtype == RecordType::DNAME.0 && plain.sections[0].contains(record);
    if message.sections[0].iter().any(is_dname) {
        return Ok(vec![plain]);
    }
    let room = room(world, question, &plain);
    if way.length + length > room {
        let (count, end) = fitting(&sections, room - way.length, length);
        if count < sections.needed {
            return Err(TooLong);
        }
        message.sections[2].truncate(count.into());
        length = end;
    }
    way.add(world, question, &plain, length)?;
    plain.rcode = sections.rcode.0;
    for (section, more) in plain.sections.iter_mut().zip(message.sections) {
        section.extend(more);
        section.sort();
    }
    Ok(vec![plain])
}
