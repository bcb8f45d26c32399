//! Pushgateway's names of groups: the path of a push, the labels of the group in it, and the app that stands for it.

mod label_name;
mod path;
mod relabel;
mod saved;
mod scraped;

pub use label_name::{escape_label_name, unescape_label_name};
pub use path::{PathError, app_of_path};
pub use relabel::{RelabelError, relabel, retain_families};
pub use saved::{SavedError, SavedGroup, SavedGroups};
pub use scraped::{ScrapedError, groups_of_scrape};

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use ring::digest::{SHA256, digest};

use crate::model::{AppName, MAX_APP_NAME_BYTES};

/// The gauge with the time of a group's last push that succeeded, and its help.
pub const PUSH_TIME: (&str, &str) = (
    "push_time_seconds",
    "Last Unix time when changing this group in the Pushgateway succeeded.",
);
/// The gauge with the time of a group's last push that failed, and its help.
pub const PUSH_FAILURE_TIME: (&str, &str) = (
    "push_failure_time_seconds",
    "Last Unix time when changing this group in the Pushgateway failed.",
);

/// The header and the parameter with the time after its last push at which a group, or any other app, is forgotten.
pub const EXPIRE_AFTER_HEADER: &str = "x-expire-after";
/// See [`EXPIRE_AFTER_HEADER`].
pub const EXPIRE_AFTER_PARAMETER: &str = "expire_after";

/// The headers with the times of pushes to another Pushgateway, in seconds since the Unix epoch: for groups that are imported.
pub const PUSH_TIME_HEADER: &str = "x-push-time";
/// See [`PUSH_TIME_HEADER`].
pub const PUSH_FAILURE_TIME_HEADER: &str = "x-push-failure-time";

/// The source of groups in `/apps`, and the start of the names of their apps.
pub const SOURCE: &str = "pushgateway";

/// The label that names the job of a group; each group has it.
const JOB: &str = "job";

/// The label that each sample has, if only with an empty value.
pub const INSTANCE: &str = "instance";

/// The end of a label name in a path if the value is in base64.
const BASE64_SUFFIX: &str = "@base64";

/// Hexadecimal digits of the hash at the end of a name that would be too long: half of SHA-256, so that no two groups of one name can be found.
const HASH_DIGITS: usize = 32;

/// The labels of a group of metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Names and values: `job` first, the others by name. Names are unique.
    labels: Vec<(String, String)>,
}

impl Group {
    /// The group of a job and further labels, of which the last of a name counts; one called `job` does not.
    #[must_use]
    pub fn new(job: String, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all: Vec<(String, String)> = labels.into_iter().filter(|(name, _)| name != JOB).collect();
        // Stable: the last of a name is the first in reverse.
        all.reverse();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(one, _), (other, _)| one == other);
        all.insert(0, (JOB.to_owned(), job));
        Self { labels: all }
    }

    /// Names and values: `job` first, the others by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns true if the group has a label of this name.
    #[must_use]
    pub fn has_label(&self, name: &[u8]) -> bool {
        // A path may have ten thousand labels, and a sample a million.
        let others = self.labels.get(1..).unwrap_or_default();
        name == JOB.as_bytes() || others.binary_search_by(|(own, _)| own.as_bytes().cmp(name)).is_ok()
    }

    /// The app that stands for the group: `pushgateway: job="x",instance="y"`. A name that would be too long ends in a hash.
    #[must_use]
    pub fn app_name(&self) -> AppName {
        let mut name = format!("{SOURCE}: ");
        for (at, (label, value)) in self.labels.iter().enumerate() {
            if at > 0 {
                name.push(',');
            }
            match is_plain(label) {
                true => name.push_str(label),
                false => write_quoted(label, &mut name),
            }
            name.push('=');
            write_quoted(value, &mut name);
        }
        if name.len() > MAX_APP_NAME_BYTES {
            let hash = digest(&SHA256, name.as_bytes());
            let mut end = MAX_APP_NAME_BYTES - "...#".len() - HASH_DIGITS;
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name.truncate(end);
            name.push_str("...#");
            for byte in &hash.as_ref()[..HASH_DIGITS / 2] {
                // Writing to memory cannot fail.
                let _ = write!(name, "{byte:02x}");
            }
        }
        AppName::new(&name).expect("the name is short enough, and control characters are escaped")
    }

    /// The path of requests about the group, with every value in base64: `/metrics/job@base64/eA==`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = "/metrics".to_owned();
        for (name, value) in &self.labels {
            let value = match value.as_str() {
                // A segment of no characters would be lost on the way.
                "" => "=".to_owned(),
                value => URL_SAFE.encode(value),
            };
            let _ = write!(path, "/{}{BASE64_SUFFIX}/{value}", escape_label_name(name));
        }
        path
    }
}

/// Returns true if a label name needs no quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Writes a text in quotes, escaped as in the text format; other control characters by their numbers, because names of apps have none.
fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
