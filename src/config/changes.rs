//! What differs between two configurations, and whether a running proxy can take it up.

use super::Settings;

/// The keys whose values differ, each as `section.key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a reload takes up.
    pub taken_up: Vec<String>,
    /// Those that need a restart.
    pub needs_restart: Vec<String>,
}

/// Compares the settings of a running proxy with newly read ones.
#[must_use]
pub fn changes(old: &Settings, new: &Settings) -> Changes {
    let mut out = Changes::default();
    for (old, new) in old.entries.iter().zip(&new.entries) {
        debug_assert_eq!(
            (old.section, old.key),
            (new.section, new.key),
            "settings are always read in the same order"
        );
        if old.identity != new.identity {
            let list = if new.live { &mut out.taken_up } else { &mut out.needs_restart };
            list.push(new.path());
        }
    }
    out
}
