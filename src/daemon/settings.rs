//! From the configuration's words to those of the rooms.

use std::sync::Arc;

use crate::config::{Credentials, Duplicates, Endpoint, ExpositionMode, Owner, Password, ReceiverFormat, Settings, UnixReceiver};
use crate::exposition::catalog::{self, Rules};
use crate::http::Access;
use crate::sources::{polls, receiver};
use crate::store;
use crate::supervise::UnixAccess;
use crate::wire::FormatChoice;

/// What the names of the proxy's own families begin with; an application's copies, as of a chained proxy, go out with them.
const RESERVED: &[&str] = &["exporter_proxy_"];

pub(super) fn store(settings: &Settings) -> store::Limits {
    let limits = &settings.store;
    store::Limits {
        expire_after: limits.expire_after,
        max_apps: limits.max_apps,
        max_bytes: limits.max_bytes,
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
        ExpositionMode::Merge => store::Mode::Merge(Rules::new(exposition.app_label.as_deref(), duplicates, RESERVED)),
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

pub(super) fn polls(settings: &Settings) -> polls::Settings {
    let polls = &settings.poll_external;
    polls::Settings {
        endpoints: polls.endpoints.iter().map(endpoint).collect(),
        allow_invalid_certs: polls.allow_invalid_certs,
        max_body_bytes: bytes(polls.max_body_bytes),
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
        interval: endpoint.interval,
        timeout: endpoint.timeout,
        stale_after: endpoint.stale_after,
        credentials,
        ca_file: endpoint.ca_file.clone(),
        labels: Arc::clone(&endpoint.labels),
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
