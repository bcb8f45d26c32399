//! Runs the fuzzers' checks over their committed corpora, so that what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[allow(unreachable_pub, reason = "public for the fuzzers, which are another crate")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file in a folder; at least one, because a replay of nothing proves nothing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    assert!(!files.is_empty(), "{} holds no files", folder.display());
    files
}

/// The names of what is in a folder, without their endings.
fn stems(folder: &Path) -> BTreeSet<String> {
    files(folder)
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()))
        .collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "shown if the check fails, and then it says on which file")]
fn every_corpus_file_passes_its_check() {
    for (target, check) in checks::TARGETS {
        for file in files(&root().join("fuzz/corpus").join(target)) {
            println!("{}", file.display());
            check(&fs::read(&file).expect("the corpus can be read"));
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = checks::TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(stems(&root().join("fuzz/fuzz_targets")), targets);
    assert_eq!(stems(&root().join("fuzz/corpus")), targets);
}
