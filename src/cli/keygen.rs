//! `exporter-proxy keygen`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::peer::{Identity, default_key_file};

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// The file to write, which must not be there yet. Without it: p2p.key, where the proxy looks for it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Keygen {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let file = key_file(self.out)?;
        let identity = Identity::create(&file)?;
        super::print(&format!("{}\n", identity.public_key()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The file that was named, or the usual one.
pub(super) fn key_file(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    named
        .or_else(|| default_key_file("p2p.key", |name| std::env::var(name).ok()))
        .context("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set, so a file has to be named")
}
