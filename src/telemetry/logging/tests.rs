#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn the_report_is_one_line_in_the_format_of_the_log() {
    let text = String::from_utf8(report(LogFormat::Text, 7)).unwrap();
    assert!(
        text.contains(" WARN log lines dropped: ") && text.ends_with("dropped=7\n"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_slice(&report(LogFormat::Json, 7)).unwrap();
    assert_eq!((&json["level"], &json["dropped"]), (&"WARN".into(), &7.into()));
}

#[test]
fn a_text_line_is_one_physical_line_and_values_with_spaces_are_quoted() {
    let line = rendered(LogFormat::Text, || {
        let (spaced, plain) = (format_args!("my app"), format_args!("north"));
        tracing::warn!(source = "127.0.0.1:1", app = "a b", %spaced, %plain, empty = "", n = 7, "first\nsecond \"quoted\"");
    });
    let text = String::from_utf8(line).unwrap();
    assert!(
        text.ends_with(" WARN first\\nsecond \"quoted\" source=127.0.0.1:1 app=\"a b\" spaced=\"my app\" plain=north empty=\"\" n=7\n"),
        "{text}"
    );
}

#[test]
fn a_directive_that_matches_no_line_is_recognized() {
    for good in [
        "debug",
        "WARN",
        "0",
        "exporter_proxy=debug",
        "exporter_proxy::store=trace",
        "quinn=info",
        "hyper",
        "off",
    ] {
        assert!(can_match(good), "{good}");
    }
    for bad in ["verbose", "inf", "exporter-proxy=debug", "debug=info", "7", "[span]=info"] {
        assert!(!can_match(bad), "{bad}");
    }
    assert_eq!(directives(" info, a=warn,, x "), ["info", "a=warn", "x"]);
}

#[test]
fn a_fatal_error_follows_the_format() {
    let json: serde_json::Value = serde_json::from_slice(&rendered(LogFormat::Json, || tracing::error!("broken"))).unwrap();
    assert_eq!((&json["level"], &json["message"]), (&"ERROR".into(), &"broken".into()));
}
