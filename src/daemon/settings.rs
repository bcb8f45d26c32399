//! Conversion of the configuration to the settings of the modules.

use std::sync::Arc;

use crate::config::{
    Credentials, Duplicates, Endpoint, ExpositionMode, IpfsNode, Owner, Password, ReceiverFormat, ScraperIdentity, ScraperLabel, Settings,
    UnixReceiver,
};
use crate::exposition::catalog::{self, Rules};
use crate::http::Access;
use crate::outlets::stream;
use crate::outlets::{IdentifyBy, LabelScrapersBy};
use crate::sources::{polls, receiver, upstreams};
use crate::store;
use crate::supervise::{UnixAccess, default_memory_limit};
use crate::wire::FormatChoice;

/// Prefixes of the self metrics besides the event family; copies of an application, such as of a chained proxy, are merged
/// with them.
const RESERVED: [&str; 2] = ["exporter_proxy_", "events_to_metrics_"];

pub(super) fn store(settings: &Settings) -> store::Limits {
    let limits = &settings.store;
    store::Limits {
        expire_after: limits.expire_after,
        max_apps: limits.max_apps,
        max_memory: limits.max_memory.unwrap_or_else(default_memory_limit),
        max_series_per_app: limits.max_series_per_app,
    }
}

pub(super) fn mode(settings: &Settings) -> store::Mode {
    let exposition = &settings.exposition;
    let duplicates = match exposition.duplicates {
        Duplicates::Label => catalog::Duplicates::Label,
        Duplicates::Latest => catalog::Duplicates::Latest,
    };
    match exposition.mode {
        ExpositionMode::Raw => store::Mode::Raw,
        ExpositionMode::Merge => {
            let [own, about_events] = RESERVED;
            let reserved = [own, about_events, settings.events.metric_name.as_str()];
            store::Mode::Merge(Rules::new(exposition.app_label.as_deref(), duplicates, &reserved))
        }
    }
}

pub(super) fn events(settings: &Settings) -> store::EventOptions {
    let events = &settings.events;
    store::EventOptions {
        max_pending: events.max_pending,
        max_per_scrape: events.max_per_scrape,
        max_scrapers_per_address: events.max_scrapers_per_address,
        scraper_timeout: events.scraper_timeout,
        newcomer_window: events.newcomer_window,
        explicit_timestamps: events.use_explicit_timestamps,
        scrapers: events.scrapers.clone(),
    }
}

pub(super) fn identify_by(settings: &Settings) -> IdentifyBy {
    match &settings.events.scraper_identity {
        ScraperIdentity::Address => IdentifyBy::Address,
        ScraperIdentity::Header(name) => IdentifyBy::Header(name.clone()),
        ScraperIdentity::Param(name) => IdentifyBy::Param(name.as_str().into()),
    }
}

pub(super) fn label_scrapers_by(settings: &Settings) -> LabelScrapersBy {
    match settings.events.scraper_label {
        ScraperLabel::Identity => LabelScrapersBy::Identity,
        ScraperLabel::Address => LabelScrapersBy::Address,
    }
}

pub(super) fn receiver(settings: &Settings) -> receiver::Limits {
    let receiver = &settings.receiver;
    let format = match receiver.format {
        ReceiverFormat::Auto => FormatChoice::Auto,
        ReceiverFormat::Json => FormatChoice::Json,
        ReceiverFormat::Capnp => FormatChoice::Capnp,
    };
    receiver::Limits {
        format,
        max_message_bytes: bytes(receiver.max_message_bytes),
        idle_timeout: receiver.idle_timeout,
    }
}

pub(super) fn polls(settings: &Settings) -> polls::PollSettings {
    let polls = &settings.poll_external;
    polls::PollSettings {
        endpoints: polls
            .endpoints
            .iter()
            .map(endpoint)
            .chain(settings.ipfs.iter().map(ipfs_node))
            .collect(),
        allow_invalid_certs: polls.allow_invalid_certs,
        max_body_bytes: bytes(polls.max_body_bytes),
        event_metric: settings.events.enabled.then(|| settings.events.metric_name.as_str().into()),
    }
}

fn endpoint(endpoint: &Endpoint) -> polls::Endpoint {
    let credentials = endpoint.credentials.as_ref().map(|credentials| match credentials {
        Credentials::BearerFile(file) => polls::Credentials::BearerFile(file.clone()),
        Credentials::Basic { username, password } => {
            let password = match password {
                Password::Given(secret) => polls::Password::Given(secret.expose().into()),
                Password::File(file) => polls::Password::File(file.clone()),
            };
            polls::Credentials::Basic {
                username: username.clone(),
                password,
            }
        }
    });
    polls::Endpoint {
        name: endpoint.name.clone(),
        url: endpoint.url.clone(),
        kind: polls::EndpointKind::Metrics,
        interval: endpoint.interval,
        timeout: endpoint.timeout,
        stale_after: endpoint.stale_after,
        credentials,
        ca_file: endpoint.ca_file.clone(),
        labels: Arc::clone(&endpoint.labels),
        events: endpoint.events.clone(),
    }
}

/// Intervals without a successful poll after which the data of an IPFS node is stale, as for other polls.
const STALE_INTERVALS: u32 = 3;

fn ipfs_node(node: &IpfsNode) -> polls::Endpoint {
    let mut url = node.api.clone();
    url.set_path("/api/v0/swarm/peers");
    url.set_query(Some("verbose=true"));
    polls::Endpoint {
        name: node.name.clone(),
        url,
        kind: polls::EndpointKind::Peers {
            agent_version_cutoff: node.agent_version_cutoff,
        },
        interval: node.populate_interval,
        timeout: node.populate_interval,
        stale_after: node.populate_interval * STALE_INTERVALS,
        credentials: node.authorization_file.clone().map(polls::Credentials::HeaderFile),
        ca_file: None,
        labels: Arc::new([]),
        events: None,
    }
}

pub(super) fn upstreams(settings: &Settings) -> upstreams::UpstreamSettings {
    upstreams::UpstreamSettings {
        upstreams: settings.stream.upstreams.iter().map(ToString::to_string).collect(),
        legacy_addresses: settings.stream.legacy_addresses,
    }
}

pub(super) fn stream(settings: &Settings) -> stream::Settings {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    stream::Settings {
        subscriber_buffer: settings.stream.subscriber_buffer,
        topics: settings.stream.events.iter().copied().collect(),
        proxy: name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned()).into(),
    }
}

pub(super) fn access(settings: &Settings) -> Access {
    Access {
        write_from: settings.http.write_from.clone(),
        trusted_proxies: settings.http.trusted_proxies.clone(),
    }
}

pub(super) fn unix_access(receiver: &UnixReceiver) -> UnixAccess {
    let name = |owner: &Owner| match owner {
        Owner::Current => None,
        Owner::Id(id) => Some(id.to_string()),
        Owner::Name(name) => Some(name.clone()),
    };
    UnixAccess {
        user: name(&receiver.user),
        group: name(&receiver.group),
        mode: receiver.mode,
    }
}

/// A size in memory; more than the machine can address means all of it.
pub(super) fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
