//! From the settings to a bridge.

use anyhow::{Context as _, ensure};

use super::{links, settings, system_clock};
use crate::bridge::{Bridge, BridgeSettings, HyperdhtSettings};
use crate::config::Settings;
use crate::peer::{Identity, Seed};

/// Binds a bridge; nothing runs yet.
///
/// # Errors
/// When nobody can register with it, when there is no secret, when the key or the targets file cannot be read, or when a socket cannot be bound.
pub async fn bind_bridge(all: &Settings) -> anyhow::Result<Bridge> {
    let table = &all.bridge;
    ensure!(
        table.quic_listen.is_some() || table.hyperdht,
        "nobody can register with this bridge: bridge.quic_listen is empty, and bridge.hyperdht is off"
    );
    let (identity, lock) = match &table.key_seed {
        Some(seed) => {
            let seed: Seed = seed.expose().parse().context("bridge.key_seed")?;
            tracing::warn!("the key is given as a seed and cannot be locked as a key file is: make sure that no other process uses it");
            (Identity::from_seed(&seed).context("bridge.key_seed")?, None)
        }
        None => links::identity(table.key_file.clone(), "bridge").await?,
    };
    let source = table
        .secret
        .as_ref()
        .context("a bridge needs a secret that its proxies know: set bridge.secret_file, or bridge.secret")?;
    Bridge::bind(BridgeSettings {
        identity,
        key_lock: lock,
        secret: links::secret(source).context("bridge.secret_file")?,
        http_listen: table.http_listen.to_string(),
        quic_listen: table.quic_listen.as_ref().map(ToString::to_string),
        hyperdht: table.hyperdht.then(|| HyperdhtSettings {
            bootstrap: links::bootstrap(&all.hyperdht),
            port: table.hyperdht_port,
        }),
        targets_file: table.targets_file.clone(),
        entry_expiry: table.entry_expiry,
        check_expired_interval: table.check_expired_interval,
        request_timeout: table.request_timeout,
        alias_policy: table.alias_policy,
        connections: all.exporter.concurrent_requests,
        access: settings::access(all),
        clock: system_clock,
    })
    .await
}
