//! Assembly of the Bitswap monitor from the settings.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Context, links};
use crate::config::{BitswapConfig, Settings};
use crate::sources::bitswap::{BitswapContext, BitswapSettings, Monitor};
use crate::supervise::files::FileLock;

/// Binds the monitor; the lock keeps its key file for this process.
///
/// # Errors
/// When the key cannot be read, or an address cannot be listened on.
pub(super) async fn monitor(
    bitswap: &BitswapConfig,
    settings: &Settings,
    context: &Context,
) -> anyhow::Result<(Monitor, Option<FileLock>)> {
    let (identity, lock) = links::identity(bitswap.key_file.clone(), "bitswap").await?;
    let monitor = match &bitswap.monitor_name {
        Some(name) => name.clone(),
        None => links::hostname().context("bitswap.monitor_name")?,
    };
    let monitor_settings = BitswapSettings {
        monitor,
        seed: identity.seed(),
        listen: bitswap.listen.clone(),
        peers: bitswap.peers.clone(),
        max_peers: bitswap.max_peers,
        legacy_addresses: settings.stream.relay.legacy_addresses,
    };
    let monitor_context = BitswapContext {
        inlet: context.inlet.clone(),
        peer_samples: context.peer_samples.clone(),
        telemetry: Arc::clone(&context.telemetry),
        clock: context.clock,
    };
    let monitor = Monitor::bind(monitor_settings, monitor_context).await.context("bitswap.listen")?;
    Ok((monitor, lock))
}
