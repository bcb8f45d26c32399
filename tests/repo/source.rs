//! The files of the repository, and Rust source text split into code, comments and strings.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold no text of the project: version control, build output, captured and invented test data.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "node_modules",
    "__pycache__",
    "fixtures",
    "corpus",
    "proptest-regressions",
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all files below a directory of the repository, as sorted paths relative to the root.
pub(crate) fn files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
            let path = entry.unwrap().path();
            if SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The directories of the packages that the program consists of: the daemon's, which is the root, and the crates'.
pub(crate) fn packages() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let mut found: Vec<_> = crates.map(|it| Path::new("crates").join(it.unwrap().file_name())).collect();
    found.push(PathBuf::new());
    found.sort();
    assert!(found.len() > 1, "crates/ was not found");
    found
}

/// Returns all Rust files below the `src/` of a package.
pub(crate) fn sources_of(package: &Path) -> Vec<PathBuf> {
    let mut found = files(&package.join("src").to_string_lossy());
    found.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    found
}

/// Returns all Rust files below `src/` and `crates/*/src/`.
pub(crate) fn sources() -> Vec<PathBuf> {
    let found: Vec<_> = packages().iter().flat_map(|package| sources_of(package)).collect();
    assert!(found.len() > 100, "src/ was not found");
    found
}

/// The path of a source file below the `src/` of its package.
pub(crate) fn below_src(path: &Path) -> &Path {
    let below = path.strip_prefix("crates").map_or(path, |path| {
        let mut parts = path.components();
        parts.next();
        parts.as_path()
    });
    below.strip_prefix("src").unwrap()
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text of a file of the repository; nothing if it is not UTF-8.
pub(crate) fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).unwrap()).ok()
}

/// The top-level module that a file of `src/` belongs to.
pub(crate) fn module(path: &Path) -> String {
    let below = below_src(path).with_extension("");
    below.iter().next().unwrap().to_string_lossy().into_owned()
}

/// Whether a file is compiled for unit tests only: tests and test doubles.
pub(crate) fn is_test_only(path: &Path) -> bool {
    path.with_extension("").iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part == "fake" || part.ends_with("_tests")
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    /// A comment without its slashes.
    Comment,
    /// A documentation comment without its slashes.
    Doc,
    /// A string literal without its quotes, escapes as they stand.
    Text,
}

/// A part of a source file, and the line on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// Splits Rust source text; a line comment is a piece of its own.
pub(crate) fn pieces(source: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut code = 0;
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let Some((kind, start, end, length)) = special(rest, &source[..at]) else {
            at += rest.chars().next().unwrap().len_utf8();
            continue;
        };
        push(&mut found, &mut line, Kind::Code, &source[code..at], source[code..at].len());
        push(&mut found, &mut line, kind, &rest[start..end], 0);
        line += rest[..length].matches('\n').count();
        at += length;
        code = at;
    }
    push(&mut found, &mut line, Kind::Code, &source[code..], 0);
    found
}

fn push<'a>(found: &mut Vec<Piece<'a>>, line: &mut usize, kind: Kind, text: &'a str, passed: usize) {
    if kind != Kind::Code || !text.is_empty() {
        found.push(Piece { kind, text, line: *line });
    }
    *line += text[..passed].matches('\n').count();
}

/// A comment or literal at the beginning of `rest`: its kind, where its text starts and ends, and the length of all of it.
fn special(rest: &str, before: &str) -> Option<(Kind, usize, usize, usize)> {
    if rest.starts_with("//") {
        let end = rest.find('\n').unwrap_or(rest.len());
        let is_doc = rest.starts_with("//!") || (rest.starts_with("///") && !rest.starts_with("////"));
        let (kind, start) = if is_doc { (Kind::Doc, 3) } else { (Kind::Comment, 2) };
        return Some((kind, start, end, end));
    }
    if rest.starts_with("/*") {
        let end = block_comment(rest);
        return Some((Kind::Comment, 2, end.saturating_sub(2).max(2), end));
    }
    if rest.starts_with('"') {
        return quoted(rest, 1);
    }
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_word || rest.starts_with('r') && before.ends_with('b') {
        return raw(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().unwrap().len_utf8();
        }
    }
    rest.len()
}

fn quoted(rest: &str, start: usize) -> Option<(Kind, usize, usize, usize)> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((Kind::Text, start, at, at + 1)),
            _ => {}
        }
    }
    None
}

fn raw(rest: &str) -> Option<(Kind, usize, usize, usize)> {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes + 1;
    if !rest[1 + hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = start + rest[start..].find(&close)?;
    Some((Kind::Text, start, end, end + close.len()))
}

/// A character literal, which may be a quote; a lifetime is code.
fn character(rest: &str) -> Option<(Kind, usize, usize, usize)> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    let end = if first == '\\' {
        rest[3..].find('\'')? + 3
    } else {
        let (end, quote) = characters.next()?;
        if quote != '\'' {
            return None;
        }
        end
    };
    Some((Kind::Text, 1, end, end + 1))
}

/// The code of a source file: comments and the texts of literals are left out.
pub(crate) fn code(source: &str) -> String {
    let mut code = String::new();
    for piece in pieces(source) {
        match piece.kind {
            Kind::Code => code.push_str(piece.text),
            Kind::Text => code.push_str("\"\""),
            Kind::Comment | Kind::Doc => {}
        }
    }
    code
}

/// Code without what is compiled for unit tests only: items behind `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at + "#[cfg(test)]".len()..];
        rest = &rest[item_length(rest)..];
    }
    kept.push_str(rest);
    kept
}

/// The length of an item: to its semicolon, comma or closing brace, whichever ends it.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 1 => return at + 1,
            // The end of what holds the item, such as a struct's last field.
            '}' | ')' | ']' if depth == 0 => return at,
            '}' | ')' | ']' => depth -= 1,
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn source_text_is_split_into_code_comments_and_strings() {
    let source = "/// Doc.\nfn f<'a>() { // note\n let x = \"// no \\\" comment\"; /* block\n */ r#\"raw \" one\"#; '\"'; b'\\''; }\n";
    let found: Vec<_> = pieces(source)
        .into_iter()
        .filter(|piece| piece.kind != Kind::Code)
        .map(|piece| (piece.kind, piece.text, piece.line))
        .collect();
    assert_eq!(
        found,
        [
            (Kind::Doc, " Doc.", 1),
            (Kind::Comment, " note", 2),
            (Kind::Text, "// no \\\" comment", 3),
            (Kind::Comment, " block\n ", 3),
            (Kind::Text, "raw \" one", 4),
            (Kind::Text, "\"", 4),
            (Kind::Text, "\\'", 4),
        ]
    );
}

#[test]
fn items_for_tests_are_left_out() {
    let code = "use a;\n#[cfg(test)]\nmod tests { fn f() { b(); } }\nuse c;\n#[cfg(test)]\nmod fake;\nfn d() {}";
    assert_eq!(without_tests(code), "use a;\n\nuse c;\n\nfn d() {}");
}
