#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::{Environment, parse};
use super::ALIASES;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// The values of all keys, as `check` shows them.
fn shown(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let settings = parse(text, "c.toml", &environment(variables)).unwrap_or_else(|faults| panic!("{faults}"));
    settings
        .entries
        .iter()
        .map(|entry| format!("{} = {}", entry.path(), entry.shown))
        .collect()
}

fn faults(text: &str, variables: &[(&str, &str)]) -> String {
    parse(text, "c.toml", &environment(variables)).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn an_alias_sets_its_key() {
    let value = |alias: &str| match alias {
        "enabled" => "true",
        "endpoints" => "[\"http://127.0.0.1:9100/metrics\"]",
        "interval" | "timeout" => "\"7s\"",
        "unix" => "\"/run/other.sock\"",
        "max_bytes" => "\"1GiB\"",
        _ => "\"127.0.0.1:7000\"",
    };
    for (section, alias, of, key) in ALIASES {
        let value = value(alias);
        let canonical = shown(&format!("[{of}]\n{key} = {value}"), &[]);
        assert_ne!(canonical, shown("", &[]), "{of}.{key}");
        assert_eq!(
            shown(&format!("[{section}]\n{alias} = {value}"), &[]),
            canonical,
            "{section}.{alias}"
        );
        let variable = format!("EXPORTER_PROXY__{section}__{alias}").to_uppercase();
        assert_eq!(shown("", &[(&variable, value)]), canonical, "{variable}");
    }
}

#[test]
fn two_names_of_a_key_in_one_place_are_a_fault() {
    let both = faults(
        "[http]\nlisten = \"127.0.0.1:1\"\n[exporter]\nscrape_expose_endpoint = \"127.0.0.1:2\"",
        &[],
    );
    assert_eq!(
        both,
        "c.toml:2:1: http.listen is another name of exporter.scrape_expose_endpoint, and both are set; remove one of them"
    );
}

#[test]
fn the_environment_has_precedence_under_either_name() {
    let (alias, key) = ("EXPORTER_PROXY__HTTP__LISTEN", "EXPORTER_PROXY__EXPORTER__SCRAPE_EXPOSE_ENDPOINT");
    let wanted = shown("[exporter]\nscrape_expose_endpoint = \"127.0.0.1:2\"", &[]);
    for (text, variable) in [
        ("[exporter]\nscrape_expose_endpoint = \"127.0.0.1:1\"", alias),
        ("[http]\nlisten = \"127.0.0.1:1\"", key),
    ] {
        assert_eq!(shown(text, &[(variable, "127.0.0.1:2")]), wanted, "{variable}");
    }
}

#[test]
fn other_keys_of_the_section_of_aliases_are_unknown() {
    let found = faults("[poll]\nenabled = true\nstale_after = 5", &[]);
    assert_eq!(
        found,
        "c.toml:3:1: unknown key \"stale_after\" in [poll]; it has enabled, endpoints, interval, timeout, and [poll_external] the other keys of polls"
    );
}
