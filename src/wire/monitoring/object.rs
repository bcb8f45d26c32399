//! A JSON object with unparsed values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Limit of keys per object: a dozen are known, and each one takes memory beside its text.
pub(super) const MAX_KEYS: usize = 64;

/// An object as its unescaped keys, in order, and the text of their values. Unknown keys and the form of numbers are preserved. A duplicate
/// key is an error, as in the original client.
#[derive(Debug)]
pub(super) struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A key that borrows from the text unless it contains escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((Key(key), value)) = map.next_entry()? {
                    if fields.len() == MAX_KEYS {
                        return Err(serde::de::Error::custom(format_args!("more than {MAX_KEYS} keys")));
                    }
                    if fields.iter().any(|(known, _): &(Cow<'_, str>, _)| *known == key) {
                        return Err(serde::de::Error::custom(format_args!("the key {key:?} twice")));
                    }
                    fields.push((key, value));
                }
                Ok(Object { fields })
            }
        }
        json.deserialize_map(Fields)
    }
}

impl<'a> Object<'a> {
    /// The text of a key's value.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(key, _)| &**key)
    }

    /// Writes the object without its closing brace, so that the caller can add keys. `change` may write another value for a key and returns
    /// true if it did; keys for which `without` returns true are omitted.
    pub(super) fn write_open(
        &self,
        out: &mut Vec<u8>,
        without: impl Fn(&str) -> bool,
        mut change: impl FnMut(&str, &RawValue, &mut Vec<u8>) -> bool,
    ) {
        out.push(b'{');
        let mut first = true;
        for (key, value) in self.fields.iter().filter(|(key, _)| !without(key)) {
            push_key(out, key, std::mem::take(&mut first));
            if !change(key, value, out) {
                out.extend_from_slice(value.get().as_bytes());
            }
        }
    }
}

/// Writes `"key":`, preceded by a comma unless it is the first.
pub(super) fn push_key(out: &mut Vec<u8>, key: &str, first: bool) {
    if !first {
        out.push(b',');
    }
    push_text(out, key);
    out.push(b':');
}

/// Writes a string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    push(out, text);
}

/// Writes a value.
pub(super) fn push(out: &mut Vec<u8>, value: impl serde::Serialize) {
    serde_json::to_writer(out, &value).expect("writing a string, a number or a list of them to memory cannot fail");
}
