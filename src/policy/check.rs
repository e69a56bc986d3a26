//! From what files define to pools and policies: names resolved, circles told, and what must hold for members and roots.
//!
//! All files are checked together, since a zone's policies may name what windrose.toml defines. Facts are worked out from the
//! members up; where a fault hides one, nothing is concluded from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::backends::{self, Sort};
use super::client::is_nobodys;
use super::model;
use super::names::{Content, Draft, Names, Scope, Things};
use super::order::order;
use crate::geo::coordinates::Coordinates;
use crate::spec::places::{LocationSpec, looks_like_network, network};
use crate::spec::policies::{ChooseSpec, PolicySpec};
use crate::spec::pools::{self, FALLBACK_WORDS, PoolSpec, RootSpec};
use crate::spec::probes::ProbeSpec;
use crate::spec::reader::did_you_mean;
use crate::spec::rules::RuleSpec;
use crate::spec::steering::Point;
use crate::spec::{At, Faults};
use crate::wire::name::Name;
use crate::zone::roots::{RootFacts, Roots};

// What a file may say is what the model can hold.
const _: () = assert!(
    pools::WEIGHT_MAX == model::WEIGHT_MAX
        && pools::MEMBERS_MAX == model::MEMBERS_MAX
        && pools::ANSWERS_MAX as usize == model::ANSWERS_MAX
);
const _: () = assert!(pools::ANSWERS_MAX as usize == model::ANSWERS_MAX);

/// Pools and policies of all files, checked together.
#[derive(Debug)]
pub struct Checked<'s> {
    pub(super) drafts: Vec<Draft<'s>>,
    pub(super) names: Names<'s>,
    /// What was concluded, by draft.
    pub(super) facts: Vec<Facts>,
    /// The drafts, members first.
    pub(super) order: Vec<usize>,
}

/// What is concluded of a pool or policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Where it is.
    pub(super) location: Option<Coordinates>,
    /// Its probes: the scope that defines each, and its name.
    pub(super) probes: Vec<(usize, String)>,
    /// The pool that serves when nothing is usable.
    pub(super) fallback: Option<usize>,
    /// For rules: the networks of each.
    pub(super) networks: Vec<Vec<IpNet>>,
    /// What its pools hold.
    pub(super) sort: Sort,
    /// The hosts among that.
    pub(super) hosts: Arc<BTreeSet<Name>>,
    /// Whether some pool beneath it, or it itself, has a location.
    pub(super) located: bool,
    /// Whether what is said here is all there is to it.
    pub(super) known: bool,
    /// Whether a record names it.
    pub(super) is_root: bool,
    /// What the roots above it hold, itself among them; empty if no record leads here.
    pub(super) above: Sort,
    /// Whether a record leads here.
    pub(super) in_use: bool,
    /// Whether anything names it.
    pub(super) is_named: bool,
}

/// Checks the definitions of all files; the first is windrose.toml.
pub fn check<'s>(scopes: &mut [Scope<'s>]) -> Checked<'s> {
    let (names, mut drafts) = Names::collect(scopes);
    let locations = Things::collect("location", scopes, |spec| &spec.locations);
    let networks = Things::collect("network", scopes, |spec| &spec.networks);
    let probes = Things::collect("probe", scopes, |spec| &spec.probes);
    let edges = resolve_members(&mut drafts, &names, scopes);
    let order = order(&edges);
    for circle in &order.circles {
        tell_circle(circle, &mut drafts, scopes);
    }
    let mut checker = Checker {
        drafts: &drafts,
        edges: &edges,
        names: &names,
        facts: vec![Facts::default(); drafts.len()],
    };
    for &at in &order.nodes {
        let Some(scope) = scopes.get_mut(drafts[at].scope) else {
            continue;
        };
        match drafts[at].content {
            Content::Pool(pool) => checker.pool(at, pool, scope, &locations, &probes),
            Content::Policy(policy) => checker.policy(at, policy, scope, &locations, &networks),
        }
        checker.fallback(at, scope.faults);
    }
    checker.use_from_roots(scopes, &order.nodes);
    for (at, draft) in drafts.iter().enumerate() {
        if let Some(scope) = scopes.get_mut(draft.scope) {
            checker.at_root(at, scope.faults);
        }
    }
    let facts = checker.facts;
    Checked {
        drafts,
        names,
        facts,
        order: order.nodes,
    }
}

/// What each policy names, by draft, in the order written; what it names in vain poisons it.
fn resolve_members(drafts: &mut [Draft<'_>], names: &Names<'_>, scopes: &mut [Scope<'_>]) -> Vec<Vec<usize>> {
    let mut edges = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut targets = Vec::new();
        if let (Content::Policy(policy), Some(scope)) = (draft.content, scopes.get_mut(draft.scope)) {
            for name in policy.uses() {
                match names.find(draft.scope, &name.value) {
                    Some(target) => targets.push(target),
                    None => {
                        draft.poisoned = true;
                        tell_unknown(draft.scope, name, names, scope.faults);
                    }
                }
            }
        }
        edges.push(targets);
    }
    edges
}

fn tell_unknown(scope: usize, name: &At<String>, names: &Names<'_>, faults: &mut Faults) {
    if !names.may_be_hidden(scope) {
        let hint = did_you_mean(&name.value, names.known(scope).into_keys());
        faults.error_hint(
            &name.span,
            format!("no pool or policy is called `{}`", name.value),
            hint,
        );
    }
}

fn tell_circle(circle: &[(usize, usize)], drafts: &mut [Draft<'_>], scopes: &mut [Scope<'_>]) {
    let Some(&(first, edge)) = circle.first() else { return };
    let mut way: Vec<&str> = circle
        .iter()
        .map(|(node, _)| drafts[*node].name.value.as_str())
        .collect();
    way.push(&drafts[first].name.value);
    let message = format!("policies lead back to themselves: {}", way.join(" > "));
    if let (Content::Policy(policy), Some(scope)) = (drafts[first].content, scopes.get_mut(drafts[first].scope)) {
        // An unknown name makes no edge, and then the place is found by name.
        let next = circle.get(1).map_or(first, |(node, _)| *node);
        let place = policy.uses().find(|name| name.value == drafts[next].name.value);
        let place = place
            .or_else(|| policy.uses().nth(edge))
            .map_or(&drafts[first].name.span, |name| &name.span);
        scope.faults.error_hint(
            place,
            message,
            "members are pools, or policies that do not lead back".to_owned(),
        );
    }
    for &(node, _) in circle {
        drafts[node].poisoned = true;
    }
}

/// The facts, as they are worked out.
#[derive(Debug)]
pub(super) struct Checker<'c, 's> {
    pub(super) drafts: &'c [Draft<'s>],
    pub(super) edges: &'c [Vec<usize>],
    pub(super) names: &'c Names<'s>,
    pub(super) facts: Vec<Facts>,
}

type Locations<'s> = Things<'s, Option<Point>>;

impl<'s> Checker<'_, 's> {
    fn pool(
        &mut self,
        at: usize,
        pool: &PoolSpec,
        scope: &mut Scope<'s>,
        locations: &Locations<'s>,
        probes: &Things<'s, ProbeSpec>,
    ) {
        let (before, index) = (scope.faults.errors(), self.drafts[at].scope);
        let sort = backends::check(pool, scope.origin.as_ref(), scope.faults);
        let location = self.location(at, pool.location.as_ref(), locations, scope.faults);
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for name in &pool.probes {
            if !seen.insert(&name.value) {
                scope
                    .faults
                    .error(&name.span, format!("the probe `{}` is given twice", name.value));
            }
            let probe = probes.find(index, name, scope.faults);
            found.extend(probe.map(|(scope, probe)| (scope, probe.name.value.clone())));
        }
        self.facts[at] = Facts {
            location,
            probes: found,
            sort,
            hosts: Arc::new(backends::hosts(pool, scope.origin.as_ref())),
            located: pool.location.is_some(),
            known: !self.drafts[at].poisoned && scope.faults.errors() == before,
            ..Facts::default()
        };
    }

    fn policy(
        &mut self,
        at: usize,
        policy: &PolicySpec,
        scope: &mut Scope<'s>,
        locations: &Locations<'s>,
        networks: &Things<'s, Vec<IpNet>>,
    ) {
        let (before, index) = (scope.faults.errors(), self.drafts[at].scope);
        let location = self.location(at, policy.location.as_ref(), locations, scope.faults);
        if !self.drafts[at].poisoned {
            bias_of_members(policy, scope.faults);
        }
        if policy.choose == Some(ChooseSpec::Nearest) {
            self.members_have_locations(at, policy, scope.faults);
        }
        let networks = policy
            .rules
            .iter()
            .map(|rule| rule_networks(index, rule, networks, scope.faults))
            .collect();
        let members = || self.edges[at].iter().map(|member| &self.facts[*member]);
        let hosts = united(members().map(|member| &member.hosts));
        let located_beneath = members().any(|member| member.located);
        self.facts[at] = Facts {
            location,
            networks,
            sort: members().fold(Sort::default(), |sum, member| sum.or(member.sort)),
            hosts,
            located: located_beneath,
            known: !self.drafts[at].poisoned && scope.faults.errors() == before && members().all(|member| member.known),
            ..Facts::default()
        };
    }

    fn location(
        &self,
        at: usize,
        spec: Option<&LocationSpec>,
        locations: &Locations<'s>,
        faults: &mut Faults,
    ) -> Option<Coordinates> {
        let [latitude, longitude] = match spec? {
            LocationSpec::Point(point) => *point,
            LocationSpec::Named(name) => locations.find(self.drafts[at].scope, name, faults)?.1.content?,
        };
        Coordinates::new(latitude, longitude)
    }

    /// Rule of decision 3: the distance to a policy is that to its own location, or the least over all pools beneath it.
    fn members_have_locations(&self, at: usize, policy: &PolicySpec, faults: &mut Faults) {
        for member in &policy.members {
            let Some(target) = self.names.find(self.drafts[at].scope, &member.name.value) else {
                continue;
            };
            let facts = &self.facts[target];
            let own = match self.drafts[target].content {
                Content::Pool(_) => false,
                Content::Policy(policy) => policy.location.is_some(),
            };
            if facts.known && !facts.located && !own {
                faults.error_hint(
                    &member.name.span,
                    format!(
                        "`{}` has no location: it cannot be nearest to anyone",
                        member.name.value
                    ),
                    "give it `location = [latitude, longitude]`".to_owned(),
                );
            }
        }
    }

    pub(super) fn root_spec(&self, at: usize) -> &'s RootSpec {
        match self.drafts[at].content {
            Content::Pool(pool) => &pool.root,
            Content::Policy(policy) => &policy.root,
        }
    }

    /// The pool that a `fallback` names.
    fn fallback(&mut self, at: usize, faults: &mut Faults) {
        let Some(name) = &self.root_spec(at).fallback else {
            return;
        };
        if FALLBACK_WORDS.contains(&name.value.as_str()) {
            return;
        }
        let scope = self.drafts[at].scope;
        match self.names.find(scope, &name.value) {
            Some(target) if matches!(self.drafts[target].content, Content::Pool(_)) => {
                self.facts[at].fallback = Some(target);
            }
            Some(_) => {
                let message = format!("`{}` is a policy: a fallback is a pool", name.value);
                faults.error_hint(
                    &name.span,
                    message,
                    "or one of \"all\", \"last\", \"servfail\"".to_owned(),
                );
            }
            None if self.names.may_be_hidden(scope) => {}
            None => {
                let known = self.names.known(scope);
                let pools = known
                    .into_iter()
                    .filter(|(_, at)| matches!(self.drafts[*at].content, Content::Pool(_)));
                let hint = did_you_mean(
                    &name.value,
                    FALLBACK_WORDS.into_iter().chain(pools.map(|(name, _)| name)),
                );
                let hint = hint.unwrap_or_else(|| "\"all\", \"last\", \"servfail\", or the name of a pool".to_owned());
                faults.error_hint(&name.span, format!("no pool is called `{}`", name.value), hint);
            }
        }
    }
}

/// All of several sets; most policies have no hosts, or those of one pool.
fn united<'a>(sets: impl Iterator<Item = &'a Arc<BTreeSet<Name>>>) -> Arc<BTreeSet<Name>> {
    let mut union: Arc<BTreeSet<Name>> = Arc::default();
    for set in sets {
        if union.is_empty() {
            union = set.clone();
        } else if !Arc::ptr_eq(&union, set) && !set.is_empty() {
            Arc::make_mut(&mut union).extend(set.iter().cloned());
        }
    }
    union
}

/// Tells a bias for what is no member.
fn bias_of_members(policy: &PolicySpec, faults: &mut Faults) {
    for (name, _) in &policy.bias {
        let mut members = policy.members.iter().map(|member| member.name.value.as_str());
        if !members.clone().any(|member| member == name.value) {
            let message = format!("`{}` is no member of this policy", name.value);
            faults.error_hint(&name.span, message, did_you_mean(&name.value, members.by_ref()));
        }
    }
}

/// The networks of a rule; a name stands for a list of them.
fn rule_networks<'s>(
    scope: usize,
    rule: &RuleSpec,
    networks: &Things<'s, Vec<IpNet>>,
    faults: &mut Faults,
) -> Vec<IpNet> {
    let mut list = Vec::new();
    for written in &rule.network {
        let before = list.len();
        if looks_like_network(&written.value) {
            list.extend(network(written, faults));
        } else if let Some((_, named)) = networks.find(scope, written, faults) {
            list.extend(&named.content);
        }
        if let Some(nobodys) = list[before..].iter().find(|network| is_nobodys(**network)) {
            let hint = "addresses there are read as the IPv4 address that they carry: a 6to4 network is a /48 or wider";
            let message = format!("no client is ever in {nobodys}");
            faults.warning_hint(&written.span, message, Some(hint.to_owned()));
        }
    }
    list
}

impl Checked<'_> {
    /// What records of a scope may name.
    pub fn roots(&self, scope: usize) -> Roots {
        let facts = |(name, at): (&str, usize)| {
            let facts = &self.facts[at];
            let by_fallback = facts.fallback.map_or(Some(false), |pool| self.by_host(pool));
            let answers_by_host = self.by_host(at).and_then(|by_host| Some(by_host || by_fallback?));
            (
                name.to_owned(),
                RootFacts {
                    full_name: self.drafts[at].full_name.clone(),
                    answers_by_host,
                    hosts: [at, facts.fallback.unwrap_or(at)].map(|at| self.facts[at].hosts.clone()),
                },
            )
        };
        let known = self.names.known(scope).into_iter().map(facts).collect();
        Roots {
            known,
            incomplete: self.names.may_be_hidden(scope),
        }
    }

    fn by_host(&self, at: usize) -> Option<bool> {
        self.facts[at].known.then_some(self.facts[at].sort.hosts)
    }

    /// Tells the pools and policies that nothing names. Only where there is no error: a name may be misspelled.
    pub fn tell_unused(&self, scopes: &mut [Scope<'_>]) {
        for (draft, _) in self.drafts.iter().zip(&self.facts).filter(|(_, facts)| !facts.is_named) {
            let what = match draft.content {
                Content::Pool(_) => "pool",
                Content::Policy(_) => "policy",
            };
            if let Some(scope) = scopes.get_mut(draft.scope) {
                let message = format!("nothing uses the {what} `{}`", draft.name.value);
                scope.faults.warning_hint(&draft.name.span, message, None);
            }
        }
    }
}
