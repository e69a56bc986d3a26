//! The steps of a decision in words: each node on the way, its members or backends, and why each was passed over.

use serde::Serialize;

use super::family_word;
use crate::image::Serving;
use crate::policy::Family;
use crate::policy::model::{Answers, Choose, MinHealthy, NodeId, NodeKind, Policy, Pool};
use crate::policy::trace::{How, Step, Under};

/// A policy or pool on the way.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Its full name.
    pub node: String,
    /// `weighted`, `failover`, `nearest`, `rules` or `pool`.
    pub kind: &'static str,
    /// Of which family: `IPv4` or `IPv6`.
    pub family: &'static str,
    /// What the choice went by: `order`, `draw` or `client subnet`.
    pub by: &'static str,
    /// The verdicts believed: `verdicts`, or `none (fallback)` or `last usable (fallback)`.
    pub under: &'static str,
    /// Its members or backends, in the order written.
    pub members: Vec<Candidate>,
}

/// A member or backend.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its weight, where weights count.
    pub weight: Option<u32>,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why it was chosen or passed over.
    pub why: String,
}

/// Everything that a walk told; if it led nowhere, why nothing under the root would do for the family.
pub(super) fn tell(serving: &Serving, root: NodeId, family: Family, steps: &[Step]) -> Vec<Node> {
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
                        serving,
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
                    serving,
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
                serving,
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
    serving: &'a Serving,
    root: NodeId,
    id: NodeId,
    family: Family,
    under: Under,
    how: How,
}

impl Teller<'_> {
    fn node(&self, kind: &'static str, members: Vec<Candidate>) -> Node {
        Node {
            node: self.serving.image.forest.steering.node(self.id).name.clone(),
            kind,
            family: family_word(self.family),
            by: match self.how {
                How::Order => "order",
                How::Draw => "draw",
                How::Sticky => "client subnet",
            },
            under: match self.under {
                Under::Verdicts => "verdicts",
                Under::Waived => "none (fallback)",
                Under::Last => "last usable (fallback)",
            },
            members,
        }
    }

    /// A node of which nothing is chosen.
    fn nothing(&self) -> Node {
        match &self.serving.image.forest.steering.node(self.id).kind {
            NodeKind::Policy(_) => self.policy(usize::MAX),
            NodeKind::Pool(_) => self.pool(&[]),
        }
    }

    fn policy(&self, chosen: usize) -> Node {
        let NodeKind::Policy(policy) = &self.serving.image.forest.steering.node(self.id).kind else {
            return self.node("pool", Vec::new());
        };
        let members = (0..policy.members.len())
            .map(|member| self.member(policy, member, chosen))
            .collect();
        let kind = match &policy.choose {
            Choose::Weighted => "weighted",
            Choose::Failover => "failover",
            Choose::Nearest => "nearest",
            Choose::Rules(_) => "rules",
        };
        self.node(kind, members)
    }

    fn member(&self, policy: &Policy, index: usize, chosen: usize) -> Candidate {
        let member = &policy.members[index];
        let weighted = matches!(policy.choose, Choose::Weighted);
        let is_usable = |node| {
            self.serving
                .image
                .forest
                .usable(&self.serving.tables, self.under, self.root, node, self.family)
        };
        let usable = policy.members.iter().filter(|member| is_usable(member.node));
        let total: u64 = usable.map(|member| u64::from(member.weight)).sum();
        let why = if !self.serving.image.forest.has_family(member.node, self.family) {
            format!("has no {} backend", family_word(self.family))
        } else if !is_usable(member.node) {
            self.why_unusable(member.node)
        } else if weighted {
            weighed(index == chosen, member.weight, total, self.how)
        } else if index == chosen {
            chosen_in_order(&policy.choose).to_owned()
        } else {
            passed_in_order(&policy.choose, index > chosen).to_owned()
        };
        Candidate {
            name: member.name.clone(),
            weight: weighted.then_some(member.weight),
            chosen: index == chosen,
            why,
        }
    }

    fn why_unusable(&self, node: NodeId) -> String {
        match &self.serving.image.forest.steering.node(node).kind {
            NodeKind::Policy(_) => "no member of it is usable".to_owned(),
            NodeKind::Pool(pool) => match pool.min_healthy {
                MinHealthy::Backends(1) => "no backend of it is healthy".to_owned(),
                MinHealthy::Backends(count) => format!("fewer than {count} of its backends are healthy"),
                MinHealthy::Percent(percent) => format!("less than {percent} % of its weight is healthy"),
            },
        }
    }

    fn pool(&self, handed_out: &[usize]) -> Node {
        let NodeKind::Pool(pool) = &self.serving.image.forest.steering.node(self.id).kind else {
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
            chosen,
            why,
        }
    }

    /// The backends that could be handed out.
    fn candidates(&self) -> Vec<usize> {
        self.serving
            .image
            .forest
            .candidates(&self.serving.tables, self.under, self.root, self.id, self.family)
    }
}

fn weighed(chosen: bool, weight: u32, total: u64, how: How) -> String {
    if weight == 0 && total > 0 {
        return "weight 0: only when nothing of positive weight is usable".to_owned();
    }
    let by = match (chosen, how) {
        (_, How::Order) => "the only usable one".to_owned(),
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

fn chosen_in_order(choose: &Choose) -> &'static str {
    match choose {
        Choose::Nearest => "first usable in the order written (the client's location is unknown)",
        Choose::Rules(_) => "`otherwise`: no rule is tested in this version",
        Choose::Weighted | Choose::Failover => "first usable in the order written",
    }
}

fn passed_in_order(choose: &Choose, later: bool) -> &'static str {
    match choose {
        Choose::Rules(_) => "its rule is not tested in this version",
        _ if later => "later in the order",
        _ => "not usable",
    }
}
