//! What a walk of the tree tells: where it ends when serving, every step when explaining. One code path; who listens decides what it costs.

use super::Family;
use super::model::NodeId;

/// What a step of the walk went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The first usable in order.
    Order,
    /// A draw by weight.
    Draw,
    /// The client's subnet.
    Sticky,
    /// The distance from the client.
    Distance,
    /// The rules that hold for the client.
    Rules,
}

/// The verdicts that a walk went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Those in force.
    Verdicts,
    /// None: everything counts as up (fallback "all", or a fallback pool).
    Waived,
    /// Those of the last moment when something was usable (fallback "last").
    Last,
}

/// Listens to a walk. Everything defaults to silence.
pub trait Ear {
    /// A policy chose one of its members (by index, in the order written).
    #[inline]
    fn chose(&mut self, _policy: NodeId, _family: Family, _under: Under, _member: usize, _how: How) {}

    /// A pool hands out a backend (by index, in the order written).
    #[inline]
    fn handed_out(&mut self, _pool: NodeId, _family: Family, _under: Under, _backend: usize, _how: How) {}

    /// A policy or pool answers for an owner; by the number of what steers it (`image::SteeredBy`).
    #[inline]
    fn steered(&mut self, _steer: u32) {}

    /// The walk ends at a pool that has something to hand out.
    #[inline]
    fn reached(&mut self, _pool: NodeId, _family: Family) {}

    /// Nothing under the root is usable: its fallback counts.
    #[inline]
    fn fell_back(&mut self, _root: NodeId, _family: Family) {}
}

/// Hears nothing and costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Ear for Silent {}

/// One thing that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// See [`Ear::chose`].
    Chose {
        /// Who chose.
        policy: NodeId,
        /// For which family.
        family: Family,
        /// By which verdicts.
        under: Under,
        /// Which of its members.
        member: usize,
        /// By what.
        how: How,
    },
    /// See [`Ear::handed_out`].
    HandedOut {
        /// Whose backend it is.
        pool: NodeId,
        /// For which family.
        family: Family,
        /// By which verdicts.
        under: Under,
        /// Which of its backends.
        backend: usize,
        /// By what.
        how: How,
    },
    /// See [`Ear::fell_back`].
    FellBack {
        /// Which root.
        root: NodeId,
        /// For which family.
        family: Family,
    },
}

/// Keeps every step.
#[derive(Debug, Clone, Default)]
pub struct Narrator {
    /// By the number of what steers the owner that answers, if one does ([`Ear::steered`]).
    pub steered: Option<u32>,
    /// In the order told.
    pub steps: Vec<Step>,
}

impl Ear for Narrator {
    fn steered(&mut self, steer: u32) {
        self.steered = Some(steer);
    }

    fn chose(&mut self, policy: NodeId, family: Family, under: Under, member: usize, how: How) {
        self.steps.push(Step::Chose {
            policy,
            family,
            under,
            member,
            how,
        });
    }

    fn handed_out(&mut self, pool: NodeId, family: Family, under: Under, backend: usize, how: How) {
        self.steps.push(Step::HandedOut {
            pool,
            family,
            under,
            backend,
            how,
        });
    }

    fn fell_back(&mut self, root: NodeId, family: Family) {
        self.steps.push(Step::FellBack { root, family });
    }
}
