//! A pool ready to answer: its backends that may be handed out in one family, under the verdicts in force, and a way to draw
//! among them that does not cost more when there are more.

use std::net::IpAddr;

use super::Family;
use super::alias::{Alias, Chance};
use super::model::{ANSWERS_MAX, Answers, MEMBERS_MAX, MinHealthy, Pool, Target};
use super::sticky::{BUCKETS, Key, Scored, Sticky};
use super::trace::{How, Under};
use super::usable::Usable;
use crate::health::Verdicts;

/// Tries to draw one more different backend before the remaining ones are weighed one by one.
const REDRAWS: usize = 8;

/// One family of one pool.
#[derive(Debug)]
pub struct PoolTable {
    /// Whether the pool counts as usable for this family: for everybody or for nobody.
    pub usable: Usable,
    answers: Answers,
    candidates: Box<[Candidate]>,
    octets: Box<[u8]>,
    choice: Choice,
}

/// A backend that may be handed out.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// By its place in the pool.
    pub backend: u16,
    weight: u32,
    /// Its addresses: octets `start` to `end` of the table's.
    start: u32,
    end: u32,
}

/// How one of the candidates is chosen.
#[derive(Debug)]
pub enum Choice {
    /// There is nothing to choose from, or only one.
    First,
    /// By weight.
    Draw(Alias),
    /// By the client's subnet, each time anew.
    Sticky,
    /// By the client's subnet: the winner of each bucket.
    Buckets(Box<[u16]>),
}

impl Choice {
    /// For candidates of these places and weights.
    pub fn new(sticky: Option<&Sticky>, candidates: &[(usize, u32)]) -> Self {
        match sticky {
            _ if candidates.len() < 2 => Choice::First,
            None => Choice::Draw(Alias::new(
                &candidates.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(),
            )),
            Some(sticky) if !sticky.has_buckets() => Choice::Sticky,
            Some(sticky) => {
                let winner = |bucket| {
                    sticky
                        .winner(&Key::of_bucket(bucket), candidates.iter().copied())
                        .unwrap_or(0)
                };
                Choice::Buckets(
                    (0..BUCKETS)
                        .map(|bucket| place(candidates, winner(bucket)) as u16)
                        .collect(),
                )
            }
        }
    }

    /// The place among the candidates of the one chosen.
    #[inline]
    pub fn choose(
        &self,
        sticky: Option<&Sticky>,
        client: IpAddr,
        chance: &mut Chance,
        candidates: impl Iterator<Item = (usize, u32)> + Clone,
    ) -> usize {
        match (self, sticky) {
            (Choice::Draw(alias), _) => alias.draw(chance),
            (Choice::Sticky, Some(sticky)) => {
                let winner = sticky.winner(&sticky.key(client), candidates.clone());
                candidates
                    .into_iter()
                    .position(|(index, _)| Some(index) == winner)
                    .unwrap_or(0)
            }
            (Choice::Buckets(winners), Some(sticky)) => {
                let bucket = sticky.key(client).bucket().unwrap_or(0);
                usize::from(winners[usize::from(bucket)])
            }
            _ => 0,
        }
    }

    /// What it goes by.
    pub fn how(&self) -> How {
        match self {
            Choice::First => How::Order,
            Choice::Draw(_) => How::Draw,
            Choice::Sticky | Choice::Buckets(_) => How::Sticky,
        }
    }
}

fn place(candidates: &[(usize, u32)], index: usize) -> usize {
    candidates
        .iter()
        .position(|(candidate, _)| *candidate == index)
        .unwrap_or(0)
}

/// Keeps those of positive weight; if there are none, all, as if of weight 1.
pub fn by_weight<T>(entries: Vec<T>, weight: impl Fn(&mut T) -> &mut u32) -> Vec<T> {
    let (mut positive, mut zero): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
    for mut entry in entries {
        if *weight(&mut entry) > 0 {
            positive.push(entry)
        } else {
            zero.push(entry)
        }
    }
    if !positive.is_empty() {
        return positive;
    }
    zero.iter_mut().for_each(|entry| *weight(entry) = 1);
    zero
}

impl PoolTable {
    /// Works out one family of a pool.
    pub fn new(pool: &Pool, sticky: Option<&Sticky>, family: Family, verdicts: &Verdicts, under: Under) -> Self {
        let mut octets = Vec::new();
        let mut healthy = Vec::new();
        for (index, backend) in pool.backends.iter().enumerate() {
            let start = octets.len() as u32;
            let fit = |id| under == Under::Waived || verdicts.healthy(id);
            let host = match &backend.target {
                Target::Host(_) => true,
                Target::Addresses { ipv4, ipv6 } => {
                    match family {
                        Family::Ipv4 => ipv4
                            .iter()
                            .filter(|(_, id)| fit(*id))
                            .for_each(|(a, _)| octets.extend(a.octets())),
                        Family::Ipv6 => ipv6
                            .iter()
                            .filter(|(_, id)| fit(*id))
                            .for_each(|(a, _)| octets.extend(a.octets())),
                    }
                    false
                }
            };
            let end = octets.len() as u32;
            if host || end > start {
                healthy.push(Candidate {
                    backend: index as u16,
                    weight: backend.weight,
                    start,
                    end,
                });
            }
        }
        // "fallback waives verdicts and `min_healthy`": what was usable last was so by what was wanted then.
        let usable = !healthy.is_empty() && (under != Under::Verdicts || enough(pool, &healthy));
        let candidates = by_weight(healthy, |candidate| &mut candidate.weight);
        let weighted: Vec<_> = candidates.iter().map(Candidate::weighted).collect();
        let choice = Choice::new(sticky, &weighted);
        Self {
            usable: if usable { Usable::Always } else { Usable::Never },
            answers: pool.answers,
            candidates: candidates.into(),
            octets: octets.into(),
            choice,
        }
    }

    /// What one choice goes by.
    pub fn how(&self) -> How {
        self.choice.how()
    }

    /// The candidate at a place that [`PoolTable::pick`] gave.
    pub fn candidate(&self, place: u16) -> &Candidate {
        &self.candidates[usize::from(place)]
    }

    /// The backends that may be handed out, by their places in the pool.
    pub fn backends(&self) -> impl Iterator<Item = usize> {
        self.candidates.iter().map(|candidate| usize::from(candidate.backend))
    }

    /// The octets of the addresses of a candidate, one after another.
    #[inline]
    pub fn octets(&self, place: u16) -> &[u8] {
        let candidate = &self.candidates[usize::from(place)];
        &self.octets[candidate.start as usize..candidate.end as usize]
    }

    /// Chooses whom to hand out, at most `limit` of them: their places, in order, at the start of `places`, which holds
    /// [`MEMBERS_MAX`]. Returns how many.
    #[inline]
    pub fn pick(
        &self,
        sticky: Option<&Sticky>,
        client: IpAddr,
        chance: &mut Chance,
        limit: usize,
        places: &mut [u16],
    ) -> usize {
        let count = self.candidates.len();
        let wanted = match self.answers {
            Answers::Count(wanted) => usize::from(wanted),
            Answers::All => count,
        };
        match wanted.min(count) {
            0 => 0,
            1 if self.answers != Answers::All => {
                places[0] = self
                    .choice
                    .choose(sticky, client, chance, self.candidates.iter().map(Candidate::weighted))
                    as u16;
                1
            }
            wanted => match sticky.filter(|_| self.answers != Answers::All) {
                None if wanted == count => self.shuffle(chance, limit.min(wanted), places),
                None => self.draw(chance, limit.min(wanted), places),
                Some(sticky) => self.ranked(sticky, client, limit.min(wanted), places),
            },
        }
    }

    /// So many of all, in random order (Fisher and Yates).
    fn shuffle(&self, chance: &mut Chance, wanted: usize, places: &mut [u16]) -> usize {
        let places = &mut places[..self.candidates.len()];
        places
            .iter_mut()
            .enumerate()
            .for_each(|(index, place)| *place = index as u16);
        for at in 0..wanted {
            places.swap(at, at + chance.below(places.len() - at));
        }
        wanted
    }

    /// So many different ones by weight: drawing again what was drawn before is drawing without replacement.
    fn draw(&self, chance: &mut Chance, wanted: usize, places: &mut [u16]) -> usize {
        let Choice::Draw(alias) = &self.choice else { return 0 };
        let mut drawn = [0u64; MEMBERS_MAX / 64];
        for slot in &mut places[..wanted] {
            let new = |place: &usize| drawn[place / 64] >> (place % 64) & 1 == 0;
            let place = (0..REDRAWS).map(|_| alias.draw(chance)).find(new);
            let place = place.unwrap_or_else(|| self.weigh(chance, new));
            drawn[place / 64] |= 1 << (place % 64);
            *slot = place as u16;
        }
        wanted
    }

    /// One of those left, by weight, one by one.
    fn weigh(&self, chance: &mut Chance, left: impl Fn(&usize) -> bool) -> usize {
        let weights = || self.candidates.iter().enumerate().filter(|(place, _)| left(place));
        let total: u64 = weights().map(|(_, candidate)| u64::from(candidate.weight)).sum();
        let mut mark = ((u128::from(chance.word()) * u128::from(total)) >> 64) as u64;
        for (place, candidate) in weights() {
            match mark.checked_sub(u64::from(candidate.weight)) {
                Some(rest) => mark = rest,
                None => return place,
            }
        }
        0
    }

    /// The first so many of a client's ranking.
    fn ranked(&self, sticky: &Sticky, client: IpAddr, wanted: usize, places: &mut [u16]) -> usize {
        let weighted = self.candidates.iter().map(Candidate::weighted);
        let mut ranking = [Scored::default(); ANSWERS_MAX];
        let ranking = &mut ranking[..wanted.min(ANSWERS_MAX)];
        let count = sticky.ranked(&sticky.key(client), weighted, ranking);
        for (place, scored) in places.iter_mut().zip(&ranking[..count]) {
            let found = self
                .candidates
                .binary_search_by_key(&scored.member, |candidate| usize::from(candidate.backend));
            *place = found.unwrap_or(0) as u16;
        }
        count
    }
}

impl Candidate {
    fn weighted(&self) -> (usize, u32) {
        (usize::from(self.backend), self.weight)
    }
}

/// `min_healthy`: a count of backends, or a part of the configured weight, in exact integers.
fn enough(pool: &Pool, healthy: &[Candidate]) -> bool {
    match pool.min_healthy {
        MinHealthy::Backends(count) => healthy.len() >= count as usize,
        MinHealthy::Percent(percent) => {
            let configured: u64 = pool.backends.iter().map(|backend| u64::from(backend.weight)).sum();
            let fit: u64 = healthy.iter().map(|candidate| u64::from(candidate.weight)).sum();
            fit * 100 >= u64::from(percent) * configured
        }
    }
}
