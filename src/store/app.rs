//! One application as the store knows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{AppName, Origin, Syntax, Timestamp};

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
    /// Where its last update came from.
    pub origin: Origin,
    /// The exposition text, byte for byte as it was handed in; empty once [`App::withdrawn`].
    pub body: Bytes,
    /// The format of the text.
    pub syntax: Syntax,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When its last update arrived; `None` if it was only announced so far.
    pub updated: Option<Timestamp>,
    /// What is wrong with its source, if something is.
    pub fault: Option<Arc<str>>,
    /// Whether its data has left the exposition because its source went quiet.
    pub withdrawn: bool,
    /// Whether it is forgotten after [`Limits::expire_after`](super::Limits::expire_after): so for what is pushed, not for what is polled.
    pub expires: bool,
}

/// How an application is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// Nothing was heard of it for so long.
    Stale(Duration),
    /// Its source reports a fault.
    Fault(Arc<str>),
}

impl App {
    /// How the application is doing at `now`, in a store that forgets pushed applications after `expire_after`.
    #[must_use]
    pub fn status(&self, now: Timestamp, expire_after: Option<Duration>) -> Status {
        if let Some(fault) = &self.fault {
            return Status::Fault(Arc::clone(fault));
        }
        let age = now.since(self.updated.unwrap_or(self.first_seen));
        let limit = match expire_after {
            Some(expire_after) if self.expires => STALE_AFTER.min(expire_after / 2),
            _ => STALE_AFTER,
        };
        if self.withdrawn || age >= limit {
            Status::Stale(age)
        } else {
            Status::Ok
        }
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
