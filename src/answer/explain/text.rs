//! An explanation for people: what was asked, who answers, every step, the answer.

use std::fmt;

use super::{Candidate, Explanation, Node, Rule};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(self).trim_end())
    }
}

fn text(explanation: &Explanation) -> String {
    let mut lines = vec![format!(
        "{} {} for {} (from the {}), asked by {}",
        explanation.name, explanation.rtype, explanation.client, explanation.client_from, explanation.resolver
    )];
    let mut line = |word: &str, what: String| lines.push(format!("  {word:<8} {what}"));
    for (word, what) in explanation.location.lines() {
        line(word, what);
    }
    if let Some(zone) = &explanation.zone {
        line("zone", zone.clone());
    }
    if let (Some(owner), Some(found)) = (&explanation.owner, explanation.found) {
        line("owner", format!("{owner} ({found})"));
    }
    if let Some(note) = explanation.note {
        line("note", note.to_owned());
    }
    if let Some(root) = &explanation.root {
        line("root", root.clone());
    }
    if explanation.fell_back {
        line(
            "fallback",
            "nothing under the root is usable: its fallback decides".to_owned(),
        );
    }
    for node in &explanation.steps {
        lines.extend(step(node));
    }
    let mut line = |word: &str, what: String| lines.push(format!("  {word:<8} {what}"));
    if explanation.steps.iter().any(|node| node.by == "draw") {
        line("draw", format!("--random {} repeats it", explanation.random));
    }
    match explanation.scope {
        Some(scope) => line("scope", format!("/{scope}")),
        None => line("scope", "none: no client subnet was sent".to_owned()),
    }
    if let Some(ttl) = explanation.ttl {
        line("ttl", ttl.to_string());
    }
    let flags: String = explanation.flags.iter().map(|flag| format!(" {flag}")).collect();
    line("answer", format!("{}{flags}", explanation.rcode));
    let sections = [&explanation.answer, &explanation.authority, &explanation.additional];
    for (name, section) in ["answer", "authority", "additional"].iter().zip(sections) {
        lines.extend(section.iter().map(|record| format!("    {name:<10} {record}")));
    }
    lines.join("\n")
}

fn step(node: &Node) -> Vec<String> {
    let by = match node.by {
        "order" => "in order",
        "draw" => "by a draw",
        "distance" => "by distance",
        "rules" => "by rules",
        _ => "by the client's subnet",
    };
    let under = match node.under {
        "verdicts" => String::new(),
        under => format!(", verdicts: {under}"),
    };
    let mut lines = vec![format!(
        "  {:<8} {} ({}, {by}{under})",
        node.kind, node.node, node.family
    )];
    if node.rules.is_empty() {
        let width = widest(node.members.iter().map(|member| &member.name));
        lines.extend(node.members.iter().map(|member| member_line(member, width)));
    } else {
        let asked: Vec<String> = node
            .rules
            .iter()
            .map(|rule| format!("{} -> {}", rule.rule, rule.target))
            .collect();
        let width = widest(asked.iter());
        lines.extend(
            node.rules
                .iter()
                .zip(&asked)
                .map(|(rule, asked)| rule_line(rule, asked, width)),
        );
    }
    lines
}

/// The widest column that others are made as wide as: what is wider stands out, and the formatter takes no width above 65,535.
const COLUMN_MAX: usize = 160;

fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    let widest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    widest.min(COLUMN_MAX)
}

fn member_line(member: &Candidate, width: usize) -> String {
    let mark = if member.chosen { "->" } else { "  " };
    let mut facts = String::new();
    if let Some(weight) = member.weight {
        facts += &format!("weight {weight}, ");
    }
    if let Some(distance) = member.distance_km {
        facts += &format!("{distance:.0} km");
        facts += &member
            .bias
            .map_or_else(|| ", ".to_owned(), |bias| format!(" x {bias}, "));
    }
    format!("    {mark} {:<width$}  {facts}{}", member.name, member.why)
}

fn rule_line(rule: &Rule, asked: &str, width: usize) -> String {
    let mark = if rule.chosen { "->" } else { "  " };
    format!("    {mark} {asked:<width$}  {}", rule.why)
}
