//! What the configuration decides about merging.

use std::sync::Arc;

use super::entry::{LAST_RANK, MAX_RANKS};
use crate::exposition::Suffix;

/// What is done about a series that several applications have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// All are shown, told apart by a label that names the application.
    #[default]
    Label,
    /// The one that was updated last is shown.
    Latest,
}

/// How the families of several applications are merged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The name of a label that names the application on every series that lacks it.
    pub(super) app_label: Option<Arc<str>>,
    /// What is done about a series that several applications have.
    pub(super) duplicates: Duplicates,
    /// Names that start like this belong to the proxy itself.
    pub(super) reserved: Arc<[Box<str>]>,
    /// What the label that tells applications apart is called, the first that is free.
    pub(super) telling: Arc<[Box<str>; MAX_RANKS]>,
}

impl Rules {
    /// The rules. Families whose names start with one of `reserved` are the proxy's own: an application's go out together with those.
    #[must_use]
    pub fn new(app_label: Option<&str>, duplicates: Duplicates, reserved: &[&str]) -> Self {
        let telling = std::array::from_fn(|rank| match rank {
            0 => app_label.unwrap_or("app").into(),
            _ => format!("{}app", "exporter_".repeat(rank)).into_boxed_str(),
        });
        Self {
            app_label: app_label.map(Into::into),
            duplicates,
            reserved: reserved.iter().map(|&prefix| prefix.into()).collect(),
            telling: Arc::new(telling),
        }
    }

    /// The name under which an application's copies of the proxy's own series name the application.
    pub(super) fn telling_reserved(&self) -> &str {
        &self.telling[1]
    }

    /// Whether a family belongs to the proxy itself: its name, or one that its samples could have, starts with a reserved name.
    pub(super) fn is_reserved(&self, name: &[u8]) -> bool {
        self.reserved.iter().map(|prefix| prefix.as_bytes()).any(|prefix| {
            name.starts_with(prefix)
                || prefix
                    .strip_prefix(name)
                    .is_some_and(|rest| Suffix::NAMED.iter().any(|suffix| suffix.as_str().as_bytes().starts_with(rest)))
        })
    }

    /// Which of the names that the telling label may have a label has, as a bit.
    pub(super) fn taken_by(&self, label: &[u8]) -> u8 {
        match self.telling.iter().position(|name| name.as_bytes() == label) {
            Some(rank) => 1 << rank,
            None => 0,
        }
    }

    /// The lowest rank whose name no series has, starting from `lowest`.
    pub(super) fn free_rank(&self, lowest: u8, taken: &[u32; MAX_RANKS]) -> u8 {
        let is_app_label = |name: &str| self.app_label.as_deref() == Some(name);
        let mut names = (0..).zip(taken).zip(&*self.telling).skip(usize::from(lowest));
        let free = names.find(|((_, taken), name)| **taken == 0 && !is_app_label(name));
        free.map_or(LAST_RANK, |((rank, _), _)| rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_are_all_families_that_could_bear_a_reserved_name() {
        let rules = Rules::new(None, Duplicates::Label, &["exporter_proxy_", "events_to_metrics", "x_count"]);
        for name in [
            "exporter_proxy_apps",
            "events_to_metrics",
            "events_to_metrics_event",
            "x_count",
            "x",
            "x_count_total",
        ] {
            assert!(rules.is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["exporter", "events_to", "xx", "events", "proxy_exporter_proxy_"] {
            assert!(!rules.is_reserved(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_telling_label_finds_a_free_name() {
        let name = |rules: &Rules, taken| rules.telling[usize::from(rules.free_rank(0, &taken))].clone();
        let rules = Rules::new(None, Duplicates::Label, &[]);
        assert_eq!(&*name(&rules, [0; MAX_RANKS]), "app");
        assert_eq!(&*name(&rules, [1, 0, 0, 0, 0, 0, 0, 0]), "exporter_app");
        assert_eq!(&*name(&rules, [1, 5, 0, 0, 0, 0, 0, 0]), "exporter_exporter_app");
        assert_eq!(rules.free_rank(0, &[1; MAX_RANKS]), LAST_RANK);
        let rules = Rules::new(Some("job"), Duplicates::Label, &[]);
        assert_eq!(
            &*name(&rules, [0; MAX_RANKS]),
            "exporter_app",
            "the label that all series have tells nothing"
        );
    }
}
