//! `exporter-proxy scrape KEY@HOST:PORT | hyperdht://KEY`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::HostPort;
use crate::peer::{HyperdhtError, Identity, LinkAddress, REQUEST_TIMEOUT, ScrapeError, ScrapeOutcome, Scraper};

#[derive(Debug, Args)]
pub(super) struct Scrape {
    /// The proxy: KEY@HOST:PORT, with its public key and the address that its p2p.listen names; or hyperdht://KEY, where it has a
    /// bridge on HyperDHT.
    target: LinkAddress,
    /// The file of our key, made if there is none. Without it: p2p.key, where the proxy looks for it. The scraped proxy has to
    /// know its public half, in p2p.allow or as one of p2p.bridges.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// What to ask for. Over HyperDHT there is nothing else than /metrics.
    #[arg(long, value_name = "PATH", default_value = "/metrics")]
    path: String,
    /// A node through which to join HyperDHT, any number of them. Without it: the public ones.
    #[arg(long, value_name = "HOST:PORT", value_parser = HostPort::parse)]
    bootstrap: Vec<HostPort>,
    /// How long to wait for the answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = REQUEST_TIMEOUT.as_secs())]
    timeout: u64,
}

impl Scrape {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let identity = Identity::load_or_create(&super::keygen::key_file(self.identity)?)?;
        let key = identity.public_key();
        let began = Instant::now();
        let outcome = super::current_thread_runtime()?.block_on(async {
            let bootstrap = self.bootstrap.iter().map(ToString::to_string).collect();
            let scraper = Scraper::with_bootstrap(identity, self.target, Duration::from_secs(self.timeout.max(1)), bootstrap);
            let outcome = scraper.request(&self.path).await;
            scraper.close().await;
            outcome
        });
        match outcome {
            Ok(ScrapeOutcome::Metrics { text, .. }) => {
                super::print_bytes(&text)?;
                Ok(ExitCode::SUCCESS)
            }
            Ok(ScrapeOutcome::Failure(message)) => anyhow::bail!("the proxy says that it failed: {message}"),
            Err(error @ (ScrapeError::Link(_) | ScrapeError::Hyperdht(HyperdhtError::Unreachable(_)))) => {
                let after = began.elapsed().as_secs_f64();
                anyhow::bail!("{error} (after {after:.1} s; our key is {key}; is it in the proxy's p2p.allow?)")
            }
            Err(error) => Err(error.into()),
        }
    }
}
