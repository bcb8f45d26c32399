//! `exporter-proxy apps`

use std::process::ExitCode;

use clap::Args;

use super::http_access::HttpAccess;
use super::target::{Target, get};
use crate::model::{printable, printable_json};

#[derive(Debug, Args)]
pub(super) struct Apps {
    /// HTTP address of the proxy: http://HOST:PORT, https://HOST:PORT, or unix:PATH for http.unix_socket.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6555")]
    from: Target,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: HttpAccess,
}

impl Apps {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(server) = self.from.http_server() else {
            anyhow::bail!("--from needs HTTP of the proxy: http://HOST:PORT, https://HOST:PORT or unix:PATH")
        };
        let accept = if self.json { "application/json" } else { "text/plain" };
        let text = super::current_thread_runtime()?.block_on(get(&server, &self.access, "/apps", accept))?;
        let shown = if self.json { printable_json(&text) } else { printable(&text) };
        super::print(&format!("{}\n", shown.strip_suffix('\n').unwrap_or(&shown)))?;
        Ok(ExitCode::SUCCESS)
    }
}
