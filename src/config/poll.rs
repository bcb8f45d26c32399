//! `[poll_external]`: the exporters that are polled.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::endpoint::{EndpointDraft, EndpointType};
use super::fault::Location;
use super::raw::quoted;
use super::reader::Section;
use super::secret::{Secret, masked_query};
use super::value_types::{Bool, DurationOrZero, DurationRange, ListOf, Size};
use crate::model::{AppName, LabelPair};

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
/// Intervals without a successful poll after which data is stale, if `stale_after` is 0.
const STALE_INTERVALS: u32 = 3;

/// The range of `poll_interval` and of an endpoint's `interval`.
pub(super) const INTERVAL: DurationRange = DurationRange(MIN_INTERVAL..=MAX_INTERVAL);
/// The range of `client_timeout` and of an endpoint's `timeout`.
pub(super) const TIMEOUT: DurationRange = DurationRange(MIN_TIMEOUT..=MAX_TIMEOUT);

/// A password, or the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// RawEntry in the configuration.
    Given(Secret),
    /// In a file, read for each poll so that it can be changed.
    File(PathBuf),
}

/// Credentials of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `bearer_token_file`: a file that holds a bearer token.
    BearerFile(PathBuf),
    /// `basic_auth`, or the user and password of the URL.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Password,
    },
}

/// One polled exporter with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// App name, unique among all endpoints.
    pub name: AppName,
    /// URL, http or https, without user, password and fragment.
    pub url: Url,
    /// Poll interval.
    pub interval: Duration,
    /// Timeout of one poll.
    pub timeout: Duration,
    /// Time after the last successful poll until its series are dropped from `/metrics`.
    pub stale_after: Duration,
    /// Credentials.
    pub credentials: Option<Credentials>,
    /// A file of certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Labels for every series that lacks them, by name.
    pub labels: Arc<[LabelPair]>,
    /// Families of one-shot events; `None`: the default one, if the response has it.
    pub events: Option<Arc<[Arc<str>]>>,
}

/// `[poll_external]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollConfig {
    /// `other_scrape_endpoints`; none where `poll_other_scrape_endpoints` is false.
    pub endpoints: Vec<Endpoint>,
    /// `allow_invalid_certs`: whether certificate verification is disabled.
    pub allow_invalid_certs: bool,
    /// `max_body_bytes`: the largest response, uncompressed.
    pub max_body_bytes: u64,
    /// Number of configured endpoints that are not polled because `poll_other_scrape_endpoints` is false.
    pub unpolled: usize,
}

impl PollConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let polls = t.reloadable("poll_other_scrape_endpoints").or(false, Bool);
        let interval = t.reloadable("poll_interval").or(Duration::from_secs(5), INTERVAL);
        let timeout = t.reloadable("client_timeout").or(Duration::from_secs(2), TIMEOUT);
        let stale_after = t.reloadable("stale_after").or(None, DurationOrZero(MIN_INTERVAL..=MAX_STALE));
        let drafts = t.reloadable("other_scrape_endpoints").or(Vec::new(), ENDPOINTS);
        t.require(&["other_scrape_endpoints"], drafts.len() <= MAX_ENDPOINTS, || {
            format!("{} endpoints exceed the maximum of {MAX_ENDPOINTS}", drafts.len())
        });
        let names = names(t, &drafts);
        let with_defaults = |(draft, name): (EndpointDraft, Option<AppName>)| {
            let interval = draft.interval.unwrap_or(interval);
            Some(Endpoint {
                name: name?,
                url: draft.url,
                interval,
                timeout: draft.timeout.unwrap_or(timeout),
                stale_after: stale_after.unwrap_or(interval * STALE_INTERVALS),
                credentials: draft.credentials,
                ca_file: draft.ca_file,
                labels: draft.labels,
                events: draft.events,
            })
        };
        let endpoints: Vec<Endpoint> = drafts.into_iter().zip(names).filter_map(with_defaults).collect();
        Self {
            unpolled: if polls { 0 } else { endpoints.len() },
            endpoints: if polls { endpoints } else { Vec::new() },
            allow_invalid_certs: t.reloadable("allow_invalid_certs").or(false, Bool),
            max_body_bytes: t
                .reloadable("max_body_bytes")
                .or(64 << 20, Size(MIN_BODY_BYTES..=MAX_POLL_BODY_BYTES)),
        }
    }
}

const ENDPOINTS: ListOf<EndpointType> = ListOf {
    item: EndpointType,
    expected: "a list of URLs and tables such as { url = \"http://127.0.0.1:9100/metrics\" }",
    or_single: false,
};

/// The name of each endpoint: the configured one, or one made from its URL that is unique. `None` if it has a fault.
fn names(t: &mut Section<'_>, drafts: &[EndpointDraft]) -> Vec<Option<AppName>> {
    let unnamed = || drafts.iter().filter(|draft| draft.name.is_none()).map(|draft| &draft.url);
    let made: Vec<HashMap<String, usize>> = NAME_FORMS.iter().map(|form| count(unnamed().map(form))).collect();
    let mut taken: HashMap<AppName, Location> = HashMap::new();
    let mut name_of = |draft: &EndpointDraft| {
        let name = draft.name.clone().map_or_else(|| AppName::new(&made_name(&draft.url, &made)), Ok);
        let name = name.map_err(|e| t.notes.fault(&draft.at, format!("{e}: give the endpoint a \"name\"")));
        let name = name.ok()?;
        if taken.insert(name.clone(), draft.at.clone()).is_some() {
            let text = format!("two endpoints are named {}; give one of them a \"name\"", quoted(name.as_str()));
            t.notes.fault(&draft.at, text);
            return None;
        }
        Some(name)
    };
    drafts.iter().map(&mut name_of).collect()
}

/// Names made from a URL, from the original's to the longest.
const NAME_FORMS: [fn(&Url) -> String; 3] = [host_and_port, with_path, with_query];

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("external_poll: {host}:{}", url.port_or_known_default().unwrap_or_default())
}

fn with_path(url: &Url) -> String {
    host_and_port(url) + url.path()
}

fn with_query(url: &Url) -> String {
    let query = masked_query(url).map(|query| format!("?{query}"));
    with_path(url) + &query.unwrap_or_default()
}

fn count(names: impl Iterator<Item = String>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The shortest form that is unique to this URL, otherwise the longest.
fn made_name(url: &Url, counts: &[HashMap<String, usize>]) -> String {
    let mut forms = NAME_FORMS.iter().zip(counts).map(|(form, counts)| (form(url), counts));
    let alone = forms.find(|(name, counts)| counts.get(name) == Some(&1));
    alone.map_or_else(|| with_query(url), |(name, _)| name)
}
