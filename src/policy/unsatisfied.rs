//! Rules that no client can match, because no loaded database knows what they ask for: a code that is misspelled, or not used by this one.

use super::build::condition;
use super::check::Checked;
use super::client_map::Known;
use super::model::Condition;
use super::names::{Content, Scope};
use super::questions::Questions;
use crate::spec::reader::did_you_mean;

impl Checked<'_> {
    /// Tells the rules that the databases can never satisfy, and the values that they do not know.
    pub fn tell_unsatisfied(&self, scopes: &mut [Scope<'_>], questions: &Questions, known: &Known) {
        for (draft, facts) in self
            .drafts
            .iter()
            .zip(&self.facts)
            .filter(|(_, facts)| facts.known && facts.in_use)
        {
            let Content::Policy(policy) = draft.content else {
                continue;
            };
            let Some(scope) = scopes.get_mut(draft.scope) else {
                continue;
            };
            for (rule, networks) in policy.rules.iter().zip(&facts.networks) {
                let condition = condition(rule, networks);
                let asked = questions.conditions.binary_search(&condition).ok();
                let holds = asked.and_then(|at| known.satisfied.get(at)).is_none_or(|holds| *holds);
                if let Some((message, hint)) = fault(&condition, holds, known) {
                    scope.faults.warning_hint(&rule.span, message, hint);
                }
            }
        }
    }
}

/// What is wrong with a rule. Of facts that no database has at all nothing is said here: that is said once for all.
fn fault(condition: &Condition, holds: bool, known: &Known) -> Option<(String, Option<String>)> {
    let unknown = unknown_values(condition, known);
    let has_what_it_asks =
        (!condition.asks_for_places() || known.has_places) && (condition.asn.is_empty() || !known.asns.is_empty());
    let whole = "no client can match this rule";
    let hint = unknown.first().and_then(|(_, value)| {
        let alike = known.subdivisions.iter().map(String::as_str);
        did_you_mean(value, alike).filter(|_| condition.subdivision.contains(value))
    });
    let values: Vec<String> = unknown
        .iter()
        .map(|(key, value)| format!("the {key} {value}"))
        .collect();
    match (holds, values.is_empty()) {
        _ if !has_what_it_asks => None,
        (true, true) => None,
        (true, false) => Some((format!("no loaded database knows {}", values.join(", ")), hint)),
        (false, false) => Some((format!("{whole}: no loaded database knows {}", values.join(", ")), hint)),
        (false, true) => Some((
            format!("{whole}: nowhere do all of its keys hold at once, by the loaded databases"),
            None,
        )),
    }
}

/// The values that are in no database.
fn unknown_values(condition: &Condition, known: &Known) -> Vec<(&'static str, String)> {
    let mut unknown = Vec::new();
    let asns = condition
        .asn
        .iter()
        .filter(|asn| !known.asns.is_empty() && !known.asns.contains(asn));
    unknown.extend(asns.map(|asn| ("AS number", asn.to_string())));
    if known.has_places {
        let missing = |key, values: &[String], knows: &dyn Fn(&str) -> bool| {
            let values = values.iter().filter(|value| !knows(value));
            values.map(|value| (key, value.clone())).collect::<Vec<_>>()
        };
        unknown.extend(missing("country", &condition.country, &|value| {
            known.countries.contains(value)
        }));
        unknown.extend(missing("subdivision", &condition.subdivision, &|value| {
            known.has_subdivision(value)
        }));
        unknown.extend(missing("continent", &condition.continent, &|value| {
            known.continents.contains(value)
        }));
    }
    unknown
}
