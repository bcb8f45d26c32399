//! Assembly of a replica of a cluster from the settings.

use std::sync::Arc;

use anyhow::Context as _;

use super::program::Program;
use super::{Addresses, Context, links};
use crate::cluster::{self, Cluster, ClusterContext, ClusterSettings};
use crate::config::{Acknowledge, Settings};
use crate::http::Routes;
use crate::sources::polls;

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
    let member_tls = addresses.https.then(polls::unverified_client_tls).transpose();
    let cluster_settings = ClusterSettings {
        url: config.url.clone(),
        prefix: config.prefix.clone(),
        password_file: config.password_file.clone(),
        secret_rule: settings.secrets.file_rule(),
        tls,
        member_tls: member_tls.map_err(anyhow::Error::msg)?,
        waits_for_engine: config.acknowledge == Acknowledge::Engine,
        events: settings.events.enabled.then_some(settings.events.when_engine_away),
        max_events: settings.events.options.max_pending,
        name: links::hostname()?,
        http: addresses.http.first().copied(),
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
