//! The answers to an update and to an event: [`Receipt`], [`Refused`] and [`EmitError`].

use std::sync::Arc;

use super::{App, Text};
use crate::exposition::Fault;
use crate::exposition::catalog::{Conflict, Conflicts};

/// The result of an accepted update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// True if the app was known before.
    pub replaced: bool,
    /// The bytes of exposition text now stored for it.
    pub bytes: u64,
    /// The number of its families; `None` in raw mode.
    pub families: Option<u64>,
    /// The number of its series; `None` in raw mode.
    pub series: Option<u64>,
    /// Remarks about its text, such as exemplars that are left out or timestamps that are too old.
    pub remarks: Vec<String>,
    /// The contradictions between it and other apps. They cost no sample.
    pub conflicts: Arc<Conflicts>,
    /// Problems of the accepted update: lines that are left out, conflicts with other apps.
    pub complaint: Option<Arc<str>>,
    /// True if the complaint differs from the previous one.
    pub(super) is_new: bool,
    /// True if the text equals the one that was stored before.
    pub(super) same_text: bool,
}

impl Receipt {
    /// The receipt of an update that put `app` in the place of `old`.
    pub(super) fn new(old: Option<&App>, app: &App) -> Self {
        let complaint = app.complaint();
        Self {
            replaced: old.is_some(),
            bytes: app.text.body().len() as u64,
            families: app.text.exposition().map(|text| text.families().len() as u64),
            series: app.series(),
            remarks: app.push_remarks(),
            conflicts: Arc::clone(&app.conflicts),
            same_text: old.is_some_and(|old| match (&old.text, &app.text) {
                (Text::Read(old), Text::Read(new)) => Arc::ptr_eq(old, new),
                _ => false,
            }),
            is_new: complaint.is_some() && old.is_none_or(|old| old.complaint() != complaint),
            complaint,
        }
    }

    /// The complaint, if it differs from the previous one and so is worth a line in the log.
    #[must_use]
    pub fn news(&self) -> Option<&str> {
        self.complaint.as_deref().filter(|_| self.is_new)
    }
}

/// The reason for refusing an update. The stored data did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The app is new and the limit of apps is reached.
    #[error("too many apps: {max_apps} is the limit (store.max_apps); delete unused apps or raise it")]
    TooManyApps {
        /// The limit in force.
        max_apps: usize,
    },
    /// The text is longer than the one that it replaces and there is no memory for it.
    #[error("the store is full: the update would raise memory use to {used} bytes, above the limit of {max_memory} (store.max_memory)")]
    Full {
        /// The memory in use, this text included.
        used: u64,
        /// The limit in force.
        max_memory: u64,
    },
    /// The text is much longer than the one that it replaces, and the memory for it is kept for updates that grow less.
    #[error(
        "the store is nearly full: the update would raise memory use to {used} bytes, and above {room} of {max_memory} bytes \
         (store.max_memory) only updates that grow by at most 64 KiB are accepted"
    )]
    NearlyFull {
        /// The memory in use, this text included.
        used: u64,
        /// The memory for updates of any growth.
        room: u64,
        /// The limit in force.
        max_memory: u64,
    },
    /// No line of the text is valid, or one is not and [`PutOptions::whole`](super::PutOptions::whole) was set.
    #[error("{}", Invalid(.0, *.1))]
    Invalid(Vec<Fault>, u64),
    /// The text has more series than the limit for one app.
    #[error("too many series: {series}, the limit for one app is {max_series} (store.max_series_per_app)")]
    TooManySeries {
        /// The series of the text.
        series: u32,
        /// The limit in force.
        max_series: u32,
    },
    /// Families of the text have the same name once escaped, and [`PutOptions::whole`](super::PutOptions::whole) was set.
    #[error("{}", Listed(.0))]
    SameNames(Vec<Conflict>),
    /// The text contradicts other apps or has series of theirs, and [`PutOptions::consistent`](super::PutOptions::consistent) was set.
    #[error("{}", Inconsistent(.0, *.1))]
    Inconsistent(Arc<Conflicts>, u64),
}

/// The reason for refusing an event. No scraper gets it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It could not be written to disk.
    #[error("cannot write the event to disk: {0}")]
    NotDurable(Arc<str>),
    /// Its idempotency key was used for a different event within the last 10 minutes.
    #[error("the idempotency key was used for an event with other labels or another value within the last 10 minutes")]
    KeyReused,
    /// The event log is full, most events in it are of this client, and the event would push out one of another client.
    #[error("the event log is full (events.max_pending) and this client has posted more of its events than other clients")]
    Crowded,
    /// The engine of the cluster is away, and events are not to wait for it.
    #[error("the engine of the cluster is away, and events are refused meanwhile (events.when_engine_away = \"refuse\")")]
    EngineAway,
}

impl Refused {
    /// The stable word for the `reason` label of `exporter_proxy_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooManyApps { .. } => "too_many_apps",
            Self::Full { .. } | Self::NearlyFull { .. } => "store_full",
            Self::Invalid(..) => "invalid",
            Self::TooManySeries { .. } => "too_many_series",
            Self::SameNames(_) => "invalid",
            Self::Inconsistent(..) => "inconsistent",
        }
    }
}

/// Faults as text, one per line.
struct Invalid<'a>(&'a [Fault], u64);

impl std::fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if n > 0 { "\n" } else { "" })?;
        }
        match self.1 - self.0.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Conflicts as text, one per line.
struct Listed<'a>(&'a [Conflict]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, conflict) in self.0.iter().enumerate() {
            write!(f, "{}{conflict}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Conflicts and duplicate series as text, one per line.
struct Inconsistent<'a>(&'a Conflicts, u64);

impl std::fmt::Display for Inconsistent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Listed(&self.0.listed).fmt(f)?;
        match (self.1, self.0.listed.is_empty()) {
            (0, _) => Ok(()),
            (series, is_first) => write!(f, "{}{series} series that other apps have too", if is_first { "" } else { "\n" }),
        }
    }
}
