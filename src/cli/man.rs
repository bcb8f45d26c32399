//! `exporter-proxy man`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write one page for each command into this directory, instead of the main page to standard output.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let command = super::Cli::command().disable_help_subcommand(true);
        match &self.directory {
            Some(directory) => {
                clap_mangen::generate_to(command, directory)
                    .with_context(|| format!("cannot write the pages to {}", directory.display()))?;
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                super::print_bytes(&page)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
