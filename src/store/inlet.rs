//! The writing half.

use std::sync::Arc;
use std::time::Duration;

use super::latest::Prepared;
use super::{Limits, Mode, Shared, Text};
use crate::exposition::catalog::Clash;
use crate::exposition::{Exposition, Fault, detect};
use crate::model::{AppName, Origin, Timestamp, Update};

/// The age of a timestamp beyond which Prometheus drops the sample: half of its head block's two hours.
const TOO_OLD: Duration = Duration::from_secs(3_600);

/// The writing half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Inlet {
    shared: Arc<Shared>,
}

/// What became of an update that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the application had been known before.
    pub replaced: bool,
    /// The bytes of exposition text now stored for it.
    pub bytes: u64,
    /// What is wrong with the update although it was taken: lines that are left out, contradictions to other applications.
    pub complaint: Option<Arc<str>>,
    /// Whether the complaint is another one than before.
    pub(super) is_new: bool,
}

impl Receipt {
    /// The complaint, if it is another one than before and so worth a line in the log.
    #[must_use]
    pub fn news(&self) -> Option<&str> {
        self.complaint.as_deref().filter(|_| self.is_new)
    }
}

/// Why an update was not taken. What was stored before is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The application is new and there is no place for one more.
    #[error("there are {max_apps} applications already (store.max_apps)")]
    TooManyApps {
        /// The limit in force.
        max_apps: usize,
    },
    /// The text is longer than what it replaces and there is no room for it.
    #[error("the store is full: no more than {max_bytes} bytes of exposition text are kept (store.max_bytes)")]
    Full {
        /// The limit in force.
        max_bytes: u64,
    },
    /// No line of the text can be used, or one cannot and all were asked for.
    #[error("{}", Invalid(.0, *.1))]
    Invalid(Vec<Fault>, u64),
    /// The text contradicts what other applications have, and all of it was asked for.
    #[error("{}", Clashing(.0))]
    Clashing(Vec<Clash>),
}

impl Refused {
    /// The stable word for the `reason` label of `exporter_proxy_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooManyApps { .. } => "too_many_apps",
            Self::Full { .. } => "store_full",
            Self::Invalid(..) => "invalid",
            Self::Clashing(_) => "clash",
        }
    }
}

/// Faults as text: in one line where there is one, else a line each.
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

/// Clashes as text, a line each.
struct Clashing<'a>(&'a [Clash]);

impl std::fmt::Display for Clashing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, clash) in self.0.iter().enumerate() {
            write!(f, "{}{clash}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Inlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Replaces all that a pushing application had with what it says now. Once this returns, every scrape shows it. Lines
    /// that cannot be used are left out, and the receipt tells of them.
    ///
    /// # Errors
    /// When the store has no room for it, or no line of it can be used.
    pub fn put(&self, update: Update) -> Result<Receipt, Refused> {
        let prepared = self.prepare(update, true)?;
        self.shared.latest().put(prepared)
    }

    /// As [`Inlet::put`], all or nothing: one line that cannot be used, or one family that contradicts another application's,
    /// and nothing is stored.
    ///
    /// # Errors
    /// As for [`Inlet::put`], and for any fault.
    pub fn put_whole(&self, update: Update) -> Result<Receipt, Refused> {
        let prepared = self.prepare(update, true)?;
        let exposition = prepared.text.exposition().cloned();
        if let Some(faulty) = exposition.as_ref().filter(|text| !text.faults().is_empty()) {
            return Err(invalid(faulty));
        }
        let mut latest = self.shared.latest();
        if let Some(exposition) = &exposition {
            latest.check(&prepared.app, exposition)?;
        }
        latest.put(prepared)
    }

    /// As [`Inlet::put`], for an application that is asked rather than pushing: it never expires, its source withdraws it.
    ///
    /// # Errors
    /// As for [`Inlet::put`].
    pub fn put_polled(&self, update: Update) -> Result<Receipt, Refused> {
        let prepared = self.prepare(update, false)?;
        self.shared.latest().put(prepared)
    }

    /// Reads the text, before any lock is taken.
    fn prepare(&self, update: Update, expires: bool) -> Result<Prepared, Refused> {
        let Update {
            app,
            body,
            syntax,
            labels,
            origin,
            at,
        } = update;
        let syntax = syntax.unwrap_or_else(|| detect(&body));
        let text = if self.shared.reads {
            Text::Read(Arc::new(Exposition::parse(body, syntax)))
        } else {
            Text::Raw(body, syntax)
        };
        match text.exposition() {
            Some(read) if read.series() == 0 && !read.faults().is_empty() => return Err(invalid(read)),
            _ => {}
        }
        let newest = text.exposition().and_then(|read| read.newest_timestamp());
        let outdated = newest.is_some_and(|newest| at.since(newest) > TOO_OLD);
        Ok(Prepared {
            app,
            text,
            labels,
            origin,
            at,
            expires,
            outdated,
        })
    }

    /// Lists an application before its first update; one that is known stays as it is.
    ///
    /// # Errors
    /// When there are too many applications.
    pub fn announce(&self, app: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        self.shared.latest().announce(app, origin, at)
    }

    /// Shows in `/apps` what is wrong with an application's source until the next update. False if it is unknown.
    pub fn fault(&self, app: &AppName, what: &str) -> bool {
        self.shared.latest().amend(app, |app| app.fault = Some(what.into()))
    }

    /// Takes an application's data out of the exposition and keeps it listed. False if it is unknown.
    pub fn withdraw(&self, app: &AppName) -> bool {
        self.shared.latest().withdraw(app)
    }

    /// Forgets an application. False if it is unknown.
    pub fn remove(&self, app: &AppName) -> bool {
        self.shared.latest().remove(app)
    }

    /// Forgets the pushed applications whose last update is too old at `now`, and names them.
    pub fn expire(&self, now: Timestamp) -> Vec<AppName> {
        self.shared.latest().expire(now)
    }

    /// Puts other limits in force. What is stored already stays.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.latest().set_limits(limits);
    }

    /// Puts everything together anew by other rules. Between raw and merged only a restart changes.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.latest().set_mode(mode);
    }
}

fn invalid(text: &Exposition) -> Refused {
    Refused::Invalid(text.faults().iter().cloned().collect(), text.faults().total())
}
