//! What the daemon serves: zones with every kind of owner, steered names by network and by place, aliases of all kinds that lead anywhere,
//! answers of every length, a zone that cannot be loaded, a backend that is down; and every name that is worth asking for.

use std::fmt::Write as _;

/// Which engine carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Native,
    Portable,
}

impl Engine {
    /// Its name in the settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Native => "native",
            Engine::Portable => "portable",
        }
    }
}

/// The files of the daemon: paths and texts.
pub(crate) fn files(engine: Engine) -> Vec<(&'static str, String)> {
    let settings = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\nengine = \"{}\"\nnsid = \"{}\"\nversion = \"windrose\"\n\
         [geo]\ncity = \"geo/city.mmdb\"\n[health]\nwarmup = \"1s\"\n[control]\nlisten = \"\"\n{POLICIES}",
        engine.name(),
        "n".repeat(60)
    );
    vec![
        ("windrose.toml", settings),
        ("geo/city.mmdb", PLACES.to_owned()),
        ("zones/example.com.toml", example()),
        ("zones/child.example.com.toml", CHILD.to_owned()),
        ("zones/example.org.zone", MASTER.to_owned()),
        (
            "zones/broken.example.toml",
            "[records]\nwww.A = \"no address\"\n".to_owned(),
        ),
    ]
}

/// A zone above all others, so that messages of strangers, who know none of our names, are answered with something too.
pub(crate) const ROOT: (&str, &str) = (
    "zones/root.zone",
    "\
$TTL 300
@ SOA ns.example.com. hostmaster.example.com. 1 7200 1800 1209600 60
@ NS ns.example.com.
* A 192.0.2.60
* AAAA 2001:db8::60
* MX 10 mail.example.com.
* TXT \"anybody\"
nl NS ns.nl
ns.nl A 192.0.2.61
net CNAME www.example.com.
org NS ns.example.com.
",
);

/// What an ordinary query asks: the name, and the address that it has.
pub(crate) const ORDINARY: (&str, [u8; 4]) = ("www.example.com", [192, 0, 2, 80]);

/// Names that mean something, and some that do not, each with the type that says most of it. Those of long answers stand there more than once.
pub(crate) const NAMES: [(&str, u16); 74] = [
    ("example.com", 6),
    ("www.example.com", 1),
    ("ns.example.com", 28),
    ("mail.example.com", 1),
    ("nowhere.example.com", 1),
    ("a.b.nowhere.example.com", 1),
    ("any.wild.example.com", 15),
    ("more.any.wild.example.com", 1),
    ("wild.example.com", 1),
    ("*.wild.example.com", 1),
    ("x.far.wild.example.com", 1),
    ("empty.example.com", 1),
    ("b.empty.example.com", 1),
    ("a.b.empty.example.com", 1),
    ("sub.example.com", 43),
    ("ns.sub.example.com", 1),
    ("www.sub.example.com", 1),
    ("child.example.com", 43),
    ("www.child.example.com", 1),
    ("gone.child.example.com", 1),
    ("old.example.com", 39),
    ("www.old.example.com", 1),
    ("a.very.deep.name.old.example.com", 1),
    ("ring.example.com", 39),
    ("x.ring.example.com", 1),
    ("alias.example.com", 1),
    ("alias2.example.com", 1),
    ("alias3.example.com", 1),
    ("loop.example.com", 1),
    ("one.example.com", 1),
    ("out.example.com", 1),
    ("lost-alias.example.com", 1),
    ("below-cut.example.com", 1),
    ("to-org.example.com", 1),
    ("to-steered.example.com", 1),
    ("any.to-steered.example.com", 1),
    ("text.example.com", 16),
    ("long.example.com", 16),
    ("longer.example.com", 16),
    ("fill.example.com", 16),
    ("fill.example.com", 16),
    ("fill.example.com", 16),
    ("fill.example.com", 16),
    ("fuller.example.com", 16),
    ("fuller.example.com", 16),
    ("fuller.example.com", 16),
    ("fuller.example.com", 16),
    ("_s._tcp.example.com", 33),
    ("svc.example.com", 64),
    ("odd.example.com", 65280),
    ("near.example.com", 1),
    ("ruled.example.com", 1),
    ("drawn.example.com", 1),
    ("sticky.example.com", 28),
    ("all.example.com", 1),
    ("crowd.example.com", 1),
    ("host.example.com", 1),
    ("dead.example.com", 1),
    ("any.steered.example.com", 1),
    ("broken.example", 1),
    ("www.broken.example", 1),
    ("example.org", 2),
    ("www.example.org", 28),
    ("deep.in.example.org", 16),
    ("example.net", 1),
    ("com", 1),
    (".", 1),
    ("version.bind", 16),
    ("id.server", 16),
    ("1.2.0.192.in-addr.arpa", 12),
    ("crowd.example.com", 1),
    ("crowd.example.com", 1),
    ("all.example.com", 1),
    ("long.example.com", 16),
];

const POLICIES: &str = r#"
[pools.one]
backends = ["192.0.2.1", { name = "both", address = ["192.0.2.2", "2001:db8::2"] }]
location = [50.1, 8.7]
[pools.two]
backends = [{ address = "192.0.2.11", weight = 3 }, "192.0.2.12", "2001:db8::12"]
location = [39.0, -77.5]
answers = "all"
[pools.host]
backends = [{ host = "edge.example.net." }, { host = "www.example.com." }]
[pools.dead]
backends = ["127.0.0.3"]
probe = "refused"
fallback = "servfail"
[probes.refused]
kind = "tcp"
port = 1
interval = "1h"
timeout = "500ms"
[policies.near]
choose = "nearest"
members = ["one", "two"]
[policies.ruled]
choose = "rules"
rules = [
  { network = ["203.0.113.0/24", "2001:db8:7::/48"], use = "two" },
  { country = ["DE"], use = "one" },
]
otherwise = "near"
[policies.drawn]
choose = "weighted"
members = { one = 70, two = 30 }
[policies.sticky]
choose = "weighted"
sticky = true
members = { one = 70, ruled = 30 }
"#;

const PLACES: &str = "mmdb nested\n203.0.113.0/24 at=50.11,8.68 country=DE\n198.51.100.0/24 at=39.04,-77.49 country=US\n\
                      2001:db8:7::/48 at=1.35,103.82 country=SG\n";

const CHILD: &str = r#"
[records]
"@".NS = "ns.example.com."
www.A = "192.0.2.90"
"*".TXT = "a wildcard of the child"
back.CNAME = "alias.example.com."
"#;

const MASTER: &str = r#"$TTL 300
@ SOA ns.example.com. hostmaster 1 7200 1800 1209600 60
@ NS ns.example.com.
www A 192.0.2.70
www AAAA 2001:db8::70
back CNAME alias.example.com.
deep.in TXT "a" "b" "c"
"#;

const STATIC: &str = r#"
[records]
"@".NS = ["ns", "ns.other.example."]
"@".MX = ["10 mail", "20 steered"]
"@".TXT = ["v=spf1 -all", "x=y"]
"@".CAA = '0 issue "ca.example.net"'
ns = { A = "192.0.2.53", AAAA = "2001:db8::53" }
mail.A = "192.0.2.25"
www = { A = "192.0.2.80", AAAA = "2001:db8::80", HTTPS = "1 . alpn=h2" }
"*.wild" = { A = "192.0.2.81", MX = "10 mail" }
"*.far.wild".CNAME = "www"
"a.b.empty".A = "192.0.2.1"
sub = { NS = ["ns.sub", "ns.other.example."], DS = "1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" }
"ns.sub".A = "192.0.2.54"
child.NS = "ns"
old.DNAME = "child.example.com."
ring.DNAME = "ring2"
ring2.DNAME = "ring"
alias.CNAME = "alias2"
alias2.CNAME = "alias3"
alias3.CNAME = "www"
loop.CNAME = "loop"
one.CNAME = "two"
two.CNAME = "one"
out.CNAME = "www.example.net."
lost-alias.CNAME = "nowhere"
below-cut.CNAME = "x.sub"
to-org.CNAME = "back.example.org."
to-steered.CNAME = "near"
"*.to-steered".CNAME = "ruled"
text.TXT = "some text"
"_s._tcp".SRV = ["1 2 443 www", "1 2 443 near"]
svc = { SVCB = "1 www port=853", HTTPS = "0 www" }
odd.TYPE65280 = '\# 3 010203'
near.steer = "near"
ruled.steer = "ruled"
drawn = { steer = "drawn", ttl = { min = "5s", max = "2m" }, TXT = "beside" }
sticky.steer = "sticky"
all.steer = "two"
crowd.steer = "crowd"
host.steer = "host"
dead.steer = "dead"
"*.steered".steer = "near"
"#;

fn example() -> String {
    let mut text = STATIC.to_owned();
    let texts = |count: usize, length: usize| -> String {
        (0..count).fold(String::new(), |all, at| all + &format!("\"{at:x>length$}\", "))
    };
    let _ = writeln!(text, "long.TXT = [{}]", texts(9, 100));
    let _ = writeln!(text, "longer.TXT = [{}]", texts(240, 250));
    // With a label before it the answer is about as long as it may be: 512 octets, or 1,232 with EDNS.
    let _ = writeln!(text, "'*.fill'.TXT = [{}]", texts(2, 210));
    let _ = writeln!(text, "'*.fuller'.TXT = [{}]", texts(5, 218));
    let crowd = (0..300).fold(String::new(), |all, at| {
        all + &format!("\"10.0.{}.{}\", ", at / 250, at % 250)
    });
    let _ = writeln!(text, "[pools.crowd]\nanswers = \"all\"\nbackends = [{crowd}]");
    text
}
