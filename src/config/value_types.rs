//! Types of values that keys of several sections have.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{self, HostPort};
use super::key::{FaultSink, ValueType};
use super::raw::{Node, Value};
use super::secret::Secret;
use super::units;

/// `true` or `false`.
pub(super) struct Bool;

impl ValueType for Bool {
    type Value = bool;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<bool> {
        match node.value {
            Value::Bool(flag) => Some(flag),
            _ => faults.expected(&node, "true or false"),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number within a range.
pub(super) struct IntegerRange(pub(super) RangeInclusive<usize>);

impl ValueType for IntegerRange {
    type Value = usize;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<usize> {
        let Value::Integer { number, .. } = node.value else {
            return faults.expected(&node, "a whole number");
        };
        let count = usize::try_from(number).ok().filter(|count| self.0.contains(count));
        count.or_else(|| out_of_range(&node, faults, number, self.0.start(), self.0.end()))
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }
}

/// A number of bytes within a range: a number, or a string with a unit.
pub(super) struct Size(pub(super) RangeInclusive<u64>);

impl ValueType for Size {
    type Value = u64;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<u64> {
        let bytes = match &node.value {
            Value::Integer { number, .. } => u64::try_from(*number).ok(),
            Value::Text(text) => units::parse_size(text),
            _ => None,
        };
        let Some(bytes) = bytes else {
            return faults.expected(&node, "a number of bytes or a string such as \"16MiB\" or \"64KB\"");
        };
        if self.0.contains(&bytes) {
            return Some(bytes);
        }
        let (low, high) = (units::show_size(*self.0.start()), units::show_size(*self.0.end()));
        out_of_range(&node, faults, units::show_size(bytes), low, high)
    }

    fn show(&self, value: &u64) -> String {
        units::show_size(*value)
    }
}

/// A number of bytes as [`Size`], or 0 for a default that depends on other keys or on the machine.
pub(super) struct SizeOrZero(pub(super) RangeInclusive<u64>);

impl ValueType for SizeOrZero {
    type Value = Option<u64>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Option<u64>> {
        let is_zero = match &node.value {
            Value::Integer { number, .. } => *number == 0,
            Value::Text(text) => units::parse_size(text) == Some(0),
            _ => false,
        };
        if is_zero {
            return Some(None);
        }
        Size(self.0.clone()).read(node, faults).map(Some)
    }

    fn show(&self, value: &Option<u64>) -> String {
        value.map_or_else(|| "0".to_owned(), units::show_size)
    }
}

/// A duration within a range: a number of seconds, or a string with units.
pub(super) struct DurationRange(pub(super) RangeInclusive<Duration>);

impl DurationRange {
    fn parse(node: &Node, faults: &mut FaultSink<'_>) -> Option<Duration> {
        let span = match &node.value {
            Value::Integer { number, .. } => u64::try_from(*number).ok().map(Duration::from_secs),
            Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            Value::Text(text) => units::parse_duration(text),
            _ => None,
        };
        span.or_else(|| faults.expected(node, "a number of seconds or a string such as \"90s\", \"500ms\" or \"1h30m\""))
    }

    fn within(&self, span: Duration, node: &Node, faults: &mut FaultSink<'_>) -> Option<Duration> {
        if self.0.contains(&span) {
            return Some(span);
        }
        let [span, low, high] = [span, *self.0.start(), *self.0.end()].map(units::show_duration);
        out_of_range(node, faults, span, low, high)
    }
}

impl ValueType for DurationRange {
    type Value = Duration;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Duration> {
        let span = Self::parse(&node, faults)?;
        self.within(span, &node, faults)
    }

    fn show(&self, value: &Duration) -> String {
        units::show_duration(*value)
    }
}

/// A duration as [`DurationRange`], or 0 for never or for a value derived from other keys.
pub(super) struct DurationOrZero(pub(super) RangeInclusive<Duration>);

impl ValueType for DurationOrZero {
    type Value = Option<Duration>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Option<Duration>> {
        let span = DurationRange::parse(&node, faults)?;
        if span.is_zero() {
            return Some(None);
        }
        DurationRange(self.0.clone()).within(span, &node, faults).map(Some)
    }

    fn show(&self, value: &Option<Duration>) -> String {
        units::show_duration(value.unwrap_or_default())
    }
}

fn out_of_range<T>(node: &Node, faults: &mut FaultSink<'_>, found: impl Display, low: impl Display, high: impl Display) -> Option<T> {
    faults.at(&node.at, format!("{found} is out of range ({low} to {high})"))
}

/// One of a few words, each with its value.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> ValueType for OneOf<T> {
    type Value = T;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<T> {
        let word = node.text();
        let found = self.0.iter().find(|(name, _)| Some(*name) == word);
        found.map(|(_, meaning)| *meaning).or_else(|| {
            let words: Vec<String> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
            faults.expected(&node, &format!("one of {}", words.join(", ")))
        })
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, meaning)| meaning == value);
        format!("{:?}", word.map_or("", |(name, _)| name))
    }
}

/// A string with a parser function, displayed by its `Display`.
pub(super) struct Parsed<T> {
    /// Description of the expected value, for faults.
    pub(super) expected: &'static str,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T: Display> ValueType for Parsed<T> {
    type Value = T;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<T> {
        let Some(text) = node.text() else {
            return faults.expected(&node, self.expected);
        };
        (self.parse)(text).map_or_else(|why| faults.at(&node.at, why), Some)
    }

    fn show(&self, value: &T) -> String {
        format!("{:?}", value.to_string())
    }
}

/// An address to listen on.
pub(super) const ADDRESS: Parsed<HostPort> = Parsed {
    expected: "an address such as \"127.0.0.1:6555\"",
    parse: HostPort::parse,
};

/// A network, or a single address.
pub(super) const NETWORK: Parsed<IpNet> = Parsed {
    expected: "a network such as \"10.0.0.0/8\"",
    parse: address::parse_network,
};

/// Any string.
pub(super) const TEXT: Parsed<String> = Parsed {
    expected: "a string",
    parse: |text| Ok(text.to_owned()),
};

/// The path of a file.
pub(super) struct FilePath;

impl ValueType for FilePath {
    type Value = PathBuf;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<PathBuf> {
        match node.text() {
            Some("") => faults.at(&node.at, "the path is empty"),
            Some(text) if text.contains('\0') => faults.at(&node.at, "a path must not contain a NUL"),
            Some(text) => Some(PathBuf::from(text)),
            None => faults.expected(&node, "a path"),
        }
    }

    fn show(&self, value: &PathBuf) -> String {
        format!("{value:?}")
    }
}

/// Another type, or an empty string for none.
pub(super) struct OrEmpty<K>(pub(super) K);

impl<K: ValueType> ValueType for OrEmpty<K> {
    type Value = Option<K::Value>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Self::Value> {
        if node.text() == Some("") {
            return Some(None);
        }
        self.0.read(node, faults).map(Some)
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or("\"\"".to_owned(), |value| self.0.show(value))
    }
}

/// A string that is never shown.
pub(super) struct SecretText;

impl ValueType for SecretText {
    type Value = Secret;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Secret> {
        let secret = node.text().map(Secret::new);
        secret.or_else(|| faults.at(&node.at, "expected a string"))
    }

    fn show(&self, value: &Secret) -> String {
        value.to_string()
    }

    fn identity(&self, value: &Secret) -> String {
        value.expose().to_owned()
    }
}

/// A list with items of one type. The faults of all items are reported, and the valid items are checked further.
pub(super) struct ListOf<K> {
    pub(super) item: K,
    /// Description of the expected list, for faults.
    pub(super) expected: &'static str,
    /// Accepts a single value as a list of one.
    pub(super) or_single: bool,
}

impl<K: ValueType> ValueType for ListOf<K> {
    type Value = Vec<K::Value>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Self::Value> {
        match node.value {
            Value::List(items) => Some(items.into_iter().filter_map(|item| self.item.read(item, faults)).collect()),
            Value::Text(_) if self.or_single => Some(vec![self.item.read(node, faults)?]),
            _ => faults.expected(&node, self.expected),
        }
    }

    fn show(&self, value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(|item| self.item.show(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn identity(&self, value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(|item| self.item.identity(item)).collect();
        format!("[{}]", items.join(", "))
    }
}
