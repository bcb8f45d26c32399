//! `exporter-proxy keygen`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::server::settings;
use crate::peer::{Identity, default_key_file};

#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// File to create; it must not exist. Default: p2p.key_file in the file of -c, or bridge.key_file if p2p is not enabled there; without
    /// -c p2p.key in the state directory, where the proxy looks for it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the public half of an existing key instead, by default that of the file that would be created.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "out")]
    show: Option<Option<PathBuf>>,
}

impl Keygen {
    pub(super) fn run(self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let identity = match self.show {
            Some(file) => Identity::load(&key_file(file, named)?)?,
            None => Identity::create(&key_file(self.out, named)?)?,
        };
        super::print(&format!("{}\n", identity.public_key()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The given file, otherwise that of the configuration file on the command line, otherwise the default one.
pub(super) fn key_file(given: Option<PathBuf>, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let configured = match named {
        Some(file) if given.is_none() => configured(file)?,
        _ => None,
    };
    given
        .or(configured)
        .or_else(|| default_key_file("p2p.key", |name| std::env::var(name).ok()))
        .context("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set; name a file with --out, --show or --identity")
}

/// The key file of a configuration: that of its links, otherwise that of its bridge. None: that of the links is the default one.
fn configured(file: &Path) -> anyhow::Result<Option<PathBuf>> {
    let settings = settings(file)?;
    match (settings.p2p, settings.bridge.key_file) {
        (Some(p2p), _) => Ok(p2p.key_file),
        (None, Some(bridge)) => Ok(Some(bridge)),
        (None, None) => bail!(
            "{}: p2p.enabled is not true, and bridge.key_file is not set; name a file with --out, --show or --identity",
            file.display()
        ),
    }
}
