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
    /// Print the public half of an existing key instead, by default that of the file that would be created.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "out")]
    show: Option<Option<PathBuf>>,
}

impl Keygen {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let identity = match self.show {
            Some(named) => Identity::load(&key_file(named)?)?,
            None => Identity::create(&key_file(self.out)?)?,
        };
        super::print(&format!("{}\n", identity.public_key()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The given file, or the default one.
pub(super) fn key_file(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    named
        .or_else(|| default_key_file("p2p.key", |name| std::env::var(name).ok()))
        .context("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set; name a file with --out, --show or --identity")
}
