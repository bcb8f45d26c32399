//! The documentation, held against the program and the files of the repository as far as a machine can.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::source::{Kind, code, files, is_test_only, pieces, read, root, sources, text, without_tests};

/// Messages that another function made: the message as logged, and a text of that function.
const PASSED_ON: &[(&str, &str)] = &[
    ("{warning}", "the limit on open files is"),
    ("{warning}", "the variables with this prefix are"),
    ("{warning}", "polling is disabled"),
    ("{warning}", "every user of this machine can read or change"),
    ("{text}", "matches no log line and is ignored"),
];

/// Pages that users and contributors read.
fn pages() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .map(PathBuf::from)
        .to_vec();
    for directory in ["docs", "scripts", "crates"] {
        found.extend(
            files(directory)
                .into_iter()
                .filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    found
}

/// All documentation that users read, as one text.
fn documentation() -> String {
    pages().iter().map(read).collect()
}

/// A text with one space between words.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The arguments of a macro call whose opening parenthesis was read.
fn arguments(call: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    let mut in_text = false;
    let mut escaped = false;
    for (at, c) in call.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                found.push(call[start..at].trim());
                start = at + 1;
                if c == ')' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// The message of a log call: the first argument that is a string literal, unescaped.
fn message(call: &str) -> Option<String> {
    let literal = arguments(call)
        .into_iter()
        .find_map(|argument| argument.strip_prefix('"')?.strip_suffix('"'))?;
    let mut text = String::new();
    let mut characters = literal.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next()? {
                'n' => text.push(' '),
                '\n' => {}
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    Some(text)
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

/// What of a message the documentation must hold; nothing if no part of it identifies the line.
fn identifying(message: &str) -> Option<String> {
    let constant = joined(&constant_part(message).replace('|', "\\|"));
    constant
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word.len() > 2)
        .then_some(constant)
}

#[test]
fn every_log_line_is_explained() {
    let log = joined(&read("docs/log.md"));
    let (mut seen, mut missing) = (0, BTreeSet::new());
    for file in sources().into_iter().filter(|path| !is_test_only(path)) {
        // Unit tests at the end of the file log as well.
        let text = read(&file);
        let text = text.split("\nmod tests {").next().unwrap();
        for level in ["tracing::info!(", "tracing::warn!(", "tracing::error!("] {
            for (at, _) in text.match_indices(level) {
                seen += 1;
                let call = &text[at + level.len()..];
                let Some(message) = message(call) else {
                    missing.insert(format!("{}: a log call without a literal message: {call:.80}", file.display()));
                    continue;
                };
                if PASSED_ON.iter().any(|(passed_on, _)| *passed_on == message) {
                    continue;
                }
                match identifying(&message) {
                    Some(constant) if log.contains(&constant) => {}
                    Some(_) => drop(missing.insert(format!("{}: {message:?}", file.display()))),
                    None => drop(missing.insert(format!("{}: nothing constant in {message:?}", file.display()))),
                }
            }
        }
    }
    assert!(seen > 60, "only {seen} log lines were found");
    assert!(
        missing.is_empty(),
        "docs/log.md does not explain:\n{}",
        missing.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn every_log_line_that_is_passed_on_is_explained() {
    let log = joined(&read("docs/log.md"));
    let all: String = sources().iter().filter(|path| !is_test_only(path)).map(read).collect();
    for (message, made) in PASSED_ON {
        assert!(all.contains(&format!("{message:?})")), "no log call passes on {message:?}");
        assert!(all.contains(made), "no source file makes {made:?}");
        assert!(log.contains(made), "docs/log.md does not explain {made:?}");
    }
}

/// The test of log lines looks for these calls only, so that there are no others.
#[test]
fn log_calls_name_their_crate() {
    let mut wrong = Vec::new();
    for path in sources().into_iter().filter(|path| !is_test_only(path)) {
        let code = without_tests(&code(&read(&path)));
        for call in ["info!(", "warn!(", "error!(", "event!("] {
            for (at, _) in code.match_indices(call) {
                let before = &code[..at];
                let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if !in_word && (call == "event!(" || !before.ends_with("tracing::")) {
                    wrong.push(format!("{}: {call}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// The anchor that a heading of a page has.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            if !root().join(&file).exists() {
                wrong.push(format!("{} links to {target}, which is not there", page.display()));
            } else if !wanted.is_empty() && !read(&file).lines().any(|line| line.starts_with('#') && anchor(line) == wanted) {
                wrong.push(format!("{} links to {target}, which has no such heading", page.display()));
            }
        }
    }
    assert!(seen > 40, "only {seen} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The blocks of a page in a language, with their first lines.
fn blocks_in(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<(usize, bool, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(fence), None) => block = Some((index + 2, fence.split_whitespace().next() == Some(language), String::new())),
            (Some(_), Some(_)) => found.extend(
                block
                    .take()
                    .filter(|(_, is_wanted, _)| *is_wanted)
                    .map(|(line, _, text)| (line, text)),
            ),
            (None, Some((.., text))) => text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn every_configuration_of_a_page_is_valid() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages()
        .iter()
        .filter(|page| page.starts_with("docs") || page.ends_with("README.md"))
    {
        for (line, text) in blocks_in(&read(page), "toml") {
            // Manifests of programs that use a crate.
            if text.contains("[dependencies]") {
                continue;
            }
            seen += 1;
            let environment = exporter_proxy::config::Environment::from_pairs(std::iter::empty::<(String, String)>());
            if let Err(faults) = exporter_proxy::config::parse(&text, "the page", &environment) {
                wrong.push(format!("{}, line {line}: {faults}", page.display()));
            }
        }
    }
    assert!(seen > 10, "only {seen} configurations were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Directories whose files other files name by their path from the root of the repository.
const NAMED: &[&str] = &[
    "scripts/",
    "tests/",
    "benches/",
    "crates/",
    "examples/",
    "fuzz/",
    "docs/",
    "src/",
    "python_test_clients/",
];

/// The paths in a text, without what ends a sentence behind them.
fn named_paths(text: &str) -> BTreeSet<&str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let mut found = BTreeSet::new();
    for word in text.split(|c: char| !is_path(c)) {
        let word = word.strip_prefix("./").unwrap_or(word).trim_end_matches(['.', '-', '/']);
        if NAMED.iter().any(|directory| word.starts_with(directory)) {
            found.insert(word);
        }
    }
    found
}

#[test]
fn paths_that_files_name_exist() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in files("") {
        let Some(text) = text(&path) else { continue };
        let is_rust = path.extension().is_some_and(|e| e == "rs");
        let named: String = match is_rust {
            // In code, such a word may be a module, a division or a path relative to the file.
            true => pieces(&text)
                .iter()
                .filter(|piece| matches!(piece.kind, Kind::Comment | Kind::Doc))
                .map(|piece| format!("{}\n", piece.text))
                .collect(),
            false => text,
        };
        for name in named_paths(&named) {
            seen += 1;
            let relative = path.parent().unwrap().join(name);
            if !root().join(name).exists() && !root().join(relative).exists() {
                wrong.push(format!("{} names {name}, which is not there", path.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} paths were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_of_log_calls_are_found() {
    let call = "changed = changes.join(\", \"), %peer, \"reloaded (\\\"{}\\\") at {place}\", 1); other(\"x\")";
    assert_eq!(message(call).as_deref(), Some("reloaded (\"{}\") at {place}"));
    assert_eq!(message("reason, events); f(\"x\")"), None);
    assert_eq!(identifying("{}: {e}"), None);
    assert_eq!(identifying("lost {peer}").as_deref(), Some("lost"));
}

#[test]
fn paths_are_found_in_texts() {
    let found = named_paths("see `./scripts/test`, (docs/log.md). Not https://docs.rs/x nor target/src/a; scripts/faults/.");
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["docs/log.md", "scripts/faults", "scripts/test"]
    );
}
