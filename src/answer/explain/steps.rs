//! The steps of a decision in words: each node on the way, its members or backends, and why each was passed over.

use std::cmp::Ordering;

use serde::Serialize;

use super::family_word;
use crate::geo::Whereabouts;
use crate::geo::coordinates::EARTH_RADIUS_KM;
use crate::geo::record::Subdivision;
use crate::image::Serving;
use crate::policy::model::{
    self, Answers, Choose, Condition, Member, MinHealthy, NodeId, NodeKind, Policy, Pool, Steering,
};
use crate::policy::trace::{How, Step, Under};
use crate::policy::tree::{Forest, Walked};
use crate::policy::{Client, Family, decide};

/// A policy or pool on the way.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Its full name.
    pub node: String,
    /// `weighted`, `failover`, `nearest`, `rules` or `pool`.
    pub kind: &'static str,
    /// Of which family: `IPv4` or `IPv6`.
    pub family: &'static str,
    /// What the choice went by: `order`, `draw`, `client subnet`, `distance` or `rules`.
    pub by: &'static str,
    /// The verdicts believed: `verdicts`, or `none (fallback)` or `last usable (fallback)`.
    pub under: &'static str,
    /// Its members or backends, in the order written; those of a policy by distance, the nearest first.
    pub members: Vec<Candidate>,
    /// Of a policy by rules: each rule, in the order written, and `otherwise`.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// What it asks for.
    pub rule: String,
    /// Who serves then.
    #[serde(rename = "use")]
    pub target: String,
    /// Whether it holds for the client.
    pub holds: bool,
    /// Whether it decided.
    pub chosen: bool,
    /// Why it holds or not, or why another rule decided.
    pub why: String,
}

/// Who asks.
pub(super) struct Asker<'a> {
    pub(super) serving: &'a Serving,
    /// The client's class, which decided.
    pub(super) class: u32,
    /// The client, as the rules of decision see it.
    pub(super) client: Client,
}

/// A member or backend.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its weight, where weights count.
    pub weight: Option<u32>,
    /// Its distance from the client in kilometres, where that counts and is known; before the bias is applied.
    pub distance_km: Option<f64>,
    /// What distance is multiplied by, where that counts.
    pub bias: Option<f64>,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why it was chosen or passed over.
    pub why: String,
}

/// Everything that a walk told; if it led nowhere, why nothing under the root would do for the family.
pub(super) fn tell(asker: &Asker<'_>, root: NodeId, family: Family, steps: &[Step]) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut handed_out = Vec::new();
    let mut end = None;
    for step in steps {
        match *step {
            Step::FellBack { .. } => {}
            Step::Chose {
                policy,
                family,
                under,
                member,
                how,
            } => {
                nodes.push(
                    Teller {
                        asker,
                        root,
                        id: policy,
                        family,
                        under,
                        how,
                    }
                    .policy(member),
                );
            }
            Step::HandedOut {
                pool,
                family,
                under,
                backend,
                how,
            } => {
                handed_out.push(backend);
                end = Some(Teller {
                    asker,
                    root,
                    id: pool,
                    family,
                    under,
                    how,
                });
            }
        }
    }
    nodes.extend(end.map(|teller| teller.pool(&handed_out)));
    if nodes.is_empty() {
        let (under, how) = (Under::Verdicts, How::Order);
        nodes.push(
            Teller {
                asker,
                root,
                id: root,
                family,
                under,
                how,
            }
            .nothing(),
        );
    }
    nodes
}

struct Teller<'a> {
    asker: &'a Asker<'a>,
    root: NodeId,
    id: NodeId,
    family: Family,
    under: Under,
    how: How,
}

impl Teller<'_> {
    fn forest(&self) -> &Forest {
        &self.asker.serving.image.forest
    }

    fn steering(&self) -> &Steering {
        &self.forest().steering
    }

    fn walked(&self) -> Walked {
        Walked {
            root: self.root,
            family: self.family,
            class: self.asker.class,
            under: self.under,
        }
    }

    fn is_usable(&self, node: NodeId) -> bool {
        self.forest().usable(&self.asker.serving.tables, self.walked(), node)
    }

    fn node(&self, kind: &'static str, members: Vec<Candidate>) -> Node {
        Node {
            node: self.steering().node(self.id).name.clone(),
            kind,
            family: family_word(self.family),
            by: match self.how {
                How::Order => "order",
                How::Draw => "draw",
                How::Sticky => "client subnet",
                How::Distance => "distance",
                How::Rules => "rules",
            },
            under: match self.under {
                Under::Verdicts => "verdicts",
                Under::Waived => "none (fallback)",
                Under::Last => "last usable (fallback)",
            },
            members,
            rules: Vec::new(),
        }
    }

    /// A node of which nothing is chosen.
    fn nothing(&self) -> Node {
        match &self.steering().node(self.id).kind {
            NodeKind::Policy(_) => self.policy(usize::MAX),
            NodeKind::Pool(_) => self.pool(&[]),
        }
    }

    fn policy(&self, chosen: usize) -> Node {
        let NodeKind::Policy(policy) = &self.steering().node(self.id).kind else {
            return self.node("pool", Vec::new());
        };
        let (kind, order) = match &policy.choose {
            Choose::Weighted => ("weighted", None),
            Choose::Failover => ("failover", None),
            Choose::Nearest => (
                "nearest",
                Some(decide::order(self.steering(), policy, &self.asker.client)),
            ),
            Choose::Rules(_) => ("rules", None),
        };
        let order = order.unwrap_or_else(|| (0..policy.members.len()).collect());
        let at = order.iter().position(|member| *member == chosen).unwrap_or(usize::MAX);
        let members = order.iter().enumerate();
        let members = members
            .map(|(place, member)| self.member(policy, *member, chosen, place.cmp(&at)))
            .collect();
        let mut node = self.node(kind, members);
        if let Choose::Rules(rules) = &policy.choose {
            node.rules = self.rules(policy, rules, chosen);
        }
        node
    }

    /// `place` is where the member stands beside the one that was chosen, in the order in which they were tried.
    fn member(&self, policy: &Policy, index: usize, chosen: usize, place: Ordering) -> Candidate {
        let member = &policy.members[index];
        let weighted = matches!(policy.choose, Choose::Weighted);
        let usable = policy.members.iter().filter(|member| self.is_usable(member.node));
        let total: u64 = usable.map(|member| u64::from(member.weight)).sum();
        let why = if !self.forest().has_family(member.node, self.family) {
            format!("has no {} backend", family_word(self.family))
        } else if !self.is_usable(member.node) {
            self.why_unusable(member.node)
        } else if weighted {
            weighed(place.is_eq(), member.weight, total, self.how)
        } else {
            let client = self.asker.client.whereabouts.coordinates;
            let far = |member: &Member| client.map(|client| decide::distance(self.steering(), member, client));
            let as_near = policy
                .members
                .get(chosen)
                .is_some_and(|chosen| far(chosen) == far(member));
            in_order(&policy.choose, self.how, place, as_near).to_owned()
        };
        let nearest = matches!(policy.choose, Choose::Nearest);
        let client = self.asker.client.whereabouts.coordinates.filter(|_| nearest);
        let unbiased = Member {
            bias: 1.0,
            ..member.clone()
        };
        let distance = client.map(|client| decide::distance(self.steering(), &unbiased, client) * EARTH_RADIUS_KM);
        Candidate {
            name: member.name.clone(),
            weight: weighted.then_some(member.weight),
            distance_km: distance.map(|kilometres| (kilometres * 10.0).round() / 10.0),
            bias: Some(member.bias).filter(|bias| nearest && *bias != 1.0),
            chosen: place.is_eq(),
            why,
        }
    }

    /// Every rule, and `otherwise`: the first that holds and whose target is usable decides.
    fn rules(&self, policy: &Policy, rules: &model::Rules, chosen: usize) -> Vec<Rule> {
        let mut decided = chosen == usize::MAX;
        let mut tell = |rule: String, member: usize, missed: Option<String>| {
            let target = &policy.members[member];
            let (holds, decides) = (missed.is_none(), missed.is_none() && !decided && member == chosen);
            let why = match missed {
                Some(missed) => missed,
                None if decides => "holds".to_owned(),
                None if !self.forest().has_family(target.node, self.family) => {
                    format!("holds, but has no {} backend", family_word(self.family))
                }
                None if !self.is_usable(target.node) => format!("holds, but {}", self.why_unusable(target.node)),
                None => "holds too, later in the order".to_owned(),
            };
            decided |= decides;
            Rule {
                rule,
                target: target.name.clone(),
                holds,
                chosen: decides,
                why,
            }
        };
        let mut told: Vec<Rule> = Vec::new();
        for rule in &rules.rules {
            told.push(tell(
                asked_for(&rule.condition),
                rule.member,
                missed(&rule.condition, &self.asker.client),
            ));
        }
        told.push(tell("otherwise".to_owned(), rules.otherwise, None));
        told
    }

    fn why_unusable(&self, node: NodeId) -> String {
        match &self.steering().node(node).kind {
            NodeKind::Policy(_) => "no member of it is usable".to_owned(),
            NodeKind::Pool(pool) => match pool.min_healthy {
                MinHealthy::Backends(1) => "no backend of it is healthy".to_owned(),
                MinHealthy::Backends(count) => format!("fewer than {count} of its backends are healthy"),
                MinHealthy::Percent(percent) => format!("less than {percent} % of its weight is healthy"),
            },
        }
    }

    fn pool(&self, handed_out: &[usize]) -> Node {
        let NodeKind::Pool(pool) = &self.steering().node(self.id).kind else {
            return self.node("pool", Vec::new());
        };
        let backends = (0..pool.backends.len())
            .map(|backend| self.backend(pool, backend, handed_out))
            .collect();
        self.node("pool", backends)
    }

    fn backend(&self, pool: &Pool, index: usize, handed_out: &[usize]) -> Candidate {
        let backend = &pool.backends[index];
        let chosen = handed_out.contains(&index);
        let candidates = self.candidates();
        let total: u64 = candidates
            .iter()
            .map(|index| u64::from(pool.backends[*index].weight))
            .sum();
        let why = if !backend.target.has_family(self.family) {
            format!("has no {} address", family_word(self.family))
        } else if !candidates.contains(&index) && (backend.weight > 0 || total == 0) {
            "not healthy".to_owned()
        } else if pool.answers == Answers::All {
            if chosen {
                "all are answered"
            } else {
                "does not fit, or has weight 0"
            }
            .to_owned()
        } else if candidates.len() == 1 && chosen {
            "the only one".to_owned()
        } else {
            weighed(chosen, backend.weight, total, self.how)
        };
        Candidate {
            name: backend.name.clone(),
            weight: Some(backend.weight),
            distance_km: None,
            bias: None,
            chosen,
            why,
        }
    }

    /// The backends that could be handed out.
    fn candidates(&self) -> Vec<usize> {
        self.forest()
            .candidates(&self.asker.serving.tables, self.walked(), self.id)
    }
}

fn weighed(chosen: bool, weight: u32, total: u64, how: How) -> String {
    if weight == 0 && total > 0 {
        return "weight 0: only when nothing of positive weight is usable".to_owned();
    }
    let by = match (chosen, how) {
        (_, How::Order | How::Distance | How::Rules) => "the only usable one".to_owned(),
        (true, How::Draw) => "drawn".to_owned(),
        (false, How::Draw) => "not drawn".to_owned(),
        (true, How::Sticky) => "ranks first for the client's subnet".to_owned(),
        (false, How::Sticky) => "ranks lower for the client's subnet".to_owned(),
    };
    match total {
        0 => format!("{by} (equal chances)"),
        _ => format!("{by} ({:.1} % of the weight)", f64::from(weight) * 100.0 / total as f64),
    }
}

fn in_order(choose: &Choose, how: How, place: Ordering, as_near: bool) -> &'static str {
    match (choose, how, place) {
        (Choose::Rules(_), _, Ordering::Equal) => "the first rule that holds leads here",
        (Choose::Rules(_), _, _) => "no rule leads here before",
        (Choose::Nearest, How::Distance, Ordering::Equal) => "the nearest usable",
        (Choose::Nearest, How::Distance, _) if as_near => "as near, but later in the order written",
        (Choose::Nearest, How::Distance, _) => "farther",
        (Choose::Nearest, _, Ordering::Equal) => "first usable in the order written (the client's location is unknown)",
        (_, _, Ordering::Equal) => "first usable in the order written",
        (_, _, Ordering::Greater) => "later in the order",
        (_, _, Ordering::Less) => "not usable",
    }
}

/// How many values of a key are told: a list of networks may have many thousand, and every line is as wide as the widest.
const VALUES_MAX: usize = 8;

/// What a rule asks for, key by key.
fn asked_for(condition: &Condition) -> String {
    let networks: Vec<String> = condition.network.iter().map(ToString::to_string).collect();
    let asns: Vec<String> = condition.asn.iter().map(ToString::to_string).collect();
    let keys = [
        ("network", &networks),
        ("asn", &asns),
        ("country", &condition.country),
        ("subdivision", &condition.subdivision),
        ("continent", &condition.continent),
    ];
    let given = keys.into_iter().filter(|(_, values)| !values.is_empty());
    let told: Vec<String> = given
        .map(|(key, values)| match values.get(..VALUES_MAX) {
            Some(first) if values.len() > VALUES_MAX => {
                format!("{key} {} and {} more", first.join(" "), values.len() - VALUES_MAX)
            }
            _ => format!("{key} {}", values.join(" ")),
        })
        .collect();
    told.join(", ")
}

/// The first key of a rule that does not hold for the client, and what the client is instead.
fn missed(condition: &Condition, client: &Client) -> Option<String> {
    let Whereabouts { place, asn, .. } = &client.whereabouts;
    let is = |key: &str, own: Option<String>| match own {
        Some(own) => format!("the client's {key} is {own}"),
        None => format!("the client's {key} is unknown"),
    };
    let subdivisions: Vec<&str> = place.subdivisions.iter().map(Subdivision::as_str).collect();
    let subdivisions = (!subdivisions.is_empty()).then(|| subdivisions.join(", "));
    let keys = [
        (
            condition.network_holds(client.address),
            format!("{} is in none of the networks", client.address),
        ),
        (
            condition.asn_holds(*asn),
            is("AS number", asn.map(|asn| asn.to_string())),
        ),
        (condition.country_holds(place), is("country", place.country.clone())),
        (condition.subdivision_holds(place), is("subdivision", subdivisions)),
        (
            condition.continent_holds(place),
            is("continent", place.continent.clone()),
        ),
    ];
    keys.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
}
