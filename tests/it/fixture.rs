//! A few small zones with every kind of owner, steered by every kind of pool, and queries for them: what the tests of memory, the benches
//! and the fuzz targets all ask. It needs nothing but the crate itself.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each of those uses a part of it, and in all a panic is the report"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use windrose::answer::{Request, Transport};
use windrose::health::{AddressId, Verdict, Verdicts};
use windrose::image::{Image, Options, Serving};
use windrose::policy::model::{
    Answers, Backend, Choose, Fallback, Member, MinHealthy, Node, NodeId, NodeKind, Policy, Pool, Root, Steering,
    Target,
};
use windrose::policy::tree::Forest;
use windrose::wire::code::RecordType;
use windrose::wire::cookie::Cookies;
use windrose::wire::name::Name;
use windrose::wire::rdata;
use windrose::zone::model::{Owner, RRset, Soa, Steer, Zone};

/// An absolute name.
pub(crate) fn name(text: &str) -> Name {
    Name::parse(text, None).unwrap()
}

/// A zone of these records: `"www A 192.0.2.1"`, or `"www steer POOL"`. It has its SOA, and an NS record unless given.
pub(crate) fn zone(origin: &str, records: &[&str]) -> Zone {
    let origin = name(origin);
    let soa = Soa {
        mname: origin.child(b"ns").unwrap(),
        rname: origin.child(b"hostmaster").unwrap(),
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 1_209_600,
        minimum: 60,
        ttl: 3600,
    };
    let mut owners: BTreeMap<Name, Owner> = BTreeMap::new();
    for record in records {
        let mut words = record.splitn(3, ' ');
        let [owner, rtype, data] = [(); 3].map(|()| words.next().unwrap());
        let owner = owners.entry(Name::parse(owner, Some(&origin)).unwrap()).or_default();
        if rtype == "steer" {
            let root = data.to_owned();
            owner.steer = Some(Box::new(Steer { root, ttl: None }));
            continue;
        }
        let rtype = RecordType::parse(rtype).unwrap();
        let data = rdata::parse(rtype, data, &origin).unwrap();
        let empty = RRset {
            ttl: 300,
            rdata: vec![],
        };
        let mut rrset = owner.rrsets.get(&rtype).cloned().unwrap_or(empty);
        rrset.rdata.push(data);
        owner.rrsets.insert(rtype, rrset);
    }
    let apex = owners.entry(origin.clone()).or_default();
    let set = |ttl, data: Box<[u8]>| RRset { ttl, rdata: vec![data] };
    if !apex.rrsets.contains_key(&RecordType::NS) {
        apex.rrsets.insert(RecordType::NS, set(300, soa.mname.wire().into()));
    }
    apex.rrsets.insert(RecordType::SOA, set(soa.ttl, soa.rdata()));
    Zone {
        origin,
        path: PathBuf::new(),
        soa,
        owners,
    }
}

/// Adds a pool of backends with these addresses or hosts: `"192.0.2.1 192.0.2.2,2001:db8::2 edge.example."`, of weights 1, 2, 3, ...
pub(crate) fn pool<'a>(
    steering: &'a mut Steering,
    name: &str,
    backends: &str,
) -> (&'a mut Pool, &'a mut bool, &'a mut Root) {
    let mut unused = steering.addresses;
    let mut backend = |(at, text): (usize, &str)| {
        let (mut ipv4, mut ipv6, mut host) = (Vec::new(), Vec::new(), None);
        for target in text.split(',') {
            let id = AddressId(unused);
            unused += 1;
            match target.parse() {
                Ok(IpAddr::V4(address)) => ipv4.push((address, id)),
                Ok(IpAddr::V6(address)) => ipv6.push((address, id)),
                Err(_) => host = Some(self::name(target)),
            }
        }
        Backend {
            name: text.to_owned(),
            weight: at as u32 + 1,
            target: host.map_or(Target::Addresses { ipv4, ipv6 }, Target::Host),
        }
    };
    let backends = backends.split_whitespace().enumerate().map(&mut backend).collect();
    steering.addresses = unused;
    let pool = Pool {
        answers: Answers::Count(1),
        min_healthy: MinHealthy::Backends(1),
        backends,
        probes: Vec::new(),
    };
    let node = add(steering, name, NodeKind::Pool(pool));
    match &mut node.kind {
        NodeKind::Pool(pool) => (pool, &mut node.sticky, &mut node.root),
        NodeKind::Policy(_) => unreachable!("a pool was added"),
    }
}

/// Adds a policy over these members, of weights 1, 2, 3, ...
pub(crate) fn policy<'a>(steering: &'a mut Steering, name: &str, choose: Choose, members: &str) -> &'a mut Node {
    let member = |(at, name): (usize, &str)| Member {
        node: steering.by_name[name],
        name: name.to_owned(),
        weight: at as u32 + 1,
        bias: 1.0,
    };
    let members = members.split_whitespace().enumerate().map(member).collect();
    add(steering, name, NodeKind::Policy(Policy { choose, members }))
}

fn add<'a>(steering: &'a mut Steering, name: &str, kind: NodeKind) -> &'a mut Node {
    let id = NodeId(steering.nodes.len() as u32);
    steering.by_name.insert(name.to_owned(), id);
    steering.nodes.push(Node {
        name: name.to_owned(),
        location: None,
        sticky: false,
        root: Root::default(),
        kind,
    });
    steering.nodes.last_mut().unwrap()
}

/// So many backends of both families.
pub(crate) fn many(count: u16) -> String {
    (1..=count).fold(String::new(), |text, at| {
        text + &format!("10.0.{}.{},fd::{at:x} ", at >> 8, at & 255)
    })
}

/// Pools and policies of every kind.
pub(crate) fn steering() -> Steering {
    let mut steering = Steering::default();
    pool(&mut steering, "one", "192.0.2.1,2001:db8::1");
    pool(&mut steering, "eight", &many(8));
    pool(&mut steering, "host", "edge.example.net.");
    *pool(&mut steering, "sticky8", &many(8)).1 = true;
    *pool(&mut steering, "sticky32", &many(32)).1 = true;
    pool(&mut steering, "four", &many(16)).0.answers = Answers::Count(4);
    pool(&mut steering, "all", &many(16)).0.answers = Answers::All;
    pool(&mut steering, "crowd", &many(300)).0.answers = Answers::All;
    let (ranked, sticky, _) = pool(&mut steering, "ranked", &many(20));
    (ranked.answers, *sticky) = (Answers::Count(3), true);
    pool(&mut steering, "down", "192.0.2.66");
    pool(&mut steering, "lost", "192.0.2.66").2.fallback = Fallback::Servfail;
    for at in 1..=8 {
        pool(&mut steering, &format!("site{at}"), &many(4));
    }
    let sites = "site1 site2 site3 site4 site5 site6 site7 site8";
    policy(&mut steering, "weighted", Choose::Weighted, sites);
    policy(&mut steering, "steady", Choose::Weighted, sites).sticky = true;
    policy(&mut steering, "tiers", Choose::Failover, "lost host");
    policy(
        &mut steering,
        "deep",
        Choose::Weighted,
        "weighted one eight sticky8 sticky32",
    );
    steering
}

/// The addresses 192.0.2.66 are down, all others are up.
pub(crate) fn verdicts(steering: &Steering) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for node in &steering.nodes {
        let NodeKind::Pool(pool) = &node.kind else { continue };
        for backend in &pool.backends {
            let Target::Addresses { ipv4, .. } = &backend.target else {
                continue;
            };
            for (address, id) in ipv4 {
                let down = address.octets() == [192, 0, 2, 66];
                verdicts.set(*id, if down { Verdict::Down } else { Verdict::Up });
            }
        }
    }
    verdicts
}

/// `example.com.` with every kind of owner, `child.example.com.` below it, and the failed `failed.example.`.
pub(crate) fn serving() -> Serving {
    let steering = steering();
    let mut records: Vec<String> = [
        "@ NS ns",
        "@ MX 10 mail",
        "ns A 192.0.2.53",
        "ns AAAA 2001:db8::53",
        "mail A 192.0.2.25",
        "www A 192.0.2.80",
        "www AAAA 2001:db8::80",
        "*.wild A 192.0.2.81",
        "*.wild MX 10 mail",
        "*.far.wild CNAME www",
        "a.b.empty A 192.0.2.1",
        "sub NS ns.sub",
        "sub NS ns.other.example.",
        "sub DS 1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "ns.sub A 192.0.2.54",
        "child NS ns.child",
        "ns.child A 192.0.2.55",
        "alias CNAME alias2",
        "alias2 CNAME www",
        "loop CNAME loop",
        "out CNAME www.example.net.",
        "gone CNAME nowhere",
        "down-there CNAME x.sub",
        "to-steered CNAME eight",
        "*.steered steer eight",
        "text TYPE65280 \\# 3 010203",
        "_s._tcp SRV 1 2 443 www",
    ]
    .map(str::to_owned)
    .into();
    records.extend((0..10).map(|at| format!("long TXT {}{at}", "x".repeat(200))));
    records.extend((0..250).map(|at| format!("longer TXT {}{at}", "y".repeat(200))));
    records.extend(steering.by_name.keys().map(|root| format!("{root} steer {root}")));
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let zones = [
        zone("example.com.", &records),
        zone("child.example.com.", &["www A 192.0.2.90"]),
    ];
    let options = Options {
        client_subnet: true,
        nsid: b"node-1".to_vec(),
        version: "windrose".to_owned(),
        cookies: Cookies::On,
        threads: 1,
        ..Options::default()
    };
    let verdicts = verdicts(&steering);
    let image = Image::compile(
        &zones,
        &[name("failed.example.")],
        Forest::without_databases(steering),
        options,
        [7, 11],
    );
    Serving::new(Arc::new(image), &verdicts)
}

/// A query without EDNS.
pub(crate) fn query(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend(self::name(name).wire());
    octets.extend(rtype.0.to_be_bytes());
    octets.extend([0, 1]);
    octets
}

/// The same with an OPT record of these options.
pub(crate) fn query_edns(name: &str, rtype: RecordType, options: &[u8]) -> Vec<u8> {
    let mut octets = query(name, rtype);
    octets[11] = 1;
    octets.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0]);
    octets.extend((options.len() as u16).to_be_bytes());
    octets.extend(options);
    octets
}

/// 198.51.100.0/24 as a client subnet option.
pub(crate) const SUBNET: [u8; 11] = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];

/// By UDP, from 203.0.113.9.
pub(crate) fn request(bytes: &[u8], random: u64) -> Request<'_> {
    Request {
        bytes,
        source: IpAddr::from([203, 0, 113, 9]),
        transport: Transport::Udp,
        random,
        now: 0,
    }
}
