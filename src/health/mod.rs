//! Is a backend fit? Verdicts on addresses. No sockets; time is an argument.

pub mod probe;
pub mod tracker;

/// What is believed of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Verdict {
    /// Its probes pass.
    Up,
    /// A probe fails: it is not handed out.
    Down,
    /// No probe has spoken yet, or there is none: it counts as healthy.
    #[default]
    Unknown,
}

impl Verdict {
    /// `up`, `down` or `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Up => "up",
            Verdict::Down => "down",
            Verdict::Unknown => "unknown",
        }
    }
}

/// An address of a backend of a pool, by its place in [`Verdicts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressId(pub u32);

/// The verdicts in force, one for each address of each backend of each pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdicts(Vec<Verdict>);

impl Verdicts {
    /// As many addresses, all unknown.
    pub fn unknown(addresses: usize) -> Self {
        Self(vec![Verdict::Unknown; addresses])
    }

    /// The verdict on an address; unknown for one that was never judged.
    pub fn of(&self, address: AddressId) -> Verdict {
        self.0.get(address.0 as usize).copied().unwrap_or_default()
    }

    /// Whether the address may be handed out.
    pub fn healthy(&self, address: AddressId) -> bool {
        self.of(address) != Verdict::Down
    }

    /// Changes the verdict on an address.
    pub fn set(&mut self, address: AddressId, verdict: Verdict) {
        let at = address.0 as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, Verdict::Unknown);
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = verdict;
        }
    }
}
