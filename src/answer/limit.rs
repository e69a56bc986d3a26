//! Response rate limiting, between the second stage and the third: what is located is held against what the client's network had in this
//! second. Who has proved its address has no limit, since nobody can be flooded in its name.

use super::{Located, Refusal, Request, proves_its_address};
use crate::image::Serving;
use crate::image::limiter::{Flow, Limiter, Ruling};
use crate::image::lookup::Case;
use crate::wire::query::Parsed;

/// Puts a refusal in the place of what is over its limit, if there are limits.
#[inline]
pub fn limit(parsed: &Parsed, located: &mut Located, request: &Request<'_>, serving: &Serving) {
    if let Some(limiter) = &serving.image.limiter {
        hold(limiter, parsed, located, request, serving);
    }
}

#[inline(never)]
fn hold(limiter: &Limiter, parsed: &Parsed, located: &mut Located, request: &Request<'_>, serving: &Serving) {
    let Some(flow) = flow(located, serving) else { return };
    if proves_its_address(parsed, request, serving) {
        return;
    }
    match limiter.judge(request.source, flow, request.now, request.random) {
        Ruling::Send => {}
        Ruling::Slip => *located = Located::Refused(Refusal::Slipped),
        Ruling::Drop => *located = Located::Refused(Refusal::Limited),
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
