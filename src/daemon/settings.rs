//! From the configuration's words to those of the rooms.

use crate::config::{Owner, ReceiverFormat, Settings, UnixReceiver};
use crate::http::Access;
use crate::sources::receiver;
use crate::store;
use crate::supervise::UnixAccess;
use crate::wire::FormatChoice;

pub(super) fn store(settings: &Settings) -> store::Limits {
    let limits = &settings.store;
    store::Limits {
        expire_after: limits.expire_after,
        max_apps: limits.max_apps,
        max_bytes: limits.max_bytes,
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
