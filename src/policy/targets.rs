//! What is probed: one target for each different probe of each address, however many pools and zones name it; and whose verdicts follow from
//! it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Family;
use super::build::Probes;
use super::model::{NodeKind, Steering, Target};
use crate::health::probe::Probe;
use crate::health::{AddressId, Verdict, Verdicts};

/// What makes a target: the definition and the address. A changed definition is another target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// What is asked.
    pub probe: Probe,
    /// Of whom.
    pub address: IpAddr,
}

/// The targets of one load.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Each once, with the full names of the probes that are so defined.
    pub list: Vec<(TargetKey, Vec<String>)>,
    /// For each address of each pool the targets that judge it, by place in the list.
    judges: Vec<Vec<u32>>,
}

impl Targets {
    /// Those of all pools.
    pub fn of(steering: &Steering, probes: &Probes) -> Self {
        let mut targets = Self {
            list: Vec::new(),
            judges: vec![Vec::new(); steering.addresses as usize],
        };
        let mut places: BTreeMap<TargetKey, u32> = BTreeMap::new();
        let pools = steering.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Pool(pool) => Some(pool),
            NodeKind::Policy(_) => None,
        });
        for pool in pools {
            for name in &pool.probes {
                let Some(probe) = probes.get(name) else { continue };
                for (address, AddressId(id)) in pool.backends.iter().flat_map(|backend| addresses(&backend.target)) {
                    let key = TargetKey {
                        probe: probe.clone(),
                        address,
                    };
                    let place = *places.entry(key).or_insert_with_key(|key| {
                        targets.list.push((key.clone(), Vec::new()));
                        targets.list.len() as u32 - 1
                    });
                    let names = &mut targets.list[place as usize].1;
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                    if let Some(judges) = targets
                        .judges
                        .get_mut(id as usize)
                        .filter(|judges| !judges.contains(&place))
                    {
                        judges.push(place);
                    }
                }
            }
        }
        targets
    }

    /// The verdicts on all addresses, from those on the targets, by place in the list. An address is down if any of its targets is; up if
    /// all are; else nothing is known yet.
    pub fn verdicts(&self, of: impl Fn(usize) -> Verdict) -> Verdicts {
        let mut verdicts = Verdicts::unknown(self.judges.len());
        for (id, judges) in self.judges.iter().enumerate() {
            let mut merged = judges.iter().map(|place| of(*place as usize));
            let verdict = merged.clone().fold(Verdict::Up, |sum, verdict| match (sum, verdict) {
                (Verdict::Down, _) | (_, Verdict::Down) => Verdict::Down,
                (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
                (Verdict::Up, Verdict::Up) => Verdict::Up,
            });
            if merged.next().is_some() {
                verdicts.set(AddressId(id as u32), verdict);
            }
        }
        verdicts
    }
}

/// Those of both families.
fn addresses(target: &Target) -> impl Iterator<Item = (IpAddr, AddressId)> {
    let ipv4 = target.addresses(Family::Ipv4).into_iter();
    ipv4.chain(target.addresses(Family::Ipv6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::probe::Kind;
    use crate::policy::model::{Answers, Backend, MinHealthy, Node, Pool, Root};
    use std::time::Duration;

    fn probe(port: u16) -> Probe {
        let second = Duration::from_secs(1);
        Probe {
            kind: Kind::Tcp,
            port,
            interval: second,
            timeout: second,
            rise: 1,
            fall: 1,
        }
    }

    fn pool(name: &str, probes: &[&str], first: u32, addresses: &[&str]) -> Node {
        let backend = |(id, address): (u32, &&str)| Backend {
            name: (*address).to_owned(),
            weight: 1,
            target: Target::Addresses {
                ipv4: vec![(address.parse().unwrap(), AddressId(id))],
                ipv6: Vec::new(),
            },
        };
        let pool = Pool {
            answers: Answers::Count(1),
            min_healthy: MinHealthy::Backends(1),
            backends: (first..).zip(addresses).map(backend).collect(),
            probes: probes.iter().map(|name| (*name).to_owned()).collect(),
        };
        Node {
            name: name.to_owned(),
            location: None,
            sticky: false,
            root: Root::default(),
            kind: NodeKind::Pool(pool),
        }
    }

    #[test]
    fn equal_definitions_of_one_address_are_one_target() {
        let steering = Steering {
            nodes: vec![
                pool("a/x", &["a/web", "ssh"], 0, &["192.0.2.1", "192.0.2.2"]),
                pool("b/y", &["b/www"], 2, &["192.0.2.1"]),
                pool("b/z", &[], 3, &["192.0.2.1"]),
            ],
            addresses: 4,
            ..Steering::default()
        };
        let named = [("a/web", 80), ("b/www", 80), ("ssh", 22)];
        let probes = named.map(|(name, port)| (name.to_owned(), probe(port))).into();
        let targets = Targets::of(&steering, &probes);
        let told: Vec<String> = targets
            .list
            .iter()
            .map(|(key, names)| format!("{} {} {}", key.address, key.probe.port, names.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                "192.0.2.1 80 a/web b/www",
                "192.0.2.2 80 a/web",
                "192.0.2.1 22 ssh",
                "192.0.2.2 22 ssh"
            ]
        );
        let merged = |verdicts: [Verdict; 4]| {
            let merged = targets.verdicts(|place| verdicts[place]);
            [0, 1, 2, 3].map(|id| merged.of(AddressId(id)))
        };
        use Verdict::{Down, Unknown, Up};
        assert_eq!(merged([Up, Up, Up, Up]), [Up, Up, Up, Unknown]);
        assert_eq!(merged([Up, Down, Down, Unknown]), [Down, Down, Up, Unknown]);
        assert_eq!(merged([Unknown, Up, Up, Unknown]), [Unknown, Unknown, Unknown, Unknown]);
    }
}
