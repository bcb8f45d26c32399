//! `docs/configuration.md`, generated from the keys of the code and the comments of `config.toml`.

use std::fmt::Write as _;
use std::fs;

use super::super::aliases::ALIASES;
use super::super::fault::Location;
use super::super::reader::KeyEntry;
use super::super::{Environment, parse};
use super::{root, sound, uncommented, uncommented_settings};

const PAGE: &str = "docs/configuration.md";

/// With this variable the test writes the page instead of comparing it.
const UPDATE: &str = "UPDATE_DOCS";

const INTRODUCTION: &str = "# Configuration

Every key of the configuration, with its default and the environment variable that overrides it. Generated from the code and from
[config.toml](../config.toml), which has the same texts in a form to copy.

- The file is the first of these that exists: `--config FILE`, `$EXPORTER_PROXY_CONFIG`, `./config.toml`,
  `/etc/exporter-proxy/config.toml`. Without a file the defaults hold. `exporter-proxy check` validates it.
- Every key is optional. A variable has precedence over the file; its value is parsed as TOML, otherwise it is a string.
- Durations are numbers of seconds or strings such as `\"90s\"`, `\"500ms\"`, `\"1h30m\"`; sizes are numbers of bytes or strings such as `\"16MiB\"`.
- **reload**: `SIGHUP` or `POST /-/reload` applies a change. Changes of other keys need a restart.
";

/// The comment above a line, without its marks: none if another key stands there.
fn comment(lines: &[&str], line: usize) -> Vec<String> {
    let above = lines[..line].iter().rev().take_while(|line| line.starts_with('#'));
    let mut found: Vec<String> = above.map(|line| line.trim_start_matches('#').to_owned()).collect();
    found.reverse();
    found
}

/// A comment as Markdown: its sentences as a paragraph, its indented lines as a block.
fn markdown(comment: &[String]) -> String {
    let (mut out, mut in_block) = (String::new(), false);
    for line in comment {
        let text = line.strip_prefix(' ').unwrap_or(line);
        let is_example = text.starts_with("  ");
        if is_example != in_block {
            out.push_str(if is_example { "\n```text\n" } else { "```\n\n" });
            in_block = is_example;
        }
        let text = match is_example {
            true => text.get(2..).unwrap_or_default(),
            false => text.trim_start_matches("(reload) "),
        };
        if !text.starts_with("Reference: further keys") || text.ends_with(|c: char| c != '.') {
            let text = text
                .split_once("]. ")
                .filter(|_| text.starts_with("Reference: "))
                .map_or(text, |(_, rest)| rest);
            out.push_str(text);
            out.push('\n');
        }
    }
    if in_block {
        out.push_str("```\n");
    }
    // What looks like a tag or a table in a paragraph is meant as it stands.
    out.replace('<', "&lt;")
}

fn place(entry: &KeyEntry) -> usize {
    match entry.place {
        Some(Location::Line(line, _)) => line - 1,
        _ => panic!("config.toml lacks {}", entry.path()),
    }
}

fn generated() -> String {
    let text = uncommented();
    let lines: Vec<&str> = text.lines().collect();
    let defaults = sound("").entries;
    let mut entries = uncommented_settings().entries;
    entries.sort_by_key(place);
    let mut out = INTRODUCTION.to_owned();
    let mut section = None;
    let mut at = 0;
    while at < entries.len() {
        let first = &entries[at];
        if section.replace(first.section) != Some(first.section) && !first.section.is_empty() {
            let _ = write!(out, "\n## [{}]\n", first.section);
        }
        // Keys below one comment are described together.
        let mut end = at + 1;
        while end < entries.len() && entries[end].section == first.section && comment(&lines, place(&entries[end])).is_empty() {
            end += 1;
        }
        let group = &entries[at..end];
        let names: Vec<String> = group.iter().map(|entry| format!("`{}`", entry.path())).collect();
        let _ = write!(
            out,
            "\n### {}\n\n| default | environment | |\n| --- | --- | --- |\n",
            names.join(", ")
        );
        for entry in group {
            let default = defaults.iter().find(|default| default.path() == entry.path()).unwrap();
            let variable = format!("EXPORTER_PROXY__{}", entry.path().replace('.', "__").to_uppercase());
            let reload = if entry.reloadable { "reload" } else { "restart" };
            let shown = match default.shown.as_str() {
                "" | "(left out)" => "not set".to_owned(),
                shown => format!("`{shown}`"),
            };
            let _ = writeln!(out, "| {shown} | `{variable}` | {reload} |");
        }
        for entry in group {
            let aliases = ALIASES.iter().filter(|(_, _, of, key)| (*of, *key) == (entry.section, entry.key));
            for (section, alias, ..) in aliases {
                let _ = write!(out, "\nAnother name: `{section}.{alias}`.\n");
            }
        }
        let _ = write!(out, "\n{}", markdown(&comment(&lines, place(first))));
        at = end;
    }
    out
}

#[test]
fn the_reference_is_generated_from_the_code() {
    let (path, wanted) = (root().join(PAGE), generated());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    assert!(
        found == wanted,
        "{PAGE} is out of date from line {:?} on: run this test with {UPDATE}=1",
        differs.map(|line| line + 1)
    );
}

#[test]
fn every_variable_of_the_reference_is_accepted() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.contains("`EXPORTER_PROXY__"))
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().trim_matches('`'))
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), sound("").entries.len());
    for row in rows {
        let [default, variable, _] = row[..] else {
            panic!("no row: {row:?}")
        };
        let outcome = parse("", "c.toml", &Environment::from_pairs([(variable, default)]));
        match outcome {
            Ok(settings) => assert_eq!(
                settings.entries.iter().filter(|entry| entry.place.is_some()).count(),
                1,
                "{variable}"
            ),
            // Keys without a default take no text that stands for none.
            Err(faults) => {
                let faults = faults.to_string();
                assert!(
                    default == "not set" && !faults.contains("unknown") && !faults.contains("expected EXPORTER_PROXY__"),
                    "{variable}={default}: {faults}"
                );
            }
        }
    }
}
