//! `rules` of a policy: conditions on where a client is, and who serves it then.

use super::pools::MEMBERS_MAX;
use super::reader::{Table, did_you_mean};
use super::value::Value;
use super::{At, Faults, Span};

/// A rule.
#[derive(Debug, Clone, Default)]
pub struct RuleSpec {
    /// Networks, or names from `[networks]`.
    pub network: Vec<At<String>>,
    /// Autonomous system numbers.
    pub asn: Vec<u32>,
    /// Countries, upper case.
    pub country: Vec<String>,
    /// Subdivisions: codes or names.
    pub subdivision: Vec<String>,
    /// Continents, upper case.
    pub continent: Vec<String>,
    /// `use`: who serves.
    pub target: Option<At<String>>,
    /// The whole rule.
    pub span: Span,
}

const KEYS: &[&str] = &["network", "asn", "country", "subdivision", "continent", "use"];

/// As the databases name them; Central and South America are NA and SA.
const CONTINENTS: &[&str] = &["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

/// ISO 3166-1 alpha-2, and XK, which the databases write for Kosovo.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV \
BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA \
GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI \
KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK \
SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS \
YE YT ZA ZM ZW XK";

/// Reads a list of rules.
pub fn read(value: Value<'_>, faults: &mut Faults) -> Vec<RuleSpec> {
    let Some(list) = value.as_array() else {
        value.expected("a list of rules", faults);
        return Vec::new();
    };
    if list.is_empty() {
        faults.missing(&value.span(), "the policy has no rules", None);
    }
    if list.len() > MEMBERS_MAX {
        faults.error(&value.span(), format!("a policy has at most {MEMBERS_MAX} rules"));
    }
    list.into_iter()
        .filter_map(|value| Some(rule(&value.table(faults)?, faults)))
        .collect()
}

fn rule(table: &Table<'_>, faults: &mut Faults) -> RuleSpec {
    let before = faults.errors();
    let mut rule = RuleSpec {
        span: table.span.clone(),
        ..RuleSpec::default()
    };
    let mut conditions = 0;
    for entry in &table.entries {
        let value = entry.value;
        conditions += usize::from(entry.key != "use");
        match entry.key {
            "network" => rule.network = value.strings(faults),
            "asn" => {
                let list = value.filled_list(faults);
                let asn = |value: Value<'_>| value.integer("an AS number", 1..=u32::MAX, faults);
                rule.asn = list.into_iter().filter_map(asn).collect();
            }
            "country" => rule.country = codes(value, faults, country),
            "subdivision" => rule.subdivision = codes(value, faults, subdivision),
            "continent" => rule.continent = codes(value, faults, continent),
            "use" => rule.target = value.string(faults),
            "otherwise" => {
                entry.unknown_hint(
                    "a rule",
                    "`otherwise` stands in the policy, beside `rules`".to_owned(),
                    faults,
                );
            }
            _ => entry.unknown("a rule", KEYS, faults),
        }
    }
    if faults.errors() == before {
        complete(&rule, conditions, table, faults);
    }
    rule
}

fn complete(rule: &RuleSpec, conditions: usize, table: &Table<'_>, faults: &mut Faults) {
    if rule.target.is_none() {
        faults.missing(
            &table.span,
            "the rule has no `use`",
            "name the pool or policy that serves then".to_owned(),
        );
    }
    if conditions == 0 {
        faults.missing(
            &table.span,
            "the rule has no condition",
            "it would match every client: write that as `otherwise`".to_owned(),
        );
    }
}

fn codes(value: Value<'_>, faults: &mut Faults, check: fn(&At<String>, &mut Faults) -> Option<String>) -> Vec<String> {
    let written = value.strings(faults);
    written.iter().filter_map(|written| check(written, faults)).collect()
}

fn country(written: &At<String>, faults: &mut Faults) -> Option<String> {
    let code = written.value.to_ascii_uppercase();
    if COUNTRIES.split(' ').any(|known| known == code) {
        return Some(code);
    }
    let hint = match code.as_str() {
        "UK" => "the United Kingdom is \"GB\"",
        "EU" => "the European Union is no country; the continent is continent = [\"EU\"]",
        _ => "ISO 3166-1 has two letters for each, as in \"DE\"",
    };
    faults.error_hint(
        &written.span,
        format!("\"{}\" is not a country", written.value),
        hint.to_owned(),
    );
    None
}

fn subdivision(written: &At<String>, faults: &mut Faults) -> Option<String> {
    if written.value.trim().is_empty() {
        let hint = "write its ISO 3166-2 code, as in \"US-CA\", or its name".to_owned();
        faults.error_hint(&written.span, "the subdivision is empty", hint);
        return None;
    }
    Some(written.value.clone())
}

fn continent(written: &At<String>, faults: &mut Faults) -> Option<String> {
    let code = written.value.to_ascii_uppercase();
    if CONTINENTS.contains(&code.as_str()) {
        return Some(code);
    }
    let hint = did_you_mean(&code, CONTINENTS.iter().copied()).filter(|_| code.len() > 2);
    let hint = hint.unwrap_or_else(|| format!("known here: {}", CONTINENTS.join(", ")));
    faults.error_hint(&written.span, format!("\"{}\" is not a continent", written.value), hint);
    None
}
