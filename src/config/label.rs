//! Label names that configuration adds to series.

use super::raw::quoted;

/// Labels with a meaning in histograms and summaries: adding one would change the series.
const MEANINGFUL: [&str; 2] = ["le", "quantile"];

/// Checks that `name` is a label name (`[a-zA-Z_][a-zA-Z0-9_]*`, as Prometheus's data model has it) that may be added to any series.
pub(super) fn check(name: &str) -> Result<(), String> {
    let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !legal || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{} is not a valid label name ([a-zA-Z_][a-zA-Z0-9_]*)", quoted(name)));
    }
    if name.starts_with("__") {
        return Err(format!(
            "{} is reserved: label names that begin with \"__\" are Prometheus's own",
            quoted(name)
        ));
    }
    if MEANINGFUL.contains(&name) {
        return Err(format!(
            "{} is reserved: it has a meaning in histograms and summaries",
            quoted(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
