//! Settings of the merge.

use std::sync::Arc;

use super::contributions::{LAST_RANK, MAX_RANKS};
use crate::family::Suffix;

/// The treatment of a series that several apps have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// All are exposed, with a disambiguating label that names the app.
    #[default]
    Label,
    /// The one that was updated last is exposed.
    Latest,
}

/// Settings of the merge of several apps' families.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The name of a label that names the app on every series that lacks it.
    pub(super) app_label: Option<Arc<str>>,
    /// The treatment of a series that several apps have.
    pub(super) duplicates: Duplicates,
    /// Prefixes of the names of the proxy's own families.
    pub(super) reserved: Arc<[Box<str>]>,
    /// Names of the disambiguating label, by rank.
    pub(super) labels: Arc<[Box<str>; MAX_RANKS]>,
}

impl Default for Rules {
    /// Rules without an app label and without reserved names; duplicate series get a disambiguating label.
    fn default() -> Self {
        Self::new(None, Duplicates::Label, &[])
    }
}

impl Rules {
    /// Makes the rules. Names that start with one of `reserved` are the proxy's own: an app's families of such names are exposed together
    /// with those of the proxy.
    #[must_use]
    pub fn new(app_label: Option<&str>, duplicates: Duplicates, reserved: &[&str]) -> Self {
        let labels = std::array::from_fn(|rank| match rank {
            0 => app_label.unwrap_or("app").into(),
            _ => format!("{}app", "exporter_".repeat(rank)).into_boxed_str(),
        });
        Self {
            app_label: app_label.map(Into::into),
            duplicates,
            reserved: reserved.iter().map(|&prefix| prefix.into()).collect(),
            labels: Arc::new(labels),
        }
    }

    /// True if some prefix is reserved.
    pub(super) fn has_reserved(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// The label that names the app on its copies of the proxy's own series.
    pub(super) fn reserved_label(&self) -> &str {
        &self.labels[1]
    }

    /// True if a family belongs to the proxy itself: its name, or one that its samples could have, starts with a reserved name.
    pub(super) fn is_reserved(&self, name: &[u8]) -> bool {
        self.reserved.iter().map(|prefix| prefix.as_bytes()).any(|prefix| {
            name.starts_with(prefix)
                || prefix
                    .strip_prefix(name)
                    .is_some_and(|rest| Suffix::NAMED.iter().any(|suffix| suffix.as_str().as_bytes().starts_with(rest)))
        })
    }

    /// The rank of a label's name among those of the disambiguating label, as a bit; 0 if it has none.
    pub(super) fn taken_by(&self, label: &[u8]) -> u8 {
        match self.labels.iter().position(|name| name.as_bytes() == label) {
            Some(rank) => 1 << rank,
            None => 0,
        }
    }

    /// The lowest rank from `lowest` on with a name that no series uses.
    pub(super) fn free_rank(&self, lowest: u8, taken: &[u32; MAX_RANKS]) -> u8 {
        let is_app_label = |name: &str| self.app_label.as_deref() == Some(name);
        let mut names = (0..).zip(taken).zip(&*self.labels).skip(usize::from(lowest));
        let free = names.find(|((_, taken), name)| **taken == 0 && !is_app_label(name));
        free.map_or(LAST_RANK, |((rank, _), _)| rank)
    }
}

#[cfg(test)]
mod tests;
