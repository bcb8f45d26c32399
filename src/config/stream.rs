//! `[stream]`: the monitoring stream, and those of other servers.

use super::address::HostPort;
use super::reader::Section;
use super::value_types::{ADDRESS, Bool, ListOf, OneOf};
use crate::model::Topic;
use crate::outlets::stream;
use crate::sources::upstreams::UpstreamSettings;

/// Each upstream is a task and a connection.
const MAX_UPSTREAMS: usize = 1_000;

/// `[stream]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// `listen_addresses`: the addresses of the stream; empty: off.
    pub listen_addresses: Vec<HostPort>,
    /// `events`.
    pub server: stream::Settings,
    /// `upstreams` and `legacy_addresses`.
    pub relay: UpstreamSettings,
}

impl StreamConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let listen_addresses = t.restart_only("listen_addresses").or(Vec::new(), ADDRESSES);
        let upstreams = t.restart_only("upstreams").or(Vec::new(), ADDRESSES);
        let events = t.restart_only("events").or(Topic::ALL.to_vec(), TOPICS);
        let legacy_addresses = t.restart_only("legacy_addresses").or(true, Bool);
        let collision = first_pair(&listen_addresses, HostPort::collides_with);
        if let Some((a, b)) = collision {
            t.require(&["listen_addresses"], false, || {
                format!("{a} and {b} conflict: both cannot be bound")
            });
        }
        let twice = first_pair(&upstreams, |a, b| a == b);
        if let Some((upstream, _)) = twice {
            t.require(&["upstreams"], false, || format!("{upstream} is listed twice"));
        }
        t.require(&["upstreams"], upstreams.len() <= MAX_UPSTREAMS, || {
            format!("{} upstreams exceed the maximum of {MAX_UPSTREAMS}", upstreams.len())
        });
        t.require(&["upstreams"], upstreams.iter().all(|upstream| upstream.port() != 0), || {
            "the port of an upstream must not be 0".to_owned()
        });
        let circle = upstreams.iter().find(|upstream| listen_addresses.contains(upstream));
        t.require(&["listen_addresses", "upstreams"], circle.is_none(), || {
            let own = circle.map(ToString::to_string).unwrap_or_default();
            format!("{own} is in \"listen_addresses\" and in \"upstreams\": the proxy would connect to itself")
        });
        t.require(&["events"], first_pair(&events, |a, b| a == b).is_none(), || {
            "one of \"events\" is listed twice".to_owned()
        });
        t.require(
            &["listen_addresses", "events"],
            listen_addresses.is_empty() || !events.is_empty(),
            || "\"events\" is empty, so the stream would carry nothing".to_owned(),
        );
        Self {
            listen_addresses,
            server: stream::Settings {
                subscriber_buffer: stream::SUBSCRIBER_BUFFER,
                topics: events.into_iter().collect(),
            },
            relay: UpstreamSettings {
                upstreams: upstreams.iter().map(ToString::to_string).collect(),
                legacy_addresses,
            },
        }
    }
}

const ADDRESSES: ListOf<super::value_types::Parsed<HostPort>> = ListOf {
    item: ADDRESS,
    expected: "a list of addresses such as [\"127.0.0.1:8181\"]",
    or_single: false,
};

const TOPICS: ListOf<OneOf<Topic>> = ListOf {
    item: OneOf(&[
        (Topic::AppUpdate.as_str(), Topic::AppUpdate),
        (Topic::AppExpired.as_str(), Topic::AppExpired),
        (Topic::OneShot.as_str(), Topic::OneShot),
        (Topic::Poll.as_str(), Topic::Poll),
        (Topic::Bitswap.as_str(), Topic::Bitswap),
    ]),
    expected: "a list such as [\"app_update\", \"bitswap\"]",
    or_single: false,
};

/// The first two conflicting values.
fn first_pair<T>(values: &[T], conflict: impl Fn(&T, &T) -> bool) -> Option<(&T, &T)> {
    let mut pairs = values
        .iter()
        .enumerate()
        .flat_map(|(at, b)| values[..at].iter().map(move |a| (a, b)));
    pairs.find(|(a, b)| conflict(a, b))
}
