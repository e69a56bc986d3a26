//! Draws in proportion to weight in constant time: the alias method of Walker, built as Vose does (IEEE Trans. Softw. Eng. 17, 1991).
//!
//! A draw takes 64 random bits: the upper half picks a slot, the lower half says which of its two entries. Probabilities are off by less
//! than 2^-32 each.

/// A source of random words: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) from a seed that is new for each query, so that
/// one random number a query is enough for a tree of any depth.
#[derive(Debug, Clone, Copy)]
pub struct Chance(u64);

impl Chance {
    /// From 64 uniform bits.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 uniform bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A uniform number below `limit` (which is at most 2^32), by multiplication.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        (((self.word() >> 32) * limit as u64) >> 32) as usize
    }
}

/// One of as many equal parts of all chance as there are entries: split between two of them.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Below this, of 2^32, it is `here`.
    threshold: u32,
    here: u16,
    other: u16,
}

/// A table to draw from.
#[derive(Debug, Clone)]
pub struct Alias(Box<[Slot]>);

impl Alias {
    /// For entries 0, 1, ... of these weights, at most 65,536 of them; entries of weight 0 are never drawn, unless all are.
    pub fn new(weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let count = weights.len() as u64;
        // In units of 1/count of the total: exactly `total` fills a slot.
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let (mut small, mut large): (Vec<u16>, Vec<u16>) = (0..weights.len())
            .map(|index| index as u16)
            .partition(|index| left[usize::from(*index)] < total);
        let mut slots: Vec<Slot> = (0..weights.len())
            .map(|index| Slot {
                threshold: u32::MAX,
                here: index as u16,
                other: index as u16,
            })
            .collect();
        while let (Some(lesser), Some(&greater)) = (small.pop(), large.last()) {
            let part = left[usize::from(lesser)];
            slots[usize::from(lesser)].threshold = ((u128::from(part) << 32) / u128::from(total)) as u32;
            slots[usize::from(lesser)].other = greater;
            left[usize::from(greater)] -= total - part;
            if left[usize::from(greater)] < total {
                large.pop();
                small.push(greater);
            }
        }
        Self(slots.into())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Draws an entry.
    #[inline]
    pub fn draw(&self, chance: &mut Chance) -> usize {
        let word = chance.word();
        let slot = &self.0[(((word >> 32) * self.0.len() as u64) >> 32) as usize];
        usize::from(if (word as u32) < slot.threshold {
            slot.here
        } else {
            slot.other
        })
    }

    /// The probability of each entry, as the table has it.
    pub fn probabilities(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.0.len()];
        for slot in &self.0 {
            let here = if slot.here == slot.other {
                1.0
            } else {
                f64::from(slot.threshold) / 4_294_967_296.0
            };
            sums[usize::from(slot.here)] += here;
            sums[usize::from(slot.other)] += 1.0 - here;
        }
        sums.iter().map(|sum| sum / self.0.len() as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn probabilities_are_those_of_the_weights(weights in prop::collection::vec(prop_oneof![0u32..4, 0u32..1 << 20], 1..200)) {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            prop_assume!(total > 0.0);
            for (probability, weight) in Alias::new(&weights).probabilities().iter().zip(&weights) {
                prop_assert!((probability - f64::from(*weight) / total).abs() < 1e-9);
                prop_assert!(*weight > 0 || *probability == 0.0);
            }
        }

        #[test]
        fn draws_follow_the_table(seed: u64, weights in prop::collection::vec(0u32..100, 1..20)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let alias = Alias::new(&weights);
            let mut chance = Chance::new(seed);
            for _ in 0..100 {
                prop_assert!(weights[alias.draw(&mut chance)] > 0);
            }
        }
    }
}
