//! The oracle against an example or more of every rule of decision.

use windrose::geo::Whereabouts;
use windrose::health::{Verdict, Verdicts};
use windrose::policy::decide::{
    Chance, Decision, Grounds, addresses, decide, depends_on_subnet, grounds, scope_length,
};
use windrose::policy::model::{Answers, Choose, Condition, Fallback, MinHealthy, NodeId, Rule, Rules, Steering};
use windrose::policy::{Client, Family};

use crate::forests::{FAMILIES, Forest, all_addresses, as_pool, distribution};

const A: Family = Family::Ipv4;
const AAAA: Family = Family::Ipv6;

fn client(address: &str) -> Client {
    Client {
        address: address.parse().unwrap(),
        whereabouts: Whereabouts::default(),
        shared: 0,
    }
}

/// What 192.0.2.77 can get, each outcome with its probability in percent.
fn outcomes(forest: &Forest, root: NodeId, family: Family, verdicts: &Verdicts, last: Option<&Verdicts>) -> String {
    let client = client("192.0.2.77");
    let steering = &forest.steering;
    let ask = |chance: &mut dyn Chance| {
        let decision = decide(steering, root, family, &client, verdicts, last, chance);
        let grounds = grounds(steering, root, family, &client, verdicts, last);
        tell(steering, &decision, family, grounds.map(|(_, grounds)| grounds))
    };
    let outcomes = distribution(ask);
    let tell = |(outcome, probability): (&String, &f64)| match (probability * 100.0).round() {
        100.0 => outcome.clone(),
        percent => format!("{percent}% {outcome}"),
    };
    outcomes.iter().map(tell).collect::<Vec<_>>().join("; ")
}

fn tell(steering: &Steering, decision: &Decision, family: Family, grounds: Option<Grounds<'_>>) -> String {
    let pool = |pool| &steering.node(pool).name;
    let backend = |id, at: usize| &as_pool(steering.node(id)).unwrap().backends[at];
    match decision {
        Decision::NoFamily => "NODATA".to_owned(),
        Decision::Servfail { scope } => format!("SERVFAIL /{scope}"),
        Decision::Host {
            pool: id,
            backend: at,
            scope,
        } => format!("{} {} /{scope}", pool(*id), backend(*id, *at).name),
        Decision::Backends {
            pool: id,
            backends,
            scope,
        } => {
            let of = |at: &usize| addresses(backend(*id, *at), family, grounds.unwrap());
            let addresses: Vec<String> = backends
                .iter()
                .flat_map(of)
                .map(|address| address.to_string())
                .collect();
            format!("{} {} /{scope}", pool(*id), addresses.join(" "))
        }
    }
}

/// What a client gets while these addresses are down.
fn get(forest: &Forest, root: NodeId, family: Family, down: &str) -> String {
    outcomes(forest, root, family, &forest.down(down), None)
}

/// Two pools, named by a policy `root`.
fn two(choose: Choose, a: &str, b: &str, members: &str) -> (Forest, NodeId) {
    let mut forest = Forest::default();
    forest.pool("a", a);
    forest.pool("b", b);
    let root = forest.policy("root", choose, members);
    (forest, root)
}

#[test]
fn an_address_is_healthy_unless_down() {
    let mut forest = Forest::default();
    let pool = forest.pool("a", "10.0.0.1,10.0.0.2,fd::1");
    let mut verdicts = forest.down("10.0.0.1");
    assert_eq!(outcomes(&forest, pool, A, &verdicts, None), "a 10.0.0.2 /0");
    verdicts.set(all_addresses(&forest.pool_mut(pool).backends[0])[1].1, Verdict::Unknown);
    assert_eq!(outcomes(&forest, pool, A, &verdicts, None), "a 10.0.0.2 /0");
    assert_eq!(outcomes(&forest, pool, AAAA, &verdicts, None), "a fd::1 /0");
}

#[test]
fn min_healthy_counts_backends_of_the_family() {
    let (mut forest, root) = two(
        Choose::Failover,
        "10.0.0.1,fd::1 10.0.0.2,fd::2 10.0.0.3*0",
        "10.1.0.1,fd::11",
        "a b",
    );
    let a = forest.steering.by_name["a"];
    forest.pool_mut(a).answers = Answers::All;
    forest.pool_mut(a).min_healthy = MinHealthy::Backends(2);
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 10.0.0.2 /0");
    // One of weight 0 is a healthy backend too.
    assert_eq!(get(&forest, root, A, "10.0.0.1"), "a 10.0.0.2 /0");
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.0.0.2"), "b 10.1.0.1 /0");
    assert_eq!(get(&forest, root, AAAA, ""), "a fd::1 fd::2 /0");
    assert_eq!(get(&forest, root, AAAA, "fd::1"), "b fd::11 /0");
    // The fallback waives it.
    assert_eq!(get(&forest, a, AAAA, "fd::1"), "a fd::1 fd::2 /0");
}

#[test]
fn min_healthy_weighs_in_exact_integers() {
    let (mut forest, root) = two(
        Choose::Failover,
        "10.0.0.1*1 10.0.0.2*1 10.0.0.3,fd::3*1",
        "10.1.0.1,fd::11",
        "a b",
    );
    let a = forest.steering.by_name["a"];
    for (percent, expected) in [(33, "a 10.0.0.3 /0"), (34, "b 10.1.0.1 /0")] {
        forest.pool_mut(a).min_healthy = MinHealthy::Percent(percent);
        assert_eq!(get(&forest, root, A, "10.0.0.1 10.0.0.2"), expected);
    }
    // Those without the family stay in the denominator.
    assert_eq!(get(&forest, root, AAAA, ""), "b fd::11 /0");
    // Of no weight at all, one healthy backend is any share; none is not.
    for backend in &mut forest.pool_mut(a).backends {
        backend.weight = 0;
    }
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.0.0.2"), "a 10.0.0.3 /0");
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.0.0.2 10.0.0.3"), "b 10.1.0.1 /0");
}

#[test]
fn weight_0_serves_only_when_nothing_else_can() {
    let mut forest = Forest::default();
    let pool = forest.pool("a", "10.0.0.1*7 10.0.0.2*0 10.0.0.3*0");
    assert_eq!(get(&forest, pool, A, ""), "a 10.0.0.1 /0");
    assert_eq!(
        get(&forest, pool, A, "10.0.0.1"),
        "50% a 10.0.0.2 /0; 50% a 10.0.0.3 /0"
    );
    for answers in [Answers::Count(3), Answers::All] {
        forest.pool_mut(pool).answers = answers;
        assert_eq!(get(&forest, pool, A, ""), "a 10.0.0.1 /0");
    }
    assert_eq!(get(&forest, pool, A, "10.0.0.1"), "a 10.0.0.2 10.0.0.3 /0");

    let (forest, root) = two(Choose::Weighted, "10.0.0.1", "10.1.0.1", "a*3 b*0");
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 /0");
    assert_eq!(get(&forest, root, A, "10.0.0.1"), "b 10.1.0.1 /0");
    let (forest, root) = two(Choose::Weighted, "10.0.0.1", "10.1.0.1", "a*0 b*0");
    assert_eq!(get(&forest, root, A, ""), "50% a 10.0.0.1 /0; 50% b 10.1.0.1 /0");
}

#[test]
fn members_without_the_family_are_passed_over() {
    let (forest, root) = two(Choose::Failover, "10.0.0.1", "10.1.0.1,fd::11", "a b");
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 /0");
    assert_eq!(get(&forest, root, AAAA, ""), "b fd::11 /0");
    let (forest, root) = two(Choose::Weighted, "10.0.0.1", "10.1.0.1,fd::11", "a*9 b*1");
    assert_eq!(get(&forest, root, A, ""), "90% a 10.0.0.1 /0; 10% b 10.1.0.1 /0");
    assert_eq!(get(&forest, root, AAAA, ""), "b fd::11 /0");
}

#[test]
fn without_any_member_of_the_family_there_is_no_data_for_anyone() {
    let (mut forest, root) = two(Choose::Failover, "10.0.0.1", "10.1.0.1", "a b");
    forest.node(root).root.fallback = Fallback::Servfail;
    assert_eq!(get(&forest, root, AAAA, ""), "NODATA");
    assert_eq!(get(&forest, root, AAAA, "10.0.0.1 10.1.0.1"), "NODATA");
}

#[test]
fn failover_takes_the_first_usable_and_nearest_too_while_nobody_has_a_location() {
    for choose in [Choose::Failover, Choose::Nearest] {
        let (forest, root) = two(choose, "10.0.0.1", "10.1.0.1", "b a");
        assert_eq!(get(&forest, root, A, ""), "b 10.1.0.1 /0");
        assert_eq!(get(&forest, root, A, "10.1.0.1"), "a 10.0.0.1 /0");
    }
}

#[test]
fn a_policy_is_a_member_while_some_member_of_it_is_usable() {
    let (mut forest, _) = two(Choose::Failover, "10.0.0.1", "10.1.0.1", "a b");
    forest.pool("c", "10.2.0.1");
    let root = forest.policy("top", Choose::Weighted, "root*3 c*1");
    assert_eq!(
        get(&forest, root, A, "10.0.0.1"),
        "75% b 10.1.0.1 /0; 25% c 10.2.0.1 /0"
    );
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.1.0.1"), "c 10.2.0.1 /0");
}

#[test]
fn rules_serve_otherwise_while_nothing_is_known_of_clients() {
    let rules = vec![Rule {
        condition: Condition {
            country: vec!["DE".to_owned()],
            ..Condition::default()
        },
        member: 0,
    }];
    let choose = Choose::Rules(Rules { rules, otherwise: 1 });
    let (mut forest, root) = two(choose, "10.0.0.1,fd::1", "10.1.0.1", "a b");
    assert_eq!(get(&forest, root, A, ""), "b 10.1.0.1 /0");
    // "For rules: some member in this client's list." Only the fallback is left.
    forest.node(root).root.fallback = Fallback::Servfail;
    assert_eq!(get(&forest, root, A, "10.1.0.1"), "SERVFAIL /0");
    // The root has the family, so this client must not get NODATA alone; but nothing is left for it.
    forest.node(root).root.fallback = Fallback::All;
    assert_eq!(get(&forest, root, AAAA, ""), "SERVFAIL /0");
}

#[test]
fn answers_are_drawn_without_replacement() {
    let mut forest = Forest::default();
    let pool = forest.pool("a", "10.0.0.1,10.0.0.9*1 10.0.0.2*3 10.0.0.3*0 10.0.0.4*4");
    forest.pool_mut(pool).answers = Answers::Count(2);
    let drawn = "25% a 10.0.0.1 10.0.0.2 /0; 75% a 10.0.0.2 10.0.0.1 /0".replace("10.0.0.1", "10.0.0.1 10.0.0.9");
    assert_eq!(get(&forest, pool, A, "10.0.0.4"), drawn);
    let client = client("192.0.2.77");
    let ask = |chance: &mut dyn Chance| decide(&forest.steering, pool, A, &client, &forest.down(""), None, chance);
    let chosen = |backends: &[usize]| Decision::Backends {
        pool,
        backends: backends.to_vec(),
        scope: 0,
    };
    let expected = [
        ([0, 1], 1.0 / 8.0 * 3.0 / 7.0),
        ([0, 3], 1.0 / 8.0 * 4.0 / 7.0),
        ([1, 0], 3.0 / 8.0 * 1.0 / 5.0),
        ([1, 3], 3.0 / 8.0 * 4.0 / 5.0),
        ([3, 0], 4.0 / 8.0 * 1.0 / 4.0),
        ([3, 1], 4.0 / 8.0 * 3.0 / 4.0),
    ];
    let found = distribution(ask);
    assert_eq!(found.len(), expected.len());
    assert!(
        expected
            .iter()
            .all(|(backends, share)| (found[&chosen(backends)] - share).abs() < 1e-12)
    );
}

#[test]
fn a_host_is_always_healthy_and_of_both_families() {
    let mut forest = Forest::default();
    forest.pool("a", "10.0.0.1");
    forest.pool("cdn", "edge.example.*1 other.example.*3");
    let root = forest.policy("root", Choose::Failover, "a cdn");
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 /0");
    let hosts = "25% cdn edge.example. /0; 75% cdn other.example. /0";
    assert_eq!(get(&forest, root, A, "10.0.0.1"), hosts);
    assert_eq!(get(&forest, root, AAAA, ""), hosts);
    // There is one CNAME at most in an answer, whatever the pool says.
    let cdn = forest.steering.by_name["cdn"];
    forest.pool_mut(cdn).answers = Answers::All;
    assert_eq!(get(&forest, root, AAAA, ""), hosts);
}

#[test]
fn sticky_choices_follow_the_subnet_and_draw_nothing() {
    let (mut forest, root) = two(Choose::Weighted, "10.0.0.1,fd::1", "10.1.0.1,fd::11", "a*70 b*30");
    forest.node(root).sticky = true;
    let served = |family, down: &str, client: &str| {
        let (client, verdicts) = (self::client(client), forest.down(down));
        let steering = &forest.steering;
        let outcomes = distribution(|chance| decide(steering, root, family, &client, &verdicts, None, chance));
        assert_eq!(outcomes.len(), 1, "a sticky choice is no draw");
        outcomes
            .into_keys()
            .next()
            .map(|decision| tell(steering, &decision, family, Some(Grounds::Verdicts(&verdicts))))
            .unwrap()
    };
    let mut of_a = 0;
    for subnet in 0..100 {
        let (first, second) = (format!("192.0.{subnet}.1"), format!("192.0.{subnet}.200"));
        let ipv4 = served(A, "", &first);
        assert_eq!(ipv4, served(A, "", &second));
        assert!(ipv4.ends_with("/24"));
        assert_eq!(
            ipv4[..1],
            served(AAAA, "", &first)[..1],
            "both families in the same pool"
        );
        let other = if ipv4.starts_with('a') { "10.1.0.1" } else { "10.0.0.1" };
        assert_eq!(served(A, other, &first), ipv4, "a loss elsewhere moves nobody");
        of_a += u32::from(ipv4.starts_with('a'));
        assert!(served(A, "", &format!("2001:db8:0:{subnet:02}00::1")).ends_with("/56"));
    }
    assert!((55..85).contains(&of_a), "{of_a}");
}

#[test]
fn the_scope_is_that_of_the_hash_wherever_a_sticky_choice_may_come() {
    let (mut forest, root) = two(Choose::Failover, "10.0.0.1", "10.1.0.1 10.1.0.2,fd::12", "a b");
    let [a, b] = ["a", "b"].map(|name| forest.steering.by_name[name]);
    let scopes =
        |forest: &Forest| FAMILIES.map(|family| scope_length(&forest.steering, root, family, &client("192.0.2.1")));
    assert_eq!(scopes(&forest), [0, 0]);
    // With one backend there is nothing to choose; a policy that is not weighted does not choose by subnet.
    forest.node(a).sticky = true;
    forest.node(root).sticky = true;
    assert_eq!(scopes(&forest), [0, 0]);
    // Passed-over nodes count; for AAAA there is one backend only.
    forest.node(b).sticky = true;
    assert_eq!(scopes(&forest), [24, 0]);
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 /24");
    assert_eq!(get(&forest, root, AAAA, ""), "b fd::12 /0");
    assert_eq!(scope_length(&forest.steering, root, A, &client("2001:db8::1")), 56);
    // So does a fallback pool, of the root only.
    forest.node(a).root.fallback = Fallback::Pool(b);
    assert!(depends_on_subnet(&forest.steering, a, A));
    forest.node(b).sticky = false;
    assert!(!depends_on_subnet(&forest.steering, a, A));
}

#[test]
fn fallback_all_decides_as_if_all_were_up() {
    let (mut forest, root) = two(Choose::Weighted, "10.0.0.1,10.0.0.2", "10.1.0.1", "a*1 b*3");
    let down = "10.0.0.1 10.0.0.2 10.1.0.1";
    assert_eq!(
        get(&forest, root, A, down),
        "25% a 10.0.0.1 10.0.0.2 /0; 75% b 10.1.0.1 /0"
    );
    // Below the root a fallback is ignored.
    let b = forest.steering.by_name["b"];
    forest.node(b).root.fallback = Fallback::Servfail;
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.0.0.2"), "b 10.1.0.1 /0");
    assert_eq!(get(&forest, root, A, "10.1.0.1"), "a 10.0.0.1 10.0.0.2 /0");
    assert_eq!(get(&forest, b, A, down), "SERVFAIL /0");
}

#[test]
fn fallback_last_decides_by_the_last_good_moment() {
    let (mut forest, root) = two(Choose::Failover, "10.0.0.1 10.0.0.2", "10.1.0.1", "a b");
    forest.node(root).root.fallback = Fallback::Last;
    let down = forest.down("10.0.0.1 10.0.0.2 10.1.0.1");
    let last = |text| Some(forest.down(text));
    let get = |last: Option<Verdicts>| outcomes(&forest, root, A, &down, last.as_ref());
    assert_eq!(get(last("10.0.0.1")), "a 10.0.0.2 /0");
    assert_eq!(get(last("10.0.0.1 10.0.0.2")), "b 10.1.0.1 /0");
    let all = "50% a 10.0.0.1 /0; 50% a 10.0.0.2 /0";
    assert_eq!(get(None), all);
    assert_eq!(get(Some(down.clone())), all);
}

#[test]
fn fallback_to_servfail_or_a_pool() {
    let (mut forest, root) = two(Choose::Failover, "10.0.0.1", "10.1.0.1*3 10.1.0.2*0", "a");
    forest.node(root).root.fallback = Fallback::Servfail;
    assert_eq!(get(&forest, root, A, "10.0.0.1"), "SERVFAIL /0");
    let b = forest.steering.by_name["b"];
    forest.pool_mut(b).min_healthy = MinHealthy::Backends(2);
    forest.node(root).root.fallback = Fallback::Pool(b);
    assert_eq!(get(&forest, root, A, ""), "a 10.0.0.1 /0");
    assert_eq!(get(&forest, root, A, "10.0.0.1 10.1.0.1 10.1.0.2"), "b 10.1.0.1 /0");
}
