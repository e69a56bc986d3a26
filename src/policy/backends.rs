//! Pools, checked: backends that are told apart, of one sort, and enough of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::model::{Answers, Backend, MinHealthy, Target};
use crate::health::AddressId;
use crate::spec::pools::{AnswersSpec, BackendSpec, MinHealthySpec, PoolSpec};
use crate::spec::value::Text;
use crate::spec::{Faults, Span};
use crate::wire::name::Name;

/// What follows from the backends of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sort {
    /// Whether there are addresses for A.
    pub(super) ipv4: bool,
    /// Whether there are addresses for AAAA.
    pub(super) ipv6: bool,
    /// Whether there are hosts.
    pub(super) hosts: bool,
}

impl Sort {
    /// Whether answers of the family can be given; a host serves both.
    pub(super) fn families(self) -> [(&'static str, bool); 2] {
        [("IPv4", self.ipv4 || self.hosts), ("IPv6", self.ipv6 || self.hosts)]
    }

    /// What either has.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 || other.ipv4,
            ipv6: self.ipv6 || other.ipv6,
            hosts: self.hosts || other.hosts,
        }
    }
}

/// Checks the backends of a pool. `origin` is what their hosts are relative to.
pub(super) fn check(pool: &PoolSpec, origin: Option<&Name>, faults: &mut Faults) -> Sort {
    let mut sort = Sort::default();
    let mut seen = Seen::default();
    for backend in &pool.backends {
        let before = faults.errors();
        seen.addresses(backend, faults);
        seen.host(backend, origin, faults);
        if faults.errors() == before {
            seen.name(backend, origin, faults);
        }
        sort.ipv4 |= backend.addresses.iter().any(|address| address.value.is_ipv4());
        sort.ipv6 |= backend.addresses.iter().any(|address| address.value.is_ipv6());
        sort.hosts |= backend.host.is_some();
    }
    if sort.hosts && (sort.ipv4 || sort.ipv6) {
        mixed(pool, faults);
    } else if sort.hosts {
        of_hosts(pool, faults);
    }
    enough(pool, faults);
    sort
}

/// What the backends before have used up.
#[derive(Default)]
struct Seen {
    addresses: BTreeMap<IpAddr, Span>,
    hosts: BTreeMap<Name, Span>,
    names: BTreeMap<String, Span>,
}

impl Seen {
    fn addresses(&mut self, backend: &BackendSpec, faults: &mut Faults) {
        for address in &backend.addresses {
            if let Some(other) = self.addresses.insert(address.value, address.span.clone()) {
                let message = format!("{} is in this pool twice", address.value);
                faults.error_hint(&address.span, message, at(&other, faults));
            }
        }
    }

    fn host(&mut self, backend: &BackendSpec, origin: Option<&Name>, faults: &mut Faults) {
        let Some(text) = &backend.host else { return };
        let Some(host) = host(text, origin, faults) else { return };
        if let Some(other) = self.hosts.insert(host.clone(), text.span.clone()) {
            faults.error_hint(&text.span, format!("{host} is in this pool twice"), at(&other, faults));
        }
    }

    fn name(&mut self, backend: &BackendSpec, origin: Option<&Name>, faults: &mut Faults) {
        let Some(name) = name(backend, origin) else { return };
        let span = backend.name.as_ref().map_or(&backend.span, |name| &name.span);
        if let Some(other) = self.names.get(&name) {
            faults.error_hint(span, format!("two backends are called `{name}`"), at(other, faults));
        } else {
            self.names.insert(name, span.clone());
        }
    }
}

fn at(other: &Span, faults: &Faults) -> String {
    let (line, column) = faults.source().line_column(other.start);
    format!("the other is at {line}:{column}")
}

/// A host as written, made absolute. In windrose.toml there is nothing that it could be relative to.
fn host(text: &Text, origin: Option<&Name>, faults: &mut Faults) -> Option<Name> {
    if text.text.parse::<IpAddr>().is_ok() {
        let hint = format!("write {{ address = \"{}\" }}", text.text);
        faults.error_hint(&text.span, format!("the host `{}` is an address", text.text), hint);
        return None;
    }
    if origin.is_none() && !text.text.ends_with('.') {
        let hint = format!("in windrose.toml a name has no origin: write \"{}.\"", text.text);
        faults.error_hint(&text.span, format!("the host `{}` is not absolute", text.text), hint);
        return None;
    }
    let host = Name::parse(&text.text, origin);
    host.map_err(|error| {
        faults.error(
            &text.place(error.offset),
            format!("`{}` is no name: {error}", text.text),
        )
    })
    .ok()
}

/// The hosts of a pool, without those that are no names.
pub(super) fn hosts(pool: &PoolSpec, origin: Option<&Name>) -> BTreeSet<Name> {
    let hosts = pool.backends.iter().filter_map(|backend| backend.host.as_ref());
    hosts.filter_map(|host| Name::parse(&host.text, origin).ok()).collect()
}

/// The name of a backend: its own, or its first address or host.
fn name(backend: &BackendSpec, origin: Option<&Name>) -> Option<String> {
    if let Some(name) = &backend.name {
        return Some(name.value.clone());
    }
    let address = backend.addresses.first().map(|address| address.value.to_string());
    address.or_else(|| Some(Name::parse(&backend.host.as_ref()?.text, origin).ok()?.to_string()))
}

fn mixed(pool: &PoolSpec, faults: &mut Faults) {
    let is_host = |backend: &&BackendSpec| backend.host.is_some();
    let first = pool
        .backends
        .iter()
        .find(|backend| backend.host.is_some() || !backend.addresses.is_empty());
    let first_is_host = first.as_ref().is_some_and(is_host);
    let other = pool.backends.iter().find(|backend| {
        if first_is_host {
            !backend.addresses.is_empty()
        } else {
            is_host(backend)
        }
    });
    let Some(other) = other else { return };
    faults.error_hint(
        &other.span,
        "hosts and addresses do not mix in a pool",
        "make two pools, and a policy with both as members".to_owned(),
    );
}

/// A host is handed out as a CNAME, of which there is one; and nothing probes it.
fn of_hosts(pool: &PoolSpec, faults: &mut Faults) {
    if let Some(answers) = pool
        .answers
        .as_ref()
        .filter(|answers| answers.value != AnswersSpec::Count(1))
    {
        let hint = "leave `answers` out, or write answers = 1".to_owned();
        faults.error_hint(&answers.span, "a pool of hosts answers with one CNAME", hint);
    }
    if let Some(probe) = pool.probes.first() {
        let hint = "probes try addresses: these hosts count as healthy".to_owned();
        faults.warning_hint(&probe.span, "a pool of hosts is not probed", hint);
    }
}

fn enough(pool: &PoolSpec, faults: &mut Faults) {
    let Some(min) = &pool.min_healthy else { return };
    if let MinHealthySpec::Backends(count) = min.value
        && !pool.backends.is_empty()
        && count as usize > pool.backends.len()
    {
        let message = format!(
            "the pool has {} backends: {count} can never be healthy",
            pool.backends.len()
        );
        faults.missing(&min.span, message, None);
    }
}

/// The backends of a pool without faults. Addresses take ids from `next` on.
pub(super) fn build(pool: &PoolSpec, origin: Option<&Name>, next: &mut u32) -> Vec<Backend> {
    let mut id = || {
        *next += 1;
        AddressId(*next - 1)
    };
    let backend = |backend: &BackendSpec| {
        let target = match &backend.host {
            Some(host) => Target::Host(Name::parse(&host.text, origin).ok()?),
            None => {
                let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
                for address in &backend.addresses {
                    match address.value {
                        IpAddr::V4(address) => ipv4.push((address, id())),
                        IpAddr::V6(address) => ipv6.push((address, id())),
                    }
                }
                Target::Addresses { ipv4, ipv6 }
            }
        };
        Some(Backend {
            name: name(backend, origin)?,
            weight: backend.weight,
            target,
        })
    };
    pool.backends.iter().filter_map(backend).collect()
}

/// How many backends stand in one answer: one, unless said otherwise.
pub(super) fn answers(pool: &PoolSpec) -> Answers {
    match pool.answers.as_ref().map(|answers| answers.value) {
        Some(AnswersSpec::Count(count)) => Answers::Count(count),
        Some(AnswersSpec::All) => Answers::All,
        None => Answers::Count(1),
    }
}

/// When the pool is usable: with one healthy backend, unless said otherwise.
pub(super) fn min_healthy(pool: &PoolSpec) -> MinHealthy {
    match pool.min_healthy.as_ref().map(|min| min.value) {
        Some(MinHealthySpec::Backends(count)) => MinHealthy::Backends(count),
        Some(MinHealthySpec::Percent(percent)) => MinHealthy::Percent(percent),
        None => MinHealthy::Backends(1),
    }
}
