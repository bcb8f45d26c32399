//! The form of `POST /event`.

use exporter_proxy::model::{LabelSet, MAX_EVENT_BYTES, MAX_EVENT_LABELS};
use exporter_proxy::wire::event_form::parse;

/// Checks that accepted events are within the limits and can be encoded and parsed again.
pub fn check(input: &[u8]) {
    let half = input.iter().position(|byte| *byte == b'?').unwrap_or(input.len());
    let (query, body) = input.split_at(half);
    let Ok(event) = parse(query, body) else { return };
    let pairs: Vec<_> = event.labels.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert!(pairs.len() <= MAX_EVENT_LABELS);
    assert!(pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= MAX_EVENT_BYTES);
    assert!(pairs.iter().all(|(name, value)| !name.starts_with("__") && !value.is_empty()));
    assert_eq!(LabelSet::new(pairs), Ok(event.labels.clone()));
    assert_eq!(LabelSet::from_text(event.labels.as_str()), Some(event.labels));
}
