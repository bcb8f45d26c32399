//! Names and places of files: one module style, one place for unit tests, one for test doubles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{code, files, module, read, root, sources};

/// Names that say nothing about what is in a file.
const BANNED_NAMES: &[&str] = &["utils", "util", "common", "helpers", "types", "core", "prelude", "misc"];

/// Modules that may exist for unit tests only: `foo/tests.rs` (and what is below `foo/tests/`), and test doubles in `foo/fake.rs`.
const TEST_MODULES: &[&str] = &["tests", "fake"];

/// Other modules for unit tests that wait to be moved.
const OTHER_TEST_MODULES: &[&str] = &["invariants", "panic_tests", "testnet"];

/// How many unit tests of each directory of `src` still stand at the end of the file they test. Numbers only go down.
const INLINE_TESTS: &[(&str, usize)] = &[];

fn parts(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|path| parts(path).iter().any(|part| BANNED_NAMES.contains(&part.as_str())))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A module with submodules is `foo.rs` beside `foo/`, never `foo/mod.rs`; no attribute says that it is elsewhere.
#[test]
fn modules_with_submodules_stand_beside_their_directory() {
    let mut wrong = Vec::new();
    for path in ["src", "crates", "tests", "benches", "examples"].into_iter().flat_map(files) {
        if path.ends_with("mod.rs") {
            wrong.push(format!("{}: name it after its directory", path.display()));
        }
        let is_source = path.starts_with("src") || path.starts_with("crates");
        if is_source && path.extension().is_some_and(|e| e == "rs") && code(&read(&path)).contains("#[path") {
            wrong.push(format!("{}: a module that is elsewhere", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules that a file declares behind `#[cfg(test)]`, and whether they are in files of their own.
fn test_modules(code: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (at, cfg) in code.match_indices("#[cfg(test)]") {
        let mut item = code[at + cfg.len()..].trim_start();
        while let Some(attribute) = item.strip_prefix("#[") {
            item = attribute.split_once(']').map_or("", |(_, behind)| behind).trim_start();
        }
        let item = item.trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
        if let Some(module) = item.strip_prefix("mod ") {
            let name: String = module.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let own_file = module[name.len()..].trim_start().starts_with(';');
            found.push((name, own_file));
        }
    }
    found
}

#[test]
#[allow(clippy::print_stderr, reason = "shows which numbers can go down")]
fn unit_tests_and_doubles_stand_in_files_of_their_own() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let mut inline: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in sources() {
        for (name, own_file) in test_modules(&code(&read(&path))) {
            seen += 1;
            if !own_file {
                inline.entry(module(&path)).or_default().push(path.clone());
            } else if !TEST_MODULES.iter().chain(OTHER_TEST_MODULES).any(|known| *known == name) {
                wrong.push(format!("{}: the test module {name} is none of {TEST_MODULES:?}", path.display()));
            }
        }
    }
    let allowed: BTreeMap<&str, usize> = INLINE_TESTS.iter().copied().collect();
    for (directory, paths) in &inline {
        let allowed = allowed.get(directory.as_str()).copied().unwrap_or(0);
        if paths.len() > allowed {
            wrong.push(format!("more than {allowed} files with unit tests at their end: {paths:?}"));
        }
    }
    for (directory, allowed) in allowed {
        let count = inline.get(directory).map_or(0, Vec::len);
        if count < allowed {
            eprintln!("src/{directory}: INLINE_TESTS can go down from {allowed} to {count}");
        }
    }
    assert!(seen > 100, "the unit tests were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The index of the scripts lists each of them once, and each says at its top how it is called.
#[test]
fn the_index_of_scripts_is_complete() {
    let index = read("scripts/README.md");
    let listed: BTreeSet<String> = index
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| [`")?.split_once('`')?.0.to_owned()))
        .collect();
    let scripts: BTreeSet<String> = files("scripts")
        .iter()
        .filter(|path| is_executable(path))
        .map(|path| path.strip_prefix("scripts").unwrap().display().to_string())
        .collect();
    assert_eq!(listed, scripts);
    let silent: Vec<_> = scripts
        .iter()
        .filter(|script| {
            let text = read(Path::new("scripts").join(script));
            !text
                .lines()
                .nth(1)
                .is_some_and(|line| ["# ", "// ", "\"\"\""].iter().any(|comment| line.starts_with(comment)))
        })
        .collect();
    assert!(silent.is_empty(), "scripts that do not say what they do: {silent:?}");
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(root().join(path)).unwrap().permissions().mode() & 0o111 != 0
}

#[test]
fn test_modules_are_found_behind_attributes() {
    let code =
        "#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[allow(x)]\nmod fake { }\n#[cfg(test)]\nfn f() {}\n#[cfg(test)]\npub(super) mod pretend;";
    assert_eq!(
        test_modules(code),
        [("tests".to_owned(), true), ("fake".to_owned(), false), ("pretend".to_owned(), true)]
    );
}
