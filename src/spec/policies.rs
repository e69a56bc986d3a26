//! `[policies.NAME]`: members in an order of preference. Which keys belong together is held here; which names they mean is not.

use super::places::LocationSpec;
use super::pools::{MEMBERS_MAX, RootSpec, WEIGHT_MAX, root};
use super::reader::{Entry, Table};
use super::rules::{self, RuleSpec};
use super::value::Value;
use super::{At, Faults, Span, places};

/// A policy.
#[derive(Debug, Clone, Default)]
pub struct PolicySpec {
    /// How it orders its members.
    pub choose: Option<ChooseSpec>,
    /// Its members, in the order written.
    pub members: Vec<MemberSpec>,
    /// `bias`: by member.
    pub bias: Vec<(At<String>, f64)>,
    /// Its rules, in the order written.
    pub rules: Vec<RuleSpec>,
    /// For whom no rule matches.
    pub otherwise: Option<At<String>>,
    /// Where it is.
    pub location: Option<LocationSpec>,
    /// Whether a client keeps its choice.
    pub sticky: bool,
    /// What counts when a record names it.
    pub root: RootSpec,
}

/// How a policy orders its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChooseSpec {
    /// By a draw.
    Weighted,
    /// As written.
    Failover,
    /// By distance.
    Nearest,
    /// By rules.
    Rules,
}

impl ChooseSpec {
    const WORDS: &[(&str, ChooseSpec)] = &[
        ("weighted", ChooseSpec::Weighted),
        ("failover", ChooseSpec::Failover),
        ("nearest", ChooseSpec::Nearest),
        ("rules", ChooseSpec::Rules),
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, choose)| *choose == self)
            .map_or("", |(word, _)| word)
    }
}

/// A member.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    /// Its name.
    pub name: At<String>,
    /// Its weight, where there are weights.
    pub weight: u32,
}

impl PolicySpec {
    /// Every name that the policy hands a client on to, in the order written.
    pub fn uses(&self) -> impl Iterator<Item = &At<String>> {
        let members = self.members.iter().map(|member| &member.name);
        let rules = self.rules.iter().filter_map(|rule| rule.target.as_ref());
        members.chain(rules).chain(&self.otherwise)
    }
}

const KEYS: &[&str] = &[
    "choose",
    "members",
    "bias",
    "rules",
    "otherwise",
    "location",
    "sticky",
    "fallback",
    "ttl",
];

/// A key that only some policies have, as it was found.
#[derive(Default)]
struct Given {
    members: Option<Span>,
    members_by_weight: bool,
    bias: Option<Span>,
    rules: Option<Span>,
    otherwise: Option<Span>,
    sticky: Option<Span>,
}

/// Reads a policy.
pub fn read(value: Value<'_>, name: &str, faults: &mut Faults) -> PolicySpec {
    let mut policy = PolicySpec::default();
    let Some(table) = value.table(faults) else {
        return policy;
    };
    let before = faults.errors();
    let mut given = Given::default();
    for entry in &table.entries {
        let value = entry.value;
        let span = || Some(entry.key_span.clone());
        match entry.key {
            "choose" => policy.choose = value.word(ChooseSpec::WORDS, faults),
            "members" => {
                (given.members, given.members_by_weight) = (span(), value.is_table());
                policy.members = members(value, faults);
            }
            "bias" => {
                given.bias = span();
                policy.bias = bias(value, faults);
            }
            "rules" => {
                given.rules = span();
                policy.rules = rules::read(value, faults);
            }
            "otherwise" => {
                given.otherwise = span();
                policy.otherwise = value.string(faults);
            }
            "location" => policy.location = places::location(value, faults),
            "sticky" => {
                policy.sticky = value.boolean(faults).unwrap_or_default();
                given.sticky = span().filter(|_| policy.sticky);
            }
            _ if root(entry, &mut policy.root, faults) => {}
            "backends" => {
                entry.unknown_hint(
                    "a policy",
                    format!("a pool has backends: did you mean [pools.{name}]?"),
                    faults,
                );
            }
            _ => entry.unknown("a policy", KEYS, faults),
        }
    }
    match policy.choose {
        Some(choose) => belongs(choose, &given, faults),
        None if faults.errors() == before => {
            let hint = "choose = \"weighted\", \"failover\", \"nearest\" or \"rules\"".to_owned();
            faults.missing(&table.span, "the policy has no `choose`", hint);
        }
        None => {}
    }
    if let Some(choose) = policy.choose.filter(|_| faults.errors() == before) {
        nothing_missing(choose, &given, &table, faults);
    }
    policy
}

/// Tells the keys that mean nothing to this kind of policy.
fn belongs(choose: ChooseSpec, given: &Given, faults: &mut Faults) {
    use ChooseSpec::{Nearest, Rules, Weighted};
    let by_rules = choose == Rules;
    let homes: [(&str, &Option<Span>, bool, &str); 5] = [
        (
            "members",
            &given.members,
            !by_rules,
            "a policy by rules names its members in `rules` and `otherwise`",
        ),
        ("bias", &given.bias, choose == Nearest, "only \"nearest\" has a bias"),
        ("rules", &given.rules, by_rules, "only \"rules\" has rules"),
        ("otherwise", &given.otherwise, by_rules, "only \"rules\" has it"),
        (
            "sticky",
            &given.sticky,
            choose == Weighted,
            "only \"weighted\" policies, and pools, draw by chance",
        ),
    ];
    for (key, span, fits, hint) in homes {
        if let Some(span) = span.as_ref().filter(|_| !fits) {
            let message = format!("`{key}` has no meaning where choose = \"{}\"", choose.word());
            faults.error_hint(span, message, hint.to_owned());
        }
    }
    if let Some(span) = given
        .members
        .as_ref()
        .filter(|_| given.members_by_weight && !by_rules && choose != Weighted)
    {
        faults.error_hint(
            span,
            format!("members have no weights where choose = \"{}\"", choose.word()),
            "write a list: members = [\"a\", \"b\"]".to_owned(),
        );
    }
}

/// Tells the keys that this kind of policy cannot do without.
fn nothing_missing(choose: ChooseSpec, given: &Given, table: &Table<'_>, faults: &mut Faults) {
    let needed: &[(&str, &Option<Span>)] = match choose {
        ChooseSpec::Rules => &[("rules", &given.rules), ("otherwise", &given.otherwise)],
        _ => &[("members", &given.members)],
    };
    for (key, span) in needed {
        if span.is_none() {
            let hint = match *key {
                "otherwise" => "name who serves clients that no rule matches",
                "rules" => "as in rules = [{ country = [\"DE\"], use = \"frankfurt\" }]",
                _ => "as in members = [\"frankfurt\", \"ashburn\"]",
            };
            faults.missing(&table.span, format!("the policy has no `{key}`"), hint.to_owned());
        }
    }
}

fn members(value: Value<'_>, faults: &mut Faults) -> Vec<MemberSpec> {
    let members: Vec<MemberSpec> = match (value.as_table(), value.as_array()) {
        (Some(table), _) => table.entries.iter().map(|entry| weighted(entry, faults)).collect(),
        (None, Some(list)) => list
            .into_iter()
            .filter_map(|value| value.string(faults))
            .map(|name| MemberSpec { name, weight: 1 })
            .collect(),
        (None, None) => {
            value.expected("a list of members, or a table of their weights", faults);
            return Vec::new();
        }
    };
    let none = value.as_array().map_or(members.is_empty(), |list| list.is_empty());
    if none {
        faults.missing(&value.span(), "the policy has no members", None);
    }
    if members.len() > MEMBERS_MAX {
        faults.error(&value.span(), format!("a policy has at most {MEMBERS_MAX} members"));
    }
    twice(&members, faults);
    members
}

fn weighted(entry: &Entry<'_>, faults: &mut Faults) -> MemberSpec {
    let weight = entry.value.integer("a weight", 0..=WEIGHT_MAX, faults).unwrap_or(1);
    MemberSpec {
        name: At::new(entry.key.to_owned(), entry.key_span.clone()),
        weight,
    }
}

fn twice(members: &[MemberSpec], faults: &mut Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for MemberSpec { name, .. } in members {
        if !seen.insert(&name.value) {
            faults.error(&name.span, format!("`{}` is a member twice", name.value));
        }
    }
}

fn bias(value: Value<'_>, faults: &mut Faults) -> Vec<(At<String>, f64)> {
    let Some(table) = value.table(faults) else {
        return Vec::new();
    };
    let mut bias = Vec::new();
    for entry in &table.entries {
        let Some(factor) = entry.value.as_number() else {
            entry.value.expected("a number", faults);
            continue;
        };
        if !(factor.is_finite() && factor > 0.0) {
            let hint = "distance is multiplied by it: below 1 attracts, above 1 repels".to_owned();
            faults.error_hint(&entry.value.span(), "a bias is above 0", hint);
            continue;
        }
        bias.push((At::new(entry.key.to_owned(), entry.key_span.clone()), factor));
    }
    bias
}
