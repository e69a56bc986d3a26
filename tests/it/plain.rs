//! The plain answer to a question: slowly, from the model alone, for the compiled one to be held against.
//!
//! What stands in static sections comes from `zone::sections`, which is also what zones are compiled with; so the tests have the rules
//! of the RFCs beside it. What is found, cut off, steered and said in EDNS is worked out here anew.

use windrose::answer::Transport;
use windrose::policy::client::Seen;
use windrose::policy::decide::{Decision, addresses, decide, grounds};
use windrose::policy::model::{Fallback, NodeId, NodeKind, Target};
use windrose::policy::{Client, Family};
use windrose::wire::code::{Rcode, RecordType};
use windrose::wire::name::Name;
use windrose::wire::response::Writer;
use windrose::zone::lookup::Lookup;
use windrose::zone::model::{Steer, SteerTtl, Zone};
use windrose::zone::sections::{Reach, Sections, compose};

use crate::forests::{FAMILIES, as_pool, distribution};
use crate::message::{Message, Record, decode};
use crate::plain_chains::{self as chains, Way};
use crate::questions::Question;
use crate::worlds::World;

/// The most octets of sections that are kept for an answer (`image::tail`).
const SECTIONS_MAX: usize = 65_535 - 12 - 5;

/// What a response may say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plain {
    pub(crate) rcode: u16,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    /// In order of the whole record. Steered ones are not among them.
    pub(crate) sections: [Vec<Record>; 3],
    /// Steered answers: so many of these.
    pub(crate) steered: (usize, Vec<Record>),
    /// The scope prefix length.
    pub(crate) scope: u8,
    /// The extended error.
    pub(crate) error: Option<u16>,
}

/// The zone that is to answer: the deepest one, or for DS at its apex the one above (RFC 4035 3.1.4.1).
pub(crate) enum Answering<'a> {
    Zone(&'a Zone),
    Failed,
    Nobody,
}

/// Which zone is to answer.
pub(crate) fn answering<'a>(world: &'a World, name: &Name, qtype: RecordType) -> Answering<'a> {
    let deepest = deepest(world, name);
    if let (Answering::Zone(zone), RecordType::DS, Some(above)) = (&deepest, qtype, name.parent())
        && zone.origin == *name
        && let Answering::Zone(parent) = self::deepest(world, &above)
    {
        return Answering::Zone(parent);
    }
    deepest
}

fn deepest<'a>(world: &'a World, name: &Name) -> Answering<'a> {
    let zones = world.zones.iter().map(|zone| (&zone.origin, Answering::Zone(zone)));
    let all = zones.chain(world.failed.iter().map(|origin| (origin, Answering::Failed)));
    all.filter(|(origin, _)| name.is_at_or_below(origin))
        .max_by_key(|(origin, _)| origin.label_count())
        .map_or(Answering::Nobody, |(_, answering)| answering)
}

/// Everything that may be answered; more than one thing only where chance decides.
pub(crate) fn plain(world: &World, question: &Question) -> Vec<Plain> {
    let said = |rcode, error| {
        vec![Plain {
            rcode,
            error,
            ..Plain::default()
        }]
    };
    if matches!(question.qtype, RecordType::AXFR | RecordType::IXFR) {
        return said(5, Some(21));
    }
    match answering(world, &question.name, question.qtype) {
        Answering::Nobody => said(5, Some(20)),
        Answering::Failed => said(2, Some(24)),
        Answering::Zone(zone) => in_zone(world, zone, question),
    }
}

fn in_zone(world: &World, zone: &Zone, question: &Question) -> Vec<Plain> {
    if matches!(zone.lookup(&question.name), Lookup::Redirect(..)) {
        return chains::redirected(world, question);
    }
    let (sections, length, message) = composed(world, zone, &question.name, question);
    let base = Plain {
        rcode: sections.rcode.0,
        authoritative: sections.authoritative,
        sections: message.sections,
        ..Plain::default()
    };
    let Some(steered) = &sections.steer else {
        let mut base = base;
        let room = room(world, question, &base);
        cut(&mut base, room, &sections, length);
        base.sections[2].sort();
        return vec![base];
    };
    steer(world, question, steered.steer, length, None, &base)
}

/// The sections as they are composed for a name, how long they are, and what they say.
pub(crate) fn composed<'a>(
    world: &'a World,
    zone: &'a Zone,
    name: &Name,
    question: &Question,
) -> (Sections<'a>, usize, Message) {
    let beyond = |above: &Name| name.label_count() - above.label_count();
    let lookup = zone.lookup(name);
    // A compiled answer cannot point to labels that other questions for it do not have.
    let skip = match lookup {
        Lookup::Wildcard(wildcard, _) => beyond(wildcard) + 1,
        Lookup::Cut(above, _) | Lookup::Redirect(above, _) => beyond(above),
        Lookup::Found(..) => 0,
        Lookup::Empty | Lookup::NameError | Lookup::Outside => beyond(&zone.origin),
    };
    let zone_of = |name: &Name| match deepest(world, name) {
        Answering::Zone(zone) => Some(zone),
        _ => None,
    };
    let compose_after = |skip: usize| {
        let mut writer = Writer::after_question(name, skip);
        let reach = |steer: &Steer| reach(world, steer);
        let sections = compose(zone, name, lookup, question.qtype, &reach, &zone_of, &mut writer);
        (sections, writer)
    };
    let (mut sections, mut writer) = compose_after(skip);
    // What a host could answer has an answer of its own, even if that is NODATA for want of the family; any other NODATA is the zone's.
    let own = match lookup {
        Lookup::Found(_, owner) | Lookup::Wildcard(_, owner) => owner.steer.as_ref(),
        _ => None,
    };
    let own =
        own.is_some_and(|steer| reach(world, steer).host) && matches!(question.qtype, RecordType::A | RecordType::AAAA);
    if sections.answers == 0 && sections.authoritative && sections.steer.is_none() && sections.authorities == 1 && !own
    {
        (sections, writer) = compose_after(beyond(&zone.origin));
    }
    let mut length = writer.position();
    // A chain that comes back to its wildcard ends there for the name by which it does.
    let repeat = sections.repeats.iter().find(|repeat| repeat.name == *name).cloned();
    if let Some(repeat) = repeat {
        (sections.answers, sections.authorities, sections.additionals) = (repeat.answers, 0, 0);
        (sections.rcode, sections.steer) = (Rcode::NOERROR, None);
        (sections.authority_end, length) = (repeat.end, repeat.end);
    }
    let message = decoded(name, &writer.sections()[..length], &sections);
    (sections, length, message)
}

/// What a root can hand out: the pools beneath it, and its fallback.
pub(crate) fn reach(world: &World, steer: &Steer) -> Reach {
    let steering = &world.steering;
    let root = steering.by_name[&steer.root];
    let mut pools = Vec::new();
    let mut left = vec![root];
    if let Fallback::Pool(pool) = steering.node(root).root.fallback {
        left.push(pool);
    }
    while let Some(id) = left.pop() {
        match &steering.node(id).kind {
            NodeKind::Pool(pool) => pools.push(pool),
            NodeKind::Policy(policy) => left.extend(policy.members.iter().map(|member| member.node)),
        }
    }
    let [ipv4, ipv6] = FAMILIES.map(|family| windrose::policy::decide::has_family(steering, root, family));
    let mut backends = pools.iter().flat_map(|pool| &pool.backends);
    let host = backends.any(|backend| matches!(backend.target, Target::Host(_)));
    Reach { ipv4, ipv6, host }
}

/// The records that were written, taken apart.
pub(crate) fn decoded(name: &Name, written: &[u8], sections: &Sections<'_>) -> Message {
    let mut octets = vec![0; 4];
    for count in [1, sections.answers, sections.authorities, sections.additionals] {
        octets.extend(count.to_be_bytes());
    }
    octets.extend(name.wire());
    octets.extend([0; 4]);
    octets.extend(written);
    let mut message = decode(&octets).unwrap();
    // Additional data is in the order of its sets while it may be cut.
    message.sections[..2].iter_mut().for_each(|section| section.sort());
    message
}

/// The octets left for sections.
pub(crate) fn room(world: &World, question: &Question, plain: &Plain) -> usize {
    let most = match (question.transport, &question.edns) {
        (Transport::Tcp, _) => 65_535,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size).clamp(512, 1232),
    };
    let opt = question.edns.as_ref().map_or(0, |edns| {
        let subnet = edns.subnet_option(0).filter(|_| world.options.client_subnet);
        let nsid = if edns.nsid { 4 + world.options.nsid.len() } else { 0 };
        // None of the answers cut here has an extended error.
        assert_eq!(plain.error, None);
        11 + subnet.map_or(0, |data| 4 + data.len()) + nsid
    });
    most - 12 - question.name.wire().len() - 4 - opt
}

/// RFC 2181 9: additional data may be left out without a word, set by set; what had to be sent may not, nor glue below the cut (RFC 9471).
fn cut(plain: &mut Plain, room: usize, sections: &Sections<'_>, length: usize) {
    if length <= room && length <= SECTIONS_MAX {
        return;
    }
    if sections.authority_end > room || sections.authority_end > SECTIONS_MAX {
        plain.sections = Default::default();
        plain.truncated = true;
        return;
    }
    let fitting = fitting(sections, room, length);
    plain.sections[2].truncate(fitting.0.into());
    plain.truncated = fitting.0 < sections.needed && length <= SECTIONS_MAX;
}

/// How many records of the additional section fit, set by set in their order, and where they end.
pub(crate) fn fitting(sections: &Sections<'_>, room: usize, length: usize) -> (u16, usize) {
    let mut fitting = (0, sections.authority_end);
    // What fits no message has no additional section, and beyond what pointers reach sets are not looked for.
    if length > SECTIONS_MAX || room > 0x3fff {
        return fitting;
    }
    for (count, end) in sections.additional_sets.iter().take_while(|(_, end)| *end <= room) {
        fitting = (fitting.0 + count, *end);
    }
    fitting
}

/// The family that decides, and who the client is.
fn asker(world: &World, question: &Question, root: NodeId) -> (Family, Seen, bool) {
    let has = |family| windrose::policy::decide::has_family(&world.steering, root, family);
    let family = match question.qtype {
        RecordType::A => Family::Ipv4,
        RecordType::AAAA => Family::Ipv6,
        _ if has(Family::Ipv4) => Family::Ipv4,
        _ => Family::Ipv6,
    };
    let subnet = question.edns.as_ref().and_then(|edns| edns.subnet);
    // RFC 7871 7.1.2: a source prefix length of 0 says nothing of the client.
    let subnet = subnet.filter(|(_, source)| *source > 0 && world.options.client_subnet);
    let address = subnet.map_or(question.source, |(address, source)| {
        ipnet::IpNet::new(address, source).unwrap().trunc().network()
    });
    (family, Seen::new(address), subnet.is_some())
}

/// What is known of who asks; how much of an address shares that is the map's word, which `locations.rs` holds to its definition.
fn client(world: &World, seen: Seen) -> Client {
    Client {
        address: seen.address,
        whereabouts: world.atlas.look_up(seen.address),
        shared: world.map.place(seen.address).length,
    }
}

fn decisions(world: &World, question: &Question, steer: &Steer) -> Vec<Decision> {
    let root = world.steering.by_name[&steer.root];
    let (family, seen, _) = asker(world, question, root);
    let (steering, verdicts, last) = (&world.steering, &world.verdicts, world.last.as_ref());
    distribution(|chance| decide(steering, root, family, &client(world, seen), verdicts, last, chance))
        .into_keys()
        .collect()
}

/// Everything that may be handed out after the aliases in `base`, which are so many octets long. They are a way if they are gone along while
/// the query is answered.
pub(crate) fn steer(
    world: &World,
    question: &Question,
    steer: &Steer,
    aliases: usize,
    way: Option<&Way>,
    base: &Plain,
) -> Vec<Plain> {
    let decided = decisions(world, question, steer).into_iter().map(|decision| {
        let mut plain = base.clone();
        hand_out(world, question, steer, decision, aliases, way, &mut plain);
        plain
    });
    decided.collect()
}

/// Puts what a decision hands out after the aliases that lead to it.
fn hand_out(
    world: &World,
    question: &Question,
    steer: &Steer,
    decision: Decision,
    aliases: usize,
    way: Option<&Way>,
    plain: &mut Plain,
) {
    let root = world.steering.by_name[&steer.root];
    let (family, seen, by_subnet) = asker(world, question, root);
    let (pool, scope) = match &decision {
        Decision::NoFamily => (None, 0),
        Decision::Servfail { scope } => (None, *scope),
        Decision::Backends { pool, scope, .. } | Decision::Host { pool, scope, .. } => (Some(*pool), *scope),
    };
    plain.scope = if by_subnet { seen.scope(scope) } else { 0 };
    let room = room(world, question, plain);
    let too_long = |plain: &mut Plain| {
        plain.sections = Default::default();
        (plain.truncated, plain.rcode) = (true, 0);
    };
    if aliases > room {
        return too_long(plain);
    }
    let owner = chain_end(&plain.sections[0], &question.name);
    let level = world.steering.node(root).root.ttl;
    let ttl = steer.ttl.or(level).unwrap_or(SteerTtl::DEFAULT).max;
    let record = |rtype: RecordType, rdata: Vec<u8>| Record {
        owner: owner.clone(),
        rtype: rtype.0,
        class: 1,
        ttl,
        rdata,
    };
    let model = pool.and_then(|pool| as_pool(world.steering.node(pool)));
    match decision {
        Decision::Servfail { .. } => {
            plain.sections = Default::default();
            (plain.rcode, plain.authoritative, plain.error) = (2, false, Some(0));
        }
        Decision::Host { backend, .. } => {
            let Target::Host(host) = &model.unwrap().backends[backend].target else {
                panic!("{decision:?}")
            };
            let length = aliases + 12 + host.wire().len();
            if length > room {
                return too_long(plain);
            }
            let alias = record(RecordType::CNAME, host.to_lowercase().wire().to_vec());
            plain.steered = (1, vec![alias]);
            if !chains::after_host(world, question, host, length, way, plain) {
                plain.steered = (0, Vec::new());
                too_long(plain);
            }
        }
        Decision::Backends { backends, .. } if matches!(question.qtype, RecordType::A | RecordType::AAAA) => {
            let (_, grounds) = grounds(
                &world.steering,
                root,
                family,
                &client(world, seen),
                &world.verdicts,
                world.last.as_ref(),
            )
            .unwrap();
            let chosen = backends.iter().map(|backend| &model.unwrap().backends[*backend]);
            let chosen = chosen.flat_map(|backend| addresses(backend, family, grounds));
            let records: Vec<Record> = chosen
                .map(|address| match address {
                    std::net::IpAddr::V4(address) => record(RecordType::A, address.octets().to_vec()),
                    std::net::IpAddr::V6(address) => record(RecordType::AAAA, address.octets().to_vec()),
                })
                .collect();
            let width = if family == Family::Ipv4 { 16 } else { 28 };
            if room - aliases < width {
                return too_long(plain);
            }
            plain.steered = (records.len().min((room - aliases) / width), records);
        }
        Decision::Backends { .. } | Decision::NoFamily => {
            let end = Name::from_wire(&owner).unwrap();
            let no_data = chains::no_data(world, &end);
            // After aliases that are compiled the resolver asks again for the last of them.
            match (aliases, way) {
                (1.., None) => {}
                _ if aliases + no_data.0 <= room => plain.sections[1] = no_data.1,
                (0, _) => {}
                _ => too_long(plain),
            }
        }
    }
}

/// The last name of a chain of aliases.
pub(crate) fn chain_end(answers: &[Record], name: &Name) -> Vec<u8> {
    let mut at = name.to_lowercase().wire().to_vec();
    // Each record of the chain is followed once.
    for _ in answers {
        let alias = |record: &&Record| record.owner == at && record.rtype == RecordType::CNAME.0;
        match answers.iter().find(alias) {
            Some(record) => at.clone_from(&record.rdata),
            None => break,
        }
    }
    at
}
