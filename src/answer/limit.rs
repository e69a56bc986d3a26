//! Response rate limiting, between the second stage and the third: what is located is held against what the client's network had in this
//! second. Who has proved its address has no limit, since nobody can be flooded in its name.
//!
//! Streams prove an address, so that [`super::answer`] has no part of it: whoever carries datagrams asks here, and only where there
//! are limits. It costs nobody else an instruction.

use super::{Located, Refusal, Request, proves_its_address};
use crate::image::Serving;
use crate::image::limiter::{Flow, Limiter, Ruling};
use crate::image::lookup::Case;
use crate::wire::query::Parsed;

/// How many responses were over a limit, by what was done about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limited {
    /// Nothing is sent.
    pub dropped: usize,
    /// TC and nothing else is.
    pub slipped: usize,
}

/// Counts what is located for a query, and puts a refusal in its place if it is over its limit.
#[inline(never)]
pub fn limit(
    limiter: &Limiter,
    parsed: &Parsed,
    located: &mut Located,
    request: &Request<'_>,
    serving: &Serving,
    limited: &mut Limited,
) {
    let Some(flow) = flow(located, serving) else { return };
    if proves_its_address(parsed, request, serving) {
        return;
    }
    match limiter.judge(request.source, flow, request.now, request.random) {
        Ruling::Send => {}
        Ruling::Slip => {
            *located = Located::Refused(Refusal::Truncated);
            limited.slipped += 1;
        }
        Ruling::Drop => {
            *located = Located::Refused(Refusal::Drop);
            limited.dropped += 1;
        }
    }
}

/// What it counts as; nothing where nothing is sent. Names below a wildcard or a DNAME are endless, so they count for that together, and
/// negative answers for their zone.
fn flow(located: &Located, serving: &Serving) -> Option<Flow> {
    let found = match located {
        Located::Refused(Refusal::Drop) => return None,
        Located::Refused(_) => return Some(Flow::Error),
        Located::Found(found) => found,
    };
    let zone = || serving.image.names.owner(found.owner).zone;
    Some(match found.case {
        Case::Entry(_) | Case::Redirect(_) => Flow::Answer(found.owner),
        Case::NoData => Flow::NoData(zone()),
        Case::NameError => Flow::NameError(zone()),
        Case::NotOurs | Case::Failed => Flow::Error,
    })
}
