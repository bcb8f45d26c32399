//! A JSON object whose values stay as they were written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most keys an object may have: known ones are a dozen at most, and each kept one costs memory beside its text.
pub(super) const MAX_KEYS: usize = 64;

/// An object as its keys, unescaped and in their order, and the text of their values. Nothing that is unknown is lost, no
/// number changes. The same key twice is an error, as it is to the original client.
#[derive(Debug)]
pub(super) struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A key that borrows from the text unless it is written with escapes.
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

    /// Writes the object again. `change` sees each key and may write other text for its value (true), or leave it (false);
    /// keys for which `without` says so are left out. The closing brace is left to the caller, who may add keys.
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

/// Writes `"key":`, with a comma before it unless it is the first.
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
