//! What `explain` says: every kind of name, each step of a decision, and the same answer that is sent.

use std::process::ExitStatus;

use crate::daemon::{Daemon, run};

const FILE: &str = "zones/gtm.example.com.toml";
const ZONE: &str = r#"
[records]
"@".NS = "ns1"
ns1.A = "192.0.2.53"
www.steer = "web"
kept = { steer = "kept", ttl = "7s" }
alias.CNAME = "kept"
old.DNAME = "new"
"www.new".steer = "web"
none.steer = "six"
sub.NS = "ns.example.net."
"*.wild".A = "192.0.2.9"

[policies.web]
choose = "failover"
members = ["six", "split", "kept"]

[policies.split]
choose = "weighted"
members = { one = 3, two = 1, spare = 0 }

[pools.six]
backends = ["2001:db8::6"]

[pools.one]
backends = ["192.0.2.1"]

[pools.two]
backends = ["192.0.2.2"]

[pools.spare]
backends = ["192.0.2.3"]

[pools.kept]
sticky = true
backends = ["192.0.2.10", "192.0.2.11"]
"#;

fn explain(arguments: &[&str]) -> (ExitStatus, String) {
    let ended = run(&[(FILE, ZONE)], &[&["explain"], arguments].concat());
    (ended.status, ended.stdout)
}

/// Holds what is printed to these parts, in this order.
#[track_caller]
fn says(arguments: &[&str], status: i32, parts: &[&str]) {
    let (ended, told) = explain(arguments);
    let mut rest = told.as_str();
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("`{part}` is missing, or too early, in:\n{told}")
        };
        rest = after;
    }
    assert_eq!(ended.code(), Some(status), "{told}");
    assert!(told.lines().all(|line| line == line.trim_end()), "{told}");
}

#[test]
fn a_decision_behind_a_dname_is_told_too() {
    says(
        &[
            "www.old.gtm.example.com",
            "--client",
            "198.51.100.0/24",
            "--random",
            "1",
        ],
        0,
        &[
            "owner    old.gtm.example.com. (DNAME above it)",
            "a DNAME above the name redirects it",
            "root     gtm.example.com/web",
            "failover gtm.example.com/web (IPv4, in order)",
            "-> split  first usable",
            "pool     gtm.example.com/",
            "answer   NOERROR aa",
            "www.old.gtm.example.com. 300 IN CNAME www.new.gtm.example.com.",
            "www.new.gtm.example.com. 30 IN A 192.0.2.",
        ],
    );
    says(
        &["gone.old.gtm.example.com", "--client", "198.51.100.0/24"],
        1,
        &["a DNAME above the name redirects it", "answer   NXDOMAIN aa"],
    );
}

#[test]
fn every_node_says_why_each_member_was_chosen_or_passed_over() {
    says(
        &["www.gtm.example.com", "--client", "198.51.100.0/24", "--random", "1"],
        0,
        &[
            "zone     gtm.example.com.",
            "owner    www.gtm.example.com. (exact)",
            "root     gtm.example.com/web",
            "failover gtm.example.com/web (IPv4, in order)",
            "   six    has no IPv4 backend",
            "-> split  first usable",
            "   kept   later in the order",
            "weighted gtm.example.com/split (IPv4, by a draw)",
            "one    weight 3,",
            "(75.0 % of the weight)",
            "two    weight 1,",
            "(25.0 % of the weight)",
            "spare  weight 0, weight 0: only when nothing of positive weight is usable",
            "--random 1 repeats it",
            "scope    /24",
            "ttl      30",
            "answer   NOERROR aa",
            "www.gtm.example.com. 30 IN A 192.0.2.",
        ],
    );
}

#[test]
fn a_random_number_repeats_a_draw() {
    let asked = ["www.gtm.example.com", "--client", "198.51.100.7", "--random", "77"];
    assert_eq!(explain(&asked).1, explain(&asked).1);
}

#[test]
fn a_family_that_is_missing_is_explained_too() {
    let parts = [
        "root     gtm.example.com/six",
        "pool     gtm.example.com/six (IPv4",
        "has no IPv4 address",
        "NOERROR aa",
        "SOA",
    ];
    says(&["none.gtm.example.com", "--client", "192.0.2.1"], 0, &parts);
}

#[test]
fn names_that_no_policy_answers() {
    let client = ["--client", "192.0.2.1"];
    let asked = |name| [&[name][..], &client].concat();
    says(
        &asked("x.wild.gtm.example.com"),
        0,
        &["(wildcard)", "NOERROR aa", "x.wild.gtm.example.com. 300 IN A 192.0.2.9"],
    );
    says(
        &asked("a.sub.gtm.example.com"),
        0,
        &[
            "sub.gtm.example.com. (zone cut)",
            "answer   NOERROR\n",
            "NS ns.example.net.",
        ],
    );
    says(
        &asked("nothing.gtm.example.com"),
        1,
        &["(closest encloser)", "does not exist", "NXDOMAIN aa", "SOA"],
    );
    says(&asked("www.example.org"), 1, &["no zone here has the name", "REFUSED"]);
}

#[test]
fn wrong_use_is_2() {
    for arguments in [
        &["www.gtm.example.com"][..],
        &["www..com", "--client", "192.0.2.1"],
        &["www.gtm.example.com", "--client", "192.0.2.1/33"],
    ] {
        assert_eq!(explain(arguments).0.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_list_of_clients_is_one_document_a_line() {
    let clients = "198.51.100.0/24\n\n2001:db8::1\n";
    let asked = |name, clients| {
        let files = [(FILE, ZONE), ("clients", clients)];
        run(&files, &["explain", name, "--clients", "clients", "--json"])
    };
    let ended = asked("kept.gtm.example.com", clients);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let told = ended.stdout.lines().map(|line| {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        (told["client"].as_str().unwrap().to_owned(), told["scope"].as_u64())
    });
    let expected = [("198.51.100.0", 24), ("2001:db8::1", 56)].map(|(client, scope)| (client.to_owned(), Some(scope)));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(asked("nothing.gtm.example.com", "192.0.2.1").status.code(), Some(1));
    let wrong = asked("kept.gtm.example.com", "192.0.2.1\n192.0.2.1/33\n");
    assert_eq!((wrong.status.code(), wrong.stdout.as_str()), (Some(2), ""));
    assert!(
        wrong.stderr.contains("clients:2: `33` is not a prefix length"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn json_agrees_with_the_answer_that_is_sent() {
    let daemon = Daemon::start(&[(FILE, ZONE)]);
    for client in 0..20 {
        let source = format!("127.0.{client}.1");
        let (_, told) = explain(&["alias.gtm.example.com", "--client", &source, "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["pool"], &told["scope"], &told["ttl"]),
            (&"gtm.example.com/kept".into(), &24.into(), &7.into())
        );
        let record = told["answer"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        let address = record
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<std::net::Ipv4Addr>()
            .unwrap();
        let answer = daemon.connect_from(&source).ask(7, "alias.gtm.example.com").unwrap();
        assert!(answer.holds(address.octets()), "{source}: {record}");
    }
}
