//! Holds the source tree against the map of the house: who may know whom, and which names rooms must not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import. `model` is the ground; `telemetry` and `supervise` may be used by every room that does I/O.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &["model"]),
    ("exposition", &["model"]),
    ("telemetry", &["model"]),
    ("supervise", &["model", "telemetry"]),
    ("store", &["model", "exposition", "telemetry", "supervise"]),
    ("http", &["model", "telemetry", "supervise"]),
    ("sources", &["model", "wire", "http", "store", "telemetry", "supervise"]),
    (
        "outlets",
        &["model", "wire", "exposition", "http", "store", "telemetry", "supervise"],
    ),
    ("peer", &["model", "wire", "http", "telemetry", "supervise"]),
    ("bridge", &["model", "wire", "peer", "http", "telemetry", "supervise"]),
    (
        "config",
        &[
            "model",
            "wire",
            "exposition",
            "store",
            "http",
            "sources",
            "outlets",
            "peer",
            "bridge",
            "telemetry",
            "supervise",
        ],
    ),
];

/// Rooms that know everybody: the composition root and the subcommands.
const KNOW_ALL: &[&str] = &["cli", "daemon", "main", "lib"];

/// The store's reading half, closed to sources, and its writing half, closed to outlets.
const HALVES: &[(&str, &str)] = &[("sources", "View"), ("outlets", "Inlet")];

const BANNED_NAMES: &[&str] = &["utils", "util", "common", "helpers", "types", "core", "prelude", "misc"];

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "the source tree was not found");
    found
}

/// The path below `src/`, without the ending.
fn place(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.with_extension("").to_string_lossy().into_owned()
}

fn room(path: &Path) -> String {
    place(path).split('/').next().unwrap().to_owned()
}

/// The code of a file without comments and without its unit tests, which may know whom they like.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first path segments behind every `crate::`, in plain and in grouped imports.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.insert(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphabetic() => {
                            found.insert(identifier(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
                true
            }
        };
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn no_room_knows_one_it_must_not() {
    let allowed: BTreeMap<_, _> = MAY_KNOW.iter().map(|&(room, may)| (room, may)).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let room = room(&path);
        if KNOW_ALL.contains(&room.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.push(format!(
                "{}: the room {room} is not on the map in tests/repo/layers.rs",
                path.display()
            ));
            continue;
        };
        for other in imports(&code(&path)) {
            let is_room = allowed.contains_key(other.as_str()) || KNOW_ALL.contains(&other.as_str());
            if is_room && other != room && !may.contains(&other.as_str()) {
                wrong.push(format!("{}: {room} must not know {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sources_only_write_and_outlets_only_read() {
    let mut wrong = Vec::new();
    for path in sources() {
        for (room_name, half) in HALVES {
            let code = code(&path);
            let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            if room(&path) == *room_name && !path.ends_with("tests.rs") && words.into_iter().any(|word| word == *half) {
                wrong.push(format!("{}: {room_name} must not hold the store's {half}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Work on another thread may panic, which must not pass for an empty result: `supervise::blocking` hands the panic on.
#[test]
fn only_one_function_starts_blocking_work() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|path| place(path) != "supervise/blocking" && code(path).contains("spawn_blocking"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|path| place(path).split('/').any(|part| BANNED_NAMES.contains(&part)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn grouped_imports_are_seen() {
    let code = "use crate::{model::{AppName, Update}, store::View};\nfn f() { crate::wire::g() }";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["model", "store", "wire"]);
}
