//! Word-wise byte scanning: common prefixes, ends of names and of quoted strings.

use crate::reason::Reason;

/// Byte offset of an error, and its reason.
pub(crate) type ParseError = (usize, Reason);

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Sets the top bit of each byte that is zero. Only the lowest set bit is reliable.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok())
        .map(u64::from_le_bytes)
}

const BLOCK: usize = 32;

#[inline]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..at + BLOCK).and_then(|block| block.try_into().ok())
}

/// Length of the common prefix of `a` and `b`.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(x), Some(y)) = (block(a, at), block(b, at)) {
        if x != y {
            break;
        }
        at += BLOCK;
    }
    while let (Some(x), Some(y)) = (word(a, at), word(b, at)) {
        if x != y {
            return at + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at
}

/// Sets the top bit of each quote, backslash and newline. Only the lowest set bit is reliable.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    zero_bytes(word ^ (ONES * b'"' as u64)) | zero_bytes(word ^ (ONES * b'\\' as u64)) | zero_bytes(word ^ (ONES * b'\n' as u64))
}

/// Index of the first quote, backslash or newline at or after `at`; the length of the text if there is none.
#[inline]
pub(crate) fn find_special(text: &[u8], mut at: usize) -> usize {
    // Label values are short: a handful of words here costs less than calling a search made for long texts.
    while let Some(word) = word(text, at) {
        let marks = special_bytes(word);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))
        .unwrap_or(rest.len())
}

/// True if a quote, a backslash or a newline is among these bytes. Without an early exit, because compilers make vectors of it.
#[inline]
pub(crate) fn any_special<const N: usize>(text: &[u8; N]) -> bool {
    let is_special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte == b'\n');
    text.iter().fold(false, |so_far, byte| so_far | is_special(*byte))
}

/// True if a quote, a backslash or a newline is among the first `len` bytes.
#[inline]
pub(crate) fn has_special<const N: usize>(text: &[u8; N], len: usize) -> bool {
    let mut at = 0;
    while at < len {
        let Some(word) = word(text, at) else {
            return find_special(text, at) < len;
        };
        let marks = special_bytes(word);
        if marks != 0 {
            return at + ((marks.trailing_zeros() / 8) as usize) < len;
        }
        at += 8;
    }
    false
}

/// Index of the closing quote of the string that starts behind its quote at `at`. The only escapes are `\\`, `\"` and `\n`, so that equal
/// strings have equal bytes.
#[inline]
pub(crate) fn closing_quote(text: &[u8], mut at: usize) -> Result<usize, ParseError> {
    loop {
        at = find_special(text, at);
        match text.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => {
                if !matches!(text.get(at + 1), Some(b'\\' | b'"' | b'n')) {
                    return Err((at, Reason::Escape(text.get(at + 1).copied().unwrap_or(b'\n'))));
                }
                at += 2;
            }
            _ => return Err((at, Reason::OpenString)),
        }
    }
}

/// Returns true for whitespace inside a line.
#[inline]
pub(crate) const fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Index of the first byte at or after `at` that is not whitespace.
#[inline]
pub(crate) fn skip_whitespace(text: &[u8], mut at: usize) -> usize {
    while text.get(at).copied().is_some_and(is_whitespace) {
        at += 1;
    }
    at
}

/// The byte at `at`; a newline beyond the end of the text.
#[inline]
pub(crate) fn byte_at(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(b'\n')
}

const NAME_START: u8 = 1;
const NAME_PART: u8 = 2;
const COLON: u8 = 4;

/// Character classes of bytes in unquoted names.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    loop {
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME_PART,
            b'0'..=b'9' => NAME_PART,
            b':' => COLON,
            _ => 0,
        };
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// Returns true if an unquoted metric name continues with this byte.
#[inline]
pub(crate) const fn is_name_part(byte: u8) -> bool {
    CLASSES[byte as usize] & (NAME_PART | COLON) != 0
}

/// End of the unquoted name that starts at `at`; `at` itself if no name starts there. Metric names may contain colons.
#[inline]
pub(crate) fn name_end(text: &[u8], at: usize, metric: bool) -> usize {
    let colon = if metric { COLON } else { 0 };
    if CLASSES[byte_at(text, at) as usize] & (NAME_START | colon) == 0 {
        return at;
    }
    let mut end = at + 1;
    while CLASSES[byte_at(text, end) as usize] & (NAME_PART | colon) != 0 {
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests;
