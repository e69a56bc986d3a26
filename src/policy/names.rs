//! Which names are known where: those of windrose.toml in every zone, those of a zone file in that zone.

use std::collections::BTreeMap;

use crate::spec::policies::PolicySpec;
use crate::spec::pools::PoolSpec;
use crate::spec::reader::did_you_mean;
use crate::spec::steering::{Named, SteeringSpec};
use crate::spec::{At, Faults};
use crate::wire::name::Name;

/// A file that defines things.
#[derive(Debug)]
pub struct Scope<'s> {
    /// The zone; `None` for windrose.toml.
    pub origin: Option<Name>,
    /// What it defines.
    pub spec: &'s SteeringSpec,
    /// The names of the pools and policies that its records name.
    pub roots: Vec<&'s str>,
    /// Its faults.
    pub faults: &'s mut Faults,
}

impl Scope<'_> {
    /// The full name of what is called `name` here: `ORIGIN/NAME`, or `NAME` for windrose.toml.
    pub(super) fn full_name(&self, name: &str) -> String {
        let Some(origin) = &self.origin else {
            return name.to_owned();
        };
        let origin = origin.to_lowercase().to_string();
        let origin = origin
            .strip_suffix('.')
            .filter(|origin| !origin.is_empty())
            .unwrap_or(&origin);
        format!("{origin}/{name}")
    }
}

/// A pool or policy under check.
#[derive(Debug)]
pub(super) struct Draft<'s> {
    /// The place of its scope.
    pub(super) scope: usize,
    /// Its name.
    pub(super) name: &'s At<String>,
    /// Its full name.
    pub(super) full_name: String,
    /// What it is.
    pub(super) content: Content<'s>,
    /// Whether a fault hides what it is: then nothing is concluded from it.
    pub(super) poisoned: bool,
}

/// A pool or a policy, as written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'s> {
    Pool(&'s PoolSpec),
    Policy(&'s PolicySpec),
}

/// The names of all scopes; the first scope is windrose.toml.
#[derive(Debug)]
pub(super) struct Names<'s> {
    /// Pools and policies, by scope.
    nodes: Vec<BTreeMap<&'s str, usize>>,
    /// Whether names may be missing, by scope.
    incomplete: Vec<bool>,
}

impl<'s> Names<'s> {
    /// Collects the pools and policies of every scope, and tells the names that are taken.
    pub(super) fn collect(scopes: &mut [Scope<'s>]) -> (Self, Vec<Draft<'s>>) {
        let incomplete = scopes.iter().map(|scope| scope.spec.incomplete).collect();
        let mut names = Self {
            nodes: Vec::new(),
            incomplete,
        };
        let mut drafts = Vec::new();
        for (index, scope) in scopes.iter_mut().enumerate() {
            let mut of_scope = Vec::new();
            of_scope.extend(
                scope
                    .spec
                    .pools
                    .iter()
                    .map(|pool| draft(index, scope, pool, Content::Pool(&pool.content))),
            );
            of_scope.extend(
                scope
                    .spec
                    .policies
                    .iter()
                    .map(|policy| draft(index, scope, policy, Content::Policy(&policy.content))),
            );
            of_scope.sort_by_key(|draft| draft.name.span.start);
            let mut known: BTreeMap<&str, usize> = BTreeMap::new();
            for draft in of_scope {
                names.taken(
                    &draft,
                    known.get(draft.name.value.as_str()).and_then(|at| drafts.get(*at)),
                    scope.faults,
                );
                known.entry(&draft.name.value).or_insert(drafts.len());
                drafts.push(draft);
            }
            names.nodes.push(known);
        }
        (names, drafts)
    }

    /// Tells that a pool or policy of its name is there already.
    fn taken(&self, draft: &Draft<'_>, before: Option<&Draft<'_>>, faults: &mut Faults) {
        let name = &draft.name.value;
        if before.is_some() {
            let message = format!("`{name}` is a pool and a policy");
            let hint = "pools and policies share one namespace: give one of them another name".to_owned();
            faults.error_hint(&draft.name.span, message, hint);
        } else if self
            .nodes
            .first()
            .is_some_and(|shared| shared.contains_key(name.as_str()))
        {
            tell_shadow(draft.name, faults);
        }
    }

    /// The pool or policy that a name means in a scope.
    pub(super) fn find(&self, scope: usize, name: &str) -> Option<usize> {
        let known = |scope: usize| self.nodes.get(scope)?.get(name).copied();
        known(scope).or_else(|| known(0))
    }

    /// All names known in a scope, and what they mean.
    pub(super) fn known(&self, scope: usize) -> BTreeMap<&'s str, usize> {
        let mut known = self.nodes.first().cloned().unwrap_or_default();
        known.extend(self.nodes.get(scope).into_iter().flatten());
        known
    }

    /// Whether a name that is unknown in a scope may be one that a fault hides.
    pub(super) fn may_be_hidden(&self, scope: usize) -> bool {
        [0, scope]
            .iter()
            .any(|scope| self.incomplete.get(*scope).copied().unwrap_or_default())
    }
}

fn draft<'s, T>(scope: usize, of: &Scope<'s>, item: &'s Named<T>, content: Content<'s>) -> Draft<'s> {
    let full_name = of.full_name(&item.name.value);
    Draft {
        scope,
        name: &item.name,
        full_name,
        content,
        poisoned: item.poisoned,
    }
}

/// docs, Files: a name defined in a zone and in windrose.toml is an error, not a shadow.
fn tell_shadow(name: &At<String>, faults: &mut Faults) {
    faults.error_hint(
        &name.span,
        format!("`{}` is defined in windrose.toml too", name.value),
        "what windrose.toml defines is known in every zone: give this one another name".to_owned(),
    );
}

/// Things of one kind other than pools and policies: probes, locations or networks, by scope and name.
#[derive(Debug)]
pub(super) struct Things<'s, T> {
    /// What they are called in a message: "probe".
    what: &'static str,
    by_scope: Vec<BTreeMap<&'s str, &'s Named<T>>>,
    incomplete: Vec<bool>,
}

impl<'s, T> Things<'s, T> {
    /// Collects one kind of every scope, and tells the names that are defined in a zone and in windrose.toml.
    pub(super) fn collect(
        what: &'static str,
        scopes: &mut [Scope<'s>],
        list: fn(&'s SteeringSpec) -> &'s [Named<T>],
    ) -> Self {
        let incomplete = scopes.iter().map(|scope| scope.spec.incomplete).collect();
        let mut things = Self {
            what,
            by_scope: Vec::new(),
            incomplete,
        };
        for scope in scopes {
            let items = list(scope.spec);
            if let Some(shared) = things.by_scope.first() {
                items
                    .iter()
                    .filter(|item| shared.contains_key(item.name.value.as_str()))
                    .for_each(|item| {
                        tell_shadow(&item.name, scope.faults);
                    });
            }
            things
                .by_scope
                .push(items.iter().map(|item| (item.name.value.as_str(), item)).collect());
        }
        things
    }

    /// The thing that a name means in a scope, and the scope that defines it; an unknown name is told.
    pub(super) fn find(&self, scope: usize, name: &At<String>, faults: &mut Faults) -> Option<(usize, &'s Named<T>)> {
        let scopes = [scope, 0];
        let known = |scope: usize| Some((scope, *self.by_scope.get(scope)?.get(name.value.as_str())?));
        let found = scopes.into_iter().find_map(known);
        if found.is_none()
            && !scopes
                .iter()
                .any(|scope| self.incomplete.get(*scope).copied().unwrap_or_default())
        {
            let names = scopes
                .iter()
                .filter_map(|scope| self.by_scope.get(*scope))
                .flat_map(|known| known.keys().copied());
            let hint = did_you_mean(&name.value, names);
            faults.error_hint(&name.span, format!("no {} is called `{}`", self.what, name.value), hint);
        }
        found
    }
}
