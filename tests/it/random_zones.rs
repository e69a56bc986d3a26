//! Random questions to random worlds: what is compiled answers as the plain way does, and as the RFCs say whatever both do.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use windrose::answer::{self, Located, Outcome, Refusal, Request, ResponseBuffer, Transport, answer};
use windrose::image::Serving;
use windrose::policy::trace::Silent;
use windrose::wire::query::Parsed;

use crate::message::{Message, Record, decode};
use crate::plain::{Plain, plain};
use crate::questions::{Question, questions};
use crate::rfc;
use crate::worlds::{World, worlds};

/// The response to octets; `None` for none.
fn respond(serving: &Serving, request: &Request<'_>, response: &mut ResponseBuffer) -> Option<Vec<u8>> {
    match answer(request, serving, response) {
        Outcome::Dropped => None,
        Outcome::Answered(_) => Some(response.as_slice().to_vec()),
    }
}

/// The most octets that a response may have.
fn size_allowed(question: &Question) -> usize {
    match (question.transport, &question.edns) {
        (Transport::Tcp, _) => 65_535,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size).clamp(512, 1232),
    }
}

/// Another implementation reads it to its last octet. It knows no client subnet of family 0, as some clients send it and get it back, and stumbles
/// over what stands beside one.
pub(crate) fn hickory_reads(octets: &[u8]) -> Result<(), String> {
    if octets.windows(8).any(|option| option == [0, 8, 0, 4, 0, 0, 0, 0]) {
        return Ok(());
    }
    let mut decoder = BinDecoder::new(octets);
    let read = hickory_proto::op::Message::read(&mut decoder);
    read.map_err(|error| format!("hickory: {error} in {octets:02x?}"))?;
    match decoder.is_empty() {
        true => Ok(()),
        false => Err(format!("hickory leaves octets of {octets:02x?}")),
    }
}

/// Whether a response is one of those that may be given.
fn differs(plain: &Plain, message: &Message, question: &Question, world: &World) -> Option<String> {
    let flag = |bit: u16| message.flags & bit != 0;
    let heads = [
        (plain.rcode, message.rcode, "rcode"),
        (plain.authoritative.into(), flag(0x0400).into(), "AA"),
        (plain.truncated.into(), flag(0x0200).into(), "TC"),
    ];
    for (expected, got, what) in heads {
        if expected != got {
            return Some(format!("{what} is {got}, not {expected}"));
        }
    }
    let (count, pool) = &plain.steered;
    let (steered, fixed): (Vec<Record>, Vec<Record>) = message.sections[0]
        .iter()
        .cloned()
        .partition(|record| pool.contains(record));
    let sections = [&fixed, &message.sections[1], &message.sections[2]];
    for (expected, got) in plain.sections.iter().zip(sections) {
        let mut got = got.clone();
        got.sort();
        if *expected != got {
            return Some(format!("a section is {got:?}, not {expected:?}"));
        }
    }
    if steered.iter().collect::<BTreeSet<_>>().len() != *count {
        return Some(format!("{count} of {pool:?} should be in {steered:?}"));
    }
    let options = question.edns.as_ref().map(|edns| {
        let subnet = edns.subnet_option(plain.scope).filter(|_| world.options.client_subnet);
        let subnet = subnet.filter(|_| plain.rcode != 1).map(|data| (8, data));
        let nsid = edns.nsid.then(|| (3, world.options.nsid.clone()));
        subnet.into_iter().chain(nsid).collect::<Vec<_>>()
    });
    let mut got = message.opt.as_ref().map(|opt| opt.options.clone());
    let error = got.iter_mut().flatten().position(|(code, _)| *code == 15);
    let error = error.and_then(|at| got.as_mut().map(|options| options.remove(at).1));
    let expected_error = plain.error.filter(|_| question.edns.is_some());
    if error.map(|data| u16::from_be_bytes([data[0], data[1]])) != expected_error {
        return Some(format!("the extended error is not {expected_error:?}"));
    }
    (options != got).then(|| format!("options are {got:02x?}, not {options:02x?}"))
}

/// Everything that is asked of one response to one well-formed query.
fn check(world: &World, serving: &Serving, question: &Question, response: &mut ResponseBuffer) -> Result<(), String> {
    let octets = question.octets();
    let Some(answered) = respond(serving, &question.request(&octets), response) else {
        return Err("dropped".to_owned());
    };
    hickory_reads(&answered)?;
    let message = decode(&answered)?;
    if answered.len() > size_allowed(question) {
        return Err(format!("{} octets", answered.len()));
    }
    rfc::header(&octets, &message)?;
    if message.questions != octets[12..12 + question.name.wire().len() + 4] {
        return Err("another question".to_owned());
    }
    let opt = message.opt.as_ref();
    let flags = question
        .edns
        .as_ref()
        .map(|edns| (1232, 0, u16::from(edns.dnssec_ok) << 15));
    if opt.map(|opt| (opt.udp, opt.version, opt.flags)) != flags {
        return Err(format!("another OPT record: {opt:?}"));
    }
    rfc::records(world, question, &message)?;
    let expected = plain(world, question);
    let differences: Vec<String> = expected
        .iter()
        .map_while(|plain| differs(plain, &message, question, world))
        .collect();
    if differences.len() == expected.len() {
        return Err(format!("{}\nin {message:?}", differences.join("\nor ")));
    }
    Ok(())
}

/// The three stages over a whole batch, as the UDP path runs them.
fn batch(serving: &Serving, requests: &[Request<'_>], responses: &mut [ResponseBuffer]) -> Vec<Outcome> {
    let parsed: Vec<Parsed> = requests
        .iter()
        .map(|request| answer::parse(request.bytes, &serving.image.names.key))
        .collect();
    let mut located = vec![Located::Refused(Refusal::Drop); requests.len()];
    for ((slot, parsed), request) in located.iter_mut().zip(&parsed).zip(requests) {
        *slot = answer::locate(parsed, request, serving);
    }
    let stages = parsed.iter().zip(&located).zip(requests).zip(responses);
    stages
        .map(|(((parsed, located), request), response)| {
            answer::write(parsed, located, request, serving, response, &mut Silent)
        })
        .collect()
}

/// One change to octets.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index),
}

/// Random changes.
pub(crate) fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => any::<Index>().prop_map(Change::Cut),
        2 => (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, octets)| Change::Insert(at, octets)),
        1 => any::<Index>().prop_map(Change::Remove),
    ]
}

impl Change {
    /// Makes the change.
    pub(crate) fn apply(&self, octets: &mut Vec<u8>) {
        let length = octets.len();
        match self {
            _ if octets.is_empty() => {}
            Self::Flip(at, bits) => octets[at.index(length)] ^= bits,
            Self::Cut(at) => octets.truncate(at.index(length)),
            Self::Insert(at, new) => {
                let at = at.index(length);
                octets.splice(at..at, new.iter().copied());
            }
            Self::Remove(at) => _ = octets.remove(at.index(length)),
        }
    }
}

/// Any octets at all get a well-formed response or none.
fn check_octets(serving: &Serving, request: &Request<'_>, response: &mut ResponseBuffer) -> Result<(), String> {
    let octets = request.bytes;
    let Some(answered) = respond(serving, request, response) else {
        // Only what cannot be answered: RFC 1035 has no way to answer less than a header, and a response is not to be answered.
        let why = octets.len() < 12 || octets[2] & 0x80 != 0;
        return if why { Ok(()) } else { Err("dropped".to_owned()) };
    };
    hickory_reads(&answered)?;
    let message = decode(&answered)?;
    rfc::header(octets, &message)?;
    rfc::opt_for_opt(octets, &message)?;
    if octets[2] & 0x80 != 0 {
        return Err("a response was answered".to_owned());
    }
    let most = if request.transport == Transport::Udp {
        1232
    } else {
        65_535
    };
    if answered.len() > most || message.question_count > 1 || !octets[12..].starts_with(&message.questions) {
        return Err(format!("{message:?}"));
    }
    let records = message.sections.iter().any(|section| !section.is_empty());
    if records && ![0, 3].contains(&message.rcode) {
        return Err(format!("records with an error: {message:?}"));
    }
    Ok(())
}

/// A world has many questions: few of them make many cases. `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(300),
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    }
}

/// The random questions reach every kind of answer, each often enough.
#[test]
fn every_kind_of_answer_is_reached() {
    let mut runner = TestRunner::deterministic();
    let strategy = (worlds(), vec(questions(), 24));
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut response = ResponseBuffer::with_capacity(65_535);
    for _ in 0..500 {
        let (world, plans) = strategy.new_tree(&mut runner).unwrap().current();
        let serving = world.serving([5, 6]);
        for plan in plans {
            let question = plan.question(&world);
            let octets = question.octets();
            let answered = respond(&serving, &question.request(&octets), &mut response).unwrap();
            for kind in rfc::kinds(&question, &decode(&answered).unwrap()) {
                *kinds.entry(kind).or_default() += 1;
            }
        }
    }
    for kind in rfc::KINDS {
        let count = kinds.get(kind).copied().unwrap_or(0);
        assert!(count >= 5, "{kind}: {count} of {kinds:#?}");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn compiled_answers_are_the_plain_ones(world in worlds(), plans in vec(questions(), 1..=24), key: [u64; 2]) {
        let serving = world.serving(key);
        let mut response = ResponseBuffer::with_capacity(65_535);
        for plan in plans {
            let question = plan.question(&world);
            let checked = check(&world, &serving, &question, &mut response);
            prop_assert!(checked.is_ok(), "{question:?}\n{}", checked.unwrap_err());
        }
    }

    #[test]
    fn any_octets_are_answered_well_or_dropped(
        world in worlds(),
        mutated in vec((questions(), vec(changes(), 1..5)), 1..=24),
        arbitrary in vec(vec(any::<u8>(), 0..80), 0..8),
        transports in any::<(bool, u64)>(),
    ) {
        let serving = world.serving([1, 2]);
        let mut response = ResponseBuffer::with_capacity(65_535);
        let mut all = arbitrary;
        for (plan, changes) in mutated {
            let mut octets = plan.question(&world).octets();
            changes.iter().for_each(|change| change.apply(&mut octets));
            all.push(octets);
        }
        for bytes in &all {
            let transport = if transports.0 { Transport::Udp } else { Transport::Tcp };
            let source = std::net::Ipv4Addr::new(192, 0, 2, 9).into();
            let request = Request { bytes, source, transport, random: transports.1, now: 0 };
            let checked = check_octets(&serving, &request, &mut response);
            prop_assert!(checked.is_ok(), "{bytes:02x?}\n{}", checked.unwrap_err());
        }
    }

    /// Stage by stage over a batch, or query by query: the same octets, whatever the buffers held before.
    #[test]
    fn a_batch_is_answered_as_its_queries_are(
        world in worlds(),
        plans in vec((questions(), prop_oneof![4 => Just(vec![]), 1 => vec(changes(), 1..3)]), 32),
    ) {
        let serving = world.serving([3, 4]);
        let asked: Vec<(Question, Vec<u8>)> = plans
            .iter()
            .map(|(plan, changes)| {
                let question = plan.question(&world);
                let mut octets = question.octets();
                changes.iter().for_each(|change| change.apply(&mut octets));
                (question, octets)
            })
            .collect();
        let requests: Vec<Request<'_>> = asked.iter().map(|(question, octets)| question.request(octets)).collect();
        let mut used: Vec<ResponseBuffer> = requests.iter().map(|_| ResponseBuffer::with_capacity(65_535)).collect();
        // Every buffer holds another query's response first.
        for (request, response) in requests.iter().rev().zip(&mut used) {
            answer(request, &serving, response);
        }
        let outcomes = batch(&serving, &requests, &mut used);
        for ((request, outcome), response) in requests.iter().zip(outcomes).zip(&used) {
            let mut fresh = ResponseBuffer::with_capacity(65_535);
            prop_assert_eq!(answer(request, &serving, &mut fresh), outcome);
            if outcome != Outcome::Dropped {
                prop_assert_eq!(fresh.as_slice(), response.as_slice());
            }
        }
    }
}
