//! Imports between modules, held against the tables in the documentation of their parents: that of the top level in `src/lib.rs`, which has
//! the workspace's crates as well, and those of modules with a table of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{below_src, code, is_test_only, module, packages, read, root, sources, sources_of, without_tests};

/// What a table says of a module.
#[derive(Debug, Default)]
struct Row {
    may_import: BTreeSet<String>,
    /// Items of other modules that this one may use, where it must not use their other named items: `store::View`.
    items: BTreeSet<(String, String)>,
}

/// Files of `src/` that belong to no module: they may import every module.
const ROOTS: &[&str] = &["main", "lib"];

/// The start of the names of the crates under `crates/`, which the table lists without it.
const CRATE: &str = "exporter_proxy_";

/// The heading of a table, behind the slashes of the comment that it stands in.
const HEADING: &str = "| module | purpose | may import |";

/// Reads the rows `| module | purpose | may import |`, of which the last cell names modules or says `all above`.
fn table(documentation: &str) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let lines = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("//! ").or_else(|| line.strip_prefix("// ")))
        .filter_map(|line| line.strip_prefix("| [`").or_else(|| line.strip_prefix("| `")));
    for line in lines {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [name, .., imports] = &cells[..] else {
            panic!("no table row: {line}")
        };
        let mut row = Row::default();
        if imports.starts_with("all above") {
            row.may_import.extend(rows.keys().cloned());
        }
        for quoted in imports.split('`').skip(1).step_by(2) {
            let (imported, item) = quoted
                .split_once("::")
                .map_or((quoted, None), |(imported, item)| (imported, Some(item)));
            assert!(
                rows.contains_key(imported),
                "the table lets {name} import {imported}, which does not stand above it"
            );
            row.may_import.insert(imported.to_owned());
            row.items.extend(item.map(|item| (imported.to_owned(), item.to_owned())));
        }
        rows.insert(identifier(name), row);
    }
    rows
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The module path of a file.
fn module_path(path: &Path) -> Vec<String> {
    let below = below_src(path).with_extension("");
    let mut parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Returns all paths in a file's code that start with `crate::` or climb with `super::`, from the root of the crate, and those into another
/// crate of the workspace, as if that were a module.
fn paths(code: &str, file: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    // Modules in the file: their names and the depth of braces outside of them.
    let mut inner: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    let mut last = "";
    let mut start_of_path = true;
    while at < code.len() {
        let rest = &code[at..];
        let word = &rest[..identifier(rest).len()];
        if word.is_empty() {
            let c = rest.chars().next().unwrap();
            match c {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    inner.retain(|(_, outside)| *outside < depth);
                }
                _ => {}
            }
            let inside_path = rest.starts_with("::") || (c == ':' && code[..at].ends_with(':'));
            start_of_path = !inside_path && c != '$';
            at += c.len_utf8();
            continue;
        }
        if last == "mod" && code[at + word.len()..].trim_start().starts_with('{') {
            inner.push((word.to_owned(), depth));
        }
        if start_of_path && (word == "crate" || word == "super" || word == "self" || word.starts_with(CRATE)) {
            let here: Vec<String> = file.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())).collect();
            follow(rest, &here, &mut found);
            at += extent(rest);
            last = "";
            start_of_path = false;
            continue;
        }
        last = word;
        start_of_path = false;
        at += word.len();
    }
    found
}

/// The length of a path with the groups in it.
fn extent(path: &str) -> usize {
    let mut depth = 0;
    for (at, c) in path.char_indices() {
        match c {
            '{' if depth > 0 || path[..at].ends_with("::") => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' if depth > 0 => depth -= 1,
            c if depth == 0 && !(c.is_alphanumeric() || c == '_' || c == ':') => return at,
            _ => {}
        }
    }
    path.len()
}

/// Follows one path and the groups in it, as far as it names modules.
fn follow(path: &str, here: &[String], found: &mut BTreeSet<Vec<String>>) {
    let mut here = here.to_vec();
    let mut rest = path;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            for part in parts(group) {
                follow(part, &here, found);
            }
            return;
        }
        let word = identifier(rest);
        match word.as_str() {
            "" => break,
            "crate" => here.clear(),
            other if other.starts_with(CRATE) => here = vec![other[CRATE.len()..].to_owned()],
            "self" => {}
            "super" => {
                assert!(here.pop().is_some(), "more `super` than modules: {path:.80}");
            }
            _ => here.push(word.clone()),
        }
        match rest[word.len()..].strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    found.insert(here);
}

/// The parts of a group of imports whose opening brace was read.
fn parts(group: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The paths that a source file imports or names, outside of its unit tests.
fn imports(path: &Path) -> BTreeSet<Vec<String>> {
    paths(&without_tests(&code(&read(path))), &module_path(path))
}

#[test]
fn the_table_has_every_module_once() {
    let lib = read("src/lib.rs");
    let declared: BTreeSet<String> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
        .map(identifier)
        .collect();
    let crates = packages()
        .into_iter()
        .filter_map(|package| Some(package.file_name()?.to_string_lossy().into_owned()));
    let declared: BTreeSet<String> = declared.into_iter().chain(crates).collect();
    let listed: BTreeSet<String> = table(&lib).into_keys().collect();
    assert_eq!(listed, declared);
}

/// A crate depends on no other crate of the workspace but those that its row names, and on the daemon never.
#[test]
fn no_crate_depends_on_one_that_the_table_does_not_allow() {
    let table = table(&read("src/lib.rs"));
    for package in packages().into_iter().filter(|package| package.file_name().is_some()) {
        let row = &table[&*package.file_name().unwrap().to_string_lossy()];
        let manifest: toml::Table = read(package.join("Cargo.toml")).parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let own = dependencies
            .keys()
            .map(|name| name.replace('-', "_"))
            .filter(|name| name.starts_with("exporter_proxy"));
        for name in own {
            let allowed = name.strip_prefix(CRATE).is_some_and(|name| row.may_import.contains(name));
            assert!(allowed, "{}: must not depend on {name}", package.display());
        }
    }
}

#[test]
fn no_module_imports_one_that_the_table_does_not_allow() {
    let table = table(&read("src/lib.rs"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in sources_of(Path::new("")).into_iter().filter(|path| !is_test_only(path)) {
        let importing = module(&path);
        if ROOTS.contains(&importing.as_str()) {
            continue;
        }
        let row = &table[&importing];
        for imported in imports(&path) {
            let Some(other) = imported.first().filter(|other| table.contains_key(*other) && **other != importing) else {
                continue;
            };
            seen += 1;
            if !row.may_import.contains(other) {
                wrong.push(format!("{}: {importing} must not import {other}", path.display()));
            }
        }
    }
    assert!(seen > 200, "only {seen} imports were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file with a table of the modules that it declares.
struct Parent {
    /// The directory of its package.
    package: PathBuf,
    file: PathBuf,
    /// Its path in its package; empty for the root of a crate.
    path: Vec<String>,
}

/// The crates and the modules of the daemon's top level that have a table of their own modules.
fn parents_with_a_table() -> Vec<Parent> {
    let mut found = Vec::new();
    for package in packages() {
        if package.file_name().is_some() {
            let file = package.join("src/lib.rs");
            if read(&file).contains(HEADING) {
                let path = Vec::new();
                found.push(Parent { package, file, path });
            }
            continue;
        }
        for name in table(&read("src/lib.rs")).into_keys() {
            let file = PathBuf::from(format!("src/{name}.rs"));
            if root().join(&file).exists() && read(&file).contains(HEADING) {
                let (package, path) = (package.clone(), vec![name]);
                found.push(Parent { package, file, path });
            }
        }
    }
    found
}

#[test]
fn the_table_of_a_module_has_each_of_its_modules_once() {
    let found = parents_with_a_table();
    assert!(found.iter().any(|parent| parent.path == ["peer"]));
    for package in packages().into_iter().filter(|package| package.file_name().is_some()) {
        assert!(
            found.iter().any(|parent| parent.package == package),
            "{} has no table",
            package.display()
        );
    }
    for parent in found {
        let text = read(&parent.file);
        let declared: BTreeSet<String> = without_tests(&code(&text))
            .lines()
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
            .map(identifier)
            .collect();
        let listed: BTreeSet<String> = table(&text).into_keys().collect();
        assert_eq!(listed, declared, "{}", parent.file.display());
    }
}

/// A file below such a module imports from its siblings' modules, never through what their parent exports.
#[test]
fn no_module_below_another_imports_one_that_the_table_there_does_not_allow() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for parent in parents_with_a_table() {
        let table = table(&read(&parent.file));
        let depth = parent.path.len();
        for path in sources_of(&parent.package).into_iter().filter(|path| !is_test_only(path)) {
            let place = module_path(&path);
            let Some(importing) = place.get(depth).filter(|_| place.starts_with(&parent.path)) else {
                continue;
            };
            if depth == 0 && ROOTS.contains(&importing.as_str()) {
                continue;
            }
            for imported in imports(&path).into_iter().filter(|imported| imported.starts_with(&parent.path)) {
                let Some(other) = imported.get(depth).filter(|other| *other != importing) else {
                    continue;
                };
                seen += 1;
                if !table.contains_key(other) {
                    wrong.push(format!("{}: import {other} from its module, not from its parent", path.display()));
                } else if !table[importing].may_import.contains(other) {
                    wrong.push(format!("{}: {importing} must not import {other}", path.display()));
                }
            }
        }
    }
    assert!(seen > 140, "only {seen} imports were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sources hold the store's writing half and outlets its reading half: the table names the half that each may use.
#[test]
fn a_module_that_may_use_one_half_of_the_store_does_not_use_the_other() {
    let table = table(&read("src/lib.rs"));
    let halves: BTreeSet<_> = table.values().flat_map(|row| row.items.clone()).collect();
    assert_eq!(halves.len(), 2, "the halves of the store in the table of src/lib.rs: {halves:?}");
    let mut wrong = Vec::new();
    for path in sources_of(Path::new("")).into_iter().filter(|path| !is_test_only(path)) {
        let importing = module(&path);
        let Some(row) = table.get(&importing).filter(|row| !row.items.is_empty()) else {
            continue;
        };
        let code = without_tests(&code(&read(&path)));
        let words: BTreeSet<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        for (_, half) in halves.difference(&row.items) {
            if words.contains(half.as_str()) {
                wrong.push(format!("{}: {importing} must not use the store's {half}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A panic in a blocking task must not pass for an empty result: `supervise::blocking` resumes it.
#[test]
fn only_one_module_starts_blocking_tasks() {
    let (allowed, wrong): (Vec<_>, Vec<_>) = sources()
        .into_iter()
        .filter(|path| code(&read(path)).contains("spawn_blocking"))
        .partition(|path| path.starts_with("src/supervise/blocking.rs") || path.starts_with("src/supervise/blocking"));
    assert!(!allowed.is_empty(), "supervise::blocking was not found");
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The system's resolver blocks a thread for each lookup: `supervise::lookup` bounds them. Commands look up a name or two and end, and a node
/// of HyperDHT looks up one bootstrap node at a time.
#[test]
fn only_one_module_looks_up_names() {
    let looks_up = |path: &PathBuf| {
        let code = code(&read(path));
        ["lookup_host", "to_socket_addrs"].iter().any(|name| code.contains(name))
    };
    let (allowed, wrong): (Vec<_>, Vec<_>) = sources_of(Path::new(""))
        .into_iter()
        .filter(|path| !path.starts_with("src/cli") && looks_up(path))
        .partition(|path| path.starts_with("src/supervise/lookup.rs"));
    assert!(!allowed.is_empty(), "supervise::lookup was not found");
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn imports_are_found_in_groups_and_behind_super() {
    let file = ["peer", "quic", "listener"].map(str::to_owned);
    let code = "use crate::{model::{AppName, Update}, store::View};\nuse super::super::{super::wire::Codec, key::Key};\n\
                fn f() { crate::http::g(); self::h(); std::super_thing() }\nmod inner { use super::x; fn k() { super::super::super::super::outlets::y() } }\n\
                fn z() { super::super::q(); exporter_proxy_model::f(); not::exporter_proxy_x::g() } macro_rules! m { () => { $crate::config::r() } }";
    let found: Vec<String> = paths(code, &file).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "http::g",
            "model::AppName",
            "model::Update",
            "model::f",
            "outlets::y",
            "peer::key::Key",
            "peer::q",
            "peer::quic::listener::h",
            "peer::quic::listener::x",
            "store::View",
            "wire::Codec",
        ]
    );
}

#[test]
fn a_table_lets_modules_import_only_what_stands_above() {
    let rows = table("//! | [`a`] | x | none |\n//! | [`b`] | y | `a`, [`a::Half`] |\n//! | [`c`] | z | all above |\n");
    assert!(rows["a"].may_import.is_empty());
    assert_eq!(rows["b"].items.iter().next().unwrap(), &("a".to_owned(), "Half".to_owned()));
    assert_eq!(rows["c"].may_import.iter().collect::<Vec<_>>(), ["a", "b"]);
    let upward = std::panic::catch_unwind(|| table("//! | [`a`] | x | `b` |\n//! | [`b`] | y | none |\n"));
    assert!(upward.is_err());
    let plain = table("//! | `a` | x | none |\n//! | `b` | y | `a` |\n");
    assert!(plain["b"].may_import.contains("a"));
}
