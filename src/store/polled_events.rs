//! One-shot events among the samples of a polled text: taken out of it, so that each enters the event log once, and none is exposed as a
//! latest value.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use crate::exposition::{Exposition, Sample, detect};
use crate::model::{Event, LabelPair, LabelSet, Syntax, Timestamp, Update};

/// The family of one-shot events as the original names it, and as this program does unless it is configured otherwise.
const USUAL_FAMILY: &str = "events_to_metrics";

/// The counter that a server of one-shot events shows, whatever the events' family is called. Its name begins with
/// [`USUAL_FAMILY`], so that one search finds both.
const COUNT: &str = "events_to_metrics_event_count";

/// The label that distinguishes families where events of several come from one endpoint.
const FAMILY_LABEL: &str = "family";

/// The families of a polled text that have one-shot events as samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFamilies {
    /// `events_to_metrics`; and where the text shows the counter of a server of events, also the family of this proxy's own.
    Usual {
        /// The family of this proxy's own events.
        own: Arc<str>,
    },
    /// These and no others.
    Named(Arc<[Arc<str>]>),
}

/// An event that was polled.
#[derive(Debug, Clone, PartialEq)]
pub struct PolledEvent {
    /// The event.
    pub event: Event,
    /// Its timestamp, if the polled server exposes one.
    pub stamp: Option<Timestamp>,
}

/// The events that a polled text held.
#[derive(Debug, Default, PartialEq)]
pub struct PolledEvents {
    /// The events; those with timestamps, in their order.
    pub events: Vec<PolledEvent>,
    /// Samples that cannot be events, and why the first of them cannot.
    pub refused: Option<(u64, String)>,
}

/// Takes the events out of an update, and the HELP and TYPE of their families. The update is unchanged where it has none.
#[must_use]
pub fn take_events(update: &mut Update, families: &EventFamilies) -> PolledEvents {
    let names = families.present(&update.body);
    if names.is_empty() {
        return PolledEvents::default();
    }
    let mut taking = Taking {
        syntax: update.syntax.unwrap_or_else(|| detect(&update.body)),
        labels: Arc::clone(&update.labels),
        with_family: matches!(families, EventFamilies::Named(named) if named.len() > 1),
        found: PolledEvents::default(),
    };
    // The format is settled here: what is left may look like another one.
    update.syntax = Some(taking.syntax);
    let (body, mut rest, mut kept) = (update.body.clone(), Vec::new(), 0);
    for line in lines(&body) {
        let Some((name, is_sample)) = subject(&body[line.clone()]) else {
            continue;
        };
        let Some(name) = names.iter().find(|wanted| wanted.as_bytes() == name) else {
            continue;
        };
        if is_sample {
            taking.sample(name, body.slice(line.clone()));
        }
        rest.extend_from_slice(&body[kept..line.start]);
        kept = (line.end + 1).min(body.len());
    }
    if kept > 0 {
        rest.extend_from_slice(&body[kept..]);
        update.body = rest.into_boxed_slice().into();
        update.read = None;
    }
    let mut found = taking.found;
    if found.events.iter().all(|event| event.stamp.is_some()) {
        found.events.sort_by_key(|event| event.stamp);
    }
    found
}

impl EventFamilies {
    /// The families that a text may have samples of.
    fn present(&self, body: &[u8]) -> Vec<&str> {
        let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
        match self {
            Self::Usual { .. } if !has(USUAL_FAMILY) => Vec::new(),
            Self::Usual { own } if &**own != USUAL_FAMILY && has(COUNT) => vec![USUAL_FAMILY, own],
            Self::Usual { .. } => vec![USUAL_FAMILY],
            Self::Named(named) => named.iter().map(|name| &**name).filter(|name| has(name)).collect(),
        }
    }
}

/// The lines of a text, without their newlines.
fn lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let end = memchr::memchr(b'\n', body.get(start..).filter(|rest| !rest.is_empty())?).map_or(body.len(), |length| start + length);
        at = end + 1;
        Some(start..end)
    })
}

/// The name that a line is about, and whether it is a sample of it; `None` for other lines.
fn subject(line: &[u8]) -> Option<(&[u8], bool)> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    let Some(comment) = line.strip_prefix(b"#") else {
        return Some((sample_name(line)?, true));
    };
    let mut words = comment.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let keyword = words.next()?;
    let name = words.next().filter(|_| matches!(keyword, b"HELP" | b"TYPE" | b"UNIT"))?;
    let bare = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
    Some((bare.unwrap_or(name), false))
}

/// The name of a sample line, which may stand in quotes inside the braces.
fn sample_name(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| is_blank(*byte) || *byte == b'{').unwrap_or(line.len());
    if end > 0 {
        return Some(&line[..end]);
    }
    let quoted = line.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&quoted[..memchr::memchr(b'"', quoted)?])
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The events found so far, and what applies to all of them.
struct Taking {
    syntax: Syntax,
    labels: Arc<[LabelPair]>,
    with_family: bool,
    found: PolledEvents,
}

impl Taking {
    fn sample(&mut self, family: &str, line: Bytes) {
        // One line at a time: several points of a series are several events.
        let read = Exposition::parse(line, self.syntax);
        let sample = read.families().iter().flat_map(|family| read.samples(family)).next();
        let event = match sample {
            Some(sample) => self.event(family, &sample),
            None => Err(read
                .faults()
                .iter()
                .next()
                .map_or_else(String::new, |fault| fault.reason.to_string())),
        };
        match event {
            Ok(event) => self.found.events.push(event),
            Err(why) => self.found.refused.get_or_insert((0, why)).0 += 1,
        }
    }

    fn event(&self, family: &str, sample: &Sample<'_>) -> Result<PolledEvent, String> {
        let mut pairs = Vec::new();
        for label in sample.labels.clone() {
            pairs.push((unescaped(label.name)?, unescaped(label.value)?));
        }
        let family = self.with_family.then(|| (FAMILY_LABEL.to_owned(), family.to_owned()));
        let given = self.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        for (name, value) in given.chain(family) {
            if pairs.iter().all(|(other, _)| *other != name) {
                pairs.push((name, value));
            }
        }
        pairs.retain(|(_, value)| !value.is_empty());
        let text = std::str::from_utf8(sample.value).unwrap_or_default();
        let value = text.parse().map_err(|_| format!("the value {text:?} is no decimal number"))?;
        let labels = LabelSet::new(pairs).map_err(|error| error.to_string())?;
        Ok(PolledEvent {
            event: Event { labels, value },
            stamp: sample.timestamp.and_then(|written| millis(written, self.syntax)),
        })
    }
}

/// The text of an escaped label value. A backslash before any other character stands for itself, as Prometheus reads it.
fn unescaped(text: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(text).map_err(|_| "a label is not UTF-8".to_owned())?;
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(escaped @ ('\\' | '"'))) => out.push(escaped),
            (plain, _) => {
                out.push(plain);
                continue;
            }
        }
        rest.next();
    }
    Ok(out)
}

/// A timestamp as it is written, to the millisecond.
fn millis(written: &[u8], syntax: Syntax) -> Option<Timestamp> {
    let text = std::str::from_utf8(written).ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a float out of range becomes the nearest end of the range"
    )]
    let millis = match syntax {
        Syntax::Text => text.parse().ok()?,
        Syntax::OpenMetrics => (text.parse::<f64>().ok()? * 1_000.0).round() as i64,
    };
    Some(Timestamp::from_millis(millis))
}
