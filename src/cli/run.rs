//! `exporter-proxy run`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use clap::Args;

use super::{WebConfigFile, runtime};
use crate::config::{self, Environment, HostPort, Loaded, Settings};
use crate::daemon::{Addresses, ConfigSource, Daemon, check_secrets};
use crate::supervise::limits::{raise_open_files, too_few_open_files};
use crate::supervise::signals::Signals;
use crate::supervise::{Report, Stop, service_manager};
use crate::telemetry::{LONG_VERSION, print_error};

#[derive(Debug, Default, Args)]
pub(super) struct Run {
    /// HTTP address; can be repeated. Overrides exporter.scrape_expose_endpoint.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse)]
    listen: Vec<HostPort>,
    #[command(flatten)]
    web: WebConfigFile,
}

impl Run {
    /// Reads the configuration, binds all sockets, logs them, serves until a signal, and logs the outcome.
    pub(super) fn run(self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let Some((mut loaded, environment)) = read(named) else {
            return Ok(ExitCode::FAILURE);
        };
        self.web.apply(&mut loaded.settings);
        if !self.listen.is_empty() {
            loaded.settings.exporter.scrape_addresses = self.listen;
        }
        start(loaded, environment)
    }
}

fn start(loaded: Loaded, environment: Environment) -> anyhow::Result<ExitCode> {
    let mut warnings = environment.warnings();
    warnings.extend(loaded.settings.warnings());
    let Some(exposed) = exposed_secrets(&loaded) else {
        return Ok(ExitCode::FAILURE);
    };
    warnings.extend(exposed);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit(connections(&loaded.settings));
    let config_source = ConfigSource {
        file: loaded.source.file.clone(),
        environment,
    };
    runtime::service(loaded.settings.exporter.threads)
        .context("cannot start the worker threads")?
        .block_on(serve(loaded, config_source))
}

/// Reads the configuration, or prints its faults.
pub(super) fn read(named: Option<&Path>) -> Option<(Loaded, Environment)> {
    let environment = Environment::from_pairs(std::env::vars_os());
    match config::load(named, &environment) {
        Ok(loaded) => Some((loaded, environment)),
        Err(faults) => {
            print_error(&format!("invalid configuration:\n{faults}"));
            None
        }
    }
}

/// The warnings about secrets that all users can read or change; prints them and returns `None` if they are refused.
pub(super) fn exposed_secrets(loaded: &Loaded) -> Option<Vec<String>> {
    let checked = check_secrets(loaded);
    if let Err(faults) = &checked {
        print_error(&format!("secrets.strict refuses what all users can read or change:\n{faults}"));
    }
    checked.ok()
}

async fn serve(loaded: Loaded, config_source: ConfigSource) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("cannot catch SIGTERM and SIGINT")?;
    tracing::info!("exporter-proxy {LONG_VERSION}, configured by {}", loaded.source);
    service_manager::accept_sockets().context("cannot take the sockets of the service manager (LISTEN_FDS)")?;
    let daemon = tokio::select! {
        daemon = Daemon::bind(loaded, config_source) => daemon?,
        signal = signals.first() => return Ok(log_early_stop(signal)),
    };
    log_addresses(daemon.addresses());
    let stop = daemon.stop();
    Ok(report_exit(&serve_until_stopped(daemon.run(), signals, stop).await))
}

/// Serves until a signal or a failure ends it, and keeps the service manager informed.
pub(super) async fn serve_until_stopped(serving: impl Future<Output = Report>, signals: Signals, stop: Stop) -> Report {
    for address in service_manager::close_unused() {
        tracing::warn!("closed the socket {address} of the service manager: the configuration names no such address");
    }
    // The notifications run beside the serving, which does not wait for a service manager that is slow to take them.
    let ended = CancellationToken::new();
    let notify = async {
        service_manager::ready("serving").await;
        tokio::select! {
            () = stop.graceful.cancelled() => {}
            () = ended.cancelled() => {}
        }
        service_manager::stopping().await;
    };
    let serve = async {
        let report = serving.await;
        ended.cancel();
        report
    };
    tokio::select! {
        (report, ()) = async { tokio::join!(serve, notify) } => report,
        () = signals.drive(&stop) => unreachable!("driving signals never ends"),
    }
}

/// Logs that a signal ended the start, which may wait for a key file.
pub(super) fn log_early_stop(signal: &str) -> ExitCode {
    tracing::info!("stopped by {signal} before anything was served");
    ExitCode::SUCCESS
}

/// Logs the outcome and returns the exit code.
pub(super) fn report_exit(report: &Report) -> ExitCode {
    if report.is_clean() {
        tracing::info!("stopped");
        return ExitCode::SUCCESS;
    }
    tracing::error!("stopped: {report}");
    ExitCode::FAILURE
}

/// Logs the addresses, and an example command to push and one to scrape.
fn log_addresses(addresses: &Addresses) {
    if let Some(tcp) = addresses.tcp {
        let scheme = if addresses.tls { "tls" } else { "tcp" };
        tracing::info!("receiving on {scheme}://{tcp}");
    }
    if let Some(unix) = &addresses.unix {
        tracing::info!("receiving on unix:{}", unix.display());
    }
    if let Some(key) = addresses.key {
        tracing::info!("public key {key}");
    }
    if let Some(links) = addresses.links {
        tracing::info!("scraped over links at udp {links}");
    }
    for stream in &addresses.stream {
        tracing::info!("streaming on tcp://{stream}; try: exporter-proxy tap --from {stream}");
    }
    let scheme = if addresses.https { "https" } else { "http" };
    for bitswap in &addresses.bitswap {
        tracing::info!("monitoring Bitswap on {bitswap}");
    }
    for http in &addresses.http {
        tracing::info!("serving {scheme}://{http}");
    }
    if let Some(path) = &addresses.http_unix {
        tracing::info!("serving http on unix:{}", path.display());
    }
    if let Some(&http) = addresses.http.first() {
        let mut local = http;
        if local.ip().is_unspecified() {
            local.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        if addresses.can_push {
            tracing::info!("to push:   echo 'jobs_done 7' | curl --data-binary @- {scheme}://{local}/apps/my_job/metrics");
        }
        tracing::info!("to scrape: curl {scheme}://{local}/metrics");
    }
}

/// The maximum of connections that the settings allow.
fn connections(settings: &Settings) -> u64 {
    let receivers = usize::from(settings.receiver.tcp.is_some()) + usize::from(settings.receiver.unix.is_some());
    let listeners = receivers + settings.exporter.scrape_addresses.len() + usize::from(settings.http.unix_socket.is_some());
    let peers = settings
        .bitswap
        .as_ref()
        .map_or(0, |bitswap| bitswap.max_peers + bitswap.peers.len());
    (listeners * settings.exporter.concurrent_requests + peers) as u64
}

/// Raises the limit on open files and warns if it is too low for `connections`.
pub(super) fn raise_file_limit(connections: u64) {
    match raise_open_files() {
        Ok(limit) => {
            if let Some(warning) = too_few_open_files(limit, connections) {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => tracing::warn!("cannot raise the limit on open files: {error}"),
    }
}
