//! `exporter-proxy check`, `exporter-proxy check metrics` and `exporter-proxy check web-config`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use super::{count, input};
use crate::config::{self, Environment};
use crate::daemon::{bridge_warning, check_secrets, preflight};
use crate::exposition::{self, Exposition, Family, FamilyFlags, MetricType, openmetrics2};
use crate::http::{CheckedWebConfig, read_web_config};
use crate::model::Syntax;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Check {
    /// The configuration file, as with -c.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<CheckCommand>,
}

#[derive(Debug, Subcommand)]
enum CheckCommand {
    /// Validate exposition text: exit code 0, or 1 with line, column and reason of everything that some parser would refuse.
    ///
    /// Of OpenMetrics and protobuf it also shows what scrapers of each format would lose.
    ///
    /// Warnings do not affect the exit code.
    Metrics(Metrics),
    /// Validate web configuration files as `promtool check web-config` does: exit code 0, or 1 with all faults of all files.
    ///
    /// Warnings do not affect the exit code.
    WebConfig(WebConfigFiles),
}

#[derive(Debug, Args)]
struct WebConfigFiles {
    /// The files to validate.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Metrics {
    /// The file to validate; - is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Format of the text. Default: OpenMetrics if it ends with `# EOF`, otherwise the Prometheus text format.
    #[arg(long, value_enum)]
    format: Option<MetricsFormat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricsFormat {
    /// The Prometheus text format.
    Text,
    /// OpenMetrics 1.0.
    Openmetrics,
    /// OpenMetrics 2.0 (release candidate 0).
    Openmetrics2,
    /// Length-delimited protobuf messages (io.prometheus.client.MetricFamily).
    Protobuf,
}

impl MetricsFormat {
    /// The syntax of a text; `None` for formats with composite values.
    const fn syntax(self) -> Option<Syntax> {
        match self {
            Self::Text => Some(Syntax::Text),
            Self::Openmetrics => Some(Syntax::OpenMetrics),
            Self::Openmetrics2 | Self::Protobuf => None,
        }
    }
}

impl Check {
    /// True if it checks a configuration, and not a file of another kind.
    pub(super) const fn is_of_configuration(&self) -> bool {
        self.what.is_none()
    }

    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        match &self.what {
            None => match (&self.file, named) {
                (Some(file), Some(named)) => bail!("two configuration files: {} and, by -c, {}", file.display(), named.display()),
                (file, named) => check_configuration(file.as_deref().or(named)),
            },
            Some(CheckCommand::Metrics(metrics)) => metrics.run(),
            Some(CheckCommand::WebConfig(web)) => web.run(),
        }
    }
}

/// Prints a summary and exits with 0, or prints every fault with its line and exits with 1: of the text, otherwise of the files, users
/// and groups that it names.
fn check_configuration(named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let environment = Environment::from_pairs(std::env::vars_os());
    let mut warnings = environment.warnings();
    warnings.extend(environment.log_level_warning());
    let (text, code) = match config::load(named, &environment) {
        Ok(loaded) => {
            warnings.extend(loaded.settings.warnings());
            warnings.extend(bridge_warning(&loaded.settings));
            if let Some(file) = &loaded.settings.http.web_config_file
                && let Ok(checked) = read_web_config(file).outcome
            {
                warnings.extend(checked.warnings);
            }
            let exposed = check_secrets(&loaded);
            let missing = super::current_thread_runtime()?.block_on(preflight(&loaded));
            let faults = exposed.map(|exposed| warnings.extend(exposed)).err().into_iter().chain(missing);
            match faults.map(|faults| format!("{faults}\n")).reduce(|a, b| a + &b) {
                None => (loaded.to_string(), ExitCode::SUCCESS),
                Some(faults) => (faults, ExitCode::FAILURE),
            }
        }
        Err(faults) => (format!("{faults}\n"), ExitCode::FAILURE),
    };
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    super::print(&format!("{warnings}{text}"))?;
    Ok(code)
}

impl WebConfigFiles {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let mut text = String::new();
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match read_web_config(file).outcome {
                Ok(CheckedWebConfig { config, warnings }) => {
                    for warning in warnings {
                        let _ = writeln!(text, "warning: {warning}");
                    }
                    let tls = if config.is_tls() { "TLS" } else { "no TLS" };
                    let users = if config.has_users() { "users" } else { "no users" };
                    let _ = writeln!(text, "{}: valid, {tls}, {users}", file.display());
                }
                Err(faults) => {
                    let _ = writeln!(text, "{faults}");
                    code = ExitCode::FAILURE;
                }
            }
        }
        super::print(&text)?;
        Ok(code)
    }
}

impl Metrics {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let body = input::read(&self.file)?;
        let name = input::name(&self.file);
        let mut text = String::new();
        if matches!(self.format, Some(MetricsFormat::Protobuf)) {
            let code = check_protobuf(&body, &name, &mut text);
            super::print(&text)?;
            return Ok(code);
        }
        if matches!(self.format, Some(MetricsFormat::Openmetrics2)) {
            let code = check_openmetrics2(&body, &name, &mut text);
            super::print(&text)?;
            return Ok(code);
        }
        let syntax = self.format.and_then(MetricsFormat::syntax);
        let checked = exposition::check(&body, syntax);
        for problem in &checked.problems {
            let _ = writeln!(text, "{name}:{problem}");
        }
        let not_shown = checked.errors + checked.warnings - checked.problems.len() as u64;
        if not_shown > 0 {
            let _ = writeln!(text, "{name}: {not_shown} more not shown");
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
            "{name}: {syntax}, {}, {series} series, {}, {}",
            count(families as u64, "family", "families"),
            count(errors, "error", "errors"),
            count(warnings, "warning", "warnings"),
        );
        if checked.syntax == Syntax::OpenMetrics {
            write_losses(&Exposition::parse(body, checked.syntax), &name, &mut text);
        }
        super::print(&text)?;
        Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Checks a body of protobuf: what a push of it would be refused for.
fn check_protobuf(body: &[u8], name: &str, text: &mut String) -> ExitCode {
    let read = match Exposition::decode(body, usize::MAX) {
        Ok(read) => read,
        Err(error) => {
            let _ = writeln!(text, "{name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A metric that cannot be used has several lines of text.
    let mut faults: Vec<String> = read.faults().iter().map(ToString::to_string).collect();
    faults.dedup();
    for fault in faults {
        let _ = writeln!(text, "{name}: {fault}");
    }
    conclude(&read, "protobuf", name, text)
}

/// Checks a body of OpenMetrics 2.0: what a push of it would be refused for.
fn check_openmetrics2(body: &[u8], name: &str, text: &mut String) -> ExitCode {
    let read = match openmetrics2::parse(body, usize::MAX) {
        Ok(read) => read,
        Err(error) => {
            let _ = writeln!(text, "{name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for fault in read.faults() {
        let _ = writeln!(text, "{name}:{}:{}: error: {}", fault.line, fault.column, fault.reason);
    }
    if let Some(fault) = read.faults().first_exemplar() {
        let _ = writeln!(text, "{name}:{}:{}: warning: {}", fault.line, fault.column, fault.reason);
    }
    conclude(&read, "OpenMetrics 2.0", name, text)
}

/// Writes the numbers of families, series and errors, and which scrapers lose what.
fn conclude(read: &Exposition, format: &str, name: &str, text: &mut String) -> ExitCode {
    let _ = writeln!(
        text,
        "{name}: {format}, {}, {} series, {}",
        count(read.families().len() as u64, "family", "families"),
        read.series(),
        count(read.faults().total(), "error", "errors"),
    );
    write_losses(read, name, text);
    if read.faults().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes which scrapers lose what, if one of them loses something.
fn write_losses(read: &Exposition, name: &str, text: &mut String) {
    let samples = |family| read.samples(family).filter(|sample| sample.exemplar.is_some()).count() as u64;
    let with_exemplars = read
        .families()
        .iter()
        .filter(|family| family.flags.contains(FamilyFlags::EXEMPLARS));
    let exemplars: u64 = with_exemplars.map(samples).sum();
    let units = read.families().iter().filter(|family| family.unit().is_some()).count() as u64;
    let only_openmetrics = |family: &&Family| matches!(family.kind, MetricType::Info | MetricType::StateSet | MetricType::GaugeHistogram);
    let types = read.families().iter().filter(only_openmetrics).count() as u64;
    let is_state = |family: &&Family| matches!(family.kind, MetricType::Info | MetricType::StateSet);
    let states = read.families().iter().filter(is_state).count() as u64;
    // What the text of a protobuf body leaves out is in its records; so are gauge histograms.
    let is_protobuf = !read.record_bytes().is_empty();
    let only_protobuf = if is_protobuf { read.faults().exemplars() } else { 0 };
    let losses = |of: &[(u64, &str, &str)]| -> String {
        let lost: Vec<String> = of
            .iter()
            .filter(|(lost, ..)| *lost > 0)
            .map(|(lost, one, many)| count(*lost, one, many))
            .collect();
        if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") }
    };
    let native = (read.native_histograms(), "native histogram's buckets", "native histograms' buckets");
    let scrapers = [
        ("protobuf", losses(&[(if is_protobuf { states } else { types }, "type", "types")])),
        ("OpenMetrics", losses(&[native, (only_protobuf, "exemplar", "exemplars")])),
        (
            "the text format",
            losses(&[
                native,
                (exemplars + only_protobuf, "exemplar", "exemplars"),
                (units, "unit", "units"),
                (types, "type", "types"),
            ]),
        ),
    ];
    if scrapers.iter().any(|(_, lost)| lost != "nothing") {
        for (format, lost) in scrapers {
            let _ = writeln!(text, "{name}: a scraper of {format} loses {lost}");
        }
    }
}
