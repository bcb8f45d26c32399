//! The text of a group after a push: what stays, what the push has, and the times of the last pushes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderMap;

use super::body::PushedText;
use crate::exposition::group::{GroupLabels, Timestamps, as_text, copy_family, unescape};
use crate::exposition::{Exposition, Family};
use crate::model::{Syntax, Timestamp};
use crate::store::{App, Text};
use crate::wire::pushgateway::{Group, PUSH_FAILURE_TIME, PUSH_FAILURE_TIME_HEADER, PUSH_TIME, PUSH_TIME_HEADER, retain_families};

/// The value of a time that has not come.
const NEVER: &str = "0";

/// Times of pushes to another Pushgateway, in seconds since the Unix epoch, of a group that is imported.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PushTimes {
    succeeded: Option<f64>,
    failed: Option<f64>,
}

impl PushTimes {
    /// The times in the headers of a push.
    ///
    /// # Errors
    /// A header that is no time.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let time = |name: &str| {
            let Some(value) = headers.get(name) else { return Ok(None) };
            let seconds = value.to_str().ok().and_then(|value| value.parse::<f64>().ok());
            match seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(format!("the header {name} is not a time in seconds since the Unix epoch")),
            }
        };
        Ok(Self {
            succeeded: time(PUSH_TIME_HEADER)?,
            failed: time(PUSH_FAILURE_TIME_HEADER)?,
        })
    }
}

/// The text of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupText {
    pub(super) body: Vec<u8>,
    pub(super) syntax: Syntax,
    /// Metrics that text cannot carry; only beside OpenMetrics.
    pub(super) records: Vec<u8>,
}

/// The text of a group before a push.
#[derive(Debug, Default)]
pub(super) struct Draft {
    text: Option<Arc<Exposition>>,
}

impl Draft {
    pub(super) fn of(current: Option<&App>) -> Self {
        let text = current.map(|app| match &app.text {
            Text::Read(text) => Arc::clone(text),
            Text::Raw(body, syntax) => Arc::new(Exposition::parse(body.clone(), *syntax)),
        });
        Self { text }
    }

    /// The text after a push that replaces all families, or those that it has. It is OpenMetrics where all of it is; of a group that has both
    /// formats, the text format has what both can express.
    pub(super) fn pushed(
        &self,
        group: &Group,
        pushed: &PushedText,
        replaces: bool,
        keeps_timestamps: bool,
        times: PushTimes,
        now: Timestamp,
    ) -> GroupText {
        let (labels, bounds, new_records) = (GroupLabels::new(group.labels()), pushed.bounds(), pushed.records());
        let mut pushed = Arc::clone(pushed.exposition());
        let mut kept = self.text.as_ref().filter(|_| !replaces).cloned();
        let syntaxes = |of: &Exposition| of.families().iter().any(|family| is_kept(of, family)).then(|| of.syntax());
        let both = (syntaxes(&pushed), kept.as_ref().and_then(|kept| syntaxes(kept)));
        let syntax = match both {
            (Some(one), Some(other)) if one != other => {
                pushed = in_text(&pushed);
                kept = kept.map(|kept| in_text(&kept));
                Syntax::Text
            }
            (one, other) => one.or(other).unwrap_or_default(),
        };
        let families = pushed.families().iter().filter(|family| is_kept(&pushed, family));
        let added = pushed.series() as usize * labels.added_bytes();
        let mut out = Vec::with_capacity(pushed.body().len() + added + 4 * labels.added_bytes());
        let mut records = Vec::new();
        if let Some(kept) = kept {
            let names: HashSet<Cow<'_, [u8]>> = families.clone().map(|family| plain_name(pushed.text(family.name))).collect();
            copy_families(&kept, |name| !names.contains(&*plain_name(name)), &mut out);
            // The name of a counter in protobuf has the suffix that it lacks in OpenMetrics.
            let is_new = |name: &[u8]| names.contains(name) || name.strip_suffix(b"_total").is_some_and(|name| names.contains(name));
            // They were read when they came.
            records = retain_families(&kept.record_bytes(), |name| !is_new(name)).unwrap_or_default();
        }
        records.extend_from_slice(new_records);
        let timestamps = if keeps_timestamps { Timestamps::Keep } else { Timestamps::Strip };
        for family in families {
            labels.write_family(&pushed, family, timestamps, bounds, &mut out);
        }
        let failed = times.failed.map(|seconds| seconds.to_string());
        let succeeded = times.succeeded.map_or_else(|| seconds(now), |seconds| seconds.to_string());
        write_times(&labels, &succeeded, failed.as_deref().or(self.time(PUSH_FAILURE_TIME.0)), &mut out);
        GroupText::new(out, syntax, records)
    }

    /// The text after a push that failed.
    pub(super) fn failed(&self, group: &Group, now: Timestamp) -> GroupText {
        let (labels, mut out) = (GroupLabels::new(group.labels()), Vec::new());
        if let Some(text) = &self.text {
            copy_families(text, |_| true, &mut out);
        }
        write_times(&labels, self.time(PUSH_TIME.0).unwrap_or(NEVER), Some(&seconds(now)), &mut out);
        let syntax = self.text.as_ref().map_or(Syntax::Text, |text| text.syntax());
        let records = self.text.as_ref().map_or_else(Vec::new, |text| text.record_bytes().to_vec());
        GroupText::new(out, syntax, records)
    }

    /// The value of one of the times.
    fn time(&self, name: &str) -> Option<&str> {
        let text = self.text.as_ref()?;
        // The times stand at the end.
        let mut families = text.families().iter().rev();
        let family = families.find(|family| text.text(family.name) == name.as_bytes())?;
        std::str::from_utf8(text.samples(family).next()?.value).ok()
    }
}

impl GroupText {
    fn new(mut body: Vec<u8>, syntax: Syntax, mut records: Vec<u8>) -> Self {
        match syntax {
            Syntax::OpenMetrics => body.extend_from_slice(b"# EOF\n"),
            Syntax::Text => records.clear(),
        }
        Self { body, syntax, records }
    }
}

/// The characters of a name that stands in a text, as messages have it.
fn plain_name(name: &[u8]) -> Cow<'_, [u8]> {
    if name.contains(&b'\\') {
        unescape(name).into_bytes().into()
    } else {
        name.into()
    }
}

/// Copies the families with names that are kept, except the times.
fn copy_families(text: &Exposition, keeps: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
    let families = text.families().iter().filter(|family| is_kept(text, family));
    for family in families.filter(|family| keeps(text.text(family.name))) {
        copy_family(text, family, out);
    }
}

/// The text in the text format.
fn in_text(text: &Arc<Exposition>) -> Arc<Exposition> {
    match text.syntax() {
        Syntax::Text => Arc::clone(text),
        Syntax::OpenMetrics => Arc::new(Exposition::parse(as_text(text).into(), Syntax::Text)),
    }
}

/// True for a family with samples that is none of the times.
fn is_kept(text: &Exposition, family: &Family) -> bool {
    family.samples > 0 && !is_time(text, family)
}

fn is_time(text: &Exposition, family: &Family) -> bool {
    let name = text.text(family.name);
    name == PUSH_TIME.0.as_bytes() || name == PUSH_FAILURE_TIME.0.as_bytes()
}

fn write_times(labels: &GroupLabels, succeeded: &str, failed: Option<&str>, out: &mut Vec<u8>) {
    labels.write_gauge(PUSH_FAILURE_TIME.0, PUSH_FAILURE_TIME.1, failed.unwrap_or(NEVER), out);
    labels.write_gauge(PUSH_TIME.0, PUSH_TIME.1, succeeded, out);
}

/// A time in seconds since the Unix epoch, to the millisecond.
fn seconds(at: Timestamp) -> String {
    let millis = at.as_millis();
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}
