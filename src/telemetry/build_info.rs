//! The version of the program and the commit that it was built from.

/// The commit and its date, such as `0123456789ab 2026-01-31`. `unknown` for a build without optimization and one outside of a repository,
/// unless `EXPORTER_PROXY_REVISION` was set when they were made.
pub const REVISION: &str = env!("EXPORTER_PROXY_REVISION");

/// The version, with the commit and its date where they are known.
pub const LONG_VERSION: &str = env!("EXPORTER_PROXY_LONG_VERSION");
