//! `exporter-proxy check` and `exporter-proxy check metrics`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::input;
use crate::config::{self, Environment};
use crate::daemon::preflight;
use crate::exposition;
use crate::model::Syntax;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(subcommand)]
    what: Option<CheckCommand>,
}

#[derive(Debug, Subcommand)]
enum CheckCommand {
    /// Validate exposition text: exit 0, or 1 with line:column and reason of all that some parser would refuse.
    ///
    /// Warnings, about what works but somebody may be sorry for, do not count.
    Metrics(Metrics),
}

#[derive(Debug, Args)]
struct Metrics {
    /// The file to validate; - is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The format of the text. Left out: OpenMetrics if it ends with `# EOF`, else the Prometheus text format.
    #[arg(long, value_enum)]
    format: Option<MetricsFormat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricsFormat {
    /// The Prometheus text format.
    Text,
    /// OpenMetrics 1.0.
    Openmetrics,
}

impl From<MetricsFormat> for Syntax {
    fn from(format: MetricsFormat) -> Self {
        match format {
            MetricsFormat::Text => Self::Text,
            MetricsFormat::Openmetrics => Self::OpenMetrics,
        }
    }
}

impl Check {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        match &self.what {
            None => check_configuration(named),
            Some(CheckCommand::Metrics(metrics)) => metrics.run(),
        }
    }
}

/// Exit 0 and a summary, or exit 1 and every fault with its line: of the text, or else of what it names on this machine.
fn check_configuration(named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let environment = Environment::from_pairs(std::env::vars_os());
    let warnings: String = environment
        .warnings()
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    let (text, code) = match config::load(named, &environment) {
        Ok(loaded) => match super::current_thread_runtime()?.block_on(preflight(&loaded)) {
            None => (loaded.to_string(), ExitCode::SUCCESS),
            Some(faults) => (format!("{faults}\n"), ExitCode::FAILURE),
        },
        Err(faults) => (format!("{faults}\n"), ExitCode::FAILURE),
    };
    super::print(&format!("{warnings}{text}"))?;
    Ok(code)
}

impl Metrics {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let body = input::read(&self.file)?;
        let name = input::name(&self.file);
        let checked = exposition::check(&body, self.format.map(Syntax::from));
        let mut text = String::new();
        for problem in &checked.problems {
            let _ = writeln!(text, "{name}:{problem}");
        }
        let untold = checked.errors + checked.warnings - checked.problems.len() as u64;
        if untold > 0 {
            let _ = writeln!(text, "{name}: and {untold} more");
        }
        let syntax = if checked.syntax == Syntax::Text {
            "text format"
        } else {
            "OpenMetrics"
        };
        let exposition::Checked {
            errors,
            warnings,
            families,
            series,
            ..
        } = checked;
        let _ = writeln!(
            text,
            "{name}: {syntax}, {families} families, {series} series, {errors} errors, {warnings} warnings"
        );
        super::print(&text)?;
        Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
