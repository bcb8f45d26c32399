//! The web configuration of the HTTP port, of the proxy and of the bridge.

use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::preflight::Found;
use super::program::Program;
use crate::config::Settings;
use crate::http::{WebConfig, WebPolicy, read_web_config};
use crate::supervise::blocking;

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
    match WebPolicy::open(file.clone(), stats, notes).await {
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

/// The fault of a TCP receiver that is to take TLS and has no certificates. `web` is the content of the web configuration file.
pub(super) fn receiver_fault(settings: &Settings, web: Option<&WebConfig>) -> Option<Found> {
    let has_tls = web.is_some_and(WebConfig::is_tls);
    (settings.receiver.tls && !has_tls).then(|| (RECEIVER_KEY, NEEDS_TLS.to_owned()))
}

/// The content of the configured file, or its faults.
pub(super) async fn read(settings: &Settings) -> Result<Option<WebConfig>, Vec<Found>> {
    let Some(file) = settings.http.web_config_file.clone() else {
        return Ok(None);
    };
    match blocking(move || read_web_config(&file)).await.outcome {
        Ok(checked) => Ok(Some(checked.config)),
        Err(faults) => Err(faults.lines().iter().map(|line| (KEY, line.clone())).collect()),
    }
}
