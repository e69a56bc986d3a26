//! `windrose export`: a zone as a master file. What is steered becomes all that it may answer, whatever is healthy: another server can
//! then stand in.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::control::explain::parse_name;
use crate::load::load;
use crate::policy::model::{NodeKind, Steering, Target};
use crate::wire::code::RecordType;
use crate::wire::name::Name;
use crate::zone::export;
use crate::zone::model::{RRset, Steer};

/// What `export` takes.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The zone
    #[arg(value_name = "ZONE", value_parser = parse_name)]
    zone: Name,
}

/// Prints the zone to `out`, and to `err` the faults of its file.
pub(super) fn run(config: Option<&Path>, args: &ExportArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let loaded = load(config);
    if let Some(zone) = loaded.zones.iter().find(|zone| zone.origin == args.zone) {
        let text = export::write(zone, &|steer| expand(&loaded.steering, steer));
        // Who closes a pipe early does not want to know.
        let _ = out.write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    for fault in loaded.faults.iter().filter(|fault| fault.is_error()) {
        let _ = writeln!(err, "{fault}");
    }
    let _ = writeln!(err, "there is no zone {} without a fault", args.zone);
    ExitCode::FAILURE
}

/// The addresses of every backend that may be answered; where those are hosts, a CNAME to the first of them, since an owner has
/// no more than one.
fn expand(steering: &Steering, steer: &Steer) -> Vec<(RecordType, RRset)> {
    let Some(root) = steering.by_name.get(&steer.root) else {
        return Vec::new();
    };
    let ttl = steering.ttl(steer, *root);
    let (mut ipv4, mut ipv6, mut hosts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for pool in steering.pools_of(*root) {
        let NodeKind::Pool(pool) = &steering.node(pool).kind else {
            continue;
        };
        for backend in &pool.backends {
            match &backend.target {
                Target::Addresses { ipv4: v4, ipv6: v6 } => {
                    ipv4.extend(v4.iter().map(|(address, _)| address.octets()));
                    ipv6.extend(v6.iter().map(|(address, _)| address.octets()));
                }
                Target::Host(host) => hosts.push(host.wire().into()),
            }
        }
    }
    if ipv4.is_empty() && ipv6.is_empty() {
        hosts.truncate(1);
    } else {
        hosts.clear();
    }
    let rrset = |rtype: RecordType, rdata: Vec<Box<[u8]>>| (rtype, RRset { ttl: ttl.max, rdata });
    let sets = [
        rrset(RecordType::A, ipv4.iter().map(|octets| octets[..].into()).collect()),
        rrset(RecordType::AAAA, ipv6.iter().map(|octets| octets[..].into()).collect()),
        rrset(RecordType::CNAME, hosts),
    ];
    sets.into_iter().filter(|(_, rrset)| !rrset.rdata.is_empty()).collect()
}
