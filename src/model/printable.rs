//! Texts for terminals and pages: characters that such a reader interprets instead of showing are escaped.
//!
//! Names and labels come from applications, and a terminal executes what ESC begins. Marks for the direction of writing show a text in an
//! order that it does not have (CVE-2021-42574).

use std::borrow::Cow;

/// Returns true for a character that a terminal or a page does not show as itself: control characters other than newline and tab, and marks
/// for the direction of writing.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => false,
    }
}

/// Returns a text with its hidden characters escaped, such as `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| format!("{}", c.escape_unicode()))
}

/// Returns a JSON text with the hidden characters of its strings escaped, such as `\u001b`: the same JSON. A JSON text has hidden characters
/// within strings only.
#[must_use]
pub fn printable_json(text: &str) -> Cow<'_, str> {
    escaped(text, |c| format!("\\u{:04x}", u32::from(c)))
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_hidden(c) {
            true => out.push_str(&escape(c)),
            false => out.push(c),
        }
    }
    out.into()
}

/// The first part of a text, of at most this number of bytes, cut between characters.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests;
