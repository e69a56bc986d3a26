//! Presentation form cut into tokens (RFC 1035 5.1): words and quoted strings, each with its place in the text.

use super::RdataError;

/// A word or a quoted string, its escapes not yet undone.
#[derive(Debug, Clone, Copy)]
pub struct Token<'t> {
    /// The octet of the text at which it starts, after an opening quote.
    pub offset: usize,
    /// As written, without the quotes around it.
    pub raw: &'t str,
    /// Whether it stood in quotes as a whole.
    pub quoted: bool,
}

/// Cuts a text into its tokens. Parentheses, which only allow line breaks in a master file, are balanced and dropped.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, RdataError> {
    if let Some(offset) = text.find(['\n', '\r']) {
        return Err(RdataError::new(offset, "the data of a record stands on one line"));
    }
    let mut tokens = Vec::new();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(first) = text.as_bytes().get(at) {
        match first {
            b' ' | b'\t' => at += 1,
            b'(' => {
                open.push(at);
                at += 1;
            }
            b')' if open.pop().is_some() => at += 1,
            b')' => return Err(RdataError::new(at, "`)` closes nothing")),
            b';' => {
                return Err(RdataError::new(at, "`;` would start a comment")
                    .hint("put text that holds a `;` in quotes, or write `\\;`"));
            }
            _ => {
                let (token, after) = token(text, at)?;
                let rest = text.get(after..).unwrap_or_default();
                if !rest.is_empty() && !rest.starts_with([' ', '\t', '(', ')', ';']) {
                    return Err(RdataError::new(after, "a space is missing after the closing quote"));
                }
                tokens.push(token);
                at = after;
            }
        }
    }
    match open.pop() {
        Some(offset) => Err(RdataError::new(offset, "`(` is not closed")),
        None => Ok(tokens),
    }
}

/// The token that starts at an offset, and where the text goes on after it. A word ends where the line does; a quoted string may
/// go on over lines.
pub fn token(text: &str, at: usize) -> Result<(Token<'_>, usize), RdataError> {
    let quoted = text.as_bytes().get(at) == Some(&b'"');
    let start = at + usize::from(quoted);
    let end = if quoted {
        quoted_end(text, start).ok_or_else(|| RdataError::new(at, "a quoted string is not closed"))?
    } else {
        word_end(text, start)?
    };
    let token = Token {
        offset: start,
        raw: text.get(start..end).unwrap_or_default(),
        quoted,
    };
    Ok((token, end + usize::from(quoted)))
}

/// Where the quoted string ends whose text starts at an offset: at its closing quote.
fn quoted_end(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match text.as_bytes().get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where a word ends. Inside it there may be quotes, as in `alpn="h2,h3"`; what takes no such thing finds the quote when it
/// undoes the escapes.
fn word_end(text: &str, start: usize) -> Result<usize, RdataError> {
    let mut inside = None;
    let mut at = start;
    loop {
        match text.as_bytes().get(at) {
            None | Some(b'\n' | b'\r') => match inside {
                Some(opening) => return Err(RdataError::new(opening, "a quoted string is not closed")),
                None => return Ok(at),
            },
            Some(b'\\') => match text.as_bytes().get(at + 1) {
                None | Some(b'\n' | b'\r') => return Err(RdataError::new(at, "the text ends in a lone `\\`")),
                Some(_) => at += 2,
            },
            Some(b'"') => {
                inside = if inside.is_some() { None } else { Some(at) };
                at += 1;
            }
            Some(b' ' | b'\t' | b'(' | b')' | b';') if inside.is_none() => return Ok(at),
            Some(_) => at += 1,
        }
    }
}

impl<'t> Token<'t> {
    /// A fault at this token, which `message` is told to quote.
    pub(super) fn fault(&self, message: impl Into<String>) -> RdataError {
        RdataError::new(self.offset, message)
    }

    /// Where a quote stands in it without a `\\` before it.
    pub(super) fn bare_quote(&self) -> Option<usize> {
        let mut octets = self.raw.bytes().enumerate();
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'\\' => drop(octets.next()),
                b'"' => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// The token as a message quotes it: not without end.
    pub fn shown(&self) -> String {
        let line = self.raw.lines().next().unwrap_or_default();
        match line.char_indices().nth(60) {
            Some((cut, _)) => format!("`{}...`", line.get(..cut).unwrap_or_default()),
            None if line.len() < self.raw.len() => format!("`{line}...`"),
            None => format!("`{line}`"),
        }
    }

    /// The part of it from `from` on, for values after a key.
    pub(super) fn tail(&self, from: usize) -> Token<'t> {
        Token {
            offset: self.offset + from,
            raw: self.raw.get(from..).unwrap_or_default(),
            quoted: false,
        }
    }

    /// Its octets, with `\X` and `\DDD` undone (RFC 1035 5.1); other characters are taken as UTF-8.
    pub fn octets(&self) -> Result<Vec<u8>, RdataError> {
        let fault = |at: usize, message: &str| RdataError::new(self.offset + at, message);
        let mut octets = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw.bytes().enumerate();
        while let Some((at, octet)) = rest.next() {
            match octet {
                b'"' => return Err(fault(at, "a quote stands inside a word")),
                b'\\' => {
                    let (_, first) = rest.next().ok_or(fault(at, "the text ends in a lone `\\`"))?;
                    if !first.is_ascii_digit() {
                        octets.push(first);
                        continue;
                    }
                    let mut value = u32::from(first - b'0');
                    for _ in 0..2 {
                        match rest.next() {
                            Some((_, digit)) if digit.is_ascii_digit() => value = value * 10 + u32::from(digit - b'0'),
                            _ => return Err(fault(at, "`\\` with a digit needs three of them")),
                        }
                    }
                    octets.push(u8::try_from(value).map_err(|_| fault(at, "`\\DDD` goes up to 255"))?);
                }
                _ => octets.push(octet),
            }
        }
        Ok(octets)
    }
}

/// Octets as a quoted string that [`Token::octets`] reads back.
pub(super) fn quote(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() + 2);
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            0x20..=0x7e => text.push(char::from(octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_parentheses() {
        let cut = |text| {
            tokens(text)
                .unwrap()
                .iter()
                .map(|t| (t.offset, t.raw, t.quoted))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(" a ( b\\ c )"), [(1, "a", false), (5, "b\\ c", false)]);
        assert_eq!(cut("\"a;b\" k=\"x y\""), [(1, "a;b", true), (6, "k=\"x y\"", false)]);
        assert_eq!(cut("  "), []);
    }

    #[test]
    fn faults_have_their_place() {
        for (text, offset) in [
            ("a ;b", 2),
            ("a\nb", 1),
            ("a )", 2),
            ("( a", 0),
            ("a \"b", 2),
            ("a\\", 1),
            ("\"a\"b", 3),
            ("a \"b\\\"", 2),
        ] {
            assert_eq!(tokens(text).unwrap_err().offset, offset, "{text}");
        }
    }

    #[test]
    fn escapes() {
        let octets = |text| tokens(text).unwrap()[0].octets();
        assert_eq!(octets(r#""a\"\195\164\\b""#).unwrap(), b"a\"\xc3\xa4\\b");
        assert_eq!(octets("\u{e4}").unwrap(), b"\xc3\xa4");
        assert_eq!(octets(r"ab\256").unwrap_err().offset, 2);
        assert_eq!(octets(r"ab\25").unwrap_err().offset, 2);
        assert_eq!(octets("a\"b\"").unwrap_err().offset, 1);
    }
}
