//! `exporter-proxy bridge`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use clap::Args;

use super::run::{exposed_secrets, log_early_stop, raise_file_limit, read, report_exit, serve_until_stopped};
use super::{WebConfigFile, runtime};
use crate::config::{Environment, HostPort, Loaded};
use crate::daemon::{BridgeAddresses, ConfigSource, bind_bridge};
use crate::supervise::service_manager;
use crate::supervise::signals::Signals;
use crate::telemetry::LONG_VERSION;

#[derive(Debug, Args)]
pub(super) struct Bridge {
    /// HTTP address. Overrides bridge.http_listen.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse)]
    listen: Option<HostPort>,
    #[command(flatten)]
    web: WebConfigFile,
}

impl Bridge {
    /// Reads the configuration, binds all sockets, logs them, serves until a signal, and logs the outcome.
    pub(super) fn run(self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let Some((mut loaded, environment)) = read(named) else {
            return Ok(ExitCode::FAILURE);
        };
        self.web.apply(&mut loaded.settings);
        if let Some(listen) = self.listen {
            loaded.settings.bridge.http_listen = listen;
        }
        start(loaded, environment)
    }
}

fn start(loaded: Loaded, environment: Environment) -> anyhow::Result<ExitCode> {
    let Some(exposed) = exposed_secrets(&loaded) else {
        return Ok(ExitCode::FAILURE);
    };
    for warning in environment
        .warnings()
        .into_iter()
        .chain(loaded.settings.bridge_warnings())
        .chain(exposed)
    {
        tracing::warn!("{warning}");
    }
    let config_source = ConfigSource {
        file: loaded.source.file.clone(),
        environment,
    };
    // Scrapers on one side; all proxies share one socket.
    raise_file_limit(loaded.settings.exporter.concurrent_requests as u64);
    runtime::service(loaded.settings.exporter.threads)
        .context("cannot start the worker threads")?
        .block_on(serve(loaded, config_source))
}

async fn serve(loaded: Loaded, config_source: ConfigSource) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("cannot catch SIGTERM and SIGINT")?;
    tracing::info!("exporter-proxy {LONG_VERSION} bridge, configured by {}", loaded.source);
    service_manager::accept_sockets().context("cannot take the sockets of the service manager (LISTEN_FDS)")?;
    let bridge = tokio::select! {
        bridge = bind_bridge(&loaded.settings, config_source) => bridge?,
        signal = signals.first() => return Ok(log_early_stop(signal)),
    };
    log_addresses(bridge.addresses());
    let stop = bridge.stop();
    Ok(report_exit(&serve_until_stopped(bridge.run(), signals, stop).await))
}

/// Logs the addresses, the key, and the configuration line for proxies.
fn log_addresses(bridge: &BridgeAddresses) {
    tracing::info!("public key {}", bridge.key);
    if let Some(http) = bridge.http {
        let scheme = if bridge.https { "https" } else { "http" };
        tracing::info!("serving {scheme}://{http}");
    }
    match bridge.quic {
        Some(quic) => {
            let key = bridge.key;
            tracing::info!(
                "proxies register at udp {quic}: p2p.bridges = [\"quic://{key}@HOST:{}\"]",
                quic.port()
            );
        }
        None => tracing::info!("QUIC is off (bridge.quic_listen)"),
    }
    if bridge.hyperdht {
        tracing::info!("proxies register over HyperDHT: p2p.bridges = [\"hyperdht://{}\"]", bridge.key);
    } else {
        tracing::info!("HyperDHT is off (bridge.hyperdht)");
    }
}
