//! The decoder of JSON streams, compared with serde_json.

use std::fmt;

use exporter_proxy::model::AppName;
use exporter_proxy::wire::{FormatChoice, Inbound, MAX_DEPTH, Refusal};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::feeding::{MAX_MESSAGE_BYTES, decode_in_pieces};

/// Checks that input in any split decodes to the same items within the limit, and that they equal those of serde_json.
pub fn check(input: &[u8]) {
    let items = decode_in_pieces(FormatChoice::Json, input);
    if input.len() < MAX_MESSAGE_BYTES
        && input.iter().filter(|byte| b"[{".contains(byte)).count() < MAX_DEPTH as usize
        && let Ok(text) = str::from_utf8(input)
    {
        compare(text, &items);
    }
}

/// An app and its text; `None` if it is refused.
type Told = Option<(String, String)>;

fn compare(text: &str, items: &[Result<Inbound, Refusal>]) {
    let is_end = |item: &&Result<Inbound, Refusal>| item.as_ref().is_err_and(Refusal::ends_connection);
    let ours: Vec<Told> = items
        .iter()
        .filter(|item| !is_end(item))
        .map(|item| item.as_ref().ok().map(told))
        .collect();
    let mut theirs = Vec::new();
    let mut broken = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for object in serde_json::Deserializer::from_str(text).into_iter::<Object<'_>>() {
        match object {
            Ok(object) => theirs.extend(object.last_of_each().map(|(name, value)| read(name, value))),
            // serde_json refuses a lone surrogate in a name.
            Err(e) if e.to_string().contains("surrogate") || e.to_string().contains("unexpected end of hex escape") => return,
            Err(_) => broken = true,
        }
    }
    assert_eq!(ours, theirs, "{text}");
    assert_eq!(items.iter().any(|item| is_end(&item)), broken, "{text}");
}

fn told(message: &Inbound) -> (String, String) {
    (
        message.app.as_str().to_owned(),
        String::from_utf8(message.data.to_vec()).expect("data is UTF-8"),
    )
}

/// The expected item of a pair.
fn read(name: &str, value: &RawValue) -> Told {
    AppName::new(name).ok()?;
    let text = match value.get().as_bytes()[0] {
        b'"' => serde_json::from_str(value.get()).ok()?,
        _ => serde_json::from_str::<Vec<String>>(value.get()).ok()?.join("\n"),
    };
    Some((name.to_owned(), text))
}

/// The pairs of an object, in order.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl Object<'_> {
    fn last_of_each(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        let again = |at: usize| self.0[at + 1..].iter().any(|(name, _)| *name == self.0[at].0);
        (0..self.0.len())
            .filter(move |&at| !again(at))
            .map(|at| (self.0[at].0.as_str(), self.0[at].1))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
