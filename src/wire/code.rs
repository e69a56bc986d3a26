//! The numbers of the DNS that have names: record types, classes, opcodes, rcodes.

use std::fmt;

/// A record type (RFC 1035 3.2.2 and IANA's registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

macro_rules! record_types {
    ($($constant:ident = $number:literal $(as $mnemonic:literal)?),* $(,)?) => {
        impl RecordType {
            $(#[doc = concat!("Type ", $number, ".")] pub const $constant: RecordType = RecordType($number);)*
        }

        /// Every type known by name, with its mnemonic.
        pub const RECORD_TYPES: &[(RecordType, &str)] =
            &[$((RecordType($number), record_types!(@name $constant $($mnemonic)?))),*];
    };
    (@name $constant:ident) => { stringify!($constant) };
    (@name $constant:ident $mnemonic:literal) => { $mnemonic };
}

record_types! {
    A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, WKS = 11, PTR = 12, HINFO = 13,
    MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20, RT = 21, NSAP = 22,
    NSAP_PTR = 23 as "NSAP-PTR", SIG = 24, KEY = 25, PX = 26,
    GPOS = 27, AAAA = 28, LOC = 29, NXT = 30, EID = 31, NIMLOC = 32, SRV = 33, ATMA = 34, NAPTR = 35, KX = 36, CERT = 37,
    A6 = 38, DNAME = 39, SINK = 40, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46, NSEC = 47, DNSKEY = 48,
    DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, HIP = 55, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59,
    CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, DSYNC = 66, HHIT = 67,
    BRID = 68, SPF = 99, NID = 104, L32 = 105,
    L64 = 106, LP = 107, EUI48 = 108, EUI64 = 109, NXNAME = 128, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253,
    MAILA = 254, ANY = 255, URI = 256, CAA = 257, AVC = 258, DOA = 259, AMTRELAY = 260, RESINFO = 261, WALLET = 262, CLA = 263, IPN = 264,
    TA = 32768, DLV = 32769,
}

impl RecordType {
    /// What may stand beside a CNAME (RFC 4035 2.5): its signature, and its link in the chain of names.
    pub const BESIDE_CNAME: &[RecordType] = &[RecordType::CNAME, RecordType::RRSIG, RecordType::NSEC];

    /// Whether a question for the type is about an alias itself, and is not answered with what the alias stands for.
    pub fn is_of_aliases(self) -> bool {
        Self::BESIDE_CNAME.contains(&self)
    }

    /// Reads a mnemonic, in any case, or `TYPEnnn` (RFC 3597 5).
    pub fn parse(text: &str) -> Option<Self> {
        let known = RECORD_TYPES
            .iter()
            .find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text));
        known.map(|(rtype, _)| *rtype).or_else(|| {
            let digits = text
                .get(..4)
                .filter(|prefix| prefix.eq_ignore_ascii_case("TYPE"))
                .and(text.get(4..))?;
            let plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
            plain.then(|| digits.parse().ok().map(RecordType)).flatten()
        })
    }

    /// Whether records of it cannot stand in a zone: meta types and query types (RFC 6895 3.1).
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RECORD_TYPES.iter().find(|(rtype, _)| rtype == self) {
            Some((_, mnemonic)) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// A class (RFC 1035 3.2.4).
pub mod class {
    /// The Internet.
    pub const IN: u16 = 1;
    /// CHAOS, which names the server's own data by custom (RFC 4892).
    pub const CH: u16 = 3;
    /// NONE (RFC 2136).
    pub const NONE: u16 = 254;
    /// Any class (a query class).
    pub const ANY: u16 = 255;
}

/// A response code (RFC 1035 4.1.1, RFC 6895 2.3). From 16 on its upper bits stand in the OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Rcode = Rcode(0);
    /// The query cannot be read.
    pub const FORMERR: Rcode = Rcode(1);
    /// The server failed.
    pub const SERVFAIL: Rcode = Rcode(2);
    /// The name does not exist.
    pub const NXDOMAIN: Rcode = Rcode(3);
    /// This kind of query is not implemented.
    pub const NOTIMP: Rcode = Rcode(4);
    /// Not answered, by policy.
    pub const REFUSED: Rcode = Rcode(5);
    /// A name that a DNAME makes is too long (RFC 6672 2.2).
    pub const YXDOMAIN: Rcode = Rcode(6);
    /// The EDNS version is not implemented (RFC 6891 6.1.3).
    pub const BADVERS: Rcode = Rcode(16);
    /// The client must show a good server cookie, which comes with this (RFC 7873 8).
    pub const BADCOOKIE: Rcode = Rcode(23);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("NOERROR"),
            1 => f.write_str("FORMERR"),
            2 => f.write_str("SERVFAIL"),
            3 => f.write_str("NXDOMAIN"),
            4 => f.write_str("NOTIMP"),
            5 => f.write_str("REFUSED"),
            6 => f.write_str("YXDOMAIN"),
            16 => f.write_str("BADVERS"),
            23 => f.write_str("BADCOOKIE"),
            other => write!(f, "RCODE{other}"),
        }
    }
}
