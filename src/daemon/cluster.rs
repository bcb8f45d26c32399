//! Assembly of a replica of a cluster from the settings.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::program::Program;
use super::{Addresses, BridgeAddresses, Context, links};
use crate::bridge::{Bridge, Forwarding};
use crate::cluster::{self, BridgeCluster, BridgeClusterContext, BridgeIdentity, Cluster, ClusterContext, ClusterSettings};
use crate::config::{Acknowledge, ClusterConfig, Settings};
use crate::http::Routes;
use crate::sources::polls;
use crate::telemetry::BridgeTelemetry;

/// Adds the service that keeps this replica connected to the engine, if a cluster is configured, and returns its routes. From then on the
/// lease of the context is that of the cluster.
///
/// # Errors
/// When the system has no certificates or no hostname.
pub(super) async fn join(
    settings: &Settings,
    context: &mut Context,
    addresses: &Addresses,
    program: &mut Program,
) -> anyhow::Result<Routes> {
    let Some(config) = &settings.cluster else {
        return Ok(Routes::new());
    };
    let cluster_settings = ClusterSettings {
        events: settings.events.enabled.then_some(settings.events.when_engine_away),
        max_events: settings.events.options.max_pending,
        ..cluster_settings(config, (addresses.https, addresses.http.first().copied()), program).await?
    };
    let cluster_context = ClusterContext {
        inlet: context.inlet.clone(),
        view: context.view.clone(),
        telemetry: Arc::clone(&context.telemetry),
        clock: context.clock,
        readiness: Arc::clone(&program.readiness),
        notes: Arc::clone(&program.notes),
    };
    let cluster = Cluster::new(cluster_settings, cluster_context)?;
    context.lease = cluster.lease();
    let routes = cluster::routes(cluster.connected());
    program.add(cluster);
    Ok(routes)
}

/// The settings of a member, which listens on this HTTP address, with TLS or without.
async fn cluster_settings(
    config: &ClusterConfig,
    (https, http): (bool, Option<SocketAddr>),
    program: &Program,
) -> anyhow::Result<ClusterSettings> {
    let tls = match config.url.tls {
        true => {
            let tls = polls::client_tls(None).await.map_err(anyhow::Error::msg).context("cluster.url")?;
            // The protocol of HTTP is none of the engine's.
            let mut tls = rustls::ClientConfig::clone(&tls);
            tls.alpn_protocols.clear();
            Some(Arc::new(tls))
        }
        false => None,
    };
    let member_tls = https.then(polls::unverified_client_tls).transpose();
    Ok(ClusterSettings {
        url: config.url.clone(),
        prefix: config.prefix.clone(),
        password_file: config.password_file.clone(),
        secret_rule: program.secret_rule.subscribe(),
        tls,
        member_tls: member_tls.map_err(anyhow::Error::msg)?,
        waits_for_engine: config.acknowledge == Acknowledge::Engine,
        events: None,
        max_events: 0,
        name: links::hostname()?,
        http,
    })
}

/// Adds the service that shares the aliases of a bridge, if a cluster is configured. Returns its routes, and the settings for scrapes
/// between bridges.
///
/// # Errors
/// When the system has no certificates, no hostname or no random numbers.
pub(super) async fn join_bridges(
    settings: &Settings,
    bridge: &Bridge,
    telemetry: Arc<BridgeTelemetry>,
    addresses: &BridgeAddresses,
    program: &mut Program,
) -> anyhow::Result<(Routes, Option<Forwarding>)> {
    let Some(config) = &settings.cluster else {
        return Ok((Routes::new(), None));
    };
    let cluster_settings = cluster_settings(config, (addresses.https, addresses.http), program).await?;
    if let Some(http) = addresses.http.filter(|http| http.ip().is_loopback()) {
        tracing::warn!("bridge.http_listen is {http}: bridges on other machines cannot forward scrapes to this one");
    }
    let identity = BridgeIdentity::random()?;
    let forwarding = Forwarding {
        key: identity.forward_key.clone(),
        tls: cluster_settings.member_tls.clone(),
    };
    let context = BridgeClusterContext {
        registry: bridge.share(&identity.id),
        telemetry,
        readiness: Arc::clone(&program.readiness),
        notes: Arc::clone(&program.notes),
    };
    let cluster = BridgeCluster::new(cluster_settings, identity, context)?;
    let routes = cluster::routes(cluster.connected());
    program.add(cluster);
    Ok((routes, Some(forwarding)))
}
