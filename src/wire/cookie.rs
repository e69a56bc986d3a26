//! DNS cookies (RFC 7873): by showing one, a client proves that it receives what is sent to its address. Server cookies are made as RFC 9018
//! has them, from a secret, the client's cookie and address, and the time, so that every server with the same secret knows them.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::net::IpAddr;
use std::num::NonZeroU8;

use siphasher::sip::SipHasher24;

/// The octets of a client cookie.
pub const CLIENT_LENGTH: usize = 8;

/// The octets of a client cookie and a server cookie of ours.
pub const LENGTH: usize = CLIENT_LENGTH + 16;

/// The most secrets that are accepted at once: each costs a hash for a cookie that is not good. One in use, one that comes and one that goes
/// do for any exchange in a fleet.
pub const SECRETS_MAX: usize = 4;

/// How old a server cookie may be, in seconds (RFC 9018 4.3).
const AGE_MAX: i32 = 3_600;

/// How far ahead of our clock another server's may be, in seconds (the same).
const AHEAD_MAX: i32 = 300;

/// From which age on a new one is sent, in seconds (the same).
const RENEWED_FROM: i32 = 1_800;

/// The version of RFC 9018.
const VERSION: u8 = 1;

/// 128 bits that only the servers of a fleet know.
pub type Secret = [u8; 16];

/// What is done about cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cookies {
    /// The option is not known.
    #[default]
    Off,
    /// Clients that ask get one; nobody needs one.
    On,
    /// Who asks by datagram without a good one gets none of the answer.
    Required,
}

/// Where the data of a cookie option stands in a query, and how long it is. It borrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: u16,
    /// So that a query that shows none is not longer for it.
    length: NonZeroU8,
}

impl Place {
    /// Of data at an offset of a message; `None` if no cookie is so long (RFC 7873 5.2.2).
    pub fn new(at: usize, length: usize) -> Option<Self> {
        match length {
            CLIENT_LENGTH | 16..=40 => Some(Self {
                at: at.try_into().ok()?,
                length: NonZeroU8::new(length.try_into().ok()?)?,
            }),
            _ => None,
        }
    }

    /// The cookie, from the message that it stands in.
    pub fn read(self, bytes: &[u8]) -> Option<Cookie<'_>> {
        let at = usize::from(self.at);
        let data = bytes.get(at..at + usize::from(self.length.get()))?;
        let (client, server) = data.split_first_chunk::<CLIENT_LENGTH>()?;
        Some(Cookie {
            client: *client,
            server,
        })
    }
}

/// What a query shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'a> {
    /// The client's own.
    pub client: [u8; CLIENT_LENGTH],
    /// What it says to have from us: nothing, or 8 to 32 octets.
    pub server: &'a [u8],
}

/// What a server cookie is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// It is not ours, not this client's, or of another time.
    Bad,
    /// It is good, and soon will not be: a new one is sent.
    Old,
    /// It is good, and goes on being so.
    Fresh,
}

impl Standing {
    /// Whether the client has shown that it gets what is sent to its address.
    pub fn is_good(self) -> bool {
        matches!(self, Standing::Old | Standing::Fresh)
    }
}

/// The secrets in force.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    /// The one that cookies are made with.
    active: Secret,
    /// Others whose cookies are good too.
    accepted: [Option<Secret>; SECRETS_MAX - 1],
}

impl std::fmt::Debug for Secrets {
    /// Says nothing: what is shown may end up in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Cookies are made with `active`; those made with one of `accepted` are good too. More than there is room for are left out.
    pub fn new(active: Secret, accepted: &[Secret]) -> Self {
        let mut secrets = Self {
            active,
            accepted: [None; SECRETS_MAX - 1],
        };
        for (place, secret) in secrets.accepted.iter_mut().zip(accepted) {
            *place = Some(*secret);
        }
        secrets
    }

    /// What the server cookie of a query is worth, at a time in seconds since 1970, which wraps as serial numbers do (RFC 1982).
    pub fn standing(&self, cookie: &Cookie<'_>, client: IpAddr, now: u32) -> Standing {
        if cookie.server.is_empty() {
            return Standing::Absent;
        }
        let Ok([v, r2, r1, r0, t3, t2, t1, t0, hash @ ..]) = <[u8; 16]>::try_from(cookie.server) else {
            return Standing::Bad;
        };
        let time = u32::from_be_bytes([t3, t2, t1, t0]);
        let age = now.wrapping_sub(time).cast_signed();
        if v != VERSION || !(-AHEAD_MAX..=AGE_MAX).contains(&age) {
            return Standing::Bad;
        }
        // RFC 9018 4.2: what is reserved is not looked at, but counts in the hash as it came.
        let head = [v, r2, r1, r0, t3, t2, t1, t0];
        let made_with = |secret: &Secret| hash_of(secret, &cookie.client, &head, client) == hash;
        if made_with(&self.active) {
            return if age < RENEWED_FROM {
                Standing::Fresh
            } else {
                Standing::Old
            };
        }
        match self.accepted.iter().flatten().any(made_with) {
            true => Standing::Old,
            false => Standing::Bad,
        }
    }

    /// The data of the option that answers it: the client's cookie, and its server cookie as it came or a new one.
    pub fn reply(&self, cookie: &Cookie<'_>, client: IpAddr, now: u32) -> [u8; LENGTH] {
        let server = match (self.standing(cookie, client, now), cookie.server.try_into()) {
            (Standing::Fresh, Ok(server)) => server,
            _ => self.make(&cookie.client, client, now),
        };
        let mut octets = [0; LENGTH];
        let (before, after) = octets.split_at_mut(CLIENT_LENGTH);
        before.copy_from_slice(&cookie.client);
        after.copy_from_slice(&server);
        octets
    }

    /// A new server cookie (RFC 9018 4).
    fn make(&self, cookie: &[u8; CLIENT_LENGTH], client: IpAddr, now: u32) -> [u8; 16] {
        let [t3, t2, t1, t0] = now.to_be_bytes();
        let head = [VERSION, 0, 0, 0, t3, t2, t1, t0];
        let mut octets = [0; 16];
        let (before, after) = octets.split_at_mut(head.len());
        before.copy_from_slice(&head);
        after.copy_from_slice(&hash_of(&self.active, cookie, &head, client));
        octets
    }
}

/// RFC 9018 4.4: SipHash-2-4 of all that stands before the hash, and the client's address.
fn hash_of(secret: &Secret, cookie: &[u8; CLIENT_LENGTH], head: &[u8; 8], client: IpAddr) -> [u8; 8] {
    let mut octets = [0; 32];
    let (first, rest) = octets.split_at_mut(CLIENT_LENGTH);
    let (second, address) = rest.split_at_mut(head.len());
    first.copy_from_slice(cookie);
    second.copy_from_slice(head);
    let length = match client {
        IpAddr::V4(client) => {
            address
                .iter_mut()
                .zip(client.octets())
                .for_each(|(to, octet)| *to = octet);
            20
        }
        IpAddr::V6(client) => {
            address.copy_from_slice(&client.octets());
            32
        }
    };
    let input = octets.get(..length).unwrap_or_default();
    SipHasher24::new_with_key(secret).hash(input).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(digits: &str) -> Secret {
        octets(digits).try_into().unwrap()
    }

    fn octets(digits: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
    }

    /// What is answered to a cookie, in digits, and what it was worth.
    fn answered(secrets: &Secrets, shown: &str, client: &str, now: u32) -> (String, Standing) {
        let (bytes, client) = (octets(shown), client.parse().unwrap());
        let cookie = Place::new(0, bytes.len()).unwrap().read(&bytes).unwrap();
        (
            data_encoding::HEXLOWER.encode(&secrets.reply(&cookie, client, now)),
            secrets.standing(&cookie, client, now),
        )
    }

    const FIRST: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const LEARNED: &str = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";

    /// RFC 9018 appendix A. In A.3 the cookie that is shown is older than an hour, so that it is not good here; the answer is the same.
    #[test]
    fn the_vectors_of_rfc_9018() {
        let secrets = Secrets::new(secret(FIRST), &[]);
        for (shown, client, now, answer, standing) in [
            (
                "2464c4abcf10c957",
                "198.51.100.100",
                1_559_731_985,
                LEARNED,
                Standing::Absent,
            ),
            (
                LEARNED,
                "198.51.100.100",
                1_559_734_385,
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
                Standing::Old,
            ),
            (
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
                "203.0.113.203",
                1_559_734_700,
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
                Standing::Bad,
            ),
        ] {
            assert_eq!(answered(&secrets, shown, client, now), (answer.to_owned(), standing));
        }
        let rolled = Secrets::new(
            secret("445536bcd2513298075a5d379663c962"),
            &[secret("dd3bdf9344b678b185a6f5cb60fca715")],
        );
        assert_eq!(
            answered(
                &rolled,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961
            ),
            (
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a".to_owned(),
                Standing::Old
            )
        );
    }

    /// RFC 9018 appendix A.3: what is reserved counts in the hash as it came. Shown within its hour, the cookie is good, and comes back as it
    /// is.
    #[test]
    fn what_is_reserved_is_hashed_as_it_came() {
        let secrets = Secrets::new(secret(FIRST), &[]);
        let shown = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        assert_eq!(
            answered(&secrets, shown, "203.0.113.203", 1_559_727_985 + 60),
            (shown.to_owned(), Standing::Fresh)
        );
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_for_its_client() {
        let secrets = Secrets::new(secret(FIRST), &[]);
        let made = 1_559_731_985;
        let standing = |client, now| answered(&secrets, LEARNED, client, now).1;
        for (now, expected) in [
            (made - 301, Standing::Bad),
            (made - 300, Standing::Fresh),
            (made, Standing::Fresh),
            (made + 1_799, Standing::Fresh),
            (made + 1_800, Standing::Old),
            (made + 3_600, Standing::Old),
            (made + 3_601, Standing::Bad),
        ] {
            assert_eq!(standing("198.51.100.100", now), expected, "{now}");
        }
        assert_eq!(standing("198.51.100.101", made), Standing::Bad);
        assert_eq!(standing("2001:db8::1", made), Standing::Bad);
    }

    #[test]
    fn every_bit_counts() {
        let secrets = Secrets::new(secret(FIRST), &[]);
        let client = "198.51.100.100".parse().unwrap();
        for bit in 0..LENGTH * 8 {
            let mut bytes = octets(LEARNED);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let cookie = Place::new(0, LENGTH).unwrap().read(&bytes).unwrap();
            assert_eq!(secrets.standing(&cookie, client, 1_559_731_985), Standing::Bad, "{bit}");
        }
    }

    /// The time goes on from its greatest number to 0.
    #[test]
    fn the_time_may_wrap() {
        let secrets = Secrets::new(secret(FIRST), &[]);
        let client = "192.0.2.1".parse().unwrap();
        let bytes = secrets.reply(
            &Cookie {
                client: [7; 8],
                server: &[],
            },
            client,
            u32::MAX - 10,
        );
        let cookie = Place::new(0, LENGTH).unwrap().read(&bytes).unwrap();
        assert_eq!(secrets.standing(&cookie, client, 20), Standing::Fresh);
        assert_eq!(secrets.standing(&cookie, client, 4_000), Standing::Bad);
    }

    #[test]
    fn lengths_that_no_cookie_has() {
        for length in 0..64 {
            let is_one = length == 8 || (16..=40).contains(&length);
            assert_eq!(Place::new(12, length).is_some(), is_one, "{length}");
        }
        assert!(Place::new(70_000, 8).is_none());
    }
}
