//! `exporter-proxy completions SHELL`

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to complete for.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "exporter-proxy", &mut script);
        super::print(&String::from_utf8(script)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
