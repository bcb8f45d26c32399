use super::*;

#[test]
fn a_content_type_names_a_syntax_or_none() {
    for (value, expected) in [
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Some(Syntax::OpenMetrics),
        ),
        ("Application/OpenMetrics-Text", Some(Syntax::OpenMetrics)),
        ("text/plain; charset=utf-8; Version=0.0.4", Some(Syntax::Text)),
        ("text/plain; charset=utf-8", Some(Syntax::Text)),
        (" TEXT/plain ", Some(Syntax::Text)),
        ("text/plain2", None),
        ("text/html", None),
        ("application/x-www-form-urlencoded", None),
        ("", None),
        (";;", None),
    ] {
        assert_eq!(Syntax::from_content_type(value), expected, "{value}");
    }
}
