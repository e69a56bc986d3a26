//! Faults in what a person wrote: where, what, and a hint. The only way such a fault is told.
//!
//! A diagnostic points at a span of a [`Source`]; line, column and the caret under the text are worked out when it is
//! shown, so that whoever finds a fault needs nothing but the octets it is at.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// A file as it was read: its name, as the user would type it, and its text.
#[derive(Debug)]
pub struct Source {
    /// The path, relative to where the command was run if it was given so.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// Where each line starts; worked out when the first fault is shown, so that thousands of them can be.
    line_starts: OnceLock<Vec<usize>>,
}

impl Source {
    /// A source ready to be shared by what is read from it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: path.into(),
            text: text.into(),
            line_starts: OnceLock::new(),
        })
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let after_feeds = self.text.match_indices('\n').map(|(feed, _)| feed + 1);
            std::iter::once(0).chain(after_feeds).collect()
        })
    }

    /// The text of a line (from 1), without its end: what stands before an octet of it, and the rest.
    fn line_around(&self, line: usize, offset: usize) -> (&str, &str) {
        let starts = self.line_starts();
        let start = starts.get(line - 1).copied().unwrap_or(self.text.len());
        let end = starts.get(line).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        let text = text.trim_end_matches(['\n', '\r']);
        let at = offset.saturating_sub(start).min(text.len());
        text.split_at_checked(at).unwrap_or((text, ""))
    }

    /// Line and column (both from 1, columns in characters) of an octet offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts().partition_point(|start| *start <= offset);
        let start = self.line_starts().get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..offset).unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// The most characters of a line that are shown to either side of where a fault is: those of master files may have millions.
const SHOWN_MAX: usize = 200;

/// Text of foreign files as it is shown: what moves a cursor or colours a terminal stands there as a sign for itself.
fn visible(text: &str) -> String {
    let sign = |c: char| match u32::from(c) {
        9 => c,
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or(c),
        0x7f => '\u{2421}',
        _ if c.is_control() => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    text.chars().map(sign).collect()
}

/// The end of a text, and whether it is all of it.
fn last_part(text: &str) -> (&str, bool) {
    let cut = text.char_indices().rev().nth(SHOWN_MAX - 1).map_or(0, |(at, _)| at);
    (text.get(cut..).unwrap_or_default(), cut == 0)
}

/// The beginning of a text, and whether it is all of it.
fn first_part(text: &str) -> (&str, bool) {
    let cut = text.char_indices().nth(SHOWN_MAX).map_or(text.len(), |(at, _)| at);
    (text.get(..cut).unwrap_or_default(), cut == text.len())
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing of it can be used.
    Error,
    /// It can be used, but is probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Where a fault is: in the text of a file, or in (or with) a file as a whole.
#[derive(Debug, Clone)]
pub enum Place {
    /// A range of octets of a source.
    Span(Arc<Source>, Range<usize>),
    /// A file or folder that could not be read, or that as a whole is wrong.
    File(PathBuf),
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a span of a source.
    pub fn error(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: Place::Span(source.clone(), span),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at a span of a source.
    pub fn warning(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(source, span, message)
        }
    }

    /// An error with a whole file.
    pub fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: Place::File(path.into()),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning about a whole file or folder.
    pub fn file_warning(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::file(path, message)
        }
    }

    /// The same, with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it is an error (and not a warning).
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The file it is in.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Span(source, _) => &source.path,
            Place::File(path) => path,
        }
    }

    /// Line and column, both from 1; a whole file is at 1:1.
    pub fn line_column(&self) -> (usize, usize) {
        match &self.place {
            Place::Span(source, span) => source.line_column(span.start),
            Place::File(_) => (1, 1),
        }
    }
}

/// `file:line:column: error: message`, then the line with a caret under the span, then the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(
            f,
            "{}:{line}:{column}: {}: {}",
            self.path().display(),
            self.severity,
            visible(&self.message)
        )?;
        if let Place::Span(source, span) = &self.place {
            let (before, from) = source.line_around(line, span.start);
            let ((before, all_before), (from, all_from)) = (last_part(before), first_part(from));
            let dots = |all: bool| if all { "" } else { "..." };
            let gutter = line.to_string();
            // Tabs are kept in the caret's line, so that it stands under its text however wide they are shown.
            let indent = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' });
            let indent: String = dots(all_before).replace('.', " ").chars().chain(indent).collect();
            let marked = from.get(..span.len()).unwrap_or(from);
            write!(
                f,
                "\n {gutter} | {}{}{}{}\n {} | {indent}{}",
                dots(all_before),
                visible(before),
                visible(from),
                dots(all_from),
                " ".repeat(gutter.len()),
                "^".repeat(marked.chars().count().max(1))
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n   = help: {}", visible(hint))?;
        }
        Ok(())
    }
}

/// A diagnostic for programs, as JSON documents have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file it is in.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<&Diagnostic> for Fault {
    fn from(diagnostic: &Diagnostic) -> Self {
        let (line, column) = diagnostic.line_column();
        Self {
            file: diagnostic.path().display().to_string(),
            line,
            column,
            severity: diagnostic.severity.to_string(),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
        }
    }
}

/// The word of `known` that was probably meant by `word`, if one is near enough.
pub fn nearest_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).clamp(1, 3);
    known
        .into_iter()
        // Words of other lengths are farther away than that; to measure how far would take as long as the longer is.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_place_line_caret_and_hint() {
        let source = Source::new("zones/a.toml", "x = 1\n\tsteer = \"frankfrt\"\n");
        let at = source.text.find("\"frankfrt\"").unwrap();
        let shown = Diagnostic::error(&source, at..at + 10, "no pool or policy is called `frankfrt`")
            .hint("did you mean `frankfurt`?")
            .to_string();
        assert_eq!(
            shown,
            "zones/a.toml:2:10: error: no pool or policy is called `frankfrt`\n 2 | \tsteer = \"frankfrt\"\n   | \t        \
             ^^^^^^^^^^\n   = help: did you mean `frankfurt`?"
        );
    }

    #[test]
    fn shows_a_part_of_a_long_line_and_no_control_characters() {
        let source = Source::new(
            "a.zone",
            format!("{}\u{1b}[31mx\0\u{fc}y{}\n", "b".repeat(500), "c".repeat(500)),
        );
        let at = source.text.find('x').unwrap();
        let shown = Diagnostic::error(&source, at..at + 4, "bad `\u{7f}`").to_string();
        assert_eq!(
            shown,
            format!(
                "a.zone:1:506: error: bad `\u{2421}`\n 1 | ...{}\u{241b}[31mx\u{2400}\u{fc}y{}...\n   | {}^^^",
                "b".repeat(195),
                "c".repeat(196),
                " ".repeat(203)
            )
        );
    }

    #[test]
    fn guesses_only_near_words() {
        assert_eq!(nearest_word(&"x".repeat(1 << 24), ["frankfurt"]), None);
        assert_eq!(nearest_word("frankfrt", ["ashburn", "frankfurt"]), Some("frankfurt"));
        assert_eq!(nearest_word("tokyo", ["ashburn", "frankfurt"]), None);
    }
}
