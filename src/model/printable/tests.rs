use super::*;

#[test]
fn what_a_terminal_interprets_is_escaped_and_nothing_else() {
    for text in ["", "plain\n\ttext", "\u{e4} \u{4e2d} \u{1f600} \u{5d0} \u{200d}", "\\u{1b}"] {
        assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
    }
    assert_eq!(printable("a\u{1b}[2J\r\u{7}"), "a\\u{1b}[2J\\u{d}\\u{7}");
    assert_eq!(printable("\u{9b}31m\u{7f}\0"), "\\u{9b}31m\\u{7f}\\u{0}");
    let marks = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}";
    assert_eq!(marks.chars().filter(|c| is_hidden(*c)).count(), 7);
    assert!(!printable(marks).contains(is_hidden));
}

#[test]
fn json_stays_the_same_json() {
    let value = serde_json::json!({ "a\u{202e}": "\u{9b}\u{1b}\n\u{7f}" });
    let text = value.to_string();
    let shown = printable_json(&text);
    assert!(!shown.contains(is_hidden) && text.contains(is_hidden));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(
        [cut("abc", 3), cut("abc", 2), cut("a\u{e9}b", 2), cut("", 5)],
        ["abc", "ab", "a", ""]
    );
}
