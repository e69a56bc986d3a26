//! A record of a location database, whatever its layout: which facts it holds is seen from its fields, never from the type that the file
//! says it has.
//!
//! Two layouts are in use: nested, as MaxMind and DB-IP write it (`country.iso_code`, `location.latitude`, `subdivisions[].names.en`), and
//! flat (`country_code`, `latitude`, `state1`). Numbers come as floats of either width, as integers, or as text.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Whereabouts;
use super::continents::continent_of;
use super::coordinates::Coordinates;

/// Where a client is, in names. Countries and continents are two upper-case letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// From the largest to the smallest.
    pub subdivisions: Vec<Subdivision>,
    /// AF AN AS EU NA OC SA.
    pub continent: Option<String>,
}

impl Place {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.country.is_none() && self.subdivisions.is_empty() && self.continent.is_none()
    }
}

/// A part of a country.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subdivision {
    /// ISO 3166-2, as in `US-CA`.
    Code(String),
    /// Its English name, where the database has no code.
    Name(String),
}

impl Subdivision {
    /// Whether it is what a rule names. Case does not count.
    pub fn is(&self, written: &str) -> bool {
        match self {
            Subdivision::Code(own) => own.eq_ignore_ascii_case(written),
            Subdivision::Name(own) => own == written || own.to_lowercase() == written.to_lowercase(),
        }
    }

    /// The code or the name.
    pub fn as_str(&self) -> &str {
        match self {
            Subdivision::Code(text) | Subdivision::Name(text) => text,
        }
    }
}

/// More subdivisions than any country has levels: what comes after them is not read.
const SUBDIVISIONS_MAX: usize = 8;

/// What a map of a record is about: it decides which of its fields mean something to us. All others are passed over unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The whole record.
    Record,
    /// A point.
    Location,
    /// A country or continent.
    Code,
    /// A list of subdivisions.
    Subdivisions,
    /// One of them.
    Subdivision,
    /// Names in several languages.
    Names,
    /// An autonomous system.
    System,
    /// Text or a number, and no map.
    Word,
}

impl About {
    /// The field of this name, and what it is about.
    fn field(self, name: &str) -> Option<(&'static str, About)> {
        use About::{Code, Location, Names, Record, Subdivision, Subdivisions, System, Word};
        Some(match (self, name) {
            (Record, "location") => ("location", Location),
            (Record, "country") => ("country", Code),
            (Record, "continent") => ("continent", Code),
            (Record, "subdivisions") => ("subdivisions", Subdivisions),
            (Record, "traits") => ("traits", System),
            (Record, "asn") => ("asn", System),
            (Record, "country_code") => ("country_code", Word),
            (Record, "country_iso_code") => ("country_iso_code", Word),
            (Record, "continent_code") => ("continent_code", Word),
            (Record, "state") => ("state", Word),
            (Record, "state1") => ("state1", Word),
            (Record, "state2") => ("state2", Word),
            (Record, "state_code") => ("state_code", Word),
            (Record, "stateprov") => ("stateprov", Word),
            (Record, "region") => ("region", Word),
            (Record, "region_code") => ("region_code", Word),
            (Record, "region_name") => ("region_name", Word),
            (Record, "subdivision") => ("subdivision", Word),
            (Record, "subdivision_1_iso_code") => ("subdivision_1_iso_code", Word),
            (Record, "subdivision_1_name") => ("subdivision_1_name", Word),
            (Record, "subdivision_2_iso_code") => ("subdivision_2_iso_code", Word),
            (Record, "subdivision_2_name") => ("subdivision_2_name", Word),
            (Record, "as_number") => ("as_number", Word),
            (Record | Location, "latitude") => ("latitude", Word),
            (Record | Location, "longitude") => ("longitude", Word),
            (Record | Location, "lat") => ("lat", Word),
            (Record | Location, "lon") => ("lon", Word),
            (Record | Location, "lng") => ("lng", Word),
            (Code | Subdivision, "iso_code") => ("iso_code", Word),
            (Code, "code") => ("code", Word),
            (Subdivision, "names") => ("names", Names),
            (Subdivision, "name") => ("name", Word),
            (Names, "en") => ("en", Word),
            (Record | System, "autonomous_system_number") => ("autonomous_system_number", Word),
            (System, "number") => ("number", Word),
            _ => return None,
        })
    }
}

/// A value of a record, as far as it is of interest.
#[derive(Debug, Default)]
pub struct Field<'de>(Content<'de>);

#[derive(Debug, Default)]
enum Content<'de> {
    #[default]
    Nothing,
    Text(&'de str),
    Number(f64),
    List(Vec<Field<'de>>),
    Map(Vec<(&'static str, Field<'de>)>),
}

impl Field<'_> {
    /// What the record says.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            coordinates: self.coordinates(),
            place: self.place(),
            asn: self.asn(),
        }
    }

    fn coordinates(&self) -> Option<Coordinates> {
        let nested = self.get("location");
        let number = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| nested.get(name).number().or(self.get(name).number()))
        };
        Coordinates::new(number(&["latitude", "lat"])?, number(&["longitude", "lon", "lng"])?)
    }

    fn place(&self) -> Place {
        let country = self.code("country", &["country_code", "country_iso_code"]);
        let continent = self.code("continent", &["continent_code"]);
        let continent = continent.or_else(|| continent_of(country.as_deref()?).map(str::to_owned));
        Place {
            subdivisions: self.subdivisions(country.as_deref()),
            country,
            continent,
        }
    }

    /// A code of two letters: in a map, as text beside it, or as text itself.
    fn code(&self, name: &str, flat: &[&str]) -> Option<String> {
        let nested = self.get(name);
        let mut written = [nested.get("iso_code"), nested.get("code"), nested]
            .into_iter()
            .chain(flat.iter().map(|name| self.get(name)));
        let code = written
            .find_map(|field| field.text().filter(|text| text.len() == 2))?
            .to_ascii_uppercase();
        // What databases write for an unknown country.
        (code.bytes().all(|octet| octet.is_ascii_uppercase()) && code != "ZZ").then_some(code)
    }

    fn subdivisions(&self, country: Option<&str>) -> Vec<Subdivision> {
        let mut found = Vec::new();
        let mut add = |code: Option<&str>, name: Option<&str>| {
            // MaxMind writes the part after the hyphen.
            let code = code.and_then(|code| match (code.contains('-'), country) {
                (true, _) => Some(code.to_ascii_uppercase()),
                (false, Some(country)) => Some(format!("{country}-{}", code.to_ascii_uppercase())),
                (false, None) => None,
            });
            let named = || name.map(|name| Subdivision::Name(name.to_owned()));
            found.extend(code.map(Subdivision::Code).or_else(named));
        };
        if let Content::List(list) = &self.get("subdivisions").0 {
            for part in list {
                let name = part.get("names").get("en").text().or(part.get("name").text());
                add(part.get("iso_code").text(), name);
            }
        }
        for (codes, names) in [
            (
                &["subdivision_1_iso_code", "region_code", "state_code"][..],
                &[
                    "subdivision_1_name",
                    "state1",
                    "state",
                    "stateprov",
                    "region_name",
                    "region",
                    "subdivision",
                ][..],
            ),
            (&["subdivision_2_iso_code"], &["subdivision_2_name", "state2"]),
        ] {
            let first = |names: &[&str]| names.iter().find_map(|name| self.get(name).text());
            add(first(codes), first(names));
        }
        found
    }

    fn asn(&self) -> Option<u32> {
        let own = ["autonomous_system_number", "asn", "as_number"].map(|name| self.get(name));
        let nested = [
            self.get("traits").get("autonomous_system_number"),
            self.get("asn").get("number"),
        ];
        own.into_iter()
            .chain(nested)
            .find_map(Field::asn_of)
            .filter(|asn| *asn > 0)
    }

    /// A number, or text as in `AS3320`.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a number that does not come back as it was is none"
    )]
    fn asn_of(&self) -> Option<u32> {
        match &self.0 {
            Content::Text(text) => text.trim_start_matches("AS").parse().ok(),
            Content::Number(number) => Some(*number as u32).filter(|asn| f64::from(*asn) == *number),
            Content::Nothing | Content::List(_) | Content::Map(_) => None,
        }
    }

    fn get(&self, name: &str) -> &Self {
        const NOTHING: &Field<'static> = &Field(Content::Nothing);
        let Content::Map(fields) = &self.0 else { return NOTHING };
        fields
            .iter()
            .find(|(own, _)| *own == name)
            .map_or(NOTHING, |(_, field)| field)
    }

    /// Text; nothing, and the hyphen that IP2Location writes for it, are none.
    fn text(&self) -> Option<&str> {
        match &self.0 {
            Content::Text(text) if !text.is_empty() && *text != "-" => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match &self.0 {
            Content::Number(number) => Some(*number),
            Content::Text(text) => text.trim().parse().ok(),
            Content::Nothing | Content::List(_) | Content::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(About::Record))
    }
}

/// Takes whatever comes.
#[derive(Clone, Copy)]
struct FieldVisitor(About);

impl<'de> DeserializeSeed<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a location database")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field(Content::Text(text)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Field(Content::Number(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field(Content::Number(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Field(Content::Number(number as f64)))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Field::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::default())
    }

    fn visit_borrowed_bytes<E>(self, _: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Field::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while self.0 == About::Subdivisions && list.len() < SUBDIVISIONS_MAX {
            match items.next_element_seed(FieldVisitor(About::Subdivision))? {
                Some(item) => list.push(item),
                None => return Ok(Field(Content::List(list))),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field(Content::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<&'de str>()? {
            match self.0.field(key) {
                Some((known, about)) => fields.push((known, entries.next_value_seed(FieldVisitor(about))?)),
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Field(Content::Map(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as JSON has it: the same calls of serde as from a database.
    fn read(json: &str) -> String {
        let field: Field<'_> = serde_json::from_str(json).unwrap();
        let Whereabouts {
            coordinates,
            place,
            asn,
        } = field.whereabouts();
        let point = coordinates.map_or("-".into(), |at| format!("{},{}", at.latitude, at.longitude));
        let parts: Vec<&str> = place.subdivisions.iter().map(Subdivision::as_str).collect();
        let word = |word: Option<String>| word.unwrap_or("-".into());
        format!(
            "{point} {} {parts:?} {} {}",
            word(place.country),
            word(place.continent),
            word(asn.map(|asn| asn.to_string()))
        )
    }

    #[test]
    fn nested_layouts() {
        let maxmind = r#"{"continent": {"code": "OC", "names": {"en": "Oceania"}}, "country": {"iso_code": "AU", "names": {"en": "Australia"}},
            "location": {"accuracy_radius": 1000, "latitude": -37.7, "longitude": 145.1833, "time_zone": "Australia/Melbourne"},
            "registered_country": {"iso_code": "NZ"}, "subdivisions": [{"iso_code": "VIC", "names": {"de": "x", "en": "Victoria"}}]}"#;
        assert_eq!(read(maxmind), r#"-37.7,145.1833 AU ["AU-VIC"] OC -"#);
        let dbip = r#"{"continent": {"code": "NA"}, "country": {"iso_code": "US"}, "location": {"latitude": 37.5, "longitude": -122},
            "subdivisions": [{"names": {"en": "California"}}]}"#;
        assert_eq!(read(dbip), r#"37.5,-122 US ["California"] NA -"#);
        assert_eq!(
            read(r#"{"traits": {"autonomous_system_number": 3320}}"#),
            "- - [] - 3320"
        );
    }

    #[test]
    fn flat_layouts() {
        let city = r#"{"city": "Sydney", "country_code": "AU", "latitude": -33.8, "longitude": 151.2, "state1": "New South Wales", "state2": ""}"#;
        assert_eq!(read(city), r#"-33.8,151.2 AU ["New South Wales"] OC -"#);
        let text = r#"{"lat": "50.5", "lng": "8.6", "country": "DE", "continent": "EU", "region": "Hesse", "region_code": "HE", "asn": "AS3320"}"#;
        assert_eq!(read(text), r#"50.5,8.6 DE ["DE-HE"] EU 3320"#);
        assert_eq!(
            read(r#"{"autonomous_system_number": 64512, "autonomous_system_organization": "x"}"#),
            "- - [] - 64512"
        );
    }

    #[test]
    fn what_databases_write_for_unknown() {
        assert_eq!(
            read(r#"{"country": {"iso_code": "ZZ"}, "location": {"latitude": 0.0, "longitude": 0.0}, "asn": 0}"#),
            "- - [] - -"
        );
        assert_eq!(
            read(
                r#"{"country_code": "", "latitude": "", "longitude": null, "asn": "AS"}"#
                    .replace("null", "\"\"")
                    .as_str()
            ),
            "- - [] - -"
        );
        let hyphens = r#"{"country": {"iso_code": "-", "names": {"en": "-"}}, "subdivisions": [{"iso_code": "-", "names": {"en": "-"}}],
            "location": {"latitude": 0.0, "longitude": 0.0}, "region": "-", "region_code": "-"}"#;
        assert_eq!(read(hyphens), "- - [] - -");
        assert_eq!(read("[]"), "- - [] - -");
        assert_eq!(read("7"), "- - [] - -");
    }

    #[test]
    fn a_record_of_any_depth_does_no_harm() {
        let deep = format!("{}1{}", r#"{"location": "#.repeat(100), "}".repeat(100));
        assert_eq!(read(&deep), "- - [] - -");
        let many = format!(
            r#"{{"subdivisions": [{}{{"names": {{"en": "x"}}}}]}}"#,
            r#"{"names": {"en": "x"}},"#.repeat(1000)
        );
        assert_eq!(read(&many), format!("- - {:?} - -", ["x"; SUBDIVISIONS_MAX]));
    }
}
