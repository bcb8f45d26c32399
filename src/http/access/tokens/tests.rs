#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use proptest::prelude::*;

use super::*;

fn token(header: &[u8]) -> Option<Token> {
    Token::from_header(&HeaderValue::from_bytes(header).unwrap())
}

#[test]
fn a_header_is_read_as_the_rfc_says() {
    for header in ["Bearer abc", "bearer abc", "BEARER   abc", "Bearer abc  "] {
        assert_eq!(token(header.as_bytes()), Some(Token((*b"abc").into())), "{header}");
    }
    for header in ["Basic abc", "Bearerabc", "Bear", "", "Bearer\tabc", "X Bearer abc"] {
        assert_eq!(token(header.as_bytes()), None, "{header}");
    }
    let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
    for header in [
        &b"Bearer"[..],
        b"Bearer ",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer \xff",
        long.as_bytes(),
    ] {
        assert_eq!(token(header), Some(Token(Box::default())), "{header:?}");
    }
}

#[test]
fn a_file_holds_one_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let read = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        read_token(&path, FileRule::Lenient)
    };
    assert_eq!(read(b" abc.DEF-_~+/1==\n").unwrap(), Token((*b"abc.DEF-_~+/1==").into()));
    assert!(matches!(read(b" \n"), Err(TokenError::Empty)));
    assert!(matches!(read(b"one\ntwo\n"), Err(TokenError::Invalid)));
    assert!(matches!(read("schl\u{fc}ssel".as_bytes()), Err(TokenError::Invalid)));
    assert!(matches!(read(&[b'a'; MAX_TOKEN_BYTES + 1]), Err(TokenError::TooLong)));
    assert!(matches!(read(&[b'a'; 1 << 20]), Err(TokenError::TooLong)));
    assert!(matches!(
        read_token(&directory.path().join("none"), FileRule::Lenient),
        Err(TokenError::Read(_))
    ));
    assert_eq!(format!("{:?}", read(b"secret").unwrap()), "Token(MASKED)");
}

#[test]
fn a_token_is_that_of_all_files_that_hold_it() {
    let hasher = TokenHasher::new();
    let entry = |path: &str, token: &str| (Arc::from(Path::new(path)), Token(token.as_bytes().into()));
    let table = hasher.table(vec![entry("/a", "one"), entry("/b", "two"), entry("/c", "one")]);
    let files = |table: &TokenTable, token: &str| -> Vec<String> {
        let files = hasher.files(table, &Token(token.as_bytes().into()));
        files.iter().map(|path| path.display().to_string()).collect()
    };
    assert_eq!(files(&table, "one"), ["/a", "/c"]);
    assert_eq!(files(&table, "two"), ["/b"]);
    assert!(files(&table, "on").is_empty() && files(&table, "").is_empty());
    // Only files in use are replaced.
    let read = hasher.table(vec![entry("/b", "three"), entry("/d", "four")]);
    let updated = table.updated_by(&read);
    assert_eq!(files(&updated, "three"), ["/b"]);
    assert_eq!(files(&updated, "one"), ["/a", "/c"]);
    assert!(files(&updated, "two").is_empty() && files(&updated, "four").is_empty());
}

proptest! {
    /// Only the very token of a file is that of the file, whatever bytes a header has.
    #[test]
    fn no_other_header_has_a_file(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 0_usize..6) {
        let hasher = TokenHasher::new();
        let table = hasher.table(vec![(Arc::from(Path::new("/a")), Token((*b"right").into()))]);
        let start = &b"Bearer right"[..12 - cut];
        let header: Vec<u8> = start.iter().chain(&bytes).copied().collect();
        if let Ok(value) = HeaderValue::from_bytes(&header)
            && let Some(token) = Token::from_header(&value)
        {
            let is_right = header["Bearer ".len()..].trim_ascii() == b"right";
            prop_assert_eq!(!hasher.files(&table, &token).is_empty(), is_right);
        }
    }
}
