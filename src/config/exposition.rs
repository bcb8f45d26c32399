//! `[exposition]`: merging and rendering of the metrics of apps.

use super::label;
use super::reader::Section;
use super::value_types::{Bool, OneOf, Parsed};
use crate::exposition::catalog::{Duplicates, Rules};
use crate::store::Mode;

/// Merging of the metrics of apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpositionMode {
    /// Families are merged across apps.
    Merge,
    /// Every app's bytes as they came.
    Raw,
}

/// `[exposition]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpositionConfig {
    /// `mode`.
    pub mode: ExpositionMode,
    /// `app_label`: the label that names the app on every series that lacks it; `None`: no such label.
    pub app_label: Option<String>,
    /// `duplicates`.
    pub duplicates: Duplicates,
    /// `compression`: whether gzip is offered.
    pub compression: bool,
}

/// Prefixes of the self metrics besides the event family; copies of an application, such as of a chained proxy, are merged with them.
const RESERVED: [&str; 2] = ["exporter_proxy_", "events_to_metrics_"];

impl ExpositionConfig {
    /// The store's mode; `event_family` is the name of the event family (`events.metric_name`).
    #[must_use]
    pub fn store_mode(&self, event_family: &str) -> Mode {
        match self.mode {
            ExpositionMode::Raw => Mode::Raw,
            ExpositionMode::Merge => {
                let [own, about_events] = RESERVED;
                let reserved = [own, about_events, event_family];
                Mode::Merge(Rules::new(self.app_label.as_deref(), self.duplicates, &reserved))
            }
        }
    }

    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let mode = t.restart_only("mode").or(ExpositionMode::Merge, OneOf(MODES));
        let app_label = t.reloadable("app_label").or(String::new(), APP_LABEL);
        t.require(
            &["mode", "app_label"],
            app_label.is_empty() || mode == ExpositionMode::Merge,
            || "\"app_label\" has no effect with mode = \"raw\", which exposes bytes unchanged".to_owned(),
        );
        Self {
            mode,
            app_label: (!app_label.is_empty()).then_some(app_label),
            duplicates: t.reloadable("duplicates").or(Duplicates::Label, OneOf(DUPLICATES)),
            compression: t.restart_only("compression").or(true, Bool),
        }
    }
}

const MODES: &[(&str, ExpositionMode)] = &[("merge", ExpositionMode::Merge), ("raw", ExpositionMode::Raw)];
const DUPLICATES: &[(&str, Duplicates)] = &[("label", Duplicates::Label), ("latest", Duplicates::Latest)];

const APP_LABEL: Parsed<String> = Parsed {
    expected: "a label name, or \"\" for none",
    parse: |text| match text {
        "" => Ok(String::new()),
        name => label::check(name).map(|()| name.to_owned()),
    },
};
