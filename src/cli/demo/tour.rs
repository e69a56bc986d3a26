//! What clients in several cities are answered, asked over UDP as a resolver would ask, and why.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::answer::explain::{Explanation, Node, Question, query};
use crate::control::explain::{explain_one, parse_client, parse_name, question};
use crate::control::prober::Snapshot;
use crate::load::geo::Databases;
use crate::wire::code::RecordType;
use crate::wire::message;

/// Networks that the database of the demo knows, and where they are.
pub(super) const CLIENTS: [(&str, &str); 6] = [
    ("192.0.2.0/25", "Frankfurt"),
    ("192.0.2.128/25", "Paris"),
    ("198.51.100.0/25", "New York"),
    ("198.51.100.128/25", "San Jose"),
    ("203.0.113.0/25", "Tokyo"),
    ("203.0.113.128/25", "Sydney"),
];

/// How long an answer may take. It comes in well under a millisecond, or not at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for any answer of the demo.
const ANSWER_MAX: usize = 1232;

/// What one client is answered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Its network.
    pub(super) client: &'static str,
    /// Where that is.
    pub(super) city: &'static str,
    /// What came over UDP.
    pub(super) answer: String,
    /// The site that was chosen, as `explain` has it.
    pub(super) site: Option<String>,
    /// Why.
    pub(super) why: String,
}

/// Asks as every client.
pub(super) async fn ask_all(
    server: SocketAddr,
    name: &str,
    known: &Snapshot,
    databases: &Databases,
) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (client, city) in CLIENTS {
        let asked = parse_client(client)?;
        let question = question(parse_name(name)?, RecordType::A, Some(asked), None, None);
        let answer = ask(server, &question).await?;
        let explanation = explain_one(&question, &known.serving, databases)?;
        rows.push(Row {
            client,
            city,
            answer: answer.map_or("none".to_owned(), |address| address.to_string()),
            site: explanation.steps.first().and_then(chosen),
            why: why(&explanation),
        });
    }
    Ok(rows)
}

/// The address of the answer.
async fn ask(server: SocketAddr, question: &Question) -> Result<Option<IpAddr>, String> {
    let failed = |error| format!("{server} cannot be asked: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(&query(question)).await.map_err(failed)?;
    let mut octets = [0; ANSWER_MAX];
    let received = timeout(PATIENCE, socket.recv(&mut octets)).await;
    let length = received
        .map_err(|_| format!("{server} does not answer"))?
        .map_err(failed)?;
    let message = octets.get(..length).and_then(message::read);
    let [answers, ..] = message.ok_or("the answer cannot be read back")?.sections;
    let address = |rdata: &[u8]| Some(IpAddr::from(*rdata.first_chunk::<4>()?));
    Ok(answers.iter().find_map(|record| address(&record.rdata)))
}

fn chosen(step: &Node) -> Option<String> {
    let chosen = step.members.iter().find(|member| member.chosen)?;
    Some(chosen.name.clone())
}

/// The decision in a few words: who was chosen, and the nearer ones that were passed over.
fn why(explanation: &Explanation) -> String {
    let Some(step) = explanation.steps.first() else {
        return String::new();
    };
    let mut words = Vec::new();
    for member in &step.members {
        let distance = member.distance_km.unwrap_or_default().round();
        if member.chosen {
            let last = if explanation.fell_back {
                ": nothing is usable, so as if all were up"
            } else {
                ""
            };
            words.push(format!("{}, {distance} km{last}", member.name));
            break;
        }
        words.push(format!("{} is down", member.name));
    }
    words.join("; ")
}
