//! `[events]`: one-shot events, who may post them and for whom they are kept.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::address;
use super::http::NETWORKS;
use super::kinds::{Count, Flag, ListOf, Parsed, Span};
use super::raw::quoted;
use super::reader::Section;
use crate::model::ScraperId;
use crate::store::MAX_SCRAPERS;

/// More events than this are no longer news; a million of the largest fill eight gigabytes.
const MAX_PENDING: usize = 1_000_000;
/// Sooner than this a scraper would be forgotten between two of its own scrapes.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Thirty days: a scraper that stays away for longer is none.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 86_400);

/// What the names of the proxy's own families begin with, among which the events' cannot be.
const OWN_PREFIX: &str = "exporter_proxy_";
/// The families that tell of events, whatever those are called.
const ABOUT_EVENTS: [&str; 2] = ["events_to_metrics_event_count", "events_to_metrics_scraper_counts"];

/// By what scrapers are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScraperIdentity {
    /// The address and the User-Agent's product.
    Address,
    /// The value of a request header.
    Header(HeaderName),
    /// The value of a query parameter.
    Param(String),
}

/// `[events]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// `enabled`: whether events are taken at all.
    pub enabled: bool,
    /// `post_from`: the networks from which events are taken.
    pub post_from: Vec<IpNet>,
    /// `metric_name`: the family that events are samples of.
    pub metric_name: String,
    /// `use_explicit_timestamps`.
    pub use_explicit_timestamps: bool,
    /// `scraper_timeout`: how long an unseen scraper is remembered.
    pub scraper_timeout: Duration,
    /// `max_pending`: events kept at once.
    pub max_pending: usize,
    /// `scraper_identity`.
    pub scraper_identity: ScraperIdentity,
    /// `scrapers`: those that are known from the start.
    pub scrapers: Vec<ScraperId>,
    /// `newcomer_window`: how old events are that a new scraper gets.
    pub newcomer_window: Duration,
    /// `expose_in_metrics`: whether `/metrics` carries events.
    pub expose_in_metrics: bool,
}

impl Events {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let everybody = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| address::parse_network(net).ok());
        let events = Self {
            enabled: t.fixed("enabled").or(true, Flag),
            post_from: t.live("post_from").or(everybody.collect(), NETWORKS),
            metric_name: t.fixed("metric_name").or("events_to_metrics".to_owned(), METRIC_NAME),
            use_explicit_timestamps: t.fixed("use_explicit_timestamps").or(false, Flag),
            scraper_timeout: t
                .fixed("scraper_timeout")
                .or(Duration::from_secs(600), Span(MIN_TIMEOUT..=MAX_TIMEOUT)),
            max_pending: t.fixed("max_pending").or(10_000, Count(1..=MAX_PENDING)),
            scraper_identity: t.fixed("scraper_identity").or(ScraperIdentity::Address, IDENTITY),
            scrapers: t.fixed("scrapers").or(Vec::new(), SCRAPERS),
            newcomer_window: t
                .fixed("newcomer_window")
                .or(Duration::from_secs(60), Span(Duration::ZERO..=MAX_TIMEOUT)),
            expose_in_metrics: t.fixed("expose_in_metrics").or(true, Flag),
        };
        t.require(
            &["newcomer_window", "scraper_timeout"],
            events.newcomer_window <= events.scraper_timeout,
            || "\"newcomer_window\" is more than \"scraper_timeout\": a scraper that was forgotten would get events again".to_owned(),
        );
        t.require(&["scrapers"], events.scrapers.len() <= MAX_SCRAPERS, || {
            format!("\"scrapers\" names more than {MAX_SCRAPERS}, which is as many as are told of events")
        });
        events
    }
}

const METRIC_NAME: Parsed<String> = Parsed {
    expected: "a metric name",
    parse: |name| {
        let name = &*metric_name(name)?;
        if name.starts_with(OWN_PREFIX) || ABOUT_EVENTS.contains(&name) {
            return Err(format!("{} is the name of a metric of the proxy itself", quoted(name)));
        }
        Ok(name.to_owned())
    },
};

/// Checks the name of a metric.
pub(super) fn metric_name(name: &str) -> Result<String, String> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(rest) {
        return Err(format!(
            "{} is no metric name: letters, digits, underscores and colons, no digit first",
            quoted(name)
        ));
    }
    Ok(name.to_owned())
}

const IDENTITY: Parsed<ScraperIdentity> = Parsed {
    expected: "\"address\", \"header:NAME\" or \"param:NAME\"",
    parse: |text| match text.split_once(':') {
        None if text == "address" => Ok(ScraperIdentity::Address),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
            .map(ScraperIdentity::Header)
            .map_err(|_| format!("{} is no name of a header", quoted(name))),
        Some(("param", name)) if !name.is_empty() => Ok(ScraperIdentity::Param(name.to_owned())),
        _ => Err(format!("{} is none of \"address\", \"header:NAME\", \"param:NAME\"", quoted(text))),
    },
};

const SCRAPERS: ListOf<Parsed<ScraperId>> = ListOf {
    kind: Parsed {
        expected: "the name of a scraper",
        parse: |name| ScraperId::new(name).map_err(|why| format!("{} is no name of a scraper: it {why}", quoted(name))),
    },
    expected: "a list of names such as [\"prom-a\", \"prom-b\"]",
    or_single: false,
};

impl fmt::Display for ScraperIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Param(name) => write!(f, "param:{name}"),
        }
    }
}
