//! The version of the program and the commit that it was built from.

/// The commit and its date, such as `0123456789ab 2026-01-31`. A build without optimization and one outside of a repository have no commit,
/// unless `EXPORTER_PROXY_REVISION` was set when they were made.
pub const REVISION: &str = env!("EXPORTER_PROXY_REVISION");

/// The version with the commit and its date.
pub const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("EXPORTER_PROXY_REVISION"), ")");
