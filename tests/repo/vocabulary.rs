//! The vocabulary of comments, documentation and messages: plain words, no personification, one name for one type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{Kind, Piece, code, files, is_test_only, pieces, read, root, sources, text};

/// Words that make people of programs, or are literary where there is a technical term.
const BANNED_IN_COMMENTS: &[&str] = &[
    "nobody",
    "somebody",
    "whoever",
    "anybody",
    "everybody",
    "whom",
    "whose",
    "anew",
    "altogether",
    "lent",
    "fate",
    "farewell",
    "stranger",
    "strangers",
    "newcomer",
    "newcomers",
    "heard",
    "told",
    "tells",
    "said",
    "patience",
    "goodbye",
    "so many",
    "mend",
];

/// The same for what users read.
const BANNED_IN_STRINGS: &[&str] = &[
    "somebody",
    "nobody",
    "whoever",
    "mend",
    "folder",
    "is no good",
    "is no url",
    "is no address",
    "is no port",
];

/// A documentation comment opens with a noun phrase or a verb in the third person instead.
const BANNED_OPENINGS: &[&str] = &["what", "who", "whose", "whom", "whether", "where", "how", "which", "when", "why"];

/// Texts that may stay, because they are foreign or public: the file, the word, the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// How many findings each directory of `src` still has. Numbers only go down; directories without findings leave the table.
const ALLOWED: &[(&str, usize)] = &[];

/// Types whose name stands in more than [`MAX_DIRECTORIES`] directories: the name and the reason.
const SHARED_TYPE_NAMES: &[(&str, &str)] = &[];

/// Names that have too many meanings and wait to be changed.
const TYPE_NAMES_TO_CHANGE: &[&str] = &[];

const MAX_DIRECTORIES: usize = 3;

/// One finding: the file, the line, and what is wrong.
type Finding = (String, usize, String);

/// Whether a text holds a word or phrase, in any case, with no letter on either side.
fn holds(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + word.len()..].chars().next();
        ![before, behind].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A text in lower case, with one space between words and without quoted code.
fn plain(text: &str) -> String {
    let outside = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
    outside.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn banned(text: &str, words: &[&'static str]) -> Vec<&'static str> {
    let text = plain(text);
    words.iter().copied().filter(|word| holds(&text, word)).collect()
}

/// Joins neighboring line comments of one kind, so that phrases are found across line ends.
fn comment_blocks<'a>(pieces: &[Piece<'a>]) -> Vec<(Kind, usize, Vec<&'a str>)> {
    let mut blocks: Vec<(Kind, usize, Vec<&str>)> = Vec::new();
    for piece in pieces.iter().filter(|piece| matches!(piece.kind, Kind::Comment | Kind::Doc)) {
        match blocks.last_mut() {
            Some((kind, line, texts)) if *kind == piece.kind && *line + texts.len() == piece.line => texts.push(piece.text),
            _ => blocks.push((piece.kind, piece.line, vec![piece.text])),
        }
    }
    blocks
}

/// What is wrong in a comment: each of its lines that holds a banned word, a phrase across lines, a banned opening.
fn judge_comment(kind: Kind, line: usize, texts: &[&str]) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        wrong.extend(
            banned(text, BANNED_IN_COMMENTS)
                .into_iter()
                .map(|word| (line + at, format!("the word {word:?}"))),
        );
    }
    let whole = texts.join(" ");
    let phrases = banned(&whole, BANNED_IN_COMMENTS).into_iter().filter(|word| word.contains(' '));
    for phrase in phrases {
        if !texts.iter().any(|text| banned(text, &[phrase]).contains(&phrase)) {
            wrong.push((line, format!("the words {phrase:?}")));
        }
    }
    let opening: String = whole.trim_start().chars().take_while(|c| c.is_alphabetic()).collect();
    if kind == Kind::Doc && BANNED_OPENINGS.contains(&opening.to_lowercase().as_str()) {
        wrong.push((line, format!("documentation that opens with {opening:?}")));
    }
    wrong
}

fn judge_source(source: &str) -> Vec<(usize, String)> {
    let pieces = pieces(source);
    let mut wrong: Vec<(usize, String)> = comment_blocks(&pieces)
        .into_iter()
        .flat_map(|(kind, line, texts)| judge_comment(kind, line, &texts))
        .collect();
    for piece in pieces.iter().filter(|piece| piece.kind == Kind::Text) {
        let words = banned(&piece.text.replace("\\n", " "), BANNED_IN_STRINGS);
        wrong.extend(words.into_iter().map(|word| (piece.line, format!("{word:?} in a string"))));
    }
    wrong
}

fn is_excepted(file: &str, what: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(excepted, word, _)| *excepted == file && what.contains(word))
}

fn findings(paths: &[PathBuf], judge: impl Fn(&str) -> Vec<(usize, String)>) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        let Some(text) = text(path) else { continue };
        let wrong = judge(&text).into_iter().filter(|(_, what)| !is_excepted(&file, what));
        found.extend(wrong.map(|(line, what)| (file.clone(), line, what)));
    }
    found
}

/// The directory of `src` that a file stands in, or the file itself if it stands in `src`; for a crate its directory.
fn directory(file: &str) -> String {
    let path = Path::new(file);
    let mut parts = path.strip_prefix("src").unwrap_or(path).iter();
    let first = parts.next().unwrap().to_string_lossy();
    match parts.next() {
        Some(name) if first == "crates" => format!("crates/{}", name.to_string_lossy()),
        _ => first.trim_end_matches(".rs").to_owned(),
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "shows which numbers can go down")]
fn comments_and_messages_use_plain_words() {
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for finding in findings(&sources(), judge_source) {
        found.entry(directory(&finding.0)).or_default().push(finding);
    }
    let allowed: BTreeMap<&str, usize> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (directory, findings) in &found {
        let allowed = allowed.get(directory.as_str()).copied().unwrap_or(0);
        if findings.len() > allowed {
            wrong.push(format!("{directory} has {} findings, {allowed} are allowed:", findings.len()));
            wrong.extend(findings.iter().map(|(file, line, what)| format!("  {file}:{line}: {what}")));
        }
    }
    for (directory, allowed) in allowed {
        let count = found.get(directory).map_or(0, Vec::len);
        if count < allowed {
            eprintln!("{directory} has {count} findings: ALLOWED says {allowed} and can be lowered");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The name of each type that is declared in code, outside of unit tests.
fn types(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut words = code
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if matches!(word, "struct" | "enum" | "trait" | "union") {
            names.extend(words.next().filter(|name| name.starts_with(char::is_uppercase)).map(str::to_owned));
        }
    }
    names
}

#[test]
fn no_type_name_has_many_meanings() {
    let mut directories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources().into_iter().filter(|path| !is_test_only(path)) {
        // A module with submodules counts with them.
        let own = path.with_extension("");
        let directory = if root().join(&own).is_dir() {
            own
        } else {
            path.parent().unwrap().to_owned()
        };
        let directory = directory.display().to_string();
        for name in types(&crate::source::without_tests(&code(&read(&path)))) {
            directories.entry(name).or_default().insert(directory.clone());
        }
    }
    assert!(directories.len() > 300, "the types were not found");
    assert!(SHARED_TYPE_NAMES.len() <= 3, "at most three type names may be exceptions");
    let excepted: BTreeSet<&str> = SHARED_TYPE_NAMES
        .iter()
        .map(|(name, _)| *name)
        .chain(TYPE_NAMES_TO_CHANGE.iter().copied())
        .collect();
    let wrong: Vec<_> = directories
        .iter()
        .filter(|(name, directories)| directories.len() > MAX_DIRECTORIES && !excepted.contains(name.as_str()))
        .map(|(name, directories)| format!("{name} is defined in {directories:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rare: Vec<_> = SHARED_TYPE_NAMES
        .iter()
        .filter(|(name, _)| {
            directories
                .get(*name)
                .is_none_or(|directories| directories.len() <= MAX_DIRECTORIES)
        })
        .collect();
    assert!(rare.is_empty(), "no exceptions any more: {rare:?}");
}

/// Texts of the project say what they say to every reader: no path of one machine, no place beside the repository.
#[test]
fn no_file_names_places_outside_of_the_repository() {
    // In two parts, so that this file does not name them.
    let places = [concat!("..", "/shared"), concat!("/work", "/"), concat!("/tmp", "/common.md")];
    let mut seen = 0;
    let mut wrong = Vec::new();
    for path in files("") {
        let Some(text) = text(&path) else { continue };
        seen += 1;
        for place in places {
            for (at, _) in text.match_indices(place) {
                wrong.push(format!("{}:{}: {place}", path.display(), text[..at].matches('\n').count() + 1));
            }
        }
    }
    assert!(seen > 400, "only {seen} files were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn banned_words_are_found_where_they_count() {
    let source = "/// Whether nobody\n/// waits so\n/// many times.\nfn f() { // it `told` us, blend\n let said = \"nobody's folder\"; // Newcomers\n}\n";
    let found: Vec<String> = judge_source(source)
        .into_iter()
        .map(|(line, what)| format!("{line}: {what}"))
        .collect();
    assert_eq!(
        found,
        [
            "1: the word \"nobody\"",
            "1: the words \"so many\"",
            "1: documentation that opens with \"Whether\"",
            "5: the word \"newcomers\"",
            "5: \"nobody\" in a string",
            "5: \"folder\" in a string",
        ]
    );
    assert!(judge_source("/// Returns what it has.\n// `nobody` may\nfn f() {}").is_empty());
}
