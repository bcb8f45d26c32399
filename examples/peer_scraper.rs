//! A program that scrapes another one over a link, without a bridge. The peer listens and admits our key.
//!
//! ```text
//! cargo run --example peer_scraper -- KEY@proxy.example:6556
//! cargo run --example peer_scraper -- hyperdht://KEY
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::path::Path;

use anyhow::Context as _;
use exporter_proxy::peer::{Identity, REQUEST_TIMEOUT, ScrapeOutcome, Scraper};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = std::env::args()
        .nth(1)
        .context("usage: peer_scraper KEY@HOST:PORT, or hyperdht://KEY")?;
    let target = target.parse().map_err(anyhow::Error::msg)?;
    let scraper = Scraper::new(Identity::load_or_create(Path::new("peer_scraper.key"))?, target, REQUEST_TIMEOUT);
    println!("our key, for p2p.allow of the peer, is {}", scraper.public_key());

    // The link is opened once and used for both.
    for _ in 0..2 {
        match scraper.request_metrics().await? {
            ScrapeOutcome::Metrics { text, .. } => println!("{} bytes of metrics", text.len()),
            ScrapeOutcome::Failure(message) => println!("the peer responded with an error: {message}"),
        }
    }
    scraper.close().await;
    Ok(())
}
