//! `docs/dependencies.md` names each crate that a manifest of the program names, and no other. It limits the number of packages.

use std::collections::BTreeSet;
use std::process::Command;

use crate::source::{packages, read, root};

/// The names in the dependency tables of a manifest; packages of this workspace, which have a path, are left out.
fn direct(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    ["dependencies", "build-dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flatten()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, _)| name.clone())
        .collect()
}

/// The names in the first cells of the tables of a page. A name behind "with" is a feature's.
fn listed(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").next())
        .flat_map(|cell| cell.split(" with ").next().unwrap_or(cell).split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_direct_dependency_has_its_reason() {
    let manifests = packages().into_iter().map(|package| direct(&read(package.join("Cargo.toml"))));
    let manifest: BTreeSet<String> = manifests.flatten().collect();
    let page = listed(&read("docs/dependencies.md"));
    let missing: Vec<_> = manifest.difference(&page).collect();
    assert!(missing.is_empty(), "docs/dependencies.md lacks {missing:?}");
    let gone: Vec<_> = page.difference(&manifest).collect();
    assert!(gone.is_empty(), "docs/dependencies.md names {gone:?}, which no Cargo.toml does");
}

/// The number of different packages that `cargo tree` shows for the program with features beside the default ones, from the lock file and
/// without a network.
fn packages_built_with(features: &str) -> usize {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .current_dir(root())
        .args([
            "tree",
            "--locked",
            "--offline",
            "--package",
            "exporter-proxy",
            "--features",
            features,
        ])
        .args(["--prefix", "none", "--format", "{p}", "--edges", "normal,build"])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let packages: BTreeSet<String> = String::from_utf8_lossy(&tree.stdout)
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .filter(|package| !package.is_empty())
        .collect();
    packages.len()
}

/// The last number of the row of a table that begins with this text.
fn limit(page: &str, row: &str) -> usize {
    let line = page.lines().find(|line| line.starts_with(row)).unwrap();
    line.trim_end_matches(" |").rsplit(" | ").next().unwrap().parse().unwrap()
}

#[test]
fn there_are_no_more_packages_than_the_page_allows() {
    let page = read("docs/dependencies.md");
    let locked = read("Cargo.lock").lines().filter(|line| *line == "[[package]]").count();
    let most = limit(&page, "| locked");
    assert!(locked <= most, "{locked} packages are locked; docs/dependencies.md allows {most}");
    for (features, row) in [("", "| in the default build"), ("bitswap", "| with the cargo feature `bitswap`")] {
        let built = packages_built_with(features);
        let most = limit(&page, row);
        assert!(
            (100..=most).contains(&built),
            "{built} packages; docs/dependencies.md allows {most}: {row}"
        );
    }
}

#[test]
fn both_readers_find_what_is_there() {
    let manifest = "[dependencies]\na = \"1\"\nb = { version = \"1\" }\n[dev-dependencies]\nc = \"1\"\nd = { path = \"d\" }\n";
    assert_eq!(direct(manifest).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    let page = "text `x`\n| crate | why |\n| `a`, `b` | because `y` |\n| `c` with `z` | so |\n";
    assert_eq!(listed(page).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}
