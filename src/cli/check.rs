//! `exporter-proxy check`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::config::{self, Environment};

#[derive(Debug, Args)]
pub(super) struct Check {}

impl Check {
    /// Exit 0 and a summary, or exit 1 and every fault with its line.
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        match config::load(named, &Environment::from_pairs(std::env::vars_os())) {
            Ok(loaded) => {
                super::answer(&loaded.to_string())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) => {
                super::answer(&format!("{faults}\n"))?;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
