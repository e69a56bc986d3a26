//! Telling the faults of a master file and of what it includes: each at its place, up to a limit.

use std::sync::Arc;

use super::Place;
use crate::diagnostic::{Diagnostic, Source};
use crate::spec::{Faults, Span};

/// The most errors of a zone that are told: with a thousand, what is wrong is more than a line.
pub(super) const ERRORS_MAX: usize = 1_000;

/// The most warnings: a file may have as many as it has records.
const WARNINGS_MAX: usize = 100;

/// The faults of a zone.
#[derive(Debug)]
pub(super) struct Told<'f> {
    faults: &'f mut Faults,
    /// The file, and those that it includes.
    files: Vec<Arc<Source>>,
    errors: usize,
    warnings: usize,
}

impl<'f> Told<'f> {
    /// None yet, of the file that `faults` are of.
    pub(super) fn new(faults: &'f mut Faults) -> Self {
        Self {
            files: vec![faults.source().clone()],
            faults,
            errors: 0,
            warnings: 0,
        }
    }

    /// Notes a file that is included; gives its number.
    pub(super) fn add_file(&mut self, file: &Arc<Source>) -> u32 {
        self.files.push(file.clone());
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    fn file(&self, number: u32) -> &Arc<Source> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.files.get(at).unwrap_or_else(|| self.faults.source())
    }

    /// An error.
    pub(super) fn error(&mut self, file: u32, span: Span, message: impl Into<String>, hint: Option<String>) {
        self.errors += 1;
        if self.errors <= ERRORS_MAX {
            let fault = Diagnostic::error(self.file(file), span, message);
            self.faults.push(Diagnostic { hint, ..fault });
        }
    }

    /// An error at a record.
    pub(super) fn error_at(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        self.error(place.file, place.span(), message, Some(hint.to_owned()));
    }

    /// An error of the zone as a whole.
    pub(super) fn error_of_zone(&mut self, message: impl Into<String>, hint: &str) {
        self.errors += 1;
        let path = self.faults.source().path.clone();
        self.faults.push(Diagnostic::file(path, message).hint(hint));
    }

    /// A warning.
    pub(super) fn warning(&mut self, file: u32, span: Span, message: impl Into<String>, hint: &str) {
        self.warnings += 1;
        if self.warnings <= WARNINGS_MAX {
            let fault = Diagnostic::warning(self.file(file), span, message);
            self.faults.push(fault.hint(hint));
        }
    }

    /// A warning at a record.
    pub(super) fn warning_at(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        self.warning(place.file, place.span(), message, hint);
    }

    /// A warning about the zone as a whole.
    pub(super) fn warning_of_zone(&mut self, message: impl Into<String>, hint: &str) {
        self.warnings += 1;
        let path = self.faults.source().path.clone();
        self.faults.push(Diagnostic::file_warning(path, message).hint(hint));
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// Says how many were not told.
    pub(super) fn finish(self) {
        let path = &self.faults.source().path.clone();
        let left_out = |count: usize, max: usize, what: &str| format!("{} more {what} are not told", count - max);
        if self.errors > ERRORS_MAX {
            let message = left_out(self.errors, ERRORS_MAX, "faults");
            self.faults.push(Diagnostic::file(path, message));
        }
        if self.warnings > WARNINGS_MAX {
            let message = left_out(self.warnings, WARNINGS_MAX, "warnings");
            self.faults.push(Diagnostic::file_warning(path, message));
        }
    }
}
