//! Files with faults of syntax, of other programs, and of any text.

use proptest::prelude::*;

use super::*;

#[test]
fn what_a_broken_part_may_have_said_is_not_held_against_the_rest() {
    let text = "[exporter\nscrape_expose_endpoint = \"0.0.0.0:7000\"\n[receiver]\nreceiver_tcp_socket = \"127.0.0.1:6555\"\n";
    assert_eq!(faults(text), ["c.toml:1:10: syntax: unclosed table, expected `]`"]);
    assert_eq!(
        faults(&text.replacen("[exporter\n", "[exporter]\n", 1).replace("7000", "6555")).len(),
        1
    );
}

/// Pieces that configurations are made of, put together at random: more of the reader is reached than by random text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[receiver]\n",
        "[http",
        "[[poll_external]]\n",
        "[poll_external]\n",
        "[a.b]\n",
        "format",
        "other_scrape_endpoints",
        "write_from",
        "labels",
        "basic_auth",
        " = ",
        "=",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "\"\"\"",
        "'",
        "'''",
        "\n",
        "\r\n",
        "\r",
        "#",
        " ",
        "\"http://a:b@c:1/\"",
        "url",
        "1",
        "-1",
        "0o660",
        "1e400",
        "nan",
        "1979-05-27",
        "99999999999999999999",
        "true",
        "ö",
        "\u{0}",
        "\u{feff}",
        "\\u",
        "\\",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![pieces(), "\\PC{0,80}", any::<String>()], value in prop_oneof![pieces(), any::<String>()]) {
        let environment = Environment::from_pairs([("EXPORTER_PROXY__POLL_EXTERNAL__OTHER_SCRAPE_ENDPOINTS", value)]);
        if let Err(faults) = parse(&text, "c.toml", &environment) {
            prop_assert!(!faults.list.is_empty());
            let lines = text.matches('\n').count() + 1;
            for fault in &faults.list {
                prop_assert!(!matches!(fault.place, Location::Line(line, _) if line > lines));
            }
        }
    }

    #[test]
    fn a_broken_line_hides_no_fault_of_another(at in 0_usize..4, broken in prop::sample::select(vec!["x", "x = ", "= 5", "x = \"a", "x = 1 2", "] [", "x = [1,,2]", "x = 01"])) {
        let mut lines = vec!["[http]", "unknown_a = 1", "enable_lifecycle = 5", "[store]", "max_apps = 0"];
        lines.insert(at + 1, broken);
        let found = faults(&lines.join("\n"));
        for part in ["unknown_a", "enable_lifecycle", "max_apps", "syntax"] {
            prop_assert_eq!(found.iter().filter(|fault| fault.contains(part)).count(), 1, "{} in {:?}", part, found);
        }
    }
}

#[test]
fn a_file_of_another_program_is_named_as_such() {
    let found = faults("[package]\nname = \"x\"\n[dependencies]\na = 1\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("c.toml: this is the configuration of another program: it has none of the sections [exporter], [receiver]"),
        "{found:?}"
    );
    // One misspelled section, and one that is right, are ours.
    assert!(faults("[recever]\nformat = \"json\"\n")[0].contains("did you mean [receiver]?"));
    assert_eq!(faults("[recever]\n[store]\n[nothing]\n").len(), 2);
}
