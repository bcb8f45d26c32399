//! The configuration as a whole: the shipped file, the original's, fixtures good and bad, the environment, reloads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken_files;
mod environment;
mod fixtures;
mod reference;
mod reload;
mod secrets;
mod sections;
mod shipped_file;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::Location;
use super::*;
use crate::wire::FormatChoice;

fn nothing() -> Environment {
    Environment::default()
}

fn sound(text: &str) -> Settings {
    parse(text, "c.toml", &nothing()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, "c.toml", &nothing()).map(|_| ()).unwrap_err().to_string();
    faults.lines().map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `.toml` files of a fixture folder; a folder without any is a fault of the test.
fn fixtures(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("tests/fixtures/config").join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {}", folder.display());
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The values of two settings, key by key, leaving out where they were set.
fn values(settings: &Settings) -> Vec<(String, String)> {
    let entries = settings.entries.iter();
    entries
        .map(|e| (format!("{}.{}", e.section, e.key), e.identity.expose().to_owned()))
        .collect()
}

fn shipped() -> String {
    fs::read_to_string(root().join("config.toml")).unwrap()
}

/// The shipped file with the keys that it comments out put in.
fn uncommented() -> String {
    let key = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
            .map(str::to_owned)
    };
    shipped()
        .lines()
        .map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect()
}

/// The settings of [`uncommented`]. Its only faults are about the simple form of access, which the tables replace.
fn uncommented_settings() -> Settings {
    let (root, faults) = syntax::parse(&uncommented());
    let (settings, faults) = Settings::read(ConfigReader::new(root, faults));
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts.iter().all(|text| text.contains("has no effect beside [[http.access]]")),
        "{texts:?}"
    );
    settings
}
