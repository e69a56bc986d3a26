//! The form of every record type known by name, as data: what its fields are, and how a person writes them.
//!
//! One row serves the reader of text, the writer of text, the check of octets and the search for names.

use crate::wire::code::RecordType;

/// One field of record data, in wire order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// A number of one octet.
    U8,
    /// A number of two octets.
    U16,
    /// A number of four octets.
    U32,
    /// A time in seconds, of four octets; in master files it may have units.
    Seconds,
    /// A number of one octet, some of which have mnemonics.
    Code8(Mnemonics),
    /// A number of two octets, some of which have mnemonics.
    Code16(Mnemonics),
    /// A record type.
    Type,
    /// A time of a signature: `YYYYMMDDHHmmSS` or seconds (RFC 4034 3.2).
    Time,
    /// A domain name.
    Name,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A character-string of up to 255 octets.
    Text,
    /// The same, or nothing.
    OptionalText,
    /// One or more character-strings, to the end.
    Texts,
    /// Text to the end, without a length and not empty (RFC 7553 4.4).
    LongText,
    /// The same, or empty (RFC 8659 4.1).
    OptionalLongText,
    /// The tag of a CAA record (RFC 8659 4.1).
    Tag,
    /// Octets counted by one octet, as hexadecimal; `-` for none (RFC 5155 3.3).
    Salt,
    /// Octets counted by one octet, as base32hex (RFC 5155 3.3).
    Hash,
    /// Octets to the end, as hexadecimal.
    Hex,
    /// The same: a digest of the length that goes with the algorithm in the octet before, or of at least so many octets.
    Digest(Lengths, usize),
    /// Octets to the end, as base64.
    Base64,
    /// The same, or nothing.
    OptionalBase64,
    /// The types that exist at a name (RFC 4034 4.1.2).
    Bitmap,
    /// So many octets, as pairs of hexadecimal digits with hyphens (RFC 7043).
    Eui(usize),
    /// 64 bits as four groups of hexadecimal digits (RFC 6742).
    Locator,
    /// Octets to the end, as `0x` and hexadecimal with dots (RFC 1706).
    Nsap,
    /// All of LOC (RFC 1876).
    Loc,
    /// All of APL (RFC 3123).
    Apl,
    /// All of IPSECKEY (RFC 4025).
    IpsecKey,
    /// All of AMTRELAY (RFC 8777).
    AmtRelay,
    /// All of HIP (RFC 8005).
    Hip,
    /// Service parameters, to the end (RFC 9460).
    SvcParams,
    /// All of WKS (RFC 1035 3.4.2).
    Wks,
    /// All of A6 (RFC 2874).
    A6,
    /// All of NXT (RFC 2535 5).
    Nxt,
}

/// Words that may be written for numbers.
pub(super) type Mnemonics = &'static [(&'static str, u16)];

/// How the data of one type is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The type.
    pub(super) rtype: RecordType,
    /// Its fields, as a person is told them; word by word the names of `fields` where those are simple.
    pub(super) usage: &'static str,
    /// Data that is right; a test reads every one.
    pub(super) example: &'static str,
    /// What it is made of.
    pub(super) fields: &'static [Field],
}

impl Form {
    /// What the n-th field is called.
    pub(super) fn label(&self, field: usize) -> &'static str {
        self.usage.split(' ').nth(field).unwrap_or("DATA")
    }
}

/// The form of a type; `None` if its data can be written as `\#` only.
pub(super) fn form(rtype: RecordType) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.rtype == rtype)
}

/// DNSSEC algorithms (RFC 4034 A.1 and IANA's registry).
const ALGORITHM: Mnemonics = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Kinds of certificate (RFC 4398 2.1).
const CERTIFICATE: Mnemonics = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// TLSA's words (RFC 7218).
const TLSA_USAGE: Mnemonics = &[
    ("PKIX-TA", 0),
    ("PKIX-EE", 1),
    ("DANE-TA", 2),
    ("DANE-EE", 3),
    ("PrivCert", 255),
];
const TLSA_SELECTOR: Mnemonics = &[("Cert", 0), ("SPKI", 1), ("PrivSel", 255)];
const TLSA_MATCHING: Mnemonics = &[("Full", 0), ("SHA2-256", 1), ("SHA2-512", 2), ("PrivMatch", 255)];

/// Octets of a digest, by its algorithm.
pub(super) type Lengths = &'static [(u8, usize)];

/// SHA-1 (RFC 4034 A.2), SHA-256 (RFC 4509 2.2) and SHA-384 (RFC 6605 2).
const DS_DIGESTS: Lengths = &[(1, 20), (2, 32), (4, 48)];

/// RFC 8976 2.2.4; its appendix A.3 has digests of SHA-384 that are shorter than that makes them, under a scheme of its own.
const ZONE_DIGEST_MIN: usize = 12;

/// Schemes of DSYNC (RFC 9859).
const DSYNC_SCHEME: Mnemonics = &[("NOTIFY", 1)];

macro_rules! forms {
    ($($rtype:ident $usage:literal $example:literal [$($field:expr),*])*) => {
        /// Every form.
        pub(super) const FORMS: &[Form] = {
            use Field::*;
            &[$(Form { rtype: RecordType::$rtype, usage: $usage, example: $example, fields: &[$($field),*] }),*]
        };
    };
}

forms! {
    // In common use.
    A "ADDRESS" "192.0.2.1" [Ipv4]
    AAAA "ADDRESS" "2001:db8::1" [Ipv6]
    NS "NAME" "ns1" [Name]
    CNAME "NAME" "www" [Name]
    DNAME "NAME" "other.example." [Name]
    PTR "NAME" "www.example.com." [Name]
    MX "PREFERENCE NAME" "10 mail" [U16, Name]
    SRV "PRIORITY WEIGHT PORT NAME" "0 5 5060 sip" [U16, U16, U16, Name]
    TXT "TEXT..." "\"v=spf1 -all\"" [Texts]
    SOA "MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM" "ns1 hostmaster 1 7200 1800 1209600 60"
        [Name, Name, U32, Seconds, Seconds, Seconds, Seconds]
    CAA "FLAGS TAG VALUE" "0 issue \"ca.example.net\"" [U8, Tag, OptionalLongText]
    NAPTR "ORDER PREFERENCE FLAGS SERVICE REGEXP NAME" "100 10 \"S\" \"SIP+D2U\" \"\" _sip._udp"
        [U16, U16, Text, Text, Text, Name]
    SVCB "PRIORITY NAME KEY=VALUE..." "1 svc alpn=h2,h3 port=8443" [U16, Name, SvcParams]
    HTTPS "PRIORITY NAME KEY=VALUE..." "1 . alpn=h2,h3" [U16, Name, SvcParams]
    TLSA "USAGE SELECTOR MATCHING HEX"
        "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971"
        [Code8(TLSA_USAGE), Code8(TLSA_SELECTOR), Code8(TLSA_MATCHING), Hex]
    SMIMEA "USAGE SELECTOR MATCHING HEX"
        "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971"
        [Code8(TLSA_USAGE), Code8(TLSA_SELECTOR), Code8(TLSA_MATCHING), Hex]
    SSHFP "ALGORITHM TYPE HEX" "4 2 a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401" [U8, U8, Hex]
    URI "PRIORITY WEIGHT TARGET" "10 1 \"ftp://ftp.example.com/public\"" [U16, U16, LongText]
    LOC "D [M [S]] N|S D [M [S]] E|W ALTITUDE [SIZE [HORIZONTAL [VERTICAL]]]" "52 22 23.000 N 4 53 32.000 E -2.00m 10m"
        [Loc]
    OPENPGPKEY "BASE64" "mQINBFit" [Base64]
    CERT "TYPE KEYTAG ALGORITHM BASE64" "PKIX 0 0 MIIC" [Code16(CERTIFICATE), U16, Code8(ALGORITHM), Base64]

    // DNSSEC.
    DS "KEYTAG ALGORITHM DIGESTTYPE HEX" "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"
        [U16, Code8(ALGORITHM), U8, Digest(DS_DIGESTS, 1)]
    CDS "KEYTAG ALGORITHM DIGESTTYPE HEX" "0 0 0 00" [U16, Code8(ALGORITHM), U8, Digest(DS_DIGESTS, 1)]
    DLV "KEYTAG ALGORITHM DIGESTTYPE HEX" "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"
        [U16, Code8(ALGORITHM), U8, Digest(DS_DIGESTS, 1)]
    TA "KEYTAG ALGORITHM DIGESTTYPE HEX" "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"
        [U16, Code8(ALGORITHM), U8, Digest(DS_DIGESTS, 1)]
    DNSKEY "FLAGS PROTOCOL ALGORITHM BASE64" "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
        [U16, U8, Code8(ALGORITHM), Base64]
    CDNSKEY "FLAGS PROTOCOL ALGORITHM BASE64" "0 3 0 AA==" [U16, U8, Code8(ALGORITHM), Base64]
    KEY "FLAGS PROTOCOL ALGORITHM BASE64" "512 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="
        [U16, U8, Code8(ALGORITHM), OptionalBase64]
    RKEY "FLAGS PROTOCOL ALGORITHM BASE64" "0 1 5 AQID" [U16, U8, Code8(ALGORITHM), Base64]
    RRSIG "TYPE ALGORITHM LABELS TTL EXPIRATION INCEPTION KEYTAG SIGNER BASE64"
        "A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WN"
        [Type, Code8(ALGORITHM), U8, U32, Time, Time, U16, Name, Base64]
    SIG "TYPE ALGORITHM LABELS TTL EXPIRATION INCEPTION KEYTAG SIGNER BASE64"
        "A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WN"
        [Type, Code8(ALGORITHM), U8, U32, Time, Time, U16, Name, Base64]
    NSEC "NEXT TYPE..." "host.example.com. A MX RRSIG NSEC" [Name, Bitmap]
    NSEC3 "HASHALGORITHM FLAGS ITERATIONS SALT NEXT TYPE..." "1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG"
        [U8, U8, U16, Salt, Hash, Bitmap]
    NSEC3PARAM "HASHALGORITHM FLAGS ITERATIONS SALT" "1 0 0 -" [U8, U8, U16, Salt]
    CSYNC "SERIAL FLAGS TYPE..." "66 3 A NS AAAA" [U32, U16, Bitmap]
    DSYNC "TYPE SCHEME PORT NAME" "CDS NOTIFY 5359 cds-scanner.example.net." [Type, Code8(DSYNC_SCHEME), U16, Name]
    ZONEMD "SERIAL SCHEME ALGORITHM HEX"
        "2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE"
        [U32, U8, U8, Digest(&[], ZONE_DIGEST_MIN)]
    TALINK "PREVIOUS NEXT" "h0 h2" [Name, Name]

    // Hosts, keys and gateways.
    HINFO "CPU OS" "\"RFC8482\" \"\"" [Text, Text]
    RP "MAILBOX NAME" "louie.trantor.umd.edu. lam1.people.umd.edu." [Name, Name]
    AFSDB "SUBTYPE NAME" "1 afsdb1" [U16, Name]
    KX "PREFERENCE NAME" "10 kx" [U16, Name]
    DHCID "BASE64" "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=" [Base64]
    APL "[!]FAMILY:ADDRESS/PREFIX..." "1:192.168.32.0/21 !1:192.168.38.0/28" [Apl]
    IPSECKEY "PRECEDENCE GATEWAYTYPE ALGORITHM GATEWAY BASE64"
        "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==" [IpsecKey]
    AMTRELAY "PRECEDENCE DISCOVERY TYPE RELAY" "10 0 1 203.0.113.15" [AmtRelay]
    HIP "ALGORITHM HIT KEY NAME..." "2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9 rvs.example.com." [Hip]
    HHIT "BASE64" "gwppM2Zm" [Base64]
    BRID "BASE64" "gwppM2Zm" [Base64]
    NID "PREFERENCE NODE" "10 0014:4fff:ff20:ee64" [U16, Locator]
    L32 "PREFERENCE LOCATOR" "10 10.1.2.0" [U16, Ipv4]
    L64 "PREFERENCE LOCATOR" "10 2001:0DB8:1140:1000" [U16, Locator]
    LP "PREFERENCE NAME" "10 l64-subnet1" [U16, Name]
    EUI48 "ADDRESS" "00-00-5e-00-53-2a" [Eui(6)]
    EUI64 "ADDRESS" "00-00-5e-ef-10-00-00-2a" [Eui(8)]

    // Free text.
    SPF "TEXT..." "\"v=spf1 -all\"" [Texts]
    AVC "TEXT..." "\"app-name:WOLFGANG|app-class:OAM\"" [Texts]
    NINFO "TEXT..." "\"status=down\"" [Texts]
    RESINFO "TEXT..." "qnamemin exterr=15-17 infourl=https://resolver.example.com/guide" [Texts]
    WALLET "TEXT..." "BTC \"bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq\"" [Texts]
    CLA "TEXT..." "TCP-V4-V6" [Texts]

    // Of old.
    MD "NAME" "mail" [Name]
    MF "NAME" "mail" [Name]
    MB "NAME" "mail" [Name]
    MG "NAME" "mail" [Name]
    MR "NAME" "mail" [Name]
    MINFO "RMAILBX EMAILBX" "owner errors" [Name, Name]
    X25 "ADDRESS" "311061700956" [Text]
    ISDN "ADDRESS SUBADDRESS" "150862028003217 004" [Text, OptionalText]
    RT "PREFERENCE NAME" "10 relay" [U16, Name]
    PX "PREFERENCE MAP822 MAPX400" "50 ab.net2.it. o-ab.prmd-net2.admdb.c-it." [U16, Name, Name]
    GPOS "LONGITUDE LATITUDE ALTITUDE" "-32.6882 116.8652 10.0" [Text, Text, Text]
    NSAP_PTR "NAME" "host.example.com." [Name]
    WKS "ADDRESS PROTOCOL SERVICE..." "192.0.2.1 TCP SMTP 80" [Wks]
    A6 "PREFIX [ADDRESS] [NAME]" "64 ::1234:5678:1212:5675 subnet-1" [A6]
    NXT "NEXT TYPE..." "big A MX SIG NXT" [Nxt]
    NSAP "0xHEX" "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00" [Nsap]
}
