//! The client as decisions see it: IPv4 addresses that come inside IPv6 ones are read as what they carry, and scopes are
//! told in the family that was asked in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Prefixes whose addresses carry an IPv4 address, and the length of each: IPv4-mapped (RFC 4291 2.5.5.2), NAT64 (RFC 6052 2.1)
/// and 6to4 (RFC 3056 2). The IPv4 address stands right after the prefix.
const CARRIERS: [(u128, u8); 3] = [(0xffff << 32, 96), (0x0064_ff9b << 96, 96), (0x2002 << 112, 16)];

/// What of a client decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKey {
    /// Its address, zero-extended; an IPv4 one if it carries one.
    pub address: IpAddr,
    /// The class of its location, in the image that decides.
    pub class: u32,
}

/// A client's address, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The address, an IPv4 one if it carries one.
    pub address: IpAddr,
    /// The bits before its address in the one that came: 0 unless it was carried in an IPv6 address.
    shift: u8,
    /// The least scope prefix length that does not reach into a prefix that carries IPv4 addresses: they are other clients.
    least: u8,
}

impl Seen {
    /// Reads an address, zero-extended.
    pub fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self {
                address,
                shift: 0,
                least: 0,
            },
            IpAddr::V6(address) => Self::new_ipv6(address),
        }
    }

    fn new_ipv6(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        let mut least = 0;
        for (prefix, length) in CARRIERS {
            let common = (bits ^ prefix).leading_zeros() as u8;
            if common >= length {
                let carried = Ipv4Addr::from_bits((bits << length >> 96) as u32);
                return Self {
                    address: carried.into(),
                    shift: length,
                    least: 0,
                };
            }
            least = least.max(common + 1);
        }
        Self {
            address: address.into(),
            shift: 0,
            least,
        }
    }

    /// The scope prefix length, in the family that came, of a decision that depends on so many bits of the client's address.
    pub fn scope(&self, length: u8) -> u8 {
        match length {
            0 => 0,
            length => (length + self.shift).max(self.least),
        }
    }
}

/// A network of addresses that carry IPv4 ones, as the IPv4 network; any other as it is.
pub fn folded(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let bits = six.network().to_bits();
    for (prefix, length) in CARRIERS {
        let carried = six.prefix_len().checked_sub(length).filter(|length| *length <= 32);
        if let Some(carried) = carried
            && (bits ^ prefix).leading_zeros() >= u32::from(length)
        {
            let address = Ipv4Addr::from_bits((bits << length >> 96) as u32);
            return Ipv4Net::new(address, carried).map_or(network, IpNet::from);
        }
    }
    network
}

/// Whether no client is in a network: it is told by more bits than those of the IPv4 address that its addresses carry and are read as.
pub fn is_nobodys(network: IpNet) -> bool {
    let IpNet::V6(six) = folded(network) else { return false };
    let bits = six.network().to_bits();
    let carries = |(prefix, length): &(u128, u8)| (bits ^ prefix).leading_zeros() >= u32::from(*length);
    CARRIERS
        .iter()
        .any(|carrier| six.prefix_len() > carrier.1 && carries(carrier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> (String, u8) {
        let seen = Seen::new(text.parse().unwrap());
        let length = if seen.address.is_ipv4() { 24 } else { 56 };
        (seen.address.to_string(), seen.scope(length))
    }

    #[test]
    fn carried_addresses_are_read_and_scopes_shifted_back() {
        assert_eq!(seen("192.0.2.1"), ("192.0.2.1".into(), 24));
        assert_eq!(seen("::ffff:192.0.2.1"), ("192.0.2.1".into(), 120));
        assert_eq!(seen("64:ff9b::c000:201"), ("192.0.2.1".into(), 120));
        assert_eq!(seen("2002:c000:201:5::1"), ("192.0.2.1".into(), 40));
        assert_eq!(seen("2001:db8::1"), ("2001:db8::1".into(), 56));
        assert_eq!(Seen::new("::ffff:192.0.2.1".parse().unwrap()).scope(0), 0);
    }

    #[test]
    fn networks_of_carried_addresses_are_those_of_what_they_carry() {
        let folded = |text: &str| super::folded(text.parse().unwrap()).to_string();
        assert_eq!(folded("::ffff:192.0.2.0/120"), "192.0.2.0/24");
        assert_eq!(folded("64:ff9b::/96"), "0.0.0.0/0");
        assert_eq!(folded("2002:c000:200::/40"), "192.0.2.0/24");
        assert_eq!(folded("2002:c000:201:5::/64"), "2002:c000:201:5::/64");
        assert_eq!(folded("2001:db8::/32"), "2001:db8::/32");
        assert_eq!(folded("192.0.2.0/24"), "192.0.2.0/24");
        assert_eq!(folded("::/0"), "::/0");
    }

    #[test]
    fn networks_within_what_carries_one_address_are_nobodys() {
        let is_nobodys = |text: &str| super::is_nobodys(text.parse().unwrap());
        assert!(is_nobodys("2002:c000:201:5::/64") && is_nobodys("2002:c000:201:5::1/128"));
        for someones in [
            "2002:c000:201::/48",
            "2002::/16",
            "2002::/15",
            "64:ff9b::/96",
            "2001:db8::/64",
            "::/0",
            "::/80",
            "192.0.2.1/32",
        ] {
            assert!(!is_nobodys(someones), "{someones}");
        }
    }

    #[test]
    fn scopes_beside_a_carrying_prefix_stay_out_of_it() {
        assert_eq!(seen("::1"), ("::1".into(), 81)); // ::/80 and below hold ::ffff:0:0/96 from bit 80 on
        assert_eq!(seen("64:ff9b::1:0:0"), ("64:ff9b::1:0:0".into(), 96));
        assert_eq!(seen("64:ff9b:1::"), ("64:ff9b:1::".into(), 56));
    }
}
