//! The threat model, held against the tests and scripts that it names.

use std::path::PathBuf;

use crate::source::{files, read, root};

/// The kinds of evidence that a row can name.
fn exists(evidence: &str) -> bool {
    if let Some(name) = evidence.strip_prefix("hostile: ") {
        let rows = files("scripts/faults/hostile_rows");
        return rows.iter().any(|path| read(path).contains(&format!("row(\"{name}\"")));
    }
    if evidence.starts_with("scripts/") {
        return root().join(evidence).is_file();
    }
    let (place, is_unit) = match evidence.strip_prefix("unit: ") {
        Some(place) => (place, true),
        None => (evidence, false),
    };
    let Some((module, test)) = place.split_once("::") else {
        return false;
    };
    let is_test = |line: &str| line.trim_start().trim_start_matches("async ").starts_with(&format!("fn {test}("));
    let has_test = |file: &PathBuf| {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        lines
            .windows(2)
            .any(|pair| is_test(pair[1]) && pair[0].trim_start().starts_with("#["))
    };
    let found = match is_unit {
        true => unit_tests(module),
        false => vec![PathBuf::from(format!("tests/border/{module}.rs"))],
    };
    found.iter().filter(|file| root().join(file).is_file()).any(has_test)
}

/// The files of the unit tests of a module.
fn unit_tests(module: &str) -> Vec<PathBuf> {
    let directory = format!("src/{module}/tests");
    let mut found = vec![PathBuf::from(format!("{directory}.rs"))];
    if root().join(&directory).is_dir() {
        found.extend(files(&directory));
    }
    found
}

#[test]
fn every_row_of_the_threat_model_names_evidence_that_exists() {
    let text = read("SECURITY.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| !matches!(cells[1], "actor" | "---"))
        .collect();
    assert!(rows.len() > 15, "{} rows", rows.len());
    for cells in rows {
        assert_eq!(cells.len(), 7, "a row has five cells: {cells:?}");
        let evidence: Vec<&str> = cells[5].split('`').skip(1).step_by(2).collect();
        assert!(!evidence.is_empty(), "no test or script shows: {} cannot {}", cells[1], cells[3]);
        for evidence in evidence {
            assert!(exists(evidence), "SECURITY.md names {evidence:?}, which does not exist");
        }
    }
    assert!(!exists("links::no_such_test") && !exists("hostile: no such row") && !exists("scripts/no-such-script"));
}
