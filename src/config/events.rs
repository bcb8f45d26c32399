//! `[events]`: one-shot events, allowed senders, and the scrapers for which they are kept.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::address;
use super::http::NETWORKS;
use super::raw::quoted;
use super::reader::Section;
use super::value_types::{Bool, DurationRange, IntegerRange, ListOf, OneOf, Parsed};
use crate::model::ScraperId;
use crate::outlets::{IdentifyBy, LabelScrapersBy};
use crate::store::{EventOptions, MAX_SCRAPERS, WhenEngineAway};

/// More events than this are no longer news; a million of the largest fill eight gigabytes.
const MAX_PENDING: usize = 1_000_000;
/// Sooner than this a scraper would be forgotten between two of its own scrapes.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Thirty days: a scraper that stays away for longer is none.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 86_400);

/// More posts a second than one machine can send or take.
const MAX_POST_RATE: u32 = 1_000_000;

/// Prefix of the proxy's self metrics, which the event family must not have.
const OWN_PREFIX: &str = "exporter_proxy_";
/// Self metrics about events, with names that do not depend on `metric_name`.
const ABOUT_EVENTS: [&str; 2] = ["events_to_metrics_event_count", "events_to_metrics_scraper_counts"];

/// A number of requests a second, written `1000/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU32);

impl Rate {
    /// Requests a second.
    #[must_use]
    pub const fn per_second(self) -> NonZeroU32 {
        self.0
    }
}

/// `[events]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsConfig {
    /// `enabled`: whether events are taken at all.
    pub enabled: bool,
    /// `post_from`: the networks from which events are taken.
    pub post_from: Vec<IpNet>,
    /// `post_rate`: the events that one client may post a second.
    pub post_rate: Rate,
    /// `metric_name`: the family that events are samples of.
    pub metric_name: String,
    /// The bounds, `use_explicit_timestamps` and `scrapers`.
    pub options: EventOptions,
    /// `scraper_identity`.
    pub identify_by: IdentifyBy,
    /// `scrapers_only`: whether only `scrapers` get events.
    pub scrapers_only: bool,
    /// `scraper_label`.
    pub label_by: LabelScrapersBy,
    /// `expose_in_metrics`: whether `/metrics` carries events.
    pub expose_in_metrics: bool,
    /// `when_engine_away`: what happens to events while the engine of the cluster is away.
    pub when_engine_away: WhenEngineAway,
}

impl EventsConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let all_networks = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| address::parse_network(net).ok());
        let timeout = DurationRange(MIN_TIMEOUT..=MAX_TIMEOUT);
        let window = DurationRange(Duration::ZERO..=MAX_TIMEOUT);
        let d = EventOptions::default();
        let events = Self {
            enabled: t.restart_only("enabled").or(true, Bool),
            post_from: t.reloadable("post_from").or(all_networks.collect(), NETWORKS),
            metric_name: t.restart_only("metric_name").or("events_to_metrics".to_owned(), METRIC_NAME),
            post_rate: t.reloadable("post_rate").or(Rate(DEFAULT_POST_RATE), RATE),
            options: EventOptions {
                explicit_timestamps: t.restart_only("use_explicit_timestamps").or(d.explicit_timestamps, Bool),
                scraper_timeout: t.restart_only("scraper_timeout").or(d.scraper_timeout, timeout),
                max_pending: t.restart_only("max_pending").or(d.max_pending, IntegerRange(1..=MAX_PENDING)),
                max_per_scrape: t.restart_only("max_per_scrape").or(d.max_per_scrape, IntegerRange(1..=MAX_PENDING)),
                max_scrapers_per_address: t
                    .restart_only("max_scrapers_per_address")
                    .or(d.max_scrapers_per_address, IntegerRange(1..=MAX_SCRAPERS)),
                scrapers: t.restart_only("scrapers").or(d.scrapers, SCRAPERS),
                newcomer_window: t.restart_only("newcomer_window").or(d.newcomer_window, window),
                replica: None,
            },
            identify_by: t.restart_only("scraper_identity").or(IdentifyBy::Address, IDENTITY),
            scrapers_only: t.restart_only("scrapers_only").or(false, Bool),
            label_by: t.restart_only("scraper_label").or(LabelScrapersBy::Identity, LABEL),
            expose_in_metrics: t.restart_only("expose_in_metrics").or(true, Bool),
            when_engine_away: t.restart_only("when_engine_away").or(WhenEngineAway::Accept, WHEN_ENGINE_AWAY),
        };
        let options = &events.options;
        t.require(
            &["newcomer_window", "scraper_timeout"],
            options.newcomer_window <= options.scraper_timeout,
            || "\"newcomer_window\" must not exceed \"scraper_timeout\": a forgotten scraper would get events again".to_owned(),
        );
        t.require(&["scrapers"], options.scrapers.len() <= MAX_SCRAPERS, || {
            format!("\"scrapers\" has more than {MAX_SCRAPERS} entries, the maximum of tracked scrapers")
        });
        events
    }
}

const DEFAULT_POST_RATE: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not 0");

const LABEL: OneOf<LabelScrapersBy> = OneOf(&[("identity", LabelScrapersBy::Identity), ("address", LabelScrapersBy::Address)]);

const WHEN_ENGINE_AWAY: OneOf<WhenEngineAway> = OneOf(&[("accept", WhenEngineAway::Accept), ("refuse", WhenEngineAway::Refuse)]);

const RATE: Parsed<Rate> = Parsed {
    expected: "a number of events a second such as \"1000/s\"",
    parse: |text| {
        let number = text.trim().strip_suffix("/s").map(str::trim_end);
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number else {
            return Err(format!(
                "expected a number of events a second such as \"1000/s\", found {}",
                quoted(text)
            ));
        };
        let rate = u32::try_from(number).ok().filter(|number| *number <= MAX_POST_RATE);
        let rate = rate.and_then(NonZeroU32::new).map(Rate);
        rate.ok_or_else(|| format!("{number}/s is out of range (1/s to {MAX_POST_RATE}/s)"))
    },
};

const METRIC_NAME: Parsed<String> = Parsed {
    expected: "a metric name",
    parse: |name| {
        let name = &*metric_name(name)?;
        if name.starts_with(OWN_PREFIX) || ABOUT_EVENTS.contains(&name) {
            return Err(format!(
                "{} is the name of a self metric of the proxy; choose another",
                quoted(name)
            ));
        }
        Ok(name.to_owned())
    },
};

/// Checks the name of a metric.
pub(super) fn metric_name(name: &str) -> Result<String, String> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(rest) {
        return Err(format!("{} is not a valid metric name ([a-zA-Z_:][a-zA-Z0-9_:]*)", quoted(name)));
    }
    Ok(name.to_owned())
}

const IDENTITY: Parsed<IdentifyBy> = Parsed {
    expected: "\"address\", \"header:NAME\", \"param:NAME\" or \"auth\"",
    parse: |text| match text.split_once(':') {
        None if text == "address" => Ok(IdentifyBy::Address),
        None if text == "auth" => Ok(IdentifyBy::Auth),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
            .map(IdentifyBy::Header)
            .map_err(|_| format!("{} is not a valid header name", quoted(name))),
        Some(("param", name)) if !name.is_empty() => Ok(IdentifyBy::Param(name.into())),
        _ => Err(format!(
            "expected \"address\", \"header:NAME\", \"param:NAME\" or \"auth\", found {}",
            quoted(text)
        )),
    },
};

const SCRAPERS: ListOf<Parsed<ScraperId>> = ListOf {
    item: Parsed {
        expected: "the name of a scraper",
        parse: |name| ScraperId::new(name).map_err(|why| format!("{} is not a valid scraper name: it {why}", quoted(name))),
    },
    expected: "a list of names such as [\"prom-a\", \"prom-b\"]",
    or_single: false,
};

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}
