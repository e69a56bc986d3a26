//! Whether a pool or policy is usable: for no client, for every client, or, where rules are beneath it, for those of some classes.

/// For whom something is usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usable {
    /// For nobody.
    Never,
    /// For everybody.
    Always,
    /// For the classes whose bits are set: some, but not all.
    For(Box<[u64]>),
}

impl Usable {
    /// For the classes, of so many, for which it holds.
    pub fn of(count: u32, holds: impl Fn(u32) -> bool) -> Self {
        let mut words = vec![0_u64; (count as usize).div_ceil(64)];
        let mut some = 0;
        for class in (0..count).filter(|class| holds(*class)) {
            words[class as usize / 64] |= 1 << (class % 64);
            some += 1;
        }
        match some {
            0 => Usable::Never,
            _ if some == count => Usable::Always,
            _ => Usable::For(words.into()),
        }
    }

    /// Whether it is for a class.
    #[inline]
    pub fn is_for(&self, class: u32) -> bool {
        match self {
            Usable::Never => false,
            Usable::Always => true,
            Usable::For(words) => words[class as usize / 64] >> (class % 64) & 1 != 0,
        }
    }

    /// For whom either is.
    pub fn or(&self, other: &Self, count: u32) -> Self {
        match (self, other) {
            (Usable::Always, _) | (_, Usable::Always) => Usable::Always,
            (Usable::Never, other) => other.clone(),
            (one, Usable::Never) => one.clone(),
            (one, other) => Self::of(count, |class| one.is_for(class) || other.is_for(class)),
        }
    }

    /// For whom this is and the other is not.
    pub fn without(&self, other: &Self, count: u32) -> Self {
        match (self, other) {
            (Usable::Never, _) | (_, Usable::Always) => Usable::Never,
            (one, Usable::Never) => one.clone(),
            (one, other) => Self::of(count, |class| one.is_for(class) && !other.is_for(class)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_classes() {
        let even = Usable::of(130, |class| class % 2 == 0);
        let odd = Usable::of(130, |class| class % 2 == 1);
        assert!(even.is_for(128) && !even.is_for(129));
        assert_eq!(even.or(&odd, 130), Usable::Always);
        assert_eq!(even.or(&Usable::Never, 130), even);
        assert_eq!(even.without(&even, 130), Usable::Never);
        assert_eq!(Usable::Always.without(&odd, 130), even);
        assert_eq!(Usable::of(130, |_| false), Usable::Never);
        assert_eq!(Usable::of(130, |_| true), Usable::Always);
    }
}
