//! Incremental scan of a JSON object: checks the syntax of RFC 8259 as bytes arrive and indexes each app's name and value, so that a broken
//! object is refused at its first wrong byte and a complete one need not be scanned again.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::text::plain;
use super::{MAX_APPS_PER_OBJECT, MAX_DEPTH};
use crate::wire::{Fault, JsonType};

/// A key of the outer object; positions count from its opening brace.
#[derive(Debug, Clone)]
pub(super) struct AppEntry {
    /// Range of the key inside its quotes.
    pub(super) key: Range<usize>,
    /// Start of the value.
    pub(super) value: usize,
    /// Position and type of a value that is not a text.
    pub(super) wrong_type: Option<(usize, JsonType)>,
    /// True if a later entry has the same key; the last one counts.
    pub(super) superseded: bool,
}

/// The expected next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Object,
    Key,
    KeyOrEnd,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
}

/// State of the scan between two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Between(Expect),
    Text,
    Escape,
    Hex(u8),
    Scalar { start: usize },
}

/// The state of the pass.
#[derive(Debug)]
pub(super) struct Scan {
    state: ScanState,
    at: usize,
    /// One bit per open bracket, the innermost lowest; set for objects.
    open: u64,
    depth: u32,
    /// Start of the current string, if it is a key.
    key: Option<usize>,
    /// The entries so far.
    pub(super) entries: Vec<AppEntry>,
}

/// Position and fault of an invalid object.
pub(super) type ScanError = (usize, Fault);

const _: () = assert!(MAX_DEPTH <= u64::BITS, "the open brackets are kept as bits of a u64");

impl Scan {
    pub(super) const fn new() -> Self {
        Self {
            state: ScanState::Between(Expect::Object),
            at: 0,
            open: 0,
            depth: 0,
            key: None,
            entries: Vec::new(),
        }
    }

    /// Prepares for the next object, keeping only as much memory as ordinary objects need.
    pub(super) fn reset(&mut self) {
        const KEPT: usize = 256;
        let mut entries = std::mem::take(&mut self.entries);
        entries.clear();
        entries.shrink_to(KEPT);
        *self = Self { entries, ..Self::new() };
    }

    /// Returns true if the object has begun.
    pub(super) const fn begun(&self) -> bool {
        self.at > 0
    }

    /// Continues the scan of `object`, which begins with the bytes of earlier calls. Returns its length once it is complete.
    pub(super) fn run(&mut self, object: &[u8]) -> Result<Option<usize>, ScanError> {
        while let Some(&byte) = object.get(self.at) {
            match self.state {
                ScanState::Text => self.text(object)?,
                ScanState::Between(expect) => {
                    self.between(byte, expect)?;
                    self.at += 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                ScanState::Escape => self.escape(byte)?,
                ScanState::Hex(left) => self.hex(byte, left)?,
                ScanState::Scalar { start } => self.scalar(object, start)?,
            }
        }
        Ok(None)
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, ScanError> {
        Err((self.at, Fault::Syntax(what.into())))
    }

    /// Scans the inside of a string.
    fn text(&mut self, object: &[u8]) -> Result<(), ScanError> {
        loop {
            self.at += plain(&object[self.at..]);
            match object[self.at..] {
                [b'\\', b'n' | b'"' | b'\\', ..] => self.at += 2,
                [b'\\', ..] => self.state = ScanState::Escape,
                [b'"', ..] => self.end_text(),
                [control, ..] => return self.wrong(format!("the control character {control:#04x} in a string needs an escape")),
                [] => return Ok(()),
            }
            if self.state != ScanState::Text {
                self.at += 1;
                return Ok(());
            }
        }
    }

    fn end_text(&mut self) {
        self.state = ScanState::Between(match self.key.take() {
            Some(start) => {
                if self.depth == 1 {
                    self.entries.push(AppEntry {
                        key: start..self.at,
                        value: 0,
                        wrong_type: None,
                        superseded: false,
                    });
                }
                Expect::Colon
            }
            None => Expect::CommaOrEnd,
        });
    }

    fn escape(&mut self, byte: u8) -> Result<(), ScanError> {
        self.state = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => ScanState::Text,
            b'u' => ScanState::Hex(4),
            _ => return self.wrong(format!("{} is not an escape", describe(byte))),
        };
        self.at += 1;
        Ok(())
    }

    fn hex(&mut self, byte: u8, left: u8) -> Result<(), ScanError> {
        if !byte.is_ascii_hexdigit() {
            return self.wrong(format!("expected a hexadecimal digit, found {}", describe(byte)));
        }
        self.state = if left == 1 { ScanState::Text } else { ScanState::Hex(left - 1) };
        self.at += 1;
        Ok(())
    }

    /// Scans a number, `true`, `false` or `null`, and validates it at its end.
    fn scalar(&mut self, object: &[u8], start: usize) -> Result<(), ScanError> {
        self.at += object[self.at..].iter().take_while(|&&byte| is_scalar(byte)).count();
        if self.at < object.len() {
            let scalar = &object[start..self.at];
            if serde_json::from_slice::<IgnoredAny>(scalar).is_err() {
                let cut = &scalar[..scalar.len().min(32)];
                return Err((
                    start,
                    Fault::Syntax(format!("{} is not a JSON value", String::from_utf8_lossy(cut))),
                ));
            }
            self.state = ScanState::Between(Expect::CommaOrEnd);
        }
        Ok(())
    }

    /// Handles a byte outside of strings and scalars.
    fn between(&mut self, byte: u8, expect: Expect) -> Result<(), ScanError> {
        let next = match (byte, expect) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => expect,
            (b'{', Expect::Object) => return self.push(true),
            (b'"', Expect::Key | Expect::KeyOrEnd) => return self.begin_key(),
            (b':', Expect::Colon) => Expect::Value,
            (b',', Expect::CommaOrEnd) if self.in_object() => Expect::Key,
            (b',', Expect::CommaOrEnd) => Expect::Value,
            (b'}', Expect::KeyOrEnd | Expect::CommaOrEnd) if self.in_object() => return self.pop(),
            (b']', Expect::ValueOrEnd | Expect::CommaOrEnd) if !self.in_object() => return self.pop(),
            (_, Expect::Value | Expect::ValueOrEnd) => return self.begin_value(byte, expect),
            _ => return self.unexpected(byte, expect),
        };
        self.state = ScanState::Between(next);
        Ok(())
    }

    fn begin_key(&mut self) -> Result<(), ScanError> {
        if self.depth == 1 && self.entries.len() == MAX_APPS_PER_OBJECT {
            return Err((self.at, Fault::TooManyApps));
        }
        self.key = Some(self.at + 1);
        self.state = ScanState::Text;
        Ok(())
    }

    fn begin_value(&mut self, byte: u8, expect: Expect) -> Result<(), ScanError> {
        let found = match byte {
            b'"' => None,
            b'{' => Some(JsonType::Object),
            b'[' => Some(JsonType::Array),
            b't' | b'f' => Some(JsonType::Boolean),
            b'n' => Some(JsonType::Null),
            b'-' | b'0'..=b'9' => Some(JsonType::Number),
            _ => return self.unexpected(byte, expect),
        };
        self.note(found);
        match byte {
            b'"' => self.state = ScanState::Text,
            b'{' | b'[' => return self.push(byte == b'{'),
            _ => self.state = ScanState::Scalar { start: self.at },
        }
        Ok(())
    }

    /// Records the start of an app's value, and the first part of it that is not a text.
    fn note(&mut self, found: Option<JsonType>) {
        let in_lines = self.depth == 2 && !self.in_object();
        if let Some(entry) = self.entries.last_mut() {
            let wrong_type = if self.depth == 1 {
                entry.value = self.at;
                found.filter(|&found| found != JsonType::Array)
            } else {
                found.filter(|_| in_lines)
            };
            if entry.wrong_type.is_none() {
                entry.wrong_type = wrong_type.map(|found| (self.at, found));
            }
        }
    }

    const fn in_object(&self) -> bool {
        self.open & 1 == 1
    }

    fn push(&mut self, object: bool) -> Result<(), ScanError> {
        if self.depth == MAX_DEPTH {
            return self.wrong(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        self.open = self.open << 1 | u64::from(object);
        self.state = ScanState::Between(if object { Expect::KeyOrEnd } else { Expect::ValueOrEnd });
        Ok(())
    }

    fn pop(&mut self) -> Result<(), ScanError> {
        self.depth -= 1;
        self.open >>= 1;
        self.state = ScanState::Between(Expect::CommaOrEnd);
        Ok(())
    }

    fn unexpected<T>(&self, byte: u8, expect: Expect) -> Result<T, ScanError> {
        let expected = match expect {
            Expect::Object => "a JSON object",
            Expect::Key => "a quoted app name",
            Expect::KeyOrEnd => "a quoted app name or `}`",
            Expect::Colon => "`:`",
            Expect::Value => "a value",
            Expect::ValueOrEnd => "a value or `]`",
            Expect::CommaOrEnd if self.in_object() => "`,` or `}`",
            Expect::CommaOrEnd => "`,` or `]`",
        };
        self.wrong(format!("expected {expected}, found {}", describe(byte)))
    }
}

/// Returns true for bytes of numbers and literals.
const fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Description of a byte.
fn describe(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        format!("`{}`", char::from(byte))
    } else {
        format!("the byte {byte:#04x}")
    }
}
