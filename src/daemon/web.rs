//! The web configuration of the HTTP port, of the proxy and of the bridge.

use std::sync::Arc;

use anyhow::bail;

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
