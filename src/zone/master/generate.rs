//! `$GENERATE`: records by a number that counts, as BIND has it. `$` stands for the number, `${OFFSET,WIDTH,BASE}` for one shown
//! another way, `$$` and `\$` for the sign itself.

use crate::spec::Span;
use crate::wire::rdata::Token;

/// The most records that are generated for a zone: addresses of 16 networks /16.
pub(super) const RECORDS_MAX: u32 = 1 << 20;

/// The most digits that a number is filled up to: a name has no more octets.
const WIDTH_MAX: u64 = 255;

type Wrong = (Span, String, Option<String>);

/// `START-STOP[/STEP]`.
pub(super) fn range(token: &Token<'_>) -> Result<impl Iterator<Item = i64> + use<>, Wrong> {
    let wrong = || {
        let span = token.offset..token.offset + token.raw.len();
        let hint =
            "as in `1-9` or `0-254/2`: from a number up to one that is not less, by steps of 1 or more".to_owned();
        (span, format!("{} is not a range", token.shown()), Some(hint))
    };
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        let number = text.parse::<i32>().ok().filter(|_| plain);
        number.ok_or_else(wrong)
    };
    let (bounds, step) = token.raw.split_once('/').unwrap_or((token.raw, "1"));
    let (start, stop) = bounds.split_once('-').ok_or_else(wrong)?;
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    let step = usize::try_from(step).ok().filter(|step| *step > 0 && start <= stop);
    let step = step.ok_or_else(wrong)?;
    Ok((i64::from(start)..=i64::from(stop)).step_by(step))
}

/// A text with places for the number.
pub(super) struct Template<'t>(Vec<Part<'t>>);

enum Part<'t> {
    Text(&'t str),
    Number(Shown),
}

/// How the number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    /// What is added to it.
    offset: i64,
    /// How many digits it has at least; for nibbles how many characters.
    width: usize,
    /// `d`, `o`, `x`, `X`, or `n` and `N` for hexadecimal digits with dots, the last one first.
    base: char,
}

impl<'t> Template<'t> {
    /// Reads a text that stands at an offset.
    pub(super) fn read(text: &'t str, offset: usize) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut from = 0;
        let mut at = 0;
        while let Some(octet) = text.as_bytes().get(at) {
            match octet {
                b'\\' => at += 2,
                b'$' => {
                    parts.push(Part::Text(text.get(from..at).unwrap_or_default()));
                    let rest = text.get(at + 1..).unwrap_or_default();
                    let (part, length) = Self::number(rest).ok_or_else(|| {
                        let hint = "as in `${1}`, `${0,3}` or `${-8,2,x}`; bases are d, o, x, X, n and N".to_owned();
                        let place = offset + at..offset + at + 2;
                        (
                            place,
                            "what follows the `$` is not `{OFFSET,WIDTH,BASE}`".to_owned(),
                            Some(hint),
                        )
                    })?;
                    parts.push(part);
                    at += 1 + length;
                    from = at;
                }
                _ => at += 1,
            }
        }
        parts.push(Part::Text(text.get(from..).unwrap_or_default()));
        Ok(Self(parts))
    }

    /// What a `$` stands for, with how many octets after it belong to it.
    fn number(rest: &str) -> Option<(Part<'t>, usize)> {
        let mut shown = Shown {
            offset: 0,
            width: 0,
            base: 'd',
        };
        if rest.starts_with('$') {
            return Some((Part::Text("$"), 1));
        }
        let Some(inner) = rest.strip_prefix('{') else {
            return Some((Part::Number(shown), 0));
        };
        let (inner, _) = inner.split_once('}')?;
        let mut words = inner.split(',');
        shown.offset = i64::from(words.next()?.parse::<i32>().ok()?);
        if let Some(width) = words.next() {
            let width = width.parse().ok().filter(|width: &u64| *width <= WIDTH_MAX)?;
            shown.width = usize::try_from(width).ok()?;
        }
        if let Some(base) = words.next() {
            shown.base = base
                .chars()
                .next()
                .filter(|c| "doxXnN".contains(*c) && base.len() == 1)?;
        }
        let whole = words.next().is_none();
        whole.then_some((Part::Number(shown), inner.len() + 2))
    }

    /// Whether a number is shown that has no 32 bits: BIND, whose directive this is, has no such numbers.
    pub(super) fn overflows(&self, number: i64) -> bool {
        self.0.iter().any(|part| match part {
            Part::Number(shown) => i32::try_from(number + shown.offset).is_err(),
            Part::Text(_) => false,
        })
    }

    /// The text for a number.
    pub(super) fn with(&self, number: i64) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Number(shown) => text.push_str(&shown.number(number)),
            }
        }
        text
    }
}

impl Shown {
    fn number(&self, number: i64) -> String {
        let (value, width) = (number + self.offset, self.width);
        match self.base {
            'o' => format!("{value:0width$o}"),
            'x' => format!("{value:0width$x}"),
            'X' => format!("{value:0width$X}"),
            'n' => nibbles(format!("{value:x}"), width),
            'N' => nibbles(format!("{value:X}"), width),
            _ => format!("{value:0width$}"),
        }
    }
}

/// Digits from the last to the first with dots between, filled up with zeros to so many characters.
fn nibbles(digits: String, width: usize) -> String {
    let mut text = String::new();
    let mut left = width;
    let mut digits = digits.chars().rev().peekable();
    loop {
        text.push(digits.next().unwrap_or('0'));
        left = left.saturating_sub(1);
        if left == 0 && digits.peek().is_none() {
            return text;
        }
        text.push('.');
        left = left.saturating_sub(1);
        if left == 0 && digits.peek().is_none() {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<Vec<i64>> {
        let token = Token {
            offset: 0,
            raw: text,
            quoted: false,
        };
        range(&token).ok().map(Iterator::collect)
    }

    #[test]
    fn ranges() {
        assert_eq!(numbers("1-3"), Some(vec![1, 2, 3]));
        assert_eq!(numbers("0-10/5"), Some(vec![0, 5, 10]));
        for text in [
            "3-1",
            "1-2/0",
            "1",
            "-1-2",
            "1-2-3",
            "a-b",
            "1-2/",
            "1-4294967295",
            "+1-2",
        ] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_as_asked() {
        let with = |text: &str, number| Template::read(text, 0).ok().map(|template| template.with(number));
        for (text, number, shown) in [
            ("a-$.b", 7, "a-7.b"),
            ("$$ \\$ $", 7, "$ \\$ 7"),
            ("${10} ${-2,4} ${0,3,x} ${0,0,X} ${0,4,o}", 12, "22 0010 00c C 0014"),
            ("${0,1,n} ${0,7,N}", 26, "a.1 A.1.0.0"),
            ("${0,3,n} ${0,4,n}", 1, "1.0 1.0."),
        ] {
            assert_eq!(with(text, number).as_deref(), Some(shown), "{text}");
        }
        for text in ["${", "${a}", "${1,2,3}", "${1,2,d,x}", "${0,99999}", "${}"] {
            assert_eq!(with(text, 1), None, "{text}");
        }
    }
}
