//! From checked definitions to the model: dense ids, members before the policies that name them.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::backends::{self, answers, min_healthy};
use super::check::Checked;
use super::client;
use super::model::{
    Choose, Condition, Fallback, Member, Node, NodeId, NodeKind, Policy, Pool, Root, Rule, Rules, Steering,
};
use super::names::{Content, Scope};
use crate::health::probe::Probe;
use crate::spec::At;
use crate::spec::policies::{ChooseSpec, PolicySpec};
use crate::spec::pools::RootSpec;
use crate::spec::rules::RuleSpec;
use crate::zone::model::SteerTtl;

/// Probes by full name.
pub type Probes = BTreeMap<String, Probe>;

impl Checked<'_> {
    /// The pools, policies and probes of the scopes that are served: those without an error.
    pub fn build(&self, scopes: &[Scope<'_>], served: &[bool]) -> (Steering, Probes) {
        let mut builder = Builder {
            checked: self,
            ids: vec![None; self.drafts.len()],
            steering: Steering::default(),
        };
        let is_served = |scope: usize| served.get(scope).copied().unwrap_or_default();
        for &at in self.order.iter().filter(|at| is_served(self.drafts[**at].scope)) {
            builder.node(at, scopes);
        }
        // A fallback may come later in the order than the root that names it.
        for (at, facts) in self.facts.iter().enumerate() {
            let pool = facts.fallback.and_then(|pool| builder.ids[pool]);
            if let (Some(id), Some(pool)) = (builder.ids[at], pool)
                && let Some(node) = builder.steering.nodes.get_mut(id.0 as usize)
            {
                node.root.fallback = Fallback::Pool(pool);
            }
        }
        let probes = scopes
            .iter()
            .enumerate()
            .filter(|(scope, _)| is_served(*scope))
            .flat_map(|(_, scope)| {
                scope
                    .spec
                    .probes
                    .iter()
                    .filter_map(|probe| Some((scope.full_name(&probe.name.value), Probe::new(&probe.content)?)))
            });
        (builder.steering, probes.collect())
    }
}

struct Builder<'c, 's> {
    checked: &'c Checked<'s>,
    ids: Vec<Option<NodeId>>,
    steering: Steering,
}

impl Builder<'_, '_> {
    fn node(&mut self, at: usize, scopes: &[Scope<'_>]) {
        let (draft, facts) = (&self.checked.drafts[at], &self.checked.facts[at]);
        let origin = scopes.get(draft.scope).and_then(|scope| scope.origin.as_ref());
        let (kind, sticky, spec) = match draft.content {
            Content::Pool(pool) => {
                let full_name = |(scope, name): &(usize, String)| Some(scopes.get(*scope)?.full_name(name));
                let pool_model = Pool {
                    answers: answers(pool),
                    min_healthy: min_healthy(pool),
                    backends: backends::build(pool, origin, &mut self.steering.addresses),
                    probes: facts.probes.iter().filter_map(full_name).collect(),
                };
                (NodeKind::Pool(pool_model), pool.sticky, &pool.root)
            }
            Content::Policy(policy) => {
                let Some(model) = self.policy(at, policy) else { return };
                (NodeKind::Policy(model), policy.sticky, &policy.root)
            }
        };
        let Ok(id) = u32::try_from(self.steering.nodes.len()).map(NodeId) else {
            return;
        };
        let name = draft.full_name.clone();
        self.steering.nodes.push(Node {
            name: name.clone(),
            location: facts.location,
            sticky,
            root: root(spec),
            kind,
        });
        self.steering.by_name.insert(name, id);
        self.ids[at] = Some(id);
    }

    /// A policy; `None` if a fault hides how it chooses.
    fn policy(&self, at: usize, spec: &PolicySpec) -> Option<Policy> {
        let choose = match spec.choose? {
            ChooseSpec::Weighted => Choose::Weighted,
            ChooseSpec::Failover => Choose::Failover,
            ChooseSpec::Nearest => Choose::Nearest,
            ChooseSpec::Rules => return self.by_rules(at, spec),
        };
        let bias: BTreeMap<&str, f64> = spec
            .bias
            .iter()
            .map(|(name, bias)| (name.value.as_str(), *bias))
            .collect();
        let member = |member: &crate::spec::policies::MemberSpec| {
            let mut model = self.member(at, &member.name)?;
            model.weight = member.weight;
            model.bias = bias.get(member.name.value.as_str()).copied().unwrap_or(1.0);
            Some(model)
        };
        Some(Policy {
            choose,
            members: spec.members.iter().filter_map(member).collect(),
        })
    }

    fn by_rules(&self, at: usize, spec: &PolicySpec) -> Option<Policy> {
        let mut members: Vec<Member> = Vec::new();
        let mut index = |name: &At<String>| {
            let member = self.member(at, name)?;
            let known = members.iter().position(|other| other.node == member.node);
            Some(known.unwrap_or_else(|| {
                members.push(member);
                members.len() - 1
            }))
        };
        let networks = &self.checked.facts[at].networks;
        let mut rules = Vec::new();
        for (rule, network) in spec.rules.iter().zip(networks) {
            rules.push(Rule {
                condition: condition(rule, network),
                member: index(rule.target.as_ref()?)?,
            });
        }
        let otherwise = index(spec.otherwise.as_ref()?)?;
        Some(Policy {
            choose: Choose::Rules(Rules { rules, otherwise }),
            members,
        })
    }

    fn member(&self, at: usize, name: &At<String>) -> Option<Member> {
        let target = self.checked.names.find(self.checked.drafts[at].scope, &name.value)?;
        let node = self.ids[target]?;
        Some(Member {
            node,
            name: name.value.clone(),
            weight: 1,
            bias: 1.0,
        })
    }
}

/// What a rule asks for. Networks of addresses that carry IPv4 ones are those of what they carry, as clients are.
pub(super) fn condition(rule: &RuleSpec, networks: &[IpNet]) -> Condition {
    Condition {
        network: networks.iter().copied().map(client::folded).collect(),
        asn: rule.asn.clone(),
        country: rule.country.clone(),
        subdivision: rule.subdivision.clone(),
        continent: rule.continent.clone(),
    }
}

/// What counts at the root, but for a fallback to a pool.
fn root(spec: &RootSpec) -> Root {
    let fallback = match spec.fallback.as_ref().map(|name| name.value.as_str()) {
        Some("last") => Fallback::Last,
        Some("servfail") => Fallback::Servfail,
        _ => Fallback::All,
    };
    Root {
        fallback,
        ttl: spec.ttl.map(SteerTtl::from),
    }
}
