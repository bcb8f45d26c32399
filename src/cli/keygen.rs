//! `exporter-proxy keygen`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::peer::{Identity, default_key_file};

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// File to create; it must not exist. Default: p2p.key in the state directory, where the proxy looks for it.
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

/// The given file, or the default one.
pub(super) fn key_file(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    named
        .or_else(|| default_key_file("p2p.key", |name| std::env::var(name).ok()))
        .context("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set; name a file with --out or --identity")
}
