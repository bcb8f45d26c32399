//! One application as the store knows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Moment;
use crate::exposition::Exposition;
use crate::exposition::catalog::Clash;
use crate::model::{AppName, LabelPair, Origin, Syntax, Timestamp};

/// The age at which an application that is never forgotten counts as stale: the span after which Prometheus, too,
/// takes a series without new samples for gone.
const STALE_AFTER: Duration = Duration::from_secs(300);

/// The latest of one application. Immutable: an update makes a new one.
#[derive(Debug, Clone)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its place in the order in which applications were first seen; unique.
    pub order: u64,
    /// The [generation](super::View::generation) that its last update made; no two updates have the same.
    pub changed: u64,
    /// Where its last update came from.
    pub origin: Origin,
    /// What it has handed in; nothing once it is [withdrawn](App::withdrawn).
    pub text: Text,
    /// Labels that every series gets unless it has them.
    pub labels: Arc<[LabelPair]>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When its last update arrived; `None` if it was only announced so far.
    pub updated: Option<Timestamp>,
    /// The same, or when it was announced, by the clock that ages are measured with.
    pub refreshed: Moment,
    /// What is wrong with its source, if something is.
    pub fault: Option<Arc<str>>,
    /// Where it contradicts other applications.
    pub clashes: Arc<[Clash]>,
    /// How many of its series other applications have as well.
    pub duplicates: u64,
    /// Whether all timestamps that its samples carry are too old for Prometheus to store.
    pub outdated: bool,
    /// Whether its data has left the exposition because its source went quiet.
    pub withdrawn: bool,
    /// Whether it is forgotten after [`Limits::expire_after`](super::Limits::expire_after): so for what is pushed, not for what is polled.
    pub expires: bool,
}

/// The exposition text of an application.
#[derive(Debug, Clone)]
pub enum Text {
    /// Stored as it came and never read.
    Raw(Bytes, Syntax),
    /// Read once, when it came.
    Read(Arc<Exposition>),
}

impl Text {
    /// The text, byte for byte as it was handed in.
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

    /// What was read in it; nothing where nothing is read.
    #[must_use]
    pub const fn exposition(&self) -> Option<&Arc<Exposition>> {
        match self {
            Self::Raw(..) => None,
            Self::Read(exposition) => Some(exposition),
        }
    }
}

/// How an application is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// Nothing was heard of it for so long.
    Stale(Duration),
    /// Something is wrong with it: its source, its text, or how it gets on with others.
    Fault(Arc<str>),
}

impl App {
    /// Returns the state of the application at [`now`](super::View::moment), in a store that forgets pushed applications after `expire_after`.
    #[must_use]
    pub fn status(&self, now: Moment, expire_after: Option<Duration>) -> Status {
        if let Some(fault) = &self.fault {
            return Status::Fault(Arc::clone(fault));
        }
        let age = now.since(self.refreshed);
        let limit = match expire_after {
            Some(expire_after) if self.expires => STALE_AFTER.min(expire_after / 2),
            _ => STALE_AFTER,
        };
        if self.withdrawn || age >= limit {
            return Status::Stale(age);
        }
        self.complaint().map_or(Status::Ok, Status::Fault)
    }

    /// What is wrong with its text, or between it and others, in one line.
    #[must_use]
    pub fn complaint(&self) -> Option<Arc<str>> {
        let mut parts = Vec::new();
        if let Some(first) = self.text.exposition().and_then(|text| text.faults().first()) {
            let total = self.invalid_lines();
            parts.push(format!("{total} invalid line{}, first {first}", if total == 1 { "" } else { "s" }));
        }
        if let [first, others @ ..] = &*self.clashes {
            parts.push(if others.is_empty() {
                first.to_string()
            } else {
                format!("{first} (and {} more)", others.len())
            });
        }
        if self.outdated {
            parts.push("timestamps too old for Prometheus".to_owned());
        }
        if self.duplicates > 0 {
            parts.push(format!("{} duplicate series", self.duplicates));
        }
        (!parts.is_empty()).then(|| parts.join("; ").into())
    }

    /// How many lines of its text could not be used.
    #[must_use]
    pub fn invalid_lines(&self) -> u64 {
        self.text.exposition().map_or(0, |text| text.faults().total())
    }

    /// How many series its text has; `None` where texts are not read.
    #[must_use]
    pub fn series(&self) -> Option<u64> {
        self.text.exposition().map(|text| u64::from(text.series()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Stale(age) => write!(f, "stale {}", Age(*age)),
            Self::Fault(fault) => f.write_str(fault),
        }
    }
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
