//! Holds the documentation against the program, as far as a machine can.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// All documentation that users read, as one text.
fn documentation() -> String {
    let mut text = fs::read_to_string(root().join("README.md")).unwrap();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// The string literal that a macro call's arguments end with or hold first behind its fields, without its placeholders.
fn message(call: &str) -> Option<String> {
    let start = call.find('"')?;
    let mut text = String::new();
    let mut characters = call[start + 1..].chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return Some(text),
            '\\' => match characters.next()? {
                'n' => text.push(' '),
                '\n' => {}
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

/// The longest part of a message that is the same in every line.
fn constant_part(message: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        parts.push(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    parts.push(rest);
    parts
        .into_iter()
        .map(str::trim)
        .max_by_key(|part| part.len())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn every_log_line_is_explained() {
    let mut files = Vec::new();
    sources(root().join("src"), &mut files);
    let log = fs::read_to_string(root().join("docs/log.md"))
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let (mut seen, mut missing) = (0, BTreeSet::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for level in ["tracing::info!(", "tracing::warn!(", "tracing::error!("] {
            for (at, _) in text.match_indices(level) {
                let call = &text[at + level.len()..];
                let Some(message) = message(call) else { continue };
                seen += 1;
                let constant = constant_part(&message).replace('|', "\\|");
                let constant = constant.split_whitespace().collect::<Vec<_>>().join(" ");
                if !log.contains(&constant) {
                    missing.insert(format!("{}: {message:?}", file.display()));
                }
            }
        }
    }
    assert!(seen > 15, "the log lines were not found");
    assert!(
        missing.is_empty(),
        "docs/log.md does not explain:\n{}",
        missing.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn every_own_metric_is_documented() {
    let documentation = documentation();
    let names = exporter_proxy::telemetry::Telemetry::names().iter();
    let missing: Vec<_> = names
        .chain(exporter_proxy::telemetry::BridgeTelemetry::names())
        .filter(|name| !documentation.contains(**name))
        .collect();
    assert!(missing.is_empty(), "the documentation does not name {missing:?}");
}

#[test]
fn every_endpoint_is_documented() {
    let documentation = documentation();
    let endpoints = exporter_proxy::daemon::ENDPOINTS;
    let missing: Vec<_> = endpoints
        .iter()
        .filter(|(request, _)| !documentation.contains(&format!("`{request}`")))
        .collect();
    assert!(
        !endpoints.is_empty() && missing.is_empty(),
        "the documentation does not name {missing:?}"
    );
}

#[test]
fn the_readme_links_to_files_that_exist() {
    let mut checked = 0;
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap().split('#').next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(root().join(target).exists(), "{page} links to {target}, which is not there");
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no links were found");
}
