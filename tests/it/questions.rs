//! Random questions to random worlds, most of them for names and types that are there or nearly there.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use windrose::answer::{Request, Transport};
use windrose::wire::code::RecordType;
use windrose::wire::name::Name;

use crate::atlases::addresses;
use crate::worlds::{Labels, World, below, labels};

/// A well-formed query, and how it comes.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) id: u16,
    pub(crate) recursion_desired: bool,
    /// In the case it is asked in.
    pub(crate) name: Name,
    pub(crate) qtype: RecordType,
    pub(crate) edns: Option<Edns>,
    pub(crate) transport: Transport,
    pub(crate) source: IpAddr,
    pub(crate) random: u64,
}

/// What an OPT record asks.
#[derive(Debug, Clone)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) nsid: bool,
    /// Address and source prefix length.
    pub(crate) subnet: Option<(IpAddr, u8)>,
}

impl Edns {
    /// The client subnet option, its scope prefix length as given; the bits beyond the source are zero (RFC 7871 6).
    pub(crate) fn subnet_option(&self, scope: u8) -> Option<Vec<u8>> {
        let (address, source) = self.subnet?;
        let network = ipnet::IpNet::new(address, source).unwrap().trunc().network();
        let (family, octets) = match network {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        let mut data = vec![0, family, source, scope];
        data.extend(&octets[..usize::from(source).div_ceil(8)]);
        Some(data)
    }
}

impl Question {
    /// The message.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let flags = u16::from(self.recursion_desired) << 8;
        let mut octets = Vec::new();
        for field in [self.id, flags, 1, 0, 0, u16::from(self.edns.is_some())] {
            octets.extend(field.to_be_bytes());
        }
        octets.extend(self.name.wire());
        octets.extend(self.qtype.0.to_be_bytes());
        octets.extend([0, 1]);
        if let Some(edns) = &self.edns {
            let mut options = Vec::new();
            let subnet = edns.subnet_option(0).map(|data| (8_u16, data));
            for (code, data) in subnet.into_iter().chain(edns.nsid.then_some((3, Vec::new()))) {
                options.extend(code.to_be_bytes());
                options.extend((data.len() as u16).to_be_bytes());
                options.extend(data);
            }
            octets.extend([0, 0, 41]);
            octets.extend(edns.udp_size.to_be_bytes());
            octets.extend([0, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
            octets.extend((options.len() as u16).to_be_bytes());
            octets.extend(options);
        }
        octets
    }

    /// The request with these octets.
    pub(crate) fn request<'a>(&self, bytes: &'a [u8]) -> Request<'a> {
        Request {
            bytes,
            source: self.source,
            transport: self.transport,
            random: self.random,
            now: 0,
        }
    }
}

/// What makes a question once there is a world to ask.
#[derive(Debug, Clone)]
pub(crate) struct QuestionPlan {
    near: Index,
    /// How many labels are taken away, and what comes before the rest.
    dropped: usize,
    before: Labels,
    anywhere: Option<Labels>,
    /// One of the types that are there, or A or AAAA.
    own_type: Option<Index>,
    case: u64,
    question: Question,
}

/// Random questions.
pub(crate) fn questions() -> impl Strategy<Value = QuestionPlan> {
    let types: Vec<u16> = vec![
        1, 1, 1, 28, 28, 2, 5, 6, 12, 13, 15, 16, 16, 33, 43, 43, 64, 252, 255, 65280, 0, 41, 65535,
    ];
    let address = addresses;
    let subnet = (address(), 0..=128_u8).prop_map(|(address, source)| match address {
        IpAddr::V4(_) => (address, source % 33),
        IpAddr::V6(_) => (address, source),
    });
    let size = prop_oneof![select(vec![0_u16, 512, 1232, 4096, 65535]), 400..=1400_u16];
    let edns = (size, any::<bool>(), prop::bool::weighted(0.1), prop::option::of(subnet));
    let edns = edns.prop_map(|(udp_size, dnssec_ok, nsid, subnet)| Edns {
        udp_size,
        dnssec_ok,
        nsid,
        subnet,
    });
    let question = (
        any::<(u16, bool, u64)>(),
        select(types),
        prop::option::weighted(0.7, edns),
        prop::bool::weighted(0.2),
        address(),
    );
    let question = question.prop_map(|((id, recursion_desired, random), qtype, edns, tcp, source)| Question {
        id,
        recursion_desired,
        name: Name::root(),
        qtype: RecordType(qtype),
        edns,
        transport: if tcp { Transport::Tcp } else { Transport::Udp },
        source,
        random,
    });
    let near = (
        any::<Index>(),
        prop_oneof![5 => Just(0), 2 => 1..=2_usize],
        prop_oneof![3 => Just(vec![]), 2 => labels(2)],
    );
    let anywhere = prop::option::weighted(0.2, labels(4));
    (near, anywhere, prop::option::of(any::<Index>()), any::<u64>(), question).prop_map(
        |((near, dropped, before), anywhere, own_type, case, question)| QuestionPlan {
            near,
            dropped,
            before,
            anywhere,
            own_type,
            case,
            question,
        },
    )
}

impl QuestionPlan {
    /// The question for a world.
    pub(crate) fn question(&self, world: &World) -> Question {
        let owners = world.zones.iter().flat_map(|zone| zone.owners.keys());
        let names: Vec<&Name> = owners.chain(&world.failed).collect();
        let mut name = (*self.near.get(&names)).clone();
        let owners = world.zones.iter().filter_map(|zone| zone.owners.get(&name));
        let mut types = vec![RecordType::A, RecordType::AAAA];
        types.extend(owners.flat_map(|owner| owner.rrsets.keys()));
        let qtype = self.own_type.map_or(self.question.qtype, |index| *index.get(&types));
        for _ in 0..self.dropped {
            name = name.parent().unwrap_or(name);
        }
        name = below(&self.before, &name);
        if let Some(labels) = &self.anywhere {
            name = below(labels, &Name::root());
        }
        let octets = name.wire().iter().enumerate();
        let cased = octets.map(|(at, octet)| match self.case >> (at % 64) & 1 {
            1 if octet.is_ascii_alphabetic() => octet ^ 0x20,
            _ => *octet,
        });
        Question {
            name: Name::from_wire(&cased.collect::<Vec<u8>>()).unwrap(),
            qtype,
            ..self.question.clone()
        }
    }
}
