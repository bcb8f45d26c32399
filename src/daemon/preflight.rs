//! Faults of a configuration that only the machine shows: files, users and directories that are not there.

use std::path::Path;

use super::bridge::{NO_SECRET, NO_TRANSPORT, has_transport};
use super::{access, links, web};
use crate::bridge::check_targets_file;
use crate::config::{Faults, Loaded, SecretSource, Settings, UnixSocketPath};
use crate::peer::Identity;
use crate::sources::polls;
use crate::supervise::secret_file::{self, FileRule};
use crate::supervise::unix_socket::foresee;

/// Looks for all that the configuration names and that has to be there. Nothing is made, and no address is bound. The rights of files
/// with secrets are for [`check_secrets`](super::check_secrets).
pub async fn preflight(loaded: &Loaded) -> Option<Faults> {
    let settings = &loaded.settings;
    let mut found = socket(settings);
    found.extend(http_socket(settings));
    found.extend(endpoints(settings).await);
    let web = web::read(settings).await;
    found.extend(access::faults(settings, web.as_ref().ok().and_then(Option::as_ref)).await);
    match web {
        Ok(web) => found.extend(web::receiver_fault(settings, web.as_ref())),
        Err(faults) => found.extend(faults),
    }
    if let Some(p2p) = &settings.p2p {
        found.extend(secret("p2p", p2p.secret.as_ref()));
        found.extend(key("p2p", p2p.key_file.as_deref()));
    }
    found.extend(engine_password(settings));
    if let Some(bitswap) = &settings.bitswap {
        found.extend(key("bitswap", bitswap.key_file.as_deref()));
    }
    if settings.is_set("bridge") {
        let bridge = &settings.bridge;
        found.extend((!has_transport(bridge)).then(|| ("bridge.quic_listen", NO_TRANSPORT.to_owned())));
        found.extend(secret("bridge", bridge.secret.as_ref()));
        found.extend(key("bridge", bridge.key_file.as_deref()));
        found.extend(targets(&bridge.registry.targets_file));
    }
    loaded.faults(found)
}

/// The reason why `exporter-proxy bridge` would not start with this configuration, where that is no fault of the file: the secret may come from
/// the environment of the bridge. `None` if all is there, or the configuration changes nothing about a bridge.
#[must_use]
pub fn bridge_warning(settings: &Settings) -> Option<String> {
    let lacks_secret = settings.bridge.secret.is_none() && settings.is_changed("bridge");
    lacks_secret.then(|| format!("exporter-proxy bridge would not start: {NO_SECRET}"))
}

/// A key and what is wrong with its value.
pub(super) type Found = (&'static str, String);

fn socket(settings: &Settings) -> Vec<Found> {
    let Some(unix) = &settings.receiver.unix else { return Vec::new() };
    let path = match &unix.path {
        UnixSocketPath::Exactly(path) => Some(path.as_path()),
        UnixSocketPath::Usual => None,
    };
    let refusals = foresee(path, &unix.access);
    refusals
        .iter()
        .map(|why| (super::receivers::config_key(why), why.to_string()))
        .collect()
}

fn http_socket(settings: &Settings) -> Vec<Found> {
    let Some(socket) = &settings.http.unix_socket else {
        return Vec::new();
    };
    let refusals = foresee(Some(&socket.path), &socket.access);
    refusals.iter().map(|why| (super::sockets::HTTP_SOCKET, why.to_string())).collect()
}

async fn endpoints(settings: &Settings) -> Vec<Found> {
    let mut found = Vec::new();
    for endpoint in &settings.polls.endpoints {
        let key = match endpoint.kind {
            polls::EndpointKind::Metrics => "poll_external.other_scrape_endpoints",
            polls::EndpointKind::Peers { .. } => "ipfs",
        };
        let files = polls::unusable_files(endpoint).await;
        found.extend(
            files
                .into_iter()
                .map(|why| (key, format!("the endpoint {:?}: {why}", endpoint.name.as_str()))),
        );
    }
    found
}

/// A targets file that is there and of no use. The bridge leaves invalid targets out, with a warning.
fn targets(path: &Path) -> Option<Found> {
    let why = check_targets_file(path).err()?;
    Some(("bridge.targets_file", format!("{}: {why}", path.display())))
}

/// A password file of the engine that cannot be read. The program would start and never connect.
fn engine_password(settings: &Settings) -> Option<Found> {
    let path = settings.cluster.as_ref()?.password_file.as_deref()?;
    let why = secret_file::read(path, FileRule::Lenient).err()?;
    Some(("cluster.password_file", format!("cannot read {}: {why}", path.display())))
}

fn secret(section: &str, source: Option<&SecretSource>) -> Option<Found> {
    let key = match (section, source?) {
        ("p2p", SecretSource::File(_)) => "p2p.secret_file",
        ("p2p", SecretSource::Given(_)) => "p2p.secret",
        (_, SecretSource::File(_)) => "bridge.secret_file",
        (_, SecretSource::Given(_)) => "bridge.secret",
    };
    links::secret(source?, FileRule::Lenient)
        .err()
        .map(|error| (key, format!("{error:#}")))
}

/// A configured key file that is there and of no use. One that is not there is made at the start. The usual place depends on the
/// environment of the process that runs, which need not be that of the check.
fn key(section: &str, configured: Option<&Path>) -> Option<Found> {
    let key = match section {
        "p2p" => "p2p.key_file",
        "bitswap" => "bitswap.key_file",
        _ => "bridge.key_file",
    };
    match Identity::load(configured?) {
        Err(error) if error.is_missing_file() => None,
        loaded => loaded.err().map(|error| (key, error.to_string())),
    }
}
