//! What a person wrote, with its places: TOML walked key by key into plain structs, every fault told.
//!
//! A faulty item stays known: it keeps its name and whatever of it could be read, and is marked poisoned, so that one mistake
//! gives one fault and not a second wherever the item is named.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

pub mod file;
pub mod places;
pub mod policies;
pub mod pools;
pub mod probes;
pub mod rate_limit;
pub mod reader;
pub mod records;
pub mod rules;
pub mod settings;
pub mod steering;
pub mod syntax;
pub mod value;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, Source};

/// Octets of a source.
pub type Span = Range<usize>;

/// A value, and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> At<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// The faults of one file, collected while it is read and checked.
#[derive(Debug)]
pub struct Faults {
    source: Arc<Source>,
    list: Vec<Diagnostic>,
    errors: usize,
    slips: BTreeSet<String>,
    /// The places where faults of syntax were told, if the rest of the file could still be read.
    broken: Vec<Span>,
}

impl Faults {
    /// None yet.
    pub fn new(source: &Arc<Source>) -> Self {
        Self {
            source: source.clone(),
            list: Vec::new(),
            errors: 0,
            slips: BTreeSet::new(),
            broken: Vec::new(),
        }
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// An error.
    pub fn error(&mut self, span: &Span, message: impl Into<String>) {
        self.push(Diagnostic::error(&self.source, span.clone(), message));
    }

    /// An error, and what to do about it.
    pub fn error_hint(&mut self, span: &Span, message: impl Into<String>, hint: impl Into<Option<String>>) {
        let hint = hint.into();
        self.push(Diagnostic {
            hint,
            ..Diagnostic::error(&self.source, span.clone(), message)
        });
    }

    /// A warning, and what to do about it.
    pub fn warning_hint(&mut self, span: &Span, message: impl Into<String>, hint: impl Into<Option<String>>) {
        let hint = hint.into();
        self.push(Diagnostic {
            hint,
            ..Diagnostic::warning(&self.source, span.clone(), message)
        });
    }

    /// An error that something is not there. Where syntax is broken it may be there, and then it only counts.
    pub fn missing(&mut self, span: &Span, message: impl Into<String>, hint: impl Into<Option<String>>) {
        if self.is_broken() {
            self.errors += 1;
        } else {
            self.error_hint(span, message, hint);
        }
    }

    /// Any diagnostic about this file. Where a fault of syntax was told, others would be its echo, and only count.
    pub fn push(&mut self, fault: Diagnostic) {
        self.errors += usize::from(fault.is_error());
        let is_echo = match &fault.place {
            Place::Span(_, at) => self
                .broken
                .iter()
                .any(|span| span.start <= at.start && at.start <= span.end),
            Place::File(_) => false,
        };
        if !is_echo {
            self.list.push(fault);
        }
    }

    /// Notes where faults of syntax were told in a file of which the rest is read on.
    pub fn set_broken(&mut self, places: Vec<Span>) {
        self.broken = places;
    }

    /// Whether the syntax of the file is broken in places.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether a word stands where the syntax is broken.
    pub fn may_hide(&self, word: &str) -> bool {
        let text = |span: &Span| self.source.text.get(span.clone()).unwrap_or_default();
        self.broken.iter().any(|span| text(span).contains(word))
    }

    /// How many errors there are so far: whoever reads an item compares before and after, to know whether it is poisoned.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Whether there is none, nor a warning.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.errors == 0
    }

    /// Notes that an owner stands in this place, where none belongs; gives whether it is the first there. A header that is
    /// missing puts many owners in one wrong place, and is one mistake.
    pub fn first_slip(&mut self, place: &str) -> bool {
        self.slips.insert(place.to_owned())
    }

    /// All of them, in the order of their places; those of files that are included come after.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let (mut own, mut included): (Vec<_>, Vec<_>) = self
            .list
            .into_iter()
            .partition(|fault| fault.path() == self.source.path);
        let start = |fault: &Diagnostic| match &fault.place {
            Place::Span(_, span) => span.start,
            Place::File(_) => 0,
        };
        own.sort_by_key(start);
        included.sort_by(|a, b| (a.path(), start(a)).cmp(&(b.path(), start(b))));
        own.append(&mut included);
        own
    }
}
