//! `exporter-proxy apps`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::server::ServerOptions;
use super::target::get;
use crate::model::{printable, printable_json};

#[derive(Debug, Args)]
pub(super) struct Apps {
    #[command(flatten)]
    server: ServerOptions,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Apps {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let accept = if self.json { "application/json" } else { "text/plain" };
        let text = super::block_on(async {
            let (server, access) = self.server.find(named).await?;
            get(&server, &access, "/apps", accept).await
        })?;
        let shown = if self.json { printable_json(&text) } else { printable(&text) };
        super::print(&format!("{}\n", shown.strip_suffix('\n').unwrap_or(&shown)))?;
        Ok(ExitCode::SUCCESS)
    }
}
