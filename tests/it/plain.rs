//! The plain answer to a question: slowly, from the model alone, for the compiled one to be held against.
//!
//! What stands in static sections comes from `zone::sections`, which is also what zones are compiled with; so the tests have the rules
//! of the RFCs beside it. What is found, cut off, steered and said in EDNS is worked out here anew.

use windrose::answer::Transport;
use windrose::policy::client::Seen;
use windrose::policy::decide::{Decision, addresses, decide, grounds};
use windrose::policy::model::{Fallback, NodeId, NodeKind, Target};
use windrose::policy::{Client, Family};
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;
use windrose::wire::response::Writer;
use windrose::zone::lookup::Lookup;
use windrose::zone::model::{Steer, SteerTtl, Zone};
use windrose::zone::sections::{Reach, Sections, compose};

use crate::forests::{FAMILIES, as_pool, distribution};
use crate::message::{Message, Record, decode};
use crate::questions::Question;
use crate::worlds::World;

/// The most octets of sections that are kept for an answer (`image::tail`).
const SECTIONS_MAX: usize = 65_535 - 12 - 259 - 512;

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

/// The zone that is to answer: the deepest one, or for DS the one that has the cut there (RFC 4035 3.1.4.1).
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
        && matches!(parent.lookup(name), Lookup::Cut(cut, _) if cut == name)
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
    let lookup = zone.lookup(&question.name);
    let beyond = |name: &Name| question.name.label_count() - name.label_count();
    // A compiled answer cannot point to labels that other questions for it do not have.
    let skip = match lookup {
        Lookup::Wildcard(wildcard, _) => beyond(wildcard) + 1,
        Lookup::Cut(above, _) | Lookup::Redirect(above, _) => beyond(above),
        Lookup::Found(..) => 0,
        Lookup::Empty | Lookup::NameError | Lookup::Outside => beyond(&zone.origin),
    };
    let mut writer = Writer::after_question(&question.name, skip);
    let mut sections = composed(world, zone, &question.name, lookup, question, &mut writer);
    if sections.answers == 0 && sections.authoritative && sections.steer.is_none() && sections.authorities == 1 {
        writer = Writer::after_question(&question.name, beyond(&zone.origin));
        sections = composed(world, zone, &question.name, lookup, question, &mut writer);
    }
    let message = decoded(question, &writer, &sections);
    let mut base = Plain {
        rcode: sections.rcode.0,
        authoritative: sections.authoritative,
        sections: message.sections,
        ..Plain::default()
    };
    let Some(steered) = &sections.steer else {
        let room = room(world, question, &base);
        cut(&mut base, room, &sections, writer.position());
        return vec![base];
    };
    let decisions = decisions(world, question, steered.steer);
    let written = decisions.into_iter().map(|decision| {
        let mut plain = base.clone();
        steer(world, zone, question, steered.steer, decision, &writer, &mut plain);
        plain
    });
    written.collect()
}

fn composed<'a>(
    world: &World,
    zone: &'a Zone,
    name: &Name,
    lookup: Lookup<'a>,
    question: &Question,
    writer: &mut Writer,
) -> Sections<'a> {
    let elsewhere = |name: &Name| {
        let answers = deepest(world, name);
        name.is_at_or_below(&zone.origin) && !matches!(answers, Answering::Zone(other) if other.origin == zone.origin)
    };
    // A cut is composed for its own name; below it DS is as any other type.
    let qtype = match lookup {
        Lookup::Cut(cut, _) if cut != name => RecordType(0),
        _ => question.qtype,
    };
    compose(
        zone,
        name,
        lookup,
        qtype,
        &|steer| reach(world, steer),
        &elsewhere,
        writer,
    )
}

/// What a root can hand out: the pools beneath it, and its fallback.
fn reach(world: &World, steer: &Steer) -> Reach {
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
fn decoded(question: &Question, writer: &Writer, sections: &Sections<'_>) -> Message {
    let mut octets = vec![0; 4];
    for count in [1, sections.answers, sections.authorities, sections.additionals] {
        octets.extend(count.to_be_bytes());
    }
    octets.extend(question.name.wire());
    octets.extend([0; 4]);
    octets.extend(writer.sections());
    let mut message = decode(&octets).unwrap();
    message.sections.iter_mut().for_each(|section| section.sort());
    message
}

/// The octets left for sections.
fn room(world: &World, question: &Question, plain: &Plain) -> usize {
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

/// RFC 2181 9: additional data may be left out without a word; what had to be sent may not, nor the glue of a referral (RFC 9471).
fn cut(plain: &mut Plain, room: usize, sections: &Sections<'_>, mut length: usize) {
    if length > SECTIONS_MAX {
        plain.sections[2].clear();
        length = sections.authority_end;
    }
    if length <= room && length <= SECTIONS_MAX {
        return;
    }
    plain.sections[2].clear();
    plain.truncated = sections.referral;
    if sections.authority_end > room || sections.authority_end > SECTIONS_MAX {
        plain.sections = Default::default();
        plain.truncated = true;
    }
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

/// Puts what a decision hands out after the aliases that lead to it.
fn steer(
    world: &World,
    zone: &Zone,
    question: &Question,
    steer: &Steer,
    decision: Decision,
    writer: &Writer,
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
    let aliases = writer.position();
    let room = room(world, question, plain);
    let no_records = |plain: &mut Plain| plain.sections = Default::default();
    if aliases > room {
        no_records(plain);
        plain.truncated = true;
        return;
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
            no_records(plain);
            (plain.rcode, plain.authoritative, plain.error) = (2, false, Some(0));
        }
        Decision::Host { backend, .. } => {
            let Target::Host(host) = &model.unwrap().backends[backend].target else {
                panic!("{decision:?}")
            };
            if aliases + 12 + host.wire().len() > room {
                no_records(plain);
                plain.truncated = true;
                return;
            }
            let alias = record(RecordType::CNAME, host.to_lowercase().wire().to_vec());
            plain.steered = (1, vec![alias]);
            onward(
                world,
                zone,
                host,
                question,
                room - aliases - 12 - host.wire().len(),
                12 + question.name.wire().len() + 4 + aliases + 12 + host.wire().len(),
                plain,
            );
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
                no_records(plain);
                plain.truncated = true;
                return;
            }
            plain.steered = (records.len().min((room - aliases) / width), records);
        }
        Decision::Backends { .. } | Decision::NoFamily => {
            // NODATA: after aliases the resolver asks again for the last of them.
            if plain.sections[0].is_empty() {
                let skip = question.name.label_count() - zone.origin.label_count();
                let mut writer = Writer::after_question(&question.name, skip);
                let none = |_: &Steer| Reach::default();
                let sections = compose(
                    zone,
                    &question.name,
                    Lookup::Empty,
                    question.qtype,
                    &none,
                    &|_| false,
                    &mut writer,
                );
                if writer.position() <= room {
                    plain.sections = decoded(question, &writer, &sections).sections;
                }
            }
        }
    }
}

/// What follows a CNAME to a host that is a name of the same zone: if it fits whole, and unless it is steered. `start` is its place in the
/// message: it is left out where pointers would not reach (RFC 1035 4.1.4: 14 bits).
fn onward(world: &World, zone: &Zone, host: &Name, question: &Question, room: usize, start: usize, plain: &mut Plain) {
    let ours = matches!(deepest(world, host), Answering::Zone(deepest) if deepest.origin == zone.origin);
    if !ours || matches!(question.qtype, RecordType::CNAME | RecordType::ANY) {
        return;
    }
    let mut writer = Writer::after_question(host, 0);
    let sections = composed(world, zone, host, zone.lookup(host), question, &mut writer);
    if sections.steer.is_some() || writer.position() > room || start + writer.position() > 0x3fff {
        return;
    }
    plain.rcode = sections.rcode.0;
    let asked = Question {
        name: host.clone(),
        ..question.clone()
    };
    let message = decoded(&asked, &writer, &sections);
    for (section, more) in plain.sections.iter_mut().zip(message.sections) {
        section.extend(more);
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
