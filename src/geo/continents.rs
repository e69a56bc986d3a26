//! The continent of each country, for databases that name countries only.

/// Countries (ISO 3166-1 alpha-2, and XK for Kosovo) by continent, as databases that have both put them: Cyprus is in Europe, Russia too,
/// Turkey and Egypt are in Asia and Africa, Central America is in North America.
const COUNTRIES: [(&str, &str); 7] = [
    (
        "AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE \
         RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    ("AN", "AQ BV GS HM TF"),
    (
        "AS",
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS \
         QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        "EU",
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL \
         NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        "NA",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC \
         VG VI",
    ),
    (
        "OC",
        "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    ),
    ("SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// The continent of a country: AF, AN, AS, EU, NA, OC or SA.
pub fn continent_of(country: &str) -> Option<&'static str> {
    let holds = |(_, countries): &&(&str, &str)| countries.split(' ').any(|known| known == country);
    COUNTRIES.iter().find(holds).map(|(continent, _)| *continent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_is_on_one_continent() {
        let all: Vec<&str> = COUNTRIES
            .iter()
            .flat_map(|(_, countries)| countries.split(' '))
            .collect();
        let different: std::collections::BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!((all.len(), different.len()), (250, 250));
        assert!(different.iter().all(|code| code.len() == 2));
        assert_eq!(
            ["DE", "US", "BR", "AU", "JP", "EG", "AQ"].map(continent_of),
            ["EU", "NA", "SA", "OC", "AS", "AF", "AN"].map(Some)
        );
        assert_eq!(continent_of("ZZ"), None);
    }
}
