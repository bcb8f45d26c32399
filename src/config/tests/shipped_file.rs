//! `config.toml` against the defaults and the keys of the code.

use super::*;
use crate::exposition::catalog::Duplicates;
use crate::outlets::LabelScrapersBy;
use crate::supervise::default_memory_limit;

/// More keys than this are more than one can survey.
const MAX_KEYS: usize = 100;

#[test]
fn the_tables_of_the_shipped_file_are_the_simple_form() {
    let simple = sound("").access().rules;
    let tables = uncommented_settings().access().rules;
    assert!(!simple.are_tables() && tables.are_tables());
    let shown = format!("{simple:?}").replacen("Networks", "Tables", 1);
    assert_eq!(shown, format!("{tables:?}"));
}

#[test]
fn the_shipped_file_spells_out_the_defaults() {
    let (shipped, defaults) = (sound(&shipped()), sound(""));
    assert_eq!(values(&shipped), values(&defaults));
    for program in [ProgramKind::Proxy, ProgramKind::Bridge] {
        assert_eq!(changes(&defaults, &shipped, program), Changes::default());
    }
    let typed = |s: &Settings| {
        format!(
            "{:?}",
            (
                (&s.exporter, &s.receiver, &s.polls, &s.store, &s.exposition, &s.http),
                (&s.secrets, &s.events, &s.stream, &s.bitswap, &s.p2p, &s.bridge, &s.hyperdht)
            )
        )
    };
    assert_eq!(typed(&shipped), typed(&defaults));
}

#[test]
fn the_shipped_file_has_every_key() {
    let settings = uncommented_settings();
    let left_out = settings.entries.iter().filter(|entry| entry.place.is_none());
    let left_out: Vec<&str> = left_out.map(|entry| entry.key).collect();
    assert!(left_out.is_empty(), "config.toml lacks {left_out:?}");
}

#[test]
fn the_shipped_file_opens_with_the_keys_of_the_original() {
    let line = |entry: &KeyEntry| match entry.place {
        Some(Location::Line(line, _)) => Some(line),
        _ => None,
    };
    let (_, original) = fixtures("good")
        .into_iter()
        .find(|(path, _)| path.ends_with("original.toml"))
        .unwrap();
    let originals: Vec<String> = sound(&original)
        .entries
        .iter()
        .filter(|e| line(e).is_some())
        .map(KeyEntry::path)
        .collect();
    let text = uncommented();
    let reference = text
        .lines()
        .position(|line| line.starts_with("# ====") && line.ends_with("Reference"))
        .unwrap();
    let shipped = uncommented_settings().entries;
    for entry in &shipped {
        let is_original = originals.contains(&entry.path());
        let before = shipped.iter().filter(|e| e.section == entry.section && line(e) < line(entry));
        let follows_others = before.clone().any(|e| !originals.contains(&e.path()));
        assert!(
            !(is_original && follows_others),
            "{} is a key of the original and follows others",
            entry.path()
        );
        let has_original_section = originals.iter().any(|key| key.starts_with(&format!("{}.", entry.section)));
        assert_eq!(line(entry).unwrap() <= reference, has_original_section, "{}", entry.path());
    }
    assert!(shipped.len() <= MAX_KEYS, "{} keys", shipped.len());
}

#[test]
fn the_shipped_file_marks_what_a_reload_takes_up() {
    let text = uncommented();
    let lines: Vec<&str> = text.lines().collect();
    for entry in uncommented_settings().entries {
        let Some(Location::Line(line, _)) = entry.place else {
            panic!("{} is not there", entry.key)
        };
        let mut comment = lines[..line - 1]
            .iter()
            .rev()
            .skip_while(|line| !line.starts_with('#'))
            .take_while(|line| line.starts_with('#'));
        assert_eq!(
            comment.any(|line| line.starts_with("# (reload)")),
            entry.reloadable,
            "{}",
            entry.key
        );
    }
}

#[test]
fn the_shipped_file_names_every_key_of_an_endpoint() {
    let all = "[poll_external]\nother_scrape_endpoints = [{ x = 1 }]";
    let known = [
        "url",
        "name",
        "interval",
        "timeout",
        "bearer_token_file",
        "basic_auth",
        "ca_file",
        "cert_file",
        "key_file",
        "labels",
    ];
    for key in known {
        assert!(
            shipped().contains(&format!("#   {key}")) || shipped().contains(&format!(", {key} ")),
            "{key}"
        );
        let with = all.replace('x', key);
        assert!(!faults(&with).iter().any(|fault| fault.contains("unknown key")), "{key}");
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let d = sound("");
    assert_eq!(d.exporter.threads, Threads::PerCore);
    assert_eq!(d.exporter.scrape_addresses, [HostPort::new("0.0.0.0", 6555)]);
    assert_eq!(d.receiver.tcp, Some(HostPort::new("127.0.0.1", 6554)));
    let unix = d.receiver.unix.unwrap();
    assert_eq!(
        (unix.path, unix.access.mode, unix.access.user),
        (UnixSocketPath::Usual, 0o660, None)
    );
    assert_eq!(
        (d.receiver.limits.max_message_bytes, d.receiver.max_inflight_bytes),
        (16 << 20, 256 << 20)
    );
    assert_eq!(d.receiver.limits.idle_timeout, Duration::from_secs(60));
    assert!(d.polls.endpoints.is_empty() && !d.polls.allow_invalid_certs);
    let store = d.store.limits;
    assert_eq!(
        (store.expire_after, store.max_apps, store.max_memory),
        (None, 100_000, default_memory_limit())
    );
    assert_eq!((d.exposition.mode, d.exposition.app_label), (ExpositionMode::Merge, None));
    assert_eq!((d.exposition.duplicates, d.exposition.compression), (Duplicates::Label, true));
    assert_eq!(d.http.write_from.len(), 2);
    assert_eq!(
        (d.events.post_rate.to_string(), d.events.options.max_per_scrape),
        ("1000/s".to_owned(), 5_000)
    );
    assert_eq!(
        (d.events.options.max_scrapers_per_address, d.events.label_by),
        (64, LabelScrapersBy::Identity)
    );
}
