use super::*;

#[test]
fn common_prefixes_of_all_lengths() {
    let text: Vec<u8> = (0..100).collect();
    for len in 0..100 {
        let mut other = text.clone();
        other[len] = 255;
        assert_eq!(common_prefix(&text, &other), len);
        assert_eq!(common_prefix(&text[..len], &text), len);
    }
}

#[test]
fn strings_end_at_the_first_free_quote() {
    assert_eq!(closing_quote(b"abc\" ", 0), Ok(3));
    assert_eq!(closing_quote(b"0123456789\\\\\\\"x\" and more", 0), Ok(15));
    assert_eq!(closing_quote(b"0123456789\n\"", 0), Err((10, Reason::OpenString)));
    assert_eq!(closing_quote(b"0123", 0), Err((4, Reason::OpenString)));
    assert_eq!(closing_quote(b"01\\x\"", 0), Err((2, Reason::Escape(b'x'))));
    assert_eq!(closing_quote(b"01\\", 0), Err((2, Reason::Escape(b'\n'))));
}

#[test]
fn names_end_where_they_must() {
    assert_eq!(name_end(b"foo:bar_9{", 0, true), 9);
    assert_eq!(name_end(b"foo:bar", 0, false), 3);
    assert_eq!(name_end(b"9foo", 0, true), 0);
    assert_eq!(name_end(b"", 0, true), 0);
}
