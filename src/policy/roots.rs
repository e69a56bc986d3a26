//! What holds at the roots that records name, and beneath them: no client gets NODATA alone.

use super::backends::Sort;
use super::check::{Checker, Facts};
use super::names::{Content, Scope};
use crate::spec::Faults;

impl Checker<'_, '_> {
    /// Follows records to the roots that they name, and roots to what is beneath them.
    pub(super) fn use_from_roots(&mut self, scopes: &[Scope<'_>], order: &[usize]) {
        for (index, scope) in scopes.iter().enumerate() {
            for at in scope.roots.iter().filter_map(|root| self.names.find(index, root)) {
                self.facts[at].is_root = true;
                self.facts[at].is_named = true;
            }
        }
        // A policy comes before its members in the order turned round, so that all above a node is known when it is met.
        for &at in order.iter().rev() {
            if self.facts[at].is_root {
                self.facts[at].in_use = true;
                self.facts[at].above = self.facts[at].above.or(self.facts[at].sort);
            }
            let Facts {
                above,
                in_use,
                fallback,
                ..
            } = self.facts[at];
            for &member in &self.edges[at] {
                let member = &mut self.facts[member];
                member.is_named = true;
                member.in_use |= in_use;
                member.above = member.above.or(above);
            }
            if let Some(pool) = fallback {
                self.facts[pool].is_named = true;
            }
        }
    }

    /// Rule of decision 2: some client must never get NODATA alone.
    pub(super) fn at_root(&self, at: usize, faults: &mut Faults) {
        let facts = &self.facts[at];
        if !facts.known {
            return;
        }
        let below_the_root_only = facts.is_named && !facts.is_root;
        if let Some(pool) = facts
            .fallback
            .filter(|pool| !below_the_root_only && self.facts[*pool].known)
            && let Some(name) = &self.root_spec(at).fallback
            && let Some(family) = lacks(self.facts[pool].sort, facts.sort)
        {
            let message = format!(
                "the fallback pool `{}` has no {family}, which `{}` has",
                name.value, self.drafts[at].name.value
            );
            let hint = "some clients would get no data, and their resolvers would keep that for all".to_owned();
            faults.error_hint(&name.span, message, hint);
        }
        if let Content::Policy(policy) = self.drafts[at].content {
            let rules = policy.rules.iter().filter_map(|rule| rule.target.as_ref());
            let otherwise = policy.otherwise.iter().map(|name| (name, IsLast::Yes));
            for (name, is_last) in rules.map(|name| (name, IsLast::No)).chain(otherwise) {
                let target = self.names.find(self.drafts[at].scope, &name.value);
                if let Some(family) = target.and_then(|target| lacks(self.facts[target].sort, facts.above)) {
                    let message = format!("`{}` has no {family}, which other members have", name.value);
                    let hint = match is_last {
                        IsLast::No => format!("clients sent there are passed on for {family}"),
                        IsLast::Yes => format!(
                            "clients of no rule get SERVFAIL for {family}, unless a policy above passes them on or a fallback pool serves"
                        ),
                    };
                    faults.warning_hint(&name.span, message, hint);
                }
            }
        }
    }
}

/// Whether nothing comes after a target in its policy.
#[derive(Clone, Copy)]
enum IsLast {
    No,
    Yes,
}

/// A family that `needed` has and `sort` has not.
fn lacks(sort: Sort, needed: Sort) -> Option<&'static str> {
    let pairs = sort.families().into_iter().zip(needed.families());
    pairs
        .into_iter()
        .find(|((_, has), (_, needs))| *needs && !has)
        .map(|((family, _), _)| family)
}
