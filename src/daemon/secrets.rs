//! Secrets that all users of the machine can read or change.

use std::path::Path;

use super::preflight::Found;
use crate::config::{Faults, Loaded, SecretSource, Settings};
use crate::http::Identity;
use crate::sources::polls::{Credentials, Endpoint, EndpointKind, Password};
use crate::supervise::secret_file::exposed;

/// Looks at the rights of all files with secrets that the configuration names, and of its own file if secrets stand in it. Returns a
/// warning for each that all users can read or change. The files of the web configuration are exempt, as in the original.
///
/// # Errors
/// The same as faults, if `secrets.strict` is set.
pub fn check_secrets(loaded: &Loaded) -> Result<Vec<String>, Faults> {
    let found = exposed_secrets(loaded);
    if loaded.settings.secrets.strict
        && let Some(faults) = loaded.faults(found.clone())
    {
        return Err(faults);
    }
    Ok(found.into_iter().map(|(key, text)| format!("{key}: {text}")).collect())
}

fn exposed_secrets(loaded: &Loaded) -> Vec<Found> {
    let settings = &loaded.settings;
    let named = shared_secrets(settings).chain(settings.polls.endpoints.iter().flat_map(poll_secrets));
    let tokens = settings.http.access.iter().filter_map(|rule| match &rule.identity {
        Identity::TokenFile(path) => Some(("http.access", &**path)),
        _ => None,
    });
    let files = named.chain(tokens).chain(loaded.inline_secret());
    files.filter_map(|(key, path)| Some((key, exposed(path)?))).collect()
}

fn shared_secrets(settings: &Settings) -> impl Iterator<Item = (&'static str, &Path)> {
    let p2p = settings.p2p.as_ref().and_then(|p2p| p2p.secret.as_ref());
    let sources = [("p2p.secret_file", p2p), ("bridge.secret_file", settings.bridge.secret.as_ref())];
    let links = sources.into_iter().filter_map(|(key, source)| match source? {
        SecretSource::File(path) => Some((key, path.as_path())),
        SecretSource::Given(_) => None,
    });
    let engine = settings.cluster.as_ref().and_then(|cluster| cluster.password_file.as_deref());
    links.chain(engine.map(|path| ("cluster.password_file", path)))
}

fn poll_secrets(endpoint: &Endpoint) -> impl Iterator<Item = (&'static str, &Path)> {
    let key = match endpoint.kind {
        EndpointKind::Metrics => "poll_external.other_scrape_endpoints",
        EndpointKind::Peers { .. } => "ipfs",
    };
    let credentials = endpoint.credentials.as_ref().and_then(|credentials| match credentials {
        Credentials::BearerFile(path) | Credentials::HeaderFile(path) => Some(path.as_path()),
        Credentials::Basic { password, .. } => match password {
            Password::File(path) => Some(path),
            Password::Given(_) => None,
        },
    });
    let certificate = endpoint.certificate.as_ref().map(|certificate| certificate.key_file.as_path());
    credentials.into_iter().chain(certificate).map(move |path| (key, path))
}
