use super::*;

#[test]
fn a_page_loads_nothing_from_elsewhere_and_has_no_inline_code() {
    let answer = page("a <b> page", "../", &html! { p { "text" } });
    let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for file in [STYLE, SCRIPT] {
        assert!(
            !file.contains("//e") && !file.contains("http:") && !file.contains("https:") && !file.contains("@import"),
            "{file}"
        );
    }
}

#[test]
fn texts_of_others_cannot_change_a_page() {
    let shown = html! { (Plain("<i>\u{202e}&\u{1b}[2J")) }.into_string();
    assert!(
        shown.starts_with("&lt;i&gt;") && shown.contains("&amp;") && shown.is_ascii(),
        "{shown}"
    );
}

#[test]
fn a_span_has_at_most_two_units() {
    for (seconds, shown) in [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3_725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(span(seconds), shown);
    }
}
