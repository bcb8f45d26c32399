//! Contents of JSON strings: search for special bytes, and unescaping.

/// Length of the prefix without quotes, backslashes and control characters.
///
/// Exposition text inside JSON has an escape every dozen bytes, so short distances must be fast: it tests eight bytes at a time, with the
/// classic test for a zero byte in a word (exact for the lowest one, which is all that is needed).
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let special =
            (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | (word.wrapping_sub(ONES * 0x20) & !word);
        let special = special & HIGHS;
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|&&b| b != b'"' && b != b'\\' && b >= 0x20).count()
}

/// Unescapes the string that begins here and returns its length, closing quote included.
///
/// The scan has validated the string. A surrogate without its partner becomes three bytes that are not UTF-8,
/// so that one check finds it together with all other bad text.
pub(super) fn unescape(inside: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    loop {
        let run = plain(&inside[at..]);
        out.extend_from_slice(&inside[at..at + run]);
        at += run;
        match inside.get(at..at + 2) {
            Some(&[b'\\', b'u']) => at += unescape_unicode(&inside[at..], out),
            Some(&[b'\\', escape]) => {
                out.push(short_escape(escape));
                at += 2;
            }
            _ => return at + 1,
        }
    }
}

/// The character for a backslash and this letter.
const fn short_escape(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        itself => itself,
    }
}

/// Appends the character of one `\uXXXX`, or of a surrogate pair, and returns the length of the escape.
fn unescape_unicode(escape: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = code_unit(escape);
    let (code, taken) = match unit {
        0xd800..=0xdbff if escape.get(6..8) == Some(b"\\u") => match code_unit(&escape[6..]) {
            low @ 0xdc00..=0xdfff => (0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), 12),
            _ => (unit, 6),
        },
        _ => (unit, 6),
    };
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(&[0xed, 0xa0 | low_bits(code >> 6, 0x1f), 0x80 | low_bits(code, 0x3f)]),
    }
    taken
}

/// The four hexadecimal digits after `\u`, which the scan has validated.
fn code_unit(escape: &[u8]) -> u32 {
    let digits = escape.get(2..6).unwrap_or_default();
    digits
        .iter()
        .fold(0, |unit, &digit| unit << 4 | char::from(digit).to_digit(16).unwrap_or(0))
}

/// The bits of `code` under `mask`, as a byte.
fn low_bits(code: u32, mask: u8) -> u8 {
    code.to_le_bytes()[0] & mask
}

#[cfg(test)]
mod tests;
