//! The web configuration of the HTTP port, of the proxy and of the bridge.

use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::preflight::Found;
use super::program::Program;
use crate::config::Settings;
use crate::http::{WebPolicy, read_web_config};
use crate::supervise::blocking;

/// Paths that are open to all: what asks for them is a program that has no user, such as a kubelet or a load balancer.
const OPEN_PATHS: &[&str] = &["/healthz", "/-/healthy", "/readyz", "/-/ready"];

/// The key of the file.
const KEY: &str = "http.web_config_file";

/// Reads the configured file, if there is one, and adds the service that follows it.
///
/// # Errors
/// All faults of the file and of those that it names.
pub(super) async fn open(settings: &Settings, program: &mut Program) -> anyhow::Result<Option<Arc<WebPolicy>>> {
    let Some(file) = &settings.http.web_config_file else {
        return Ok(None);
    };
    let (stats, notes) = (Arc::clone(&program.http_stats), Arc::clone(&program.notes));
    match WebPolicy::open(file.clone(), OPEN_PATHS, stats, notes).await {
        Ok((policy, reload)) => {
            program.add(reload);
            Ok(Some(policy))
        }
        Err(faults) => bail!("{KEY}: the file cannot be used:\n{faults}"),
    }
}

/// The key of the TCP receiver, and what it needs.
const RECEIVER_KEY: &str = "receiver.tls";
const NEEDS_TLS: &str = "it needs a web configuration file with tls_server_config (http.web_config_file)";

/// The web configuration for the TCP receiver, if it takes TLS.
///
/// # Errors
/// When there is no web configuration with TLS.
pub(super) fn receiver_tls(settings: &Settings, web: Option<&Arc<WebPolicy>>) -> anyhow::Result<Option<Arc<WebPolicy>>> {
    if !settings.receiver.tls {
        return Ok(None);
    }
    let policy = web.filter(|web| web.is_tls()).context(NEEDS_TLS).context(RECEIVER_KEY)?;
    Ok(Some(Arc::clone(policy)))
}

/// The faults of the configured file.
pub(super) async fn faults(settings: &Settings) -> Vec<Found> {
    let missing = || match settings.receiver.tls {
        true => vec![(RECEIVER_KEY, NEEDS_TLS.to_owned())],
        false => Vec::new(),
    };
    let Some(file) = settings.http.web_config_file.clone() else {
        return missing();
    };
    match blocking(move || read_web_config(&file)).await.outcome {
        Ok(checked) if !checked.config.is_tls() => missing(),
        Ok(_) => Vec::new(),
        Err(faults) => faults.lines().iter().map(|line| (KEY, line.clone())).collect(),
    }
}
