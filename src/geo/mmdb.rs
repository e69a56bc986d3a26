//! Location databases in MaxMind's format (`.mmdb`), read by maxminddb from octets in memory.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use maxminddb::{LookupResult, MaxMindDbError, Reader, Within, WithinOptions};

use super::Whereabouts;
use super::overlay::Range;
use super::record::Field;

/// Prefixes that writers of databases lead to the nodes of IPv4 (MaxMind DB file format, "IPv4 addresses in an IPv6 tree"). An address that
/// counts as an IPv4 one is read as that before it is looked up; of others, as those of Teredo, nothing is known.
const ALIASES: [&str; 3] = ["::ffff:0:0/96", "2001::/32", "2002::/16"];

/// The most ends that a tree may have for each node: one, but for prefixes of its own that lead to others, as those of [`ALIASES`] do.
const ENDS_A_NODE_MAX: usize = 16;

/// An open database.
#[derive(Debug)]
pub struct Database {
    /// What it is called, to whoever reads faults and explanations.
    pub name: String,
    reader: Reader<Vec<u8>>,
}

/// What is wrong with a database.
#[derive(Debug)]
pub enum Error {
    /// It has no octets.
    Empty,
    /// It is not in this format, or damaged.
    Broken(MaxMindDbError),
    /// Its tree has far more networks than nodes, since it leads to the same nodes again and again.
    Tangled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Empty => f.write_str("the file is empty"),
            Error::Broken(error) => write!(f, "not a sound MaxMind database: {error}"),
            Error::Tangled => {
                f.write_str("not a sound MaxMind database: its tree leads to the same networks again and again")
            }
        }
    }
}

impl From<MaxMindDbError> for Error {
    fn from(error: MaxMindDbError) -> Self {
        Error::Broken(error)
    }
}

/// Networks of one family, in the order of addresses, each with the place of its record.
pub struct Networks<'d> {
    database: &'d Database,
    /// What is still to be walked, last first.
    left: Vec<IpNet>,
    within: Option<(Range, Within<'d, Vec<u8>>)>,
    options: WithinOptions,
    /// How many more there may be: a tree of n nodes has n + 1 ends, but one of a few nodes that lead to one another has 2^128.
    may_come: usize,
}

impl Database {
    /// Opens a database. Its metadata and the bounds of its parts are checked; the rest as it is read.
    pub fn open(name: impl Into<String>, octets: Vec<u8>) -> Result<Self, Error> {
        if octets.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Self {
            name: name.into(),
            reader: Reader::from_source(octets)?,
        })
    }

    /// The type that the file says it has; only for people.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was made, in seconds since 1970.
    pub fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Whether it has addresses of a family: those of IPv4 may stand alone.
    fn has(&self, is_ipv4: bool) -> bool {
        is_ipv4 || self.reader.metadata().ip_version == 6
    }

    /// What it says of an address, and of which network it says so.
    pub fn lookup(&self, address: IpAddr) -> Result<Option<(IpNet, Whereabouts)>, Error> {
        if !self.has(address.is_ipv4()) || is_where_ipv4_stands(address) || self.is_alias(address) {
            return Ok(None);
        }
        let found = self.reader.lookup(address)?;
        let Some(field) = found.decode::<Field<'_>>()? else {
            return Ok(None);
        };
        let network = found.network()?;
        let network = match IpNet::new(network.ip(), network.prefix()) {
            Ok(network) if network.contains(&address) => network,
            // A record that stands above IPv4 is one of all its addresses.
            _ => IpNet::new(address, 0).map_or(IpNet::from(address), |network| network.trunc()),
        };
        Ok(Some((network, field.whereabouts())))
    }

    /// Whether an address is in a prefix that only leads to IPv4, so that its network is none of those of its family.
    fn is_alias(&self, address: IpAddr) -> bool {
        let holding = ALIASES.iter().filter_map(|alias| alias.parse::<IpNet>().ok());
        holding.filter(|alias| alias.contains(&address)).any(|alias| {
            let network = alias.to_string().parse().map_err(MaxMindDbError::from);
            let within = network.and_then(|network| self.reader.within(network, self.options()));
            within.is_ok_and(|mut within| within.next().is_none())
        })
    }

    /// Prefixes that carry IPv4 addresses lead to the nodes of IPv4, and are left out. maxminddb tells them by those nodes; where one record is
    /// all there is of IPv4, it would take every network with that record for such a prefix.
    fn options(&self) -> WithinOptions {
        let ipv4 = self
            .reader
            .lookup(Ipv4Addr::UNSPECIFIED.into())
            .and_then(|found| found.network());
        match ipv4 {
            Ok(network) if network.is_ipv4() && network.prefix() > 0 => WithinOptions::default(),
            _ => WithinOptions::default().include_aliased_networks(),
        }
    }

    /// The networks of a family, in the order of addresses.
    pub fn networks(&self, is_ipv4: bool) -> Networks<'_> {
        let left = match (self.has(is_ipv4), is_ipv4) {
            (false, _) => Vec::new(),
            (true, true) => vec![IpNet::from(ipnet::Ipv4Net::default())],
            // All but ::/96, where IPv4 stands: for each of its bits the half that it is not in.
            (true, false) => (0..96).filter_map(beside_ipv4).collect(),
        };
        Networks {
            database: self,
            left,
            within: None,
            options: self.options().include_networks_without_data(),
            may_come: ENDS_A_NODE_MAX * (self.reader.metadata().node_count as usize + usize::from(u8::MAX)),
        }
    }
}

/// Whether it is an IPv6 address in ::/96: what a database has there is said of IPv4 addresses.
fn is_where_ipv4_stands(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_bits() >> 32 == 0)
}

/// The network of the addresses whose first set bit is this.
fn beside_ipv4(bit: u8) -> Option<IpNet> {
    IpNet::new(Ipv6Addr::from_bits(1 << (127 - bit)).into(), bit + 1).ok()
}

/// A network of a database.
#[derive(Debug, Clone)]
pub struct Network<'d> {
    /// Its addresses.
    pub range: Range,
    found: LookupResult<'d, Vec<u8>>,
}

impl Network<'_> {
    /// Where its record is: equal for networks with the same record.
    pub fn record_at(&self) -> usize {
        self.found.offset().unwrap_or_default()
    }

    /// What its record says.
    pub fn whereabouts(&self) -> Result<Whereabouts, Error> {
        let field = self.found.decode::<Field<'_>>()?;
        Ok(field.map(|field| field.whereabouts()).unwrap_or_default())
    }
}

impl<'d> Iterator for Networks<'d> {
    type Item = Result<Network<'d>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((bounds, within)) = &mut self.within
                && let Some(found) = within.next()
            {
                let Some(may_come) = self.may_come.checked_sub(1) else {
                    (self.within, self.left) = (None, Vec::new());
                    return Some(Err(Error::Tangled));
                };
                self.may_come = may_come;
                let bounds = *bounds;
                match found {
                    Ok(found) if !found.has_data() => continue,
                    Ok(found) => return Some(Network::new(found, bounds)),
                    Err(error) => return Some(Err(error.into())),
                }
            }
            let next = self.left.pop()?;
            // maxminddb has a type of its own for networks, which it does not hand on.
            let within = next.to_string().parse().map_err(MaxMindDbError::from);
            match within.and_then(|network| self.database.reader.within(network, self.options)) {
                Ok(within) => self.within = Some((Range::of(next), within)),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

impl<'d> Network<'d> {
    /// A record may stand above the networks that were asked for: only what is within them counts.
    fn new(found: LookupResult<'d, Vec<u8>>, bounds: Range) -> Result<Self, Error> {
        let network = found.network()?;
        let range = IpNet::new(network.ip(), network.prefix()).map_or(bounds, Range::of);
        let is_other_family = network.is_ipv6() && bounds == Range::ALL;
        Ok(Self {
            range: if is_other_family { bounds } else { range.within(bounds) },
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmdb_writer::{IpVersion, Writer};

    /// What is written of some networks: AS numbers.
    fn database(version: IpVersion, networks: &[(&str, u32)]) -> Database {
        let mut writer = Writer::builder("test").ip_version(version).build();
        for (network, asn) in networks {
            let record = std::collections::BTreeMap::from([("asn", *asn)]);
            writer.insert(network.parse::<IpNet>().unwrap(), &record).unwrap();
        }
        Database::open("test", writer.to_bytes().unwrap()).unwrap()
    }

    fn walk(database: &Database, is_ipv4: bool) -> Vec<(String, u32)> {
        let tell = |network: Result<Network<'_>, Error>| {
            let network = network.unwrap();
            let Range { first, last } = network.range;
            let length = (first ^ last).leading_zeros();
            let text = match is_ipv4 {
                true => format!("{}/{length}", Ipv4Addr::from_bits((first >> 96) as u32)),
                false => format!("{}/{length}", Ipv6Addr::from_bits(first)),
            };
            (text, network.whereabouts().unwrap().asn.unwrap())
        };
        database.networks(is_ipv4).map(tell).collect()
    }

    fn told(networks: &[(&str, u32)]) -> Vec<(String, u32)> {
        networks
            .iter()
            .map(|(network, asn)| ((*network).to_owned(), *asn))
            .collect()
    }

    #[test]
    fn networks_come_in_order_each_in_its_family() {
        let networks = [
            ("192.0.2.0/24", 1),
            ("198.51.100.0/25", 2),
            ("2001:db8::/32", 3),
            ("2001:db8:1::/48", 4),
        ];
        let database = database(IpVersion::V6, &networks);
        assert_eq!(walk(&database, true), told(&networks[..2]));
        let six = walk(&database, false);
        assert_eq!(six.first(), Some(&("2001:db8::/48".to_owned(), 3)));
        assert!(six.contains(&("2001:db8:1::/48".to_owned(), 4)));
        assert_eq!(six.len(), 17);
    }

    #[test]
    fn a_file_of_ipv4_alone_has_no_ipv6_and_that_is_no_error() {
        let database = database(IpVersion::V4, &[("192.0.2.0/24", 1)]);
        assert_eq!(walk(&database, true), told(&[("192.0.2.0/24", 1)]));
        assert_eq!(walk(&database, false), told(&[]));
        assert!(database.lookup("2001:db8::1".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_record_above_ipv4_is_one_of_all_its_addresses() {
        let database = database(IpVersion::V6, &[("::/1", 7)]);
        assert_eq!(walk(&database, true), told(&[("0.0.0.0/0", 7)]));
        let six = walk(&database, false);
        assert_eq!(six.len(), 95, "each once: {six:?}");
        assert!(six.contains(&("4000::/2".to_owned(), 7)));
    }

    #[test]
    fn a_lookup_tells_the_network() {
        let database = database(IpVersion::V6, &[("192.0.2.0/24", 1), ("2001:db8::/32", 3)]);
        let lookup = |address: &str| database.lookup(address.parse().unwrap()).unwrap();
        let (network, found) = lookup("192.0.2.77").unwrap();
        assert_eq!((network.to_string(), found.asn), ("192.0.2.0/24".into(), Some(1)));
        let (network, found) = lookup("2001:db8::9").unwrap();
        assert_eq!((network.to_string(), found.asn), ("2001:db8::/32".into(), Some(3)));
        assert!(lookup("203.0.113.1").is_none());
        // ::/96 is where the file has IPv4: of an IPv6 address there it says nothing.
        assert!(lookup("::c000:201").is_none());
        // The writer leads these to IPv4, as those of databases in use do.
        assert!(lookup("2001:0:c000:201::").is_none());
        assert!(lookup("2002:c000:201::").is_none());
    }

    #[test]
    fn a_lookup_tells_a_network_of_the_family_that_was_asked() {
        let database = database(IpVersion::V6, &[("::/1", 7)]);
        let network = |address: &str| {
            let found = database.lookup(address.parse().unwrap()).unwrap();
            found.unwrap().0.to_string()
        };
        assert_eq!([network("192.0.2.1"), network("2001:db8::1")], ["0.0.0.0/0", "::/1"]);
    }

    #[test]
    fn a_tree_that_leads_to_the_same_nodes_again_and_again_is_told() {
        let mut writer = Writer::builder("test").ip_version(IpVersion::V4).build();
        let record = std::collections::BTreeMap::from([("asn", 1)]);
        writer.insert("0.0.0.0/32".parse::<IpNet>().unwrap(), &record).unwrap();
        let mut octets = writer.to_bytes().unwrap();
        // Each of its 32 nodes leads on to the right as it does to the left.
        let node = octets.len().min(6 * 31);
        for at in (0..node).step_by(6) {
            let (left, right) = octets[at..at + 6].split_at_mut(3);
            right.copy_from_slice(left);
        }
        let database = Database::open("test", octets).unwrap();
        let errors: Vec<Error> = database.networks(true).filter_map(Result::err).collect();
        assert!(matches!(errors[..], [Error::Tangled]), "{errors:?}");
    }

    #[test]
    fn what_is_no_database_is_told() {
        assert_eq!(
            Database::open("test", Vec::new()).unwrap_err().to_string(),
            "the file is empty"
        );
        let error = Database::open("test", b"[records]".repeat(9)).unwrap_err().to_string();
        assert!(error.starts_with("not a sound MaxMind database: "), "{error}");
    }
}
