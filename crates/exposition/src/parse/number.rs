//! Floats as Prometheus reads them: Go's `strconv.ParseFloat` without hexadecimal and underscores.
//!
//! Decimal digits with a point and an exponent, `Inf` and `Infinity` with a sign, `NaN` without, words in any case. A number beyond
//! the range of a double is an error, one too small is zero.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Number of decimal digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// Whole numbers up to here are exact as doubles.
const MAX_EXACT: u64 = 1 << 53;

/// A number at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Length in bytes.
    pub(super) len: usize,
    /// The value; without `exact` it may be off by a few units in the last place.
    pub(super) value: f64,
    exact: bool,
}

impl Number {
    /// Parses the number at the start of `text`. The caller checks the bytes after it.
    #[inline]
    pub(super) fn at_start(text: &[u8]) -> Option<Self> {
        // Most numbers are a few digits, some with a point, and nothing else.
        let mut digits = 0u64;
        let mut len = 0;
        while let Some(byte @ b'0'..=b'9') = text.get(len) {
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            len += 1;
        }
        let whole = len;
        if text.get(len) == Some(&b'.') {
            len += 1;
            while let Some(byte @ b'0'..=b'9') = text.get(len) {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                len += 1;
            }
        }
        let simple = matches!(text.get(len), None | Some(b'\n' | b' ')) && len > usize::from(whole < len) && len <= MAX_DIGITS;
        if !simple {
            return Self::general(text);
        }
        let fraction = (len - whole).saturating_sub(1);
        Self::of(len, false, digits, -(fraction as i64))
    }

    /// `digits` times ten to the `power`, if that power is one that a double holds.
    #[inline]
    #[allow(clippy::cast_precision_loss, reason = "`exact` tells when digits are lost")]
    fn of(len: usize, negative: bool, digits: u64, power: i64) -> Option<Self> {
        let scale = POWERS.get(usize::try_from(power.unsigned_abs()).ok()?)?;
        let value = if power < 0 { digits as f64 / scale } else { digits as f64 * scale };
        Some(Self {
            len,
            value: if negative { -value } else { value },
            exact: digits <= MAX_EXACT,
        })
    }

    #[inline(never)]
    fn general(text: &[u8]) -> Option<Self> {
        let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
        let mut reader = Digits {
            text,
            at: sign,
            ..Digits::default()
        };
        let whole = reader.run();
        let mut fraction = 0;
        if text.get(reader.at) == Some(&b'.') {
            reader.at += 1;
            reader.in_fraction = true;
            fraction = reader.run();
        }
        if whole + fraction == 0 {
            return Self::word(text, sign);
        }
        let power = reader.power.saturating_add(reader.exponent()?);
        let len = reader.at;
        let simple = if reader.dropped {
            None
        } else {
            Self::of(len, text[0] == b'-', reader.digits, power)
        };
        simple.or_else(|| Self::slow(&text[..len]))
    }

    /// Parses all other numbers with the standard library, which has the same grammar.
    fn slow(token: &[u8]) -> Option<Self> {
        let value: f64 = std::str::from_utf8(token).ok()?.parse().ok()?;
        value.is_finite().then_some(Self {
            len: token.len(),
            value,
            exact: true,
        })
    }

    fn word(text: &[u8], sign: usize) -> Option<Self> {
        let word = &text[sign..];
        let starts = |with: &str| {
            word.get(..with.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
        };
        let infinity = if text.first() == Some(&b'-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        let (value, len) = if starts("infinity") {
            (infinity, 8)
        } else if starts("inf") {
            (infinity, 3)
        } else if sign == 0 && starts("nan") {
            (f64::NAN, 3)
        } else {
            return None;
        };
        Some(Self {
            len: sign + len,
            value,
            exact: true,
        })
    }

    /// Parses all of `text` as a number, with its exact value.
    #[inline]
    pub(super) fn whole(text: &[u8]) -> Option<Self> {
        let number = Self::at_start(text).filter(|number| number.len == text.len())?;
        if number.exact { Some(number) } else { Self::slow(text) }
    }
}

/// The digits of a number, without the zeros before them.
#[derive(Default)]
struct Digits<'a> {
    text: &'a [u8],
    at: usize,
    digits: u64,
    /// Number of significant digits in `digits`.
    significant: usize,
    /// True if there were more than [`MAX_DIGITS`] digits.
    dropped: bool,
    power: i64,
    in_fraction: bool,
}

impl Digits<'_> {
    /// Reads digits and returns their number.
    fn run(&mut self) -> usize {
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.text.get(self.at) {
            if self.significant == MAX_DIGITS {
                self.dropped = true;
            } else {
                self.digits = self.digits * 10 + u64::from(byte - b'0');
                self.significant += usize::from(self.digits > 0);
                self.power -= i64::from(self.in_fraction);
            }
            self.at += 1;
        }
        self.at - start
    }

    /// Reads an exponent, 0 if there is none; `None` if it has no digits.
    fn exponent(&mut self) -> Option<i64> {
        if !matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            return Some(0);
        }
        let sign = self.text.get(self.at + 1);
        let start = self.at + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
        let mut exponent = 0i64;
        self.at = start;
        while let Some(byte @ b'0'..=b'9') = self.text.get(self.at) {
            exponent = exponent.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
            self.at += 1;
        }
        let exponent = if sign == Some(&b'-') { -exponent } else { exponent };
        (self.at > start).then_some(exponent)
    }
}

#[cfg(test)]
mod tests;
