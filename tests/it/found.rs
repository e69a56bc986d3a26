//! What random worlds found: for each fault the smallest world that shows it.

use std::sync::Arc;

use windrose::answer::{ResponseBuffer, answer};
use windrose::health::Verdicts;
use windrose::image::{Image, Options, Serving};
use windrose::policy::model::{Fallback, Steering};
use windrose::policy::tree::Forest;
use windrose::wire::code::RecordType;
use windrose::zone::model::Zone;

use crate::fixture::{SUBNET, policy, pool, query, query_edns, request, zone};
use crate::message::{Message, decode};

fn ask(zones: &[Zone], steering: Steering, bytes: &[u8]) -> Message {
    let options = Options {
        client_subnet: true,
        ..Options::default()
    };
    let image = Image::compile(zones, &[], Forest::without_databases(steering), options, [1, 2]);
    let serving = Serving::new(Arc::new(image), &Verdicts::default());
    let mut response = ResponseBuffer::with_capacity(1232);
    answer(&request(bytes, 0), &serving, &mut response);
    decode(response.as_slice()).unwrap()
}

/// RFC 4592 4.2 leaves open what NS records of a wildcard mean: here they are data like any other, and no cut.
#[test]
fn ns_records_of_a_wildcard_are_data() {
    let zones = [zone("a.", &["* NS ns.x."])];
    let of = |rtype| {
        let message = ask(&zones, Steering::default(), &query("b.a.", rtype));
        let is_authoritative = message.flags & 0x0400 != 0;
        (
            message.rcode,
            is_authoritative,
            message.sections[0].len(),
            message.sections[1].len(),
        )
    };
    assert_eq!(of(RecordType::NS), (0, true, 1, 0));
    assert_eq!(of(RecordType::A), (0, true, 0, 1));
}

/// RFC 8020: what is below a name makes it exist, even where another zone that is served here answers for it.
#[test]
fn names_above_data_that_another_zone_hides_exist() {
    let zones = [zone("x.", &["c.b.a A 192.0.2.1"]), zone("b.a.x.", &[])];
    let message = ask(&zones, Steering::default(), &query("a.x.", RecordType::A));
    assert_eq!((message.rcode, message.sections[1].len()), (0, 1));
}

/// RFC 4035 3.1.4.1: DS is answered by the zone right above, whatever the order of the zones; others above it have no say.
#[test]
fn ds_is_of_the_zone_right_above() {
    let ds = |tag: u8| format!("b.a DS {tag} 13 2 {}", "00".repeat(32));
    let root = zone(".", &["b.a NS ns.x.", &ds(1)]);
    let above = zone("a.", &["b NS ns.x.", &ds(2).replace("b.a", "b")]);
    let child = zone("b.a.", &[]);
    for zones in [[&root, &above, &child], [&above, &root, &child]] {
        let zones = zones.map(Zone::clone);
        let message = ask(&zones, Steering::default(), &query("b.a.", RecordType::DS));
        assert_eq!(message.sections[0][0].rdata[1], 2);
    }
}

/// A fallback counts at the root only: what a pool below it would fall back to is nothing that the root may hand out.
#[test]
fn a_fallback_below_the_root_does_not_make_other_types_depend_on_clients() {
    let mut steering = Steering::default();
    pool(&mut steering, "host", "edge.x.");
    let host = steering.by_name["host"];
    let (_, sticky, root) = pool(&mut steering, "pool", "192.0.2.1 192.0.2.2");
    (*sticky, root.fallback) = (true, Fallback::Pool(host));
    policy(&mut steering, "web", windrose::policy::model::Choose::Failover, "pool");
    let bytes = query_edns("www.a.", RecordType::TXT, &SUBNET);
    let message = ask(&[zone("a.", &["www steer web"])], steering, &bytes);
    // NODATA is the same for all: scope 0.
    assert_eq!(message.opt.unwrap().options[0].1[3], 0);
}

/// A steered answer is cut to what fits, but no records at all would be NODATA.
#[test]
fn a_steered_answer_of_which_nothing_fits_is_truncated() {
    let mut steering = Steering::default();
    let long = format!("{0}.{0}.{0}.{0}.", "x".repeat(60));
    pool(&mut steering, "far", &long);
    let zone = zone("a.", &[&format!("{}.a. steer far", long.trim_end_matches('.'))]);
    let message = ask(&[zone], steering, &query(&format!("{long}a."), RecordType::A));
    assert_eq!(message.flags & 0x0200, 0x0200);
    assert!(message.sections[0].is_empty());
}
