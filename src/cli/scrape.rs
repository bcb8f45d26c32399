//! `exporter-proxy scrape KEY@HOST:PORT | hyperdht://KEY`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::server::settings;
use crate::config::HostPort;
use crate::model::printable;
use crate::peer::{HyperdhtError, Identity, LinkAddress, REQUEST_TIMEOUT, ScrapeError, ScrapeOutcome, Scraper};

#[derive(Debug, Args)]
pub(super) struct Scrape {
    /// The proxy: KEY@HOST:PORT with its public key and its p2p.listen address, or hyperdht://KEY if it registers over HyperDHT.
    target: LinkAddress,
    /// File of our key, created if missing. Default: p2p.key_file in the file of -c, or bridge.key_file if p2p is not enabled there;
    /// without -c p2p.key in the state directory. Its public half must be in p2p.allow or p2p.bridges of the scraped proxy.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Path of the request. HyperDHT supports /metrics only.
    #[arg(long, value_name = "PATH", default_value = "/metrics")]
    path: String,
    /// Bootstrap node of HyperDHT; can be repeated. Default: hyperdht.bootstrap in the file of -c, otherwise the public nodes.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse)]
    bootstrap: Vec<HostPort>,
    /// Timeout in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = REQUEST_TIMEOUT.as_secs())]
    timeout: u64,
}

impl Scrape {
    pub(super) fn run(mut self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        if let Some(file) = named.filter(|_| self.bootstrap.is_empty()) {
            self.bootstrap = settings(file)?.hyperdht.bootstrap;
        }
        let identity = Identity::load_or_create(&super::keygen::key_file(self.identity, named)?)?;
        let key = identity.public_key();
        let began = Instant::now();
        let outcome = super::block_on(async {
            let bootstrap = self.bootstrap.iter().map(ToString::to_string).collect();
            let scraper = Scraper::with_bootstrap(identity, self.target, Duration::from_secs(self.timeout.max(1)), bootstrap);
            let outcome = scraper.request(&self.path).await;
            scraper.close().await;
            Ok(outcome)
        })?;
        match outcome {
            Ok(ScrapeOutcome::Metrics { text, .. }) => {
                // A file or a program gets the exposition as it is.
                match std::io::stdout().is_terminal() {
                    true => super::print(&printable(&String::from_utf8_lossy(&text)))?,
                    false => super::print_bytes(&text)?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Ok(ScrapeOutcome::Failure(message)) => anyhow::bail!("the proxy reports an error: {message}"),
            Err(error @ (ScrapeError::Link(_) | ScrapeError::Hyperdht(HyperdhtError::Unreachable(_)))) => {
                let after = began.elapsed().as_secs_f64();
                anyhow::bail!("{error} (after {after:.1} s; our key is {key}; is it in the proxy's p2p.allow?)")
            }
            Err(error) => Err(error.into()),
        }
    }
}
