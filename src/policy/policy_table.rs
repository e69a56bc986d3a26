//! A policy ready to choose: its members that may serve in one family, under the verdicts in force, in an order or with a way to draw, so that
//! a query looks at no more of them than it must.

use super::alias::Chance;
use super::classes::Classes;
use super::client::ClientKey;
use super::model::{Choose, NodeId, Policy};
use super::pool::{Choice, by_weight};
use super::questions::{Asked, Questions};
use super::sticky::Sticky;
use super::trace::How;
use super::usable::Usable;

/// One family of one policy.
#[derive(Debug)]
pub struct PolicyTable {
    /// For whom some member is usable.
    pub usable: Usable,
    /// Those that are usable for anybody, in the order written.
    candidates: Box<[Candidate]>,
    way: Way,
}

/// A member that may be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Its place in the policy.
    pub member: u16,
    /// The pool or policy.
    pub node: NodeId,
    weight: u32,
}

/// How one of the candidates is chosen.
#[derive(Debug)]
enum Way {
    /// The first that is usable for the client.
    Order,
    /// By weight; all candidates are usable for everybody.
    Weighted(Choice),
    /// By weight, among those that are usable for the client.
    WeightedAmong,
    /// By the client's row of a set of places: for each place the first candidate there, all of them usable for everybody.
    Nearest { set: u32, by_site: Box<[u16]> },
    /// The same, where some are not usable for everybody: the places of each candidate.
    NearestAmong { set: u32, sites: Box<[Box<[u16]>]> },
    /// The first rule that holds: its condition, and its candidate. The last one holds for everybody.
    Rules(Box<[(Option<u32>, u16)]>),
}

/// No candidate.
const NONE: u16 = u16::MAX;

/// What is beneath a policy: what its choice looks at.
pub struct Beneath<'a, F> {
    /// The classes of clients.
    pub classes: &'a Classes,
    /// For whom each node is usable.
    pub usable: F,
}

impl PolicyTable {
    /// Works out one family of a policy.
    pub fn new<'u>(
        policy: &Policy,
        sticky: Option<&Sticky>,
        asked: &Asked,
        questions: &Questions,
        beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>,
    ) -> Self {
        let members = policy.members.iter().enumerate().map(|(place, member)| Candidate {
            member: place as u16,
            node: member.node,
            weight: member.weight,
        });
        let candidates: Vec<Candidate> = members
            .filter(|candidate| *(beneath.usable)(candidate.node) != Usable::Never)
            .collect();
        match &policy.choose {
            Choose::Weighted => Self::weighted(candidates, sticky, beneath),
            Choose::Failover => Self::in_order(candidates, beneath),
            Choose::Nearest => match asked {
                Asked::Nearest { set, members } => {
                    let sites = questions.sets.get(*set as usize).map_or(0, Vec::len);
                    Self::nearest(candidates, *set, members, sites, beneath)
                }
                Asked::Nothing | Asked::Rules(_) => Self::in_order(candidates, beneath),
            },
            Choose::Rules(rules) => {
                let conditions = match asked {
                    Asked::Rules(conditions) => &conditions[..],
                    Asked::Nothing | Asked::Nearest { .. } => &[],
                };
                let leads_to = rules.rules.iter().map(|rule| rule.member);
                let rules = conditions
                    .iter()
                    .copied()
                    .map(Some)
                    .zip(leads_to)
                    .chain([(None, rules.otherwise)]);
                Self::by_rules(candidates, rules, beneath)
            }
        }
    }

    fn weighted<'u>(
        candidates: Vec<Candidate>,
        sticky: Option<&Sticky>,
        beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>,
    ) -> Self {
        let usable = union(&candidates, beneath);
        if !all_always(&candidates, beneath) {
            return Self {
                usable,
                candidates: candidates.into(),
                way: Way::WeightedAmong,
            };
        }
        let candidates = by_weight(candidates, |candidate| &mut candidate.weight);
        let weighted: Vec<_> = candidates.iter().map(Candidate::weighted).collect();
        Self {
            usable,
            candidates: candidates.into(),
            way: Way::Weighted(Choice::new(sticky, &weighted)),
        }
    }

    fn in_order<'u>(candidates: Vec<Candidate>, beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>) -> Self {
        let usable = union(&candidates, beneath);
        // Nobody gets past one that is usable for everybody.
        let first_of_all = candidates
            .iter()
            .position(|candidate| *(beneath.usable)(candidate.node) == Usable::Always);
        let count = first_of_all.map_or(candidates.len(), |first| first + 1);
        Self {
            usable,
            candidates: candidates.into_iter().take(count).collect(),
            way: Way::Order,
        }
    }

    fn nearest<'u>(
        candidates: Vec<Candidate>,
        set: u32,
        members: &[Vec<u16>],
        sites: usize,
        beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>,
    ) -> Self {
        let of = |candidate: &Candidate| &members[usize::from(candidate.member)];
        let way = if all_always(&candidates, beneath) {
            let mut by_site = vec![NONE; sites];
            for (place, candidate) in candidates.iter().enumerate().rev() {
                of(candidate)
                    .iter()
                    .for_each(|site| by_site[usize::from(*site)] = place as u16);
            }
            Way::Nearest {
                set,
                by_site: by_site.into(),
            }
        } else {
            let sites = candidates
                .iter()
                .map(|candidate| of(candidate).clone().into())
                .collect();
            Way::NearestAmong { set, sites }
        };
        Self {
            usable: union(&candidates, beneath),
            candidates: candidates.into(),
            way,
        }
    }

    fn by_rules<'u>(
        candidates: Vec<Candidate>,
        rules: impl Iterator<Item = (Option<u32>, usize)>,
        beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>,
    ) -> Self {
        let place = |member: usize| {
            candidates
                .iter()
                .position(|candidate| usize::from(candidate.member) == member)
        };
        let rules: Box<[(Option<u32>, u16)]> = rules
            .filter_map(|(condition, member)| Some((condition, place(member)? as u16)))
            .collect();
        let usable_for = |rule: &(Option<u32>, u16)| (beneath.usable)(candidates[usize::from(rule.1)].node);
        let for_all = rules
            .last()
            .is_some_and(|rule| rule.0.is_none() && *usable_for(rule) == Usable::Always);
        let usable = match for_all {
            true => Usable::Always,
            false => Usable::of(beneath.classes.count(), |class| {
                let holds =
                    |rule: &&(Option<u32>, u16)| rule.0.is_none_or(|condition| beneath.classes.holds(class, condition));
                rules.iter().filter(holds).any(|rule| usable_for(rule).is_for(class))
            }),
        };
        Self {
            usable,
            candidates: candidates.into(),
            way: Way::Rules(rules),
        }
    }

    /// Chooses for a client for whom the policy is usable.
    #[inline]
    pub fn choose<'u>(
        &self,
        sticky: Option<&Sticky>,
        client: ClientKey,
        chance: &mut Chance,
        beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>,
    ) -> (Candidate, How) {
        let usable = |place: usize| (beneath.usable)(self.candidates[place].node).is_for(client.class);
        let (place, how) = match &self.way {
            Way::Order => (self.first(usable), How::Order),
            Way::Weighted(choice) => {
                let weighted = self.candidates.iter().map(Candidate::weighted);
                let chosen = choice.choose(sticky, client.address, chance, weighted);
                (chosen, choice.how())
            }
            Way::WeightedAmong => self.draw_among(sticky, client, chance, usable),
            Way::Nearest { set, by_site } => self.nearest_site(beneath.classes, *set, by_site, client.class),
            Way::NearestAmong { set, sites } => self.nearest_among(beneath.classes, *set, sites, client.class, usable),
            Way::Rules(rules) => {
                let holds = |rule: &&(Option<u32>, u16)| {
                    let condition = rule
                        .0
                        .is_none_or(|condition| beneath.classes.holds(client.class, condition));
                    condition && usable(usize::from(rule.1))
                };
                let rule = rules.iter().find(holds);
                (rule.map_or(0, |rule| usize::from(rule.1)), How::Rules)
            }
        };
        (self.candidates[place], how)
    }

    fn first(&self, usable: impl Fn(usize) -> bool) -> usize {
        (0..self.candidates.len()).find(|place| usable(*place)).unwrap_or(0)
    }

    #[inline]
    fn nearest_site(&self, classes: &Classes, set: u32, by_site: &[u16], class: u32) -> (usize, How) {
        let mut best = NONE;
        for entry in classes.row(class, set) {
            // Of those equally near the first written, which is the least.
            if best != NONE && !entry.tied {
                break;
            }
            best = best.min(by_site[usize::from(entry.site)]);
        }
        match best {
            // Where the client is is unknown: the order written.
            NONE => (0, How::Order),
            best => (usize::from(best), How::Distance),
        }
    }

    #[cold]
    fn nearest_among(
        &self,
        classes: &Classes,
        set: u32,
        sites: &[Box<[u16]>],
        class: u32,
        usable: impl Fn(usize) -> bool,
    ) -> (usize, How) {
        let mut best = None;
        for entry in classes.row(class, set) {
            if best.is_some() && !entry.tied {
                break;
            }
            let there = (0..self.candidates.len()).find(|place| sites[*place].contains(&entry.site) && usable(*place));
            best = match (best, there) {
                (Some(best), Some(there)) => Some(there.min(best)),
                (best, there) => best.or(there),
            };
        }
        match best {
            Some(best) => (best, How::Distance),
            None => (self.first(usable), How::Order),
        }
    }

    #[cold]
    fn draw_among(
        &self,
        sticky: Option<&Sticky>,
        client: ClientKey,
        chance: &mut Chance,
        usable: impl Fn(usize) -> bool + Copy,
    ) -> (usize, How) {
        let places = (0..self.candidates.len()).filter(move |place| usable(*place));
        let positive = places.clone().any(|place| self.candidates[place].weight > 0);
        // Those of weight 0 only if there are no others, then equally.
        let shares = places.map(|place| (place, if positive { self.candidates[place].weight } else { 1 }));
        let shares = shares.filter(|(_, share)| *share > 0);
        if shares.clone().nth(1).is_none() {
            return (shares.clone().next().map_or(0, |(place, _)| place), How::Order);
        }
        if let Some(sticky) = sticky {
            let members = shares.map(|(place, share)| (usize::from(self.candidates[place].member), share));
            let winner = sticky.winner(&sticky.key(client.address), members);
            let is_winner = |candidate: &Candidate| Some(usize::from(candidate.member)) == winner;
            return (self.candidates.iter().position(is_winner).unwrap_or(0), How::Sticky);
        }
        let total = shares.clone().map(|(_, share)| share as usize).sum();
        let mut left = chance.below(total);
        for (place, share) in shares {
            match left.checked_sub(share as usize) {
                Some(rest) => left = rest,
                None => return (place, How::Draw),
            }
        }
        (0, How::Draw)
    }
}

impl Candidate {
    fn weighted(&self) -> (usize, u32) {
        (usize::from(self.member), self.weight)
    }
}

fn union<'u>(candidates: &[Candidate], beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>) -> Usable {
    let count = beneath.classes.count();
    let usable = candidates.iter().map(|candidate| (beneath.usable)(candidate.node));
    usable.fold(Usable::Never, |sum, usable| sum.or(usable, count))
}

fn all_always<'u>(candidates: &[Candidate], beneath: &Beneath<'_, impl Fn(NodeId) -> &'u Usable>) -> bool {
    candidates
        .iter()
        .all(|candidate| *(beneath.usable)(candidate.node) == Usable::Always)
}
