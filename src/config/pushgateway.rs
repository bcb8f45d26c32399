//! `[pushgateway]`: the API of Pushgateway.

use super::raw::quoted;
use super::reader::Section;
use super::value_types::{Bool, OneOf, Parsed};
use crate::sources::pushgateway::{PushgatewayRules, TimestampRule};

/// `[pushgateway]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushgatewayConfig {
    /// `enabled`: whether the API is served.
    pub enabled: bool,
    /// `strict`, `timestamps` and `route_prefix`.
    pub rules: PushgatewayRules,
}

impl PushgatewayConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        Self {
            enabled: t.restart_only("enabled").or(true, Bool),
            rules: PushgatewayRules {
                strict: t.restart_only("strict").or(false, Bool),
                timestamps: t.restart_only("timestamps").or(TimestampRule::Reject, OneOf(TIMESTAMPS)),
                route_prefix: t.restart_only("route_prefix").or(String::new(), PREFIX).into(),
            },
        }
    }
}

const TIMESTAMPS: &[(&str, TimestampRule)] = &[
    ("reject", TimestampRule::Reject),
    ("strip", TimestampRule::Strip),
    ("keep", TimestampRule::Keep),
];

const PREFIX: Parsed<String> = Parsed {
    expected: "a path such as \"/pushgateway\", or \"\" for none",
    parse: |text| {
        // As Pushgateway takes it: "/" is none, and a slash at the end does not count.
        let path = text.trim_end_matches('/');
        if path.is_empty() {
            return Ok(String::new());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        let is_path = path.starts_with('/') && path.chars().all(is_plain) && path[1..].split('/').all(|part| !part.is_empty());
        if !is_path {
            return Err(format!("{} is not a path: expected \"/\" and letters, digits, -._~", quoted(text)));
        }
        if path.contains(GROUP_PATH) {
            return Err(format!(
                "{} contains {GROUP_PATH}, with which the name of a group begins: access rules would see another group than the one that is \
                 pushed to; choose another path",
                quoted(text)
            ));
        }
        match TAKEN.iter().find(|taken| path[1..].split('/').next() == Some(taken)) {
            Some(taken) => Err(format!(
                "{} begins with /{taken}, which is a path of the proxy itself",
                quoted(text)
            )),
            None => Ok(path.to_owned()),
        }
    },
};

/// The start of paths about groups. Access rules find the group of a request by the first one in its path.
const GROUP_PATH: &str = "/metrics/job";

/// First segments of the proxy's own paths.
const TAKEN: [&str; 11] = [
    "-",
    "api",
    "apps",
    "event",
    "events",
    "healthz",
    "metric_plugin",
    "metrics",
    "readyz",
    "sd",
    "ui",
];
