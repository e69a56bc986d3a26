//! A master file cut into lines of tokens (RFC 1035 5.1): comments dropped, parentheses joined, each octet looked at once.

use crate::spec::Span;
use crate::wire::rdata::{Token, token};

/// The most tokens of one line that are kept: data of 65,535 octets written digit by digit has half as many.
const TOKENS_MAX: usize = 1 << 18;

/// What is wrong with a line as such.
#[derive(Debug)]
pub(super) struct ScanFault {
    /// Where.
    pub(super) span: Span,
    /// What.
    pub(super) message: String,
    /// Whether the rest of the file is swallowed by it.
    pub(super) last: bool,
}

/// A line that holds something; over several lines of text, where parentheses say so.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// Whether white space stands before its first token: then the owner is that of the line before.
    pub(super) indented: bool,
    /// Its tokens, at least one.
    pub(super) tokens: Vec<Token<'t>>,
    /// Where its last token ends.
    pub(super) end: usize,
}

/// The lines of a text.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    /// From the beginning; a byte order mark is skipped.
    pub(super) fn new(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self { text, at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips to the end of the line of text.
    fn skip_line(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
    }

    /// Reads the line that starts here, blank or not; a fault of it does not keep the lines after it from being read.
    fn line(&mut self) -> Result<Line<'t>, ScanFault> {
        let mut line = Line {
            indented: matches!(self.peek(), Some(b' ' | b'\t')),
            tokens: Vec::new(),
            end: self.at,
        };
        let mut open: Vec<usize> = Vec::new();
        let mut fault: Option<ScanFault> = None;
        loop {
            let here = self.at;
            let mut tell = |span: Span, message: &str, last: bool| {
                let message = message.to_owned();
                fault.get_or_insert(ScanFault { span, message, last });
            };
            match self.peek() {
                None => {
                    if let Some(opening) = open.first() {
                        tell(*opening..opening + 1, "`(` is not closed", true);
                    }
                    break;
                }
                Some(b'\n') => {
                    self.at += 1;
                    if open.is_empty() {
                        break;
                    }
                }
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b';') => self.skip_line(),
                Some(b'(') => {
                    open.push(here);
                    self.at += 1;
                }
                Some(b')') => {
                    self.at += 1;
                    if open.pop().is_none() {
                        tell(here..here + 1, "`)` closes nothing", false);
                    }
                }
                Some(_) => match token(self.text, here) {
                    Ok((token, after)) => {
                        self.at = after;
                        line.end = after;
                        if line.tokens.len() < TOKENS_MAX {
                            line.tokens.push(token);
                        } else {
                            tell(token.offset..after, "the line has too many words", false);
                        }
                    }
                    Err(wrong) => {
                        let quote = self.peek() == Some(b'"');
                        tell(wrong.offset..wrong.offset + 1, &wrong.message, quote);
                        // A string that is not closed goes on to the end of the text, a word to the end of its line.
                        self.at = if quote { self.text.len() } else { self.at };
                        self.skip_line();
                    }
                },
            }
        }
        fault.map_or(Ok(line), Err)
    }
}

impl<'t> Iterator for Scanner<'t> {
    type Item = Result<Line<'t>, ScanFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            match self.line() {
                Ok(line) if line.tokens.is_empty() => {}
                read => return Some(read),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the line is indented, and its words; or where the fault is, and whether it is the last.
    type Cut = Result<(bool, Vec<String>), (usize, bool)>;

    fn lines(text: &str) -> Vec<Cut> {
        Scanner::new(text)
            .map(|line| match line {
                Ok(line) => Ok((
                    line.indented,
                    line.tokens.iter().map(|token| token.raw.to_owned()).collect(),
                )),
                Err(fault) => Err((fault.span.start, fault.last)),
            })
            .collect()
    }

    fn words(indented: bool, words: &[&str]) -> Cut {
        Ok((indented, words.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn lines_comments_and_parentheses() {
        let text = "\u{feff}a b ; c\r\n\n ; only\n\tc (d ; e ( )\n e)f\n\"g ;\nh\"\"i\"j";
        assert_eq!(
            lines(text),
            [
                words(false, &["a", "b"]),
                words(true, &["c", "d", "e", "f"]),
                words(false, &["g ;\nh", "i", "j"]),
            ]
        );
    }

    #[test]
    fn a_fault_ends_with_its_line() {
        assert_eq!(lines("a)b\nc"), [Err((1, false)), words(false, &["c"])]);
        assert_eq!(lines("a\\\nc"), [Err((1, false)), words(false, &["c"])]);
        assert_eq!(lines("a=\"b\nc"), [Err((2, false)), words(false, &["c"])]);
        assert_eq!(lines("a (b=\"c\n) d\ne"), [Err((5, false)), words(false, &["e"])]);
        assert_eq!(lines("a (\nb\nc"), [Err((2, true))]);
        assert_eq!(lines("a \"b\nc"), [Err((2, true))]);
    }
}
