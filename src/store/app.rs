//! One app as the store knows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{MonotonicTime, UpdateRate};
use crate::exposition::Exposition;
use crate::exposition::catalog::Conflicts;
use crate::model::{AppName, Format, LabelPair, Origin, Syntax, Timestamp};

/// The age at which an app that is never forgotten counts as stale: the span after which Prometheus, too,
/// takes a series without new samples for gone. Counts of a stream, which do not expire, are confirmed each minute.
const STALE_AFTER: Duration = Duration::from_secs(300);

/// The latest of one app. Immutable: an update makes a new one.
#[derive(Debug, Clone)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its place in the order in which apps were first seen; unique.
    pub order: u64,
    /// The [generation](super::View::generation) that its last update made; no two updates have the same.
    pub changed: u64,
    /// The origin of its last update.
    pub origin: Origin,
    /// Its text as it was pushed or polled; empty once it is [withdrawn](App::withdrawn).
    pub text: Text,
    /// Labels that every series gets unless it has them.
    pub labels: Arc<[LabelPair]>,
    /// The time of first sight.
    pub first_seen: Timestamp,
    /// The time of its last update; `None` if it was only registered so far.
    pub updated: Option<Timestamp>,
    /// The same, or when it was registered, by the clock that ages are measured with.
    pub refreshed: MonotonicTime,
    /// The number of its updates in each of the last minutes.
    pub rate: UpdateRate,
    /// The fault of its source, if there is one.
    pub fault: Option<Arc<str>>,
    /// The contradictions between it and other apps.
    pub conflicts: Arc<Conflicts>,
    /// The number of its series that other apps have as well.
    pub duplicates: u64,
    /// True if all timestamps of its samples are too old for Prometheus to store.
    pub outdated: bool,
    /// True if its data was removed from the exposition because its source does not answer.
    pub withdrawn: bool,
    /// True if it expires without further updates: true for pushed apps, false for polled ones.
    pub expires: bool,
    /// The age of its last update at which it expires, if its sender has set one; otherwise
    /// [`Limits::expire_after`](super::Limits::expire_after).
    pub expire_after: Option<Duration>,
}

/// The exposition text of an app.
#[derive(Debug, Clone)]
pub enum Text {
    /// Stored as it came and never read.
    Raw(Bytes, Syntax),
    /// Read once, when it came.
    Read(Arc<Exposition>),
}

impl Text {
    /// The text as it was handed in; see [`Exposition::body`] for what is written otherwise where it was read.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Raw(body, _) => body,
            Self::Read(exposition) => exposition.body(),
        }
    }

    /// The format that it was handed in as.
    #[must_use]
    pub fn syntax(&self) -> Syntax {
        match self {
            Self::Raw(_, syntax) => *syntax,
            Self::Read(exposition) => exposition.syntax(),
        }
    }

    /// The parsed text; `None` in raw mode.
    #[must_use]
    pub const fn exposition(&self) -> Option<&Arc<Exposition>> {
        match self {
            Self::Raw(..) => None,
            Self::Read(exposition) => Some(exposition),
        }
    }
}

/// The remark about a text with timestamps that are all too old.
const OUTDATED: &str = "timestamps too old for Prometheus";

/// The remark about an app that is listed before its first update, such as an endpoint before its first poll.
const NO_UPDATE: &str = "no update yet";

/// The state of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No problem.
    Ok,
    /// All its samples are shown, and something about them is worth knowing.
    Noted(Arc<str>),
    /// No update has arrived for so long; with what is wrong with the last one.
    Stale(Duration, Option<Arc<str>>),
    /// Something is wrong with it: its source, its text, or how it gets on with others.
    Fault(Arc<str>),
}

impl App {
    /// The age of its last update at which the app expires, in a store that forgets pushed apps after `limit`; `None`: never.
    #[must_use]
    pub fn expiry(&self, limit: Option<Duration>) -> Option<Duration> {
        self.expire_after.or(limit).filter(|_| self.expires)
    }

    /// The age at which it counts as stale, in a store that forgets pushed apps after `limit`. `None` for a polled app: a poll that fails shows a
    /// fault, and data that is too old is withdrawn, so its age says only how long its interval is.
    fn stale_after(&self, limit: Option<Duration>) -> Option<Duration> {
        match self.expiry(limit) {
            Some(expiry) => Some(STALE_AFTER.min(expiry / 2)),
            None if self.origin.format == Format::Poll => None,
            None => Some(STALE_AFTER),
        }
    }

    /// Returns the state of the app at [`now`](super::View::moment), in a store that forgets pushed apps after `expire_after`.
    #[must_use]
    pub fn status(&self, now: MonotonicTime, expire_after: Option<Duration>) -> Status {
        let faults = self.text_faults();
        if let Some(fault) = &self.fault {
            let all = std::iter::once(&**fault).chain(faults.iter().map(String::as_str));
            return Status::Fault(all.collect::<Vec<_>>().join("; ").into());
        }
        let faults = joined(&faults);
        let age = now.since(self.refreshed);
        if self.withdrawn || self.stale_after(expire_after).is_some_and(|limit| age >= limit) {
            return Status::Stale(age, faults);
        }
        let noted = || joined(&self.notes()).map_or(Status::Ok, Status::Noted);
        faults.map_or_else(noted, Status::Fault)
    }

    /// The parts of its text that are left out and its contradictions to other apps, in one line.
    #[must_use]
    pub fn complaint(&self) -> Option<Arc<str>> {
        let mut parts = self.text_faults();
        parts.extend(self.conflicts_note());
        parts.extend(self.text_remarks());
        joined(&parts)
    }

    /// Remarks although every sample is exposed in some format: a source that has not delivered yet, conflicts with other apps, exemplars and
    /// samples that a format leaves out, and series that other apps have too.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let awaited = self.updated.is_none().then(|| NO_UPDATE.to_owned());
        let duplicates = (self.duplicates > 0).then(|| format!("{} duplicate series, which other apps have too", self.duplicates));
        let remarks = self.text_remarks().into_iter();
        let conflicts = self.conflicts_note().into_iter();
        awaited.into_iter().chain(conflicts).chain(remarks).chain(duplicates).collect()
    }

    fn conflicts_note(&self) -> Option<String> {
        let first = self.conflicts.listed.first()?;
        let mut note = match self.conflicts.total {
            0 | 1 => first.to_string(),
            total => format!("{first} (and {} more)", total - 1),
        };
        match self.conflicts.exemplars {
            0 => {}
            1 => note.push_str(", 1 exemplar skipped"),
            exemplars => note.push_str(&format!(", {exemplars} exemplars skipped")),
        }
        Some(note)
    }

    /// Remarks about a valid text, for the response to its push.
    #[must_use]
    pub fn push_remarks(&self) -> Vec<String> {
        let outdated = self.outdated.then(|| OUTDATED.to_owned());
        self.text_remarks().into_iter().chain(outdated).collect()
    }

    /// Remarks about its text alone: exemplars and samples that a format leaves out.
    #[must_use]
    pub fn text_remarks(&self) -> Vec<String> {
        let left_out = self.text.exposition().map_or(0, |text| text.mixed_times());
        let mixed_times = (left_out > 0).then(|| {
            let plural = if left_out == 1 { "" } else { "s" };
            format!(
                "{left_out} sample{plural} without a timestamp left out of OpenMetrics, beside others of the same series with timestamps"
            )
        });
        self.exemplars_note()
            .into_iter()
            .chain(mixed_times)
            .chain(self.early_times_note())
            .chain(self.native_note())
            .collect()
    }

    fn early_times_note(&self) -> Option<String> {
        let early = self.text.exposition()?.early_times();
        let note = |count: u32, format: &str, place: &str| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} sample{plural} with a timestamp {place} left out of {format}"))
        };
        let notes = [
            note(early.before, "the text format", "before 1970"),
            note(early.at, "protobuf", "at the start of 1970"),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join(", "))
    }

    fn native_note(&self) -> Option<String> {
        let native = self.text.exposition()?.native_only();
        (native > 0).then(|| format!("native only: {native} series not visible to text scrapers"))
    }

    fn exemplars_note(&self) -> Option<String> {
        let faults = self.text.exposition()?.faults();
        let first = faults.first_exemplar()?;
        Some(match faults.exemplars() {
            1 => format!("1 exemplar skipped ({first})"),
            count => format!("{count} exemplars skipped (first: {first})"),
        })
    }

    fn text_faults(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if let Some(first) = self.text.exposition().and_then(|text| text.faults().first()) {
            parts.push(match self.invalid_lines() {
                1 => format!("1 line skipped ({first})"),
                total => format!("{total} lines skipped (first: {first})"),
            });
        }
        if self.outdated {
            parts.push(OUTDATED.to_owned());
        }
        parts
    }

    /// Number of exemplars of its text that are left out.
    #[must_use]
    pub fn invalid_exemplars(&self) -> u64 {
        self.text.exposition().map_or(0, |text| text.faults().exemplars())
    }

    /// The number of lines of its text that could not be used.
    #[must_use]
    pub fn invalid_lines(&self) -> u64 {
        self.text.exposition().map_or(0, |text| text.faults().total())
    }

    /// The number of series of its text; `None` in raw mode.
    #[must_use]
    pub fn series(&self) -> Option<u64> {
        self.text.exposition().map(|text| u64::from(text.series()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Noted(note) => write!(f, "ok; {note}"),
            Self::Stale(age, None) => write!(f, "stale {}", Age(*age)),
            Self::Stale(age, Some(faults)) => write!(f, "stale {}; {faults}", Age(*age)),
            Self::Fault(fault) => f.write_str(fault),
        }
    }
}

/// Several remarks in one line; nothing where there is none.
fn joined(parts: &[String]) -> Option<Arc<str>> {
    (!parts.is_empty()).then(|| parts.join("; ").into())
}

/// A duration in its largest whole unit: `12s`, `3m`, `5h`, `2d`.
#[derive(Debug, Clone, Copy)]
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            s @ 0..60 => write!(f, "{s}s"),
            s @ 60..3_600 => write!(f, "{}m", s / 60),
            s @ 3_600..86_400 => write!(f, "{}h", s / 3_600),
            s => write!(f, "{}d", s / 86_400),
        }
    }
}
