//! A question as a person asks it, in a command or over the control API, and its explanation.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::answer::explain::{Explanation, Question, deciding_address, explain};
use crate::image::Serving;
use crate::load::geo::Databases;
use crate::wire::code::RecordType;
use crate::wire::name::Name;

/// The query of `GET /v1/explain`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The name asked for; absolute, its final dot may be left out.
    pub name: String,
    /// The type asked for; A if it is left out.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
    /// The client, `IP[/LEN]`.
    pub client: Option<String>,
    /// The resolver; the client if it is left out.
    pub resolver: Option<String>,
    /// The number to draw with; a random one if it is left out.
    pub random: Option<u64>,
}

/// What it is answered.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// As `explain --json` has it.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// As `explain` prints it.
    pub shown: String,
}

impl Asked {
    /// What it means, or what is wrong with it.
    pub fn question(&self) -> Result<Question, String> {
        let client = self.client.as_deref().map(parse_client).transpose()?;
        let resolver = self.resolver.as_deref().map(|text| {
            let address: Result<IpAddr, _> = text.parse();
            address.map_err(|_| format!("`{text}` is not an IP address"))
        });
        if client.is_none() && resolver.is_none() {
            return Err("who asks? give `client`, `resolver` or both".to_owned());
        }
        Ok(question(
            parse_name(&self.name)?,
            parse_type(self.rtype.as_deref().unwrap_or("A"))?,
            client,
            resolver.transpose()?,
            self.random,
        ))
    }
}

/// With its defaults.
pub fn question(
    name: Name,
    rtype: RecordType,
    client: Option<(IpAddr, u8)>,
    resolver: Option<IpAddr>,
    random: Option<u64>,
) -> Question {
    let resolver = resolver.or(client.map(|(address, _)| address));
    Question {
        name,
        rtype,
        client,
        resolver: resolver.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        random: random.unwrap_or_else(|| fastrand::u64(..)),
    }
}

/// Explains what a serving answers to a question.
pub fn explain_one(question: &Question, serving: &Serving, databases: &Databases) -> Result<Explanation, String> {
    let sighting = databases
        .look_up(deciding_address(question, serving))
        .map_err(|error| format!("a location database: {error}"))?;
    explain(question, serving, &sighting).ok_or_else(|| "the answer cannot be read back; please report this".to_owned())
}

/// A name, absolute.
pub fn parse_name(text: &str) -> Result<Name, String> {
    Name::parse(text, None).map_err(|error| error.to_string())
}

/// A type by its mnemonic.
pub fn parse_type(text: &str) -> Result<RecordType, String> {
    RecordType::parse(text).ok_or_else(|| "no such record type; others are written as TYPE65280".to_owned())
}

/// A client, and how many bits of its address are told: all, unless a prefix length is given.
pub fn parse_client(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("`{address}` is not an IP address"))?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => width,
        Some(length) => length.parse().ok().filter(|length| *length <= width).ok_or(format!(
            "`{length}` is not a prefix length: 0 to {width} for this family"
        ))?,
    };
    Ok((address, length))
}
