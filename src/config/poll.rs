//! `[poll_external]`: the exporters that are polled.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::endpoint::{EndpointType, PlacedEndpoint};
use super::raw::quoted;
use super::reader::Section;
use super::secret::masked_query;
use super::units::in_memory;
use super::value_types::{Bool, DurationOrZero, DurationRange, ListOf, Size};
use crate::model::AppName;
use crate::sources::polls::{Endpoint, PollSettings, place};
use crate::supervise::secret_file::FileRule;

/// The fastest clock of an endpoint: faster, and the proxy would be most of its load.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Prometheus considers a series stale after five minutes, so one poll a day is slow enough for any use.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// A round trip to another machine takes about a millisecond at best.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
/// An exporter that takes longer will not answer.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Data that was not refreshed for a month is useless.
const MAX_STALE: Duration = Duration::from_secs(30 * 86_400);
/// Smaller limits would refuse every real exporter.
const MIN_BODY_BYTES: u64 = 1 << 10;
/// One body is held in memory whole, and positions in it are 32-bit numbers.
const MAX_POLL_BODY_BYTES: u64 = 2 << 30;
/// Each endpoint is a task and a connection; a proxy that polls more should be several.
const MAX_ENDPOINTS: usize = 10_000;

/// The range of `poll_interval` and of an endpoint's `interval`.
pub(super) const INTERVAL: DurationRange = DurationRange(MIN_INTERVAL..=MAX_INTERVAL);
/// The range of `client_timeout` and of an endpoint's `timeout`.
pub(super) const TIMEOUT: DurationRange = DurationRange(MIN_TIMEOUT..=MAX_TIMEOUT);

/// The settings of polls, and the number of configured endpoints that are not polled because `poll_other_scrape_endpoints` is false.
pub(super) fn read(t: &mut Section<'_>) -> (PollSettings, usize) {
    let polls = t.reloadable("poll_other_scrape_endpoints").or(false, Bool);
    let item = EndpointType {
        interval: t.reloadable("poll_interval").or(Duration::from_secs(5), INTERVAL),
        timeout: t.reloadable("client_timeout").or(Duration::from_secs(2), TIMEOUT),
        stale_after: t.reloadable("stale_after").or(None, DurationOrZero(MIN_INTERVAL..=MAX_STALE)),
        native_histograms: t.reloadable("native_histograms").or(false, Bool),
    };
    let endpoints = ListOf {
        item,
        expected: "a list of URLs and tables such as { url = \"http://127.0.0.1:9100/metrics\" }",
        or_single: false,
    };
    let endpoints = t.reloadable("other_scrape_endpoints").or(Vec::new(), endpoints);
    t.require(&["other_scrape_endpoints"], endpoints.len() <= MAX_ENDPOINTS, || {
        format!("{} endpoints exceed the maximum of {MAX_ENDPOINTS}", endpoints.len())
    });
    let endpoints = named(t, endpoints);
    let unpolled = if polls { 0 } else { endpoints.len() };
    let settings = PollSettings {
        endpoints: if polls { endpoints } else { Vec::new() },
        allow_invalid_certs: t.reloadable("allow_invalid_certs").or(false, Bool),
        max_body_bytes: in_memory(
            t.reloadable("max_body_bytes")
                .or(64 << 20, Size(MIN_BODY_BYTES..=MAX_POLL_BODY_BYTES)),
        ),
        event_metric: None,
        secret_rule: FileRule::Lenient,
    };
    (settings, unpolled)
}

/// Gives each endpoint without a configured name one made from its URL that is unique. Those with a fault are left out.
fn named(t: &mut Section<'_>, endpoints: Vec<PlacedEndpoint>) -> Vec<Endpoint> {
    let unnamed = || endpoints.iter().filter(|placed| !placed.has_name).map(|placed| &placed.endpoint);
    let made: Vec<HashMap<String, usize>> = NAME_FORMS.iter().map(|form| count(unnamed().map(form))).collect();
    let mut taken = HashSet::new();
    let mut settle = |placed: PlacedEndpoint| {
        let (at, mut endpoint) = (placed.at, placed.endpoint);
        if !placed.has_name {
            endpoint.name = name(&made_name(&endpoint, &made)).map_err(|why| t.notes.fault(&at, why)).ok()?;
        }
        if !taken.insert(endpoint.name.clone()) {
            let text = format!(
                "two endpoints are named {}; give one of them a \"name\"",
                quoted(endpoint.name.as_str())
            );
            t.notes.fault(&at, text);
            return None;
        }
        Some(endpoint)
    };
    endpoints.into_iter().filter_map(&mut settle).collect()
}

/// A name made from a URL.
pub(super) fn name(made: &str) -> Result<AppName, String> {
    AppName::new(made).map_err(|e| format!("{e}: give the endpoint a \"name\""))
}

/// Names made from a URL, from the original's to the longest.
const NAME_FORMS: [fn(&Endpoint) -> String; 3] = [with_place, with_path, with_query];

fn with_place(endpoint: &Endpoint) -> String {
    made_of(&endpoint.url, endpoint.socket.as_deref())
}

/// The shortest name: host and port, or the Unix socket.
pub(super) fn made_of(url: &Url, socket: Option<&Path>) -> String {
    format!("external_poll: {}", place(url, socket))
}

fn with_path(endpoint: &Endpoint) -> String {
    let colon = if endpoint.socket.is_some() { ":" } else { "" };
    with_place(endpoint) + colon + endpoint.url.path()
}

fn with_query(endpoint: &Endpoint) -> String {
    let query = masked_query(&endpoint.url).map(|query| format!("?{query}"));
    with_path(endpoint) + &query.unwrap_or_default()
}

fn count(names: impl Iterator<Item = String>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The shortest form that is unique to this endpoint, otherwise the longest.
fn made_name(endpoint: &Endpoint, counts: &[HashMap<String, usize>]) -> String {
    let mut forms = NAME_FORMS.iter().zip(counts).map(|(form, counts)| (form(endpoint), counts));
    let alone = forms.find(|(name, counts)| counts.get(name) == Some(&1));
    alone.map_or_else(|| with_query(endpoint), |(name, _)| name)
}
