//! Assembly of a bridge from the settings.

use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::{links, settings, system_clock, web};
use crate::bridge::{Bridge, BridgeSettings, HyperdhtSettings};
use crate::config::Settings;
use crate::http::HttpStats;
use crate::peer::{Identity, Seed};
use crate::supervise::Notes;

/// Binds a bridge; nothing runs yet.
///
/// # Errors
/// When no transport is enabled, when the secret is missing, when the key or the targets file cannot be read, or when a socket cannot be
/// bound.
pub async fn bind_bridge(all: &Settings) -> anyhow::Result<Bridge> {
    let table = &all.bridge;
    ensure!(
        table.quic_listen.is_some() || table.hyperdht,
        "no proxy can register: set bridge.quic_listen, or bridge.hyperdht = true"
    );
    let (identity, lock) = match &table.key_seed {
        Some(seed) => {
            let seed: Seed = seed.expose().parse().context("bridge.key_seed")?;
            tracing::warn!("the key comes from a seed, which cannot be locked like a key file: make sure that no other process uses it");
            (Identity::from_seed(&seed).context("bridge.key_seed")?, None)
        }
        None => links::identity(table.key_file.clone(), "bridge").await?,
    };
    let source = table
        .secret
        .as_ref()
        .context("bridge.secret_file is not set; it must hold the same secret as p2p.secret_file of the proxies")?;
    let (stats, notes) = (Arc::<HttpStats>::default(), Arc::<Notes>::default());
    let web = web::open(all, Arc::clone(&stats), Arc::clone(&notes)).await?;
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
        http_stats: stats,
        notes,
        web,
    })
    .await
}
