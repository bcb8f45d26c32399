//! `[store]`: limits of the store, expiry and persistence.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::value_types::{DurationOrZero, IntegerRange, Parsed, SizeOrZero};
use crate::store::Limits;
use crate::supervise::default_memory_limit;

/// Sooner than this an application would be forgotten between two of its own updates.
const MIN_EXPIRY: Duration = Duration::from_secs(1);
/// Ten years: a longer expiry is no expiry.
const MAX_EXPIRY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Each app costs a few hundred bytes even when empty; ten million of them would already fill a large machine.
const MAX_APPS: usize = 10_000_000;
/// Less could not hold one application.
const MIN_BYTES: u64 = 64 << 10;
/// More than any machine that this runs on has memory.
const MAX_BYTES: u64 = 1 << 44;

/// A text can have no more: it is shorter than 4 GiB.
const MAX_SERIES: usize = 1_000_000_000;

/// `[store]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `expire_after`, `max_apps`, `max_memory` and `max_series_per_app`.
    pub limits: Limits,
    /// `path`: the directory that keeps events and apps across a restart; `None`: memory only.
    pub path: Option<PathBuf>,
}

impl StoreConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let limits = Limits {
            expire_after: t.reloadable("expire_after").or(None, DurationOrZero(MIN_EXPIRY..=MAX_EXPIRY)),
            max_apps: t.reloadable("max_apps").or(100_000, IntegerRange(1..=MAX_APPS)),
            max_memory: t
                .reloadable("max_memory")
                .or(None, SizeOrZero(MIN_BYTES..=MAX_BYTES))
                .unwrap_or_else(default_memory_limit),
            max_series_per_app: u32::try_from(t.reloadable("max_series_per_app").or(2_000_000, IntegerRange(1..=MAX_SERIES)))
                .unwrap_or(u32::MAX),
        };
        Self {
            limits,
            path: Some(t.restart_only("path").or(String::new(), DIRECTORY))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        }
    }
}

const DIRECTORY: Parsed<String> = Parsed {
    expected: "the path of a directory, or \"\" for none",
    parse: |path| match path.contains('\0') {
        true => Err("a path must not contain a NUL".to_owned()),
        false => Ok(path.to_owned()),
    },
};
