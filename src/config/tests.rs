//! The configuration as a whole: the shipped file, the original's, fixtures good and bad, the environment, reloads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::fault::Location;
use super::*;
use crate::exposition::catalog::Duplicates;
use crate::outlets::LabelScrapersBy;
use crate::sources::polls::{ClientCertificate, Credentials, Password};
use crate::store::WhenEngineAway;
use crate::supervise::default_memory_limit;
use crate::wire::FormatChoice;

mod reference;

/// More keys than this are more than one can survey.
const MAX_KEYS: usize = 100;

fn nothing() -> Environment {
    Environment::default()
}

fn sound(text: &str) -> Settings {
    parse(text, "c.toml", &nothing()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, "c.toml", &nothing()).map(|_| ()).unwrap_err().to_string();
    faults.lines().map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `.toml` files of a fixture folder; a folder without any is a fault of the test.
fn fixtures(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("tests/fixtures/config").join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {}", folder.display());
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The values of two settings, key by key, leaving out where they were set.
fn values(settings: &Settings) -> Vec<(String, String)> {
    let entries = settings.entries.iter();
    entries
        .map(|e| (format!("{}.{}", e.section, e.key), e.identity.expose().to_owned()))
        .collect()
}

fn shipped() -> String {
    fs::read_to_string(root().join("config.toml")).unwrap()
}

/// The shipped file with the keys that it comments out put in.
fn uncommented() -> String {
    let key = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
            .map(str::to_owned)
    };
    shipped()
        .lines()
        .map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect()
}

/// The settings of [`uncommented`]. Its only faults are about the simple form of access, which the tables replace.
fn uncommented_settings() -> Settings {
    let (root, faults) = syntax::parse(&uncommented());
    let (settings, faults) = Settings::read(ConfigReader::new(root, faults));
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts.iter().all(|text| text.contains("has no effect beside [[http.access]]")),
        "{texts:?}"
    );
    settings
}

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

#[test]
fn good_fixtures_have_no_fault() {
    for (path, text) in fixtures("good") {
        let read = parse(&text, &path.display().to_string(), &nothing());
        assert!(read.is_ok(), "{}", read.map(|_| ()).unwrap_err());
    }
}

/// The comments of each bad fixture (`# expect: LINE:COLUMN: TEXT`) list exactly its faults.
#[test]
fn bad_fixtures_have_exactly_their_faults() {
    for (path, text) in fixtures("bad") {
        let mut expected: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_once("# expect: "))
            .map(|(_, e)| e.to_owned())
            .collect();
        let mut found: Vec<String> = faults(&text).iter().map(|fault| fault.replacen("c.toml:", "", 1)).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "in {}", path.display());
    }
}

#[test]
fn a_rate_is_a_number_and_its_unit() {
    for text in ["1000", "x/s", "/s", "5/m", "-1/s", "1.5/s"] {
        let told = faults(&format!("[events]\npost_rate = {text:?}"));
        assert!(told.len() == 1 && told[0].contains("such as \"1000/s\""), "{told:?}");
    }
    assert!(faults("[events]\npost_rate = 1000")[0].contains("such as \"1000/s\""));
}

#[test]
fn every_key_of_the_originals_file_is_taken_as_it_was_meant() {
    let (_, text) = fixtures("good")
        .into_iter()
        .find(|(path, _)| path.ends_with("original.toml"))
        .unwrap();
    let settings = sound(&text);
    assert_eq!(settings.exporter.threads, Threads::Current);
    assert_eq!(settings.receiver.limits.format, FormatChoice::Json);
    let path = settings.receiver.unix.unwrap().path;
    assert_eq!(path, UnixSocketPath::Exactly(USUAL_UNIX_SOCKET.into()));
    let names: Vec<String> = settings.polls.endpoints.iter().map(|e| e.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "external_poll: 127.0.0.1:1025",
            "external_poll: 127.0.0.1:1026",
            "external_poll: 127.0.0.1:1027"
        ]
    );
    let first = &settings.polls.endpoints[0];
    assert_eq!(
        (first.interval.as_secs(), first.timeout.as_secs(), first.stale_after.as_secs()),
        (5, 2, 15)
    );
    assert!(settings.polls.allow_invalid_certs);
}

#[test]
fn what_a_broken_part_may_have_said_is_not_held_against_the_rest() {
    let text = "[exporter\nscrape_expose_endpoint = \"0.0.0.0:7000\"\n[receiver]\nreceiver_tcp_socket = \"127.0.0.1:6555\"\n";
    assert_eq!(faults(text), ["c.toml:1:10: syntax: unclosed table, expected `]`"]);
    assert_eq!(
        faults(&text.replacen("[exporter\n", "[exporter]\n", 1).replace("7000", "6555")).len(),
        1
    );
}

#[test]
fn a_switched_off_receiver_is_none() {
    let settings = sound("[receiver]\nreceive_on_unix_socket = false\nreceive_on_tcp_socket = false\n");
    assert_eq!((settings.receiver.unix, settings.receiver.tcp), (None, None));
}

#[test]
fn endpoints_are_settled_and_none_overwrites_another() {
    let settings = sound(
        r#"
        [poll_external]
        poll_other_scrape_endpoints = true
        poll_interval = "10s"
        other_scrape_endpoints = [
            "http://h:1/a", "http://h:1/b?x=1", "http://h:1/b?x=2", "https://h/#top", "http://[::1]:9/metrics",
            { url = "http://me:p%40ss@h:2/", name = "two", interval = 1, timeout = "100ms", labels = { b = "2", a = "1" } },
            "unix:/run/a.sock:/metrics", "unix:/run/b.sock:/m?x=1", "unix:/run/b.sock:/n",
            { url = "https://h:4", cert_file = "/c", key_file = "/k" },
            { url = "http://h:3", basic_auth = { username = "u", password_file = "/p" }, ca_file = "/ca", events = ["e"] },
        ]"#,
    );
    let endpoints = settings.polls.endpoints;
    let names: Vec<&str> = endpoints.iter().map(|e| e.name.as_str()).collect();
    let expected = [
        "external_poll: h:1/a",
        "external_poll: h:1/b?x=1",
        "external_poll: h:1/b?x=2",
        "external_poll: h:443",
        "external_poll: [::1]:9",
        "two",
        "external_poll: unix:/run/a.sock",
        "external_poll: unix:/run/b.sock:/m",
        "external_poll: unix:/run/b.sock:/n",
        "external_poll: h:4",
        "external_poll: h:3",
    ];
    assert_eq!(names, expected);
    let (plain, two) = (&endpoints[3], &endpoints[5]);
    assert_eq!(
        (plain.events.as_ref(), endpoints[10].events.as_deref()),
        (None, Some(&["e".into()][..]))
    );
    assert_eq!((plain.url.as_str(), plain.stale_after.as_secs()), ("https://h/", 30));
    assert_eq!(
        (two.url.as_str(), two.interval.as_secs(), two.stale_after.as_secs()),
        ("http://h:2/", 1, 3)
    );
    let socket = &endpoints[7];
    assert_eq!(
        (socket.url.as_str(), socket.socket.as_deref()),
        ("http://localhost/m?x=1", Some(Path::new("/run/b.sock")))
    );
    let certificate = ClientCertificate {
        cert_file: "/c".into(),
        key_file: "/k".into(),
    };
    assert_eq!(endpoints[9].certificate, Some(certificate));
    let login = Credentials::Basic {
        username: "me".into(),
        password: Password::Given("p@ss".into()),
    };
    assert_eq!(two.credentials, Some(login));
    assert_eq!(two.labels[..], [("a".into(), "1".into()), ("b".into(), "2".into())]);
}

#[test]
fn secrets_are_nowhere_to_be_read() {
    let text = r#"[poll_external]
        poll_other_scrape_endpoints = true
        other_scrape_endpoints = [ "http://me:hunter2@h:1/", { url = "http://h:2", basic_auth = { username = "u", password = "hunter2" } } ]"#;
    let settings = sound(text);
    let source = ConfigOrigin {
        file: None,
        variables: Vec::new(),
    };
    let loaded = Loaded { settings, source };
    let printed = format!("{loaded} {loaded:?} {loaded:#?}");
    assert!(printed.contains("MASKED") && !printed.contains("hunter2"), "{printed}");
    for broken in [
        text.replace("http://me", "ftp://me"),
        text.replace("http://me", "me"),
        text.replace("h:1/", "h:99999/"),
        text.replace("\"hunter2\"", "[\"hunter2\"]"),
        text.replace("username = \"u\"", "username = 1"),
        text.replace("u\", password", "u\", password_file = \"/f\", password"),
        text.replace("basic_auth = {", "basic_auth = { pasword = \"hunter2\","),
        text.replace("\"hunter2\"", "\"hunter2"),
    ] {
        let printed = faults(&broken).join("\n");
        assert!(!printed.is_empty() && !printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn the_original_variable_for_explicit_timestamps_is_taken_in_any_case() {
    let with = |pairs: &[(&str, &str)]| {
        let text = "events.use_explicit_timestamps = false";
        parse(text, "c.toml", &Environment::from_pairs(pairs.iter().copied())).map(|settings| settings.events.options.explicit_timestamps)
    };
    for (value, expected) in [("TRUE", true), ("true", true), ("False", false), ("", false)] {
        assert_eq!(with(&[("USE_EXPLICIT_TIMESTAMPS", value)]).unwrap(), expected, "{value}");
    }
    let fault = with(&[("USE_EXPLICIT_TIMESTAMPS", "1")]).unwrap_err().to_string();
    assert!(
        fault.contains("USE_EXPLICIT_TIMESTAMPS") && fault.contains("true or false"),
        "{fault}"
    );
    let twice = [
        ("USE_EXPLICIT_TIMESTAMPS", "true"),
        ("EXPORTER_PROXY__EVENTS__USE_EXPLICIT_TIMESTAMPS", "true"),
    ];
    assert!(with(&twice).unwrap_err().to_string().contains("sets the same key"));
}

#[test]
fn the_environment_beats_the_file_and_its_faults_name_the_variable() {
    let pairs = [
        ("EXPORTER_PROXY__RECEIVER__FORMAT", "json"),
        ("EXPORTER_PROXY__RECEIVER__IDLE_TIMEOUT", "1.5"),
        ("EXPORTER_PROXY__RECEIVER__UNIX_SOCKET_MODE", "600"),
        ("EXPORTER_PROXY__RECEIVER__UNIX_SOCKET_USER", "1000"),
        ("EXPORTER_PROXY__EXPORTER__SCRAPE_EXPOSE_ENDPOINT", "[::1]:7000"),
        ("EXPORTER_PROXY__HTTP__WRITE_FROM", "[\"10.0.0.0/8\"]"),
        ("EXPORTER_PROXY__STORE__MAX_BYTES", "1GiB"),
        ("EXPORTER_PROXY_CONFIG", "/nowhere.toml"),
        ("EXPORTER_PROXY_PORT", "tcp://10.0.0.1:6555"),
        ("PATH", "/bin"),
    ];
    let text = "[receiver]\nformat = \"no format at all\"\nidle_timeout = 5\n";
    let settings = parse(text, "c.toml", &Environment::from_pairs(pairs)).unwrap();
    assert_eq!(settings.receiver.limits.format, FormatChoice::Json);
    assert_eq!(settings.receiver.limits.idle_timeout, Duration::from_millis(1_500));
    let unix = settings.receiver.unix.unwrap();
    assert_eq!((unix.access.mode, unix.access.user.as_deref()), (0o600, Some("1000")));
    assert_eq!(settings.exporter.scrape_addresses, [HostPort::new("::1", 7000)]);
    assert_eq!(settings.http.write_from.len(), 1);
    assert_eq!(settings.store.limits.max_memory, 1 << 30);

    let wrong = [
        ("EXPORTER_PROXY__RECEIVER__FORMT", "json"),
        ("EXPORTER_PROXY__RECEIVER__FORMAT", "xml"),
        ("EXPORTER_PROXY__RECEIVER__format", "json"),
        ("EXPORTER_PROXY__RECIEVER__FORMAT", "json"),
        ("EXPORTER_PROXY__RECEIVER", "json"),
        ("EXPORTER_PROXY__STORE__MAX_APPS", "99999999999999999999"),
    ];
    let printed = parse("", "c.toml", &Environment::from_pairs(wrong))
        .map(|_| ())
        .unwrap_err()
        .to_string();
    let expected = [
        "EXPORTER_PROXY__RECEIVER: expected EXPORTER_PROXY__SECTION__KEY, e.g. EXPORTER_PROXY__RECEIVER__FORMAT",
        "EXPORTER_PROXY__RECEIVER__FORMAT: \"format\" in [receiver]: expected one of \"auto\", \"json\", \"capnp\", found \"xml\"",
        "EXPORTER_PROXY__RECEIVER__FORMT: unknown key \"formt\" in [receiver]; did you mean \"format\"?",
        "EXPORTER_PROXY__RECEIVER__format: EXPORTER_PROXY__RECEIVER__FORMAT sets the same key; remove one of them",
        "EXPORTER_PROXY__RECIEVER__FORMAT: unknown section [reciever]; did you mean [receiver]?",
        "EXPORTER_PROXY__STORE__MAX_APPS: \"max_apps\" in [store]: expected a whole number, found 1e20",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

#[test]
#[cfg(feature = "hyperdht")]
fn the_environment_of_the_originals_configures_the_bridge() {
    let (old, new) = ("1".repeat(64), "2".repeat(64));
    let pairs = [
        ("DHT_PROM_SHARED_SECRET", old.as_str()),
        ("HYPER_DHT_PROM_KEY_PAIR_SEED", &old),
        ("HYPERDHT_PROM_SHARED_SECRET", &new),
        ("HYPERDHT_PROM_HTTP_PORT", "8080"),
        ("DHT_PROM_PROMETHEUS_TARGETS_LOC", "/t.json"),
        ("HYPER_DHT_PROM_LOG_LEVEL", "debug"),
        ("HYPERDHT_PROM_NOTHING_OF_OURS", "x"),
        ("DHT_PROM_HTTP_HOST", ""),
        ("HYPERDHT_PROM_DHT_PORT", "49737"),
        ("DHT_PROM_BOOTSTRAP_PORT", ""),
        ("OTHER_DHT_PROM_X", "x"),
    ];
    let text = "[bridge]\nsecret_file = \"/file\"\nhttp_listen = \"[::1]:30000\"\n";
    let environment = Environment::from_pairs(pairs);
    let bridge = parse(text, "c.toml", &environment).unwrap().bridge;
    assert_eq!(
        bridge.secret,
        Some(SecretSource::Given(Secret::new(&new))),
        "the newest prefix counts"
    );
    assert_eq!(bridge.key_seed, Some(Secret::new(&old)));
    assert_eq!(bridge.http_listen, HostPort::new("::1", 8080), "the host stays as the file has it");
    assert_eq!(bridge.registry.targets_file, PathBuf::from("/t.json"));
    assert_eq!(bridge.hyperdht, cfg!(feature = "hyperdht").then_some(49_737));
    let warnings = environment.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("unknown variable DHT_PROM_BOOTSTRAP_PORT; the variables with this prefix are ")
            && warnings[0].contains("DHT_PORT"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("HYPERDHT_PROM_NOTHING_OF_OURS"), "{warnings:?}");
    assert_eq!(environment.log_level(), Some("debug"));
    assert_eq!(Environment::default().log_level(), None);

    let ours = pairs.into_iter().chain([("EXPORTER_PROXY__BRIDGE__TARGETS_FILE", "/ours.json")]);
    let settings = parse(text, "c.toml", &Environment::from_pairs(ours)).unwrap();
    assert_eq!(settings.bridge.registry.targets_file, PathBuf::from("/ours.json"));

    for prefix in ["HYPERDHT_PROM_", "HYPER_DHT_PROM_", "DHT_PROM_"] {
        let all = [
            ("SHARED_SECRET", new.as_str()),
            ("KEY_PAIR_SEED", &old),
            ("HTTP_PORT", "81"),
            ("HTTP_HOST", "0.0.0.0"),
            ("PROMETHEUS_TARGETS_LOC", "t.json"),
            ("LOG_LEVEL", "silent"),
        ];
        let environment = Environment::from_pairs(all.map(|(name, value)| (format!("{prefix}{name}"), value)));
        let bridge = parse("", "c.toml", &environment).unwrap().bridge;
        assert_eq!(bridge.secret, Some(SecretSource::Given(Secret::new(&new))), "{prefix}");
        assert_eq!(bridge.key_seed, Some(Secret::new(&old)), "{prefix}");
        assert_eq!(bridge.http_listen, HostPort::new("0.0.0.0", 81), "{prefix}");
        assert_eq!(bridge.registry.targets_file, PathBuf::from("t.json"), "{prefix}");
        assert_eq!(environment.log_level(), Some("off"), "{prefix}");
    }

    // The shipped file spells the default out, and the environment beats the file; our own variable beats theirs.
    for (variable, on) in [
        ("UNRELATED", cfg!(feature = "hyperdht")),
        ("EXPORTER_PROXY__BRIDGE__HYPERDHT", false),
    ] {
        let environment = Environment::from_pairs([("DHT_PROM_LOG_LEVEL", "info"), (variable, "false")]);
        let settings = parse("[bridge]\nhyperdht = false\n", "c.toml", &environment).unwrap();
        assert_eq!(settings.bridge.hyperdht, on.then_some(0), "{variable}");
    }

    #[cfg(feature = "hyperdht")]
    {
        // The port of the file stays, and the variable for it beats the file.
        let port = |pairs: &[(&str, &str)]| {
            let environment = Environment::from_pairs(pairs.iter().copied());
            parse("[bridge]\nhyperdht = 7\n", "c.toml", &environment).unwrap().bridge.hyperdht
        };
        assert_eq!(port(&[("DHT_PROM_LOG_LEVEL", "info")]), Some(7));
        assert_eq!(port(&[("DHT_PROM_DHT_PORT", "8")]), Some(8));
        assert_eq!(
            port(&[("DHT_PROM_DHT_PORT", "8"), ("EXPORTER_PROXY__BRIDGE__HYPERDHT", "9")]),
            Some(9)
        );
        assert_eq!(port(&[("EXPORTER_PROXY__BRIDGE__HYPERDHT", "false")]), None);
    }

    // A key itself is taken from the environment alone.
    let ours = Environment::from_pairs([("EXPORTER_PROXY__BRIDGE__KEY_SEED", old.as_str())]);
    assert_eq!(
        parse("", "c.toml", &ours).unwrap().bridge.key_seed,
        Some(Secret::new(&old)),
        "digits are text"
    );
    let both = parse("bridge.key_file = \"/k\"", "c.toml", &ours)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(both.contains("set only one of them"), "{both}");

    let wrong = [
        ("DHT_PROM_KEY_PAIR_SEED", "short"),
        ("DHT_PROM_DHT_PORT", "65536"),
        ("DHT_PROM_HTTP_PORT", "no port"),
        ("DHT_PROM_SHARED_SECRET", "hunter2"),
    ];
    let printed = parse("", "c.toml", &Environment::from_pairs(wrong))
        .map(|_| ())
        .unwrap_err()
        .to_string();
    let expected = [
        "DHT_PROM_DHT_PORT: not a valid port (0 to 65535)",
        "DHT_PROM_HTTP_PORT: not a valid port (0 to 65535)",
        "DHT_PROM_KEY_PAIR_SEED: \"key_seed\" in [bridge]: it is not 32 bytes as hexadecimal or z-base-32",
        "DHT_PROM_SHARED_SECRET: \"secret\" is not 32 bytes as hexadecimal or z-base-32",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_token_in_a_url_is_shown_nowhere() {
    let polls = |urls: &str| format!("[poll_external]\npoll_other_scrape_endpoints = true\nother_scrape_endpoints = [{urls}]\n");
    // The name includes the query only if two endpoints differ in nothing else.
    let settings = sound(&polls("\"http://h:1/m?token=hunter2&x=1\", \"http://h:1/m?token=hunter2&x=2\""));
    let names: Vec<_> = settings.polls.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(
        names,
        ["external_poll: h:1/m?token=MASKED&x=1", "external_poll: h:1/m?token=MASKED&x=2"]
    );
    assert_eq!(
        settings.polls.endpoints[0].url.query(),
        Some("token=hunter2&x=1"),
        "what is asked has it"
    );
    let source = ConfigOrigin {
        file: None,
        variables: Vec::new(),
    };
    let shown = Loaded { settings, source }.to_string();
    assert!(shown.contains("token=MASKED") && !shown.contains("hunter2"), "{shown}");
    // Where only the token differs, names are asked for.
    for urls in [
        "\"http://h:1/m?token=hunter2\", \"http://h:1/m?token=hunter3\"",
        "\"ftp://h:1/m?token=hunter2\"",
        "\"http://h:x/m?token=hunter2\"",
    ] {
        let told = parse(&polls(urls), "c.toml", &Environment::default()).unwrap_err().to_string();
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn a_reload_tells_what_it_takes_up() {
    let old = sound("[exporter]\nworker_threads = 2\n[store]\nexpire_after = 60\n");
    let same = sound("[exporter]\nworker_threads = 2\n[store]\nexpire_after = \"1m\"\n[http]\ntrusted_proxies = []\n");
    assert_eq!(changes(&old, &same, ProgramKind::Proxy), Changes::default());
    let new = sound("[exporter]\nworker_threads = 3\n[store]\nexpire_after = 61\n[receiver]\nformat = \"json\"\n");
    let found = changes(&old, &new, ProgramKind::Proxy);
    assert_eq!(found.reloaded, ["store.expire_after"]);
    assert_eq!(found.needs_restart, ["exporter.worker_threads", "receiver.format"]);
    let with = |password: &str| {
        let endpoint = format!("{{ url = \"http://h:1\", basic_auth = {{ username = \"u\", password = \"{password}\" }} }}");
        sound(&format!("[poll_external]\nother_scrape_endpoints = [{endpoint}]"))
    };
    assert_eq!(
        changes(&with("a"), &with("b"), ProgramKind::Proxy).reloaded,
        ["poll_external.other_scrape_endpoints"]
    );
    let asking = |token: &str| {
        sound(&format!(
            "[poll_external]\nother_scrape_endpoints = [\"http://h:1/m?token={token}\"]"
        ))
    };
    assert_eq!(
        changes(&asking("a"), &asking("b"), ProgramKind::Proxy).reloaded,
        ["poll_external.other_scrape_endpoints"]
    );
}

#[test]
fn a_program_is_told_of_the_keys_that_it_reads() {
    let old = sound("");
    let new = sound(
        "[exporter]\nworker_threads = 3\nscrape_expose_endpoint = \"127.0.0.1:1\"\n[store]\nexpire_after = 61\n[http]\nallowed_hosts = \
         [\"metrics.example\"]\n[bridge]\nrequest_timeout = 7\nhttp_listen = \"127.0.0.1:2\"\n",
    );
    let found = changes(&old, &new, ProgramKind::Bridge);
    assert_eq!(found.reloaded, ["http.allowed_hosts", "bridge.request_timeout"]);
    assert_eq!(found.needs_restart, ["exporter.worker_threads", "bridge.http_listen"]);
    let found = changes(&old, &new, ProgramKind::Proxy);
    assert_eq!(found.reloaded, ["store.expire_after", "http.allowed_hosts"]);
    assert_eq!(found.needs_restart, ["exporter.worker_threads", "exporter.scrape_expose_endpoint"]);
}

/// A value of each key that is not its default. Keys of `[p2p]` and `[hyperdht]` all need a restart.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("exporter.worker_threads", "3"),
    ("exporter.concurrent_requests", "7"),
    ("exporter.scrape_expose_endpoint", "\"127.0.0.1:1\""),
    ("receiver.format", "\"json\""),
    ("receiver.receive_on_unix_socket", "false"),
    ("receiver.receiver_unix_socket", "\"/run/other.sock\""),
    ("receiver.unix_socket_user", "1"),
    ("receiver.unix_socket_group", "1"),
    ("receiver.unix_socket_mode", "\"0600\""),
    ("receiver.receive_on_tcp_socket", "false"),
    ("receiver.receiver_tcp_socket", "\"127.0.0.1:2\""),
    ("receiver.tls", "true"),
    ("receiver.unix_socket_allow_users", "[\"0\"]"),
    ("receiver.allow", "[\"10.0.0.0/8\"]"),
    ("receiver.max_message_bytes", "2048"),
    ("receiver.max_inflight_bytes", "\"20MiB\""),
    ("receiver.idle_timeout", "7"),
    ("poll_external.poll_other_scrape_endpoints", "true"),
    ("poll_external.other_scrape_endpoints", "[\"http://h:1/m\"]"),
    ("poll_external.allow_invalid_certs", "true"),
    ("poll_external.poll_interval", "7"),
    ("poll_external.client_timeout", "1"),
    ("poll_external.stale_after", "70"),
    ("poll_external.max_body_bytes", "2048"),
    ("poll_external.native_histograms", "true"),
    ("store.expire_after", "60"),
    ("store.max_apps", "7"),
    ("store.max_memory", "\"2GiB\""),
    ("store.max_series_per_app", "1000"),
    ("store.path", "\"/var/lib/other\""),
    ("exposition.mode", "\"raw\""),
    ("exposition.app_label", "\"app\""),
    ("exposition.duplicates", "\"latest\""),
    ("exposition.compression", "false"),
    ("http.access", "[{ anonymous = true, roles = [\"read\"] }]"),
    ("http.write_from", "[]"),
    ("http.trusted_proxies", "[\"10.0.0.0/8\"]"),
    ("http.enable_lifecycle", "true"),
    ("http.web_config_file", "\"/etc/web.yml\""),
    ("http.allowed_hosts", "[\"metrics.example\"]"),
    ("http.unix_socket", "\"/run/http.sock\""),
    ("secrets.strict", "true"),
    ("http.external_url", "\"https://metrics.example/p\""),
    ("events.enabled", "false"),
    ("events.post_from", "[]"),
    ("events.metric_name", "\"happened\""),
    ("events.use_explicit_timestamps", "true"),
    ("events.scraper_timeout", "700"),
    ("events.max_pending", "7"),
    ("events.scraper_identity", "\"header:X\""),
    ("events.scrapers_only", "true"),
    ("events.scrapers", "[\"p\"]"),
    ("events.newcomer_window", "7"),
    ("events.expose_in_metrics", "false"),
    ("events.when_engine_away", "\"refuse\""),
    ("events.post_rate", "\"7/s\""),
    ("events.max_per_scrape", "7"),
    ("events.max_scrapers_per_address", "7"),
    ("events.scraper_label", "\"address\""),
    ("pushgateway.enabled", "false"),
    ("pushgateway.strict", "true"),
    ("pushgateway.timestamps", "\"keep\""),
    ("pushgateway.route_prefix", "\"/other\""),
    ("stream.listen_addresses", "[\"127.0.0.1:3\"]"),
    ("stream.upstreams", "[\"127.0.0.1:4\"]"),
    ("stream.events", "[\"poll\"]"),
    ("stream.legacy_addresses", "false"),
    ("ipfs", "[{ api = \"http://127.0.0.1:5001\" }]"),
    ("bridge.http_listen", "\"127.0.0.1:5\""),
    ("bridge.quic_listen", "\"127.0.0.1:6\""),
    ("bridge.hyperdht", "true"),
    ("bridge.key_file", "\"/var/lib/other.key\""),
    ("bridge.secret_file", "\"/etc/other.secret\""),
    (
        "bridge.secret",
        "\"1111111111111111111111111111111111111111111111111111111111111111\"",
    ),
    ("bridge.targets_file", "\"/var/lib/other.json\""),
    ("bridge.entry_expiry", "7"),
    ("bridge.request_timeout", "7"),
    ("bridge.alias_policy", "\"first\""),
];

#[test]
fn the_prefix_of_pushgateway_is_a_path_that_no_other_has() {
    for (given, read) in [("", ""), ("/", ""), ("/p", "/p"), ("/p/", "/p"), ("/a/b-c", "/a/b-c")] {
        let settings = sound(&format!("pushgateway.route_prefix = {given:?}\n"));
        assert_eq!(&*settings.pushgateway.rules.route_prefix, read);
    }
    for wrong in ["p", "/a//b", "/a b", "/{a}", "/metrics", "/apps/p", "/ui"] {
        let text = format!("pushgateway.route_prefix = {wrong:?}\n");
        assert!(parse(&text, "test", &Environment::default()).is_err(), "{wrong}");
    }
}

#[test]
fn the_prefix_of_pushgateway_never_looks_like_a_group() {
    for wrong in ["/x/metrics/job", "/x/metrics/job/y", "/x/metrics/jobs"] {
        let text = format!("pushgateway.route_prefix = {wrong:?}\n");
        let why = parse(&text, "test", &Environment::default()).expect_err(wrong).to_string();
        assert!(
            why.contains("contains /metrics/job, with which the name of a group begins"),
            "{why}"
        );
    }
    // The check of access finds the same group as the push, behind any prefix that is left.
    for prefix in ["", "/x", "/x/metrics", "/x/metrics/jo", "/metric/job"] {
        assert_eq!(
            &*sound(&format!("pushgateway.route_prefix = {prefix:?}\n"))
                .pushgateway
                .rules
                .route_prefix,
            prefix
        );
        let path = format!("{prefix}/metrics/job/metrics/job/victim");
        let pushed = crate::wire::pushgateway::Group::from_path(&path[prefix.len()..]).unwrap();
        let checked = crate::wire::pushgateway::app_of_path(&path);
        assert_eq!(checked.as_deref(), Some(pushed.app_name().as_str()), "{prefix}");
    }
}

#[test]
fn a_reload_puts_into_force_what_it_takes_up_and_nothing_else() {
    let old = sound("");
    let restarted = ["bitswap", "cluster", "p2p", "hyperdht"];
    // Without the feature it cannot be switched on.
    let is_built = |entry: &&KeyEntry| entry.path() != "bridge.hyperdht" || cfg!(feature = "hyperdht");
    let others = old.entries.iter().filter(|entry| !restarted.contains(&entry.section));
    for entry in others.filter(is_built) {
        let program = match entry.section {
            "bridge" => ProgramKind::Bridge,
            _ => ProgramKind::Proxy,
        };
        let (path, value) = *OTHER_VALUES
            .iter()
            .find(|(path, _)| *path == entry.path())
            .unwrap_or_else(|| panic!("{} has no other value in OTHER_VALUES", entry.path()));
        let new = sound(&format!("{path} = {value}\n"));
        let found = changes(&old, &new, program);
        let expected = if entry.reloadable { &found.reloaded } else { &found.needs_restart };
        assert_eq!(
            (expected.as_slice(), found.reloaded.len() + found.needs_restart.len()),
            (&[path.to_owned()][..], 1)
        );
        let in_force = old.with_reloaded(new.clone());
        let shown = |settings: &Settings| format!("{settings:?}");
        assert_eq!(shown(&in_force), shown(if entry.reloadable { &new } else { &old }), "{path}");
        // The key is reported for as long as it differs, and going back is no change.
        assert_eq!(changes(&in_force, &new, program).needs_restart, found.needs_restart, "{path}");
        assert!(changes(&in_force, &old, program).needs_restart.is_empty(), "{path}");
    }
    for section in [
        "p2p.enabled = true\np2p.listen = \"127.0.0.1:5\"\np2p.allow = [\"KEY\"]",
        "bitswap.enabled = ENABLED\nbitswap.max_peers = 7",
        "cluster.url = \"URL\"\ncluster.ack = \"local\"\nevents.enabled = false",
        "hyperdht.bootstrap = [\"127.0.0.1:6\"]",
    ] {
        let enabled = cfg!(feature = "bitswap").to_string();
        let url = if cfg!(feature = "cluster") { "redis://engine" } else { "" };
        let section = section
            .replace("KEY", &"y".repeat(52))
            .replace("ENABLED", &enabled)
            .replace("URL", url);
        let new = sound(&section);
        // Whether events are taken is not reloaded either.
        let old = sound(if section.contains("events") { "events.enabled = false" } else { "" });
        assert_eq!(format!("{:?}", old.with_reloaded(new)), format!("{old:?}"), "{section}");
    }
}

#[test]
fn a_cluster_needs_its_feature_and_a_directory_for_events() {
    let read = |text: &str| parse(text, "c.toml", &Environment::default());
    let enabled = read("[cluster]\nurl = \"rediss://proxy@engine/2\"\npassword_file = \"p\"\n[events]\nenabled = false\n");
    if !cfg!(feature = "cluster") {
        let printed = enabled.map(|_| ()).unwrap_err().to_string();
        assert!(
            printed.contains("build it with: cargo build --release --features cluster"),
            "{printed}"
        );
        return;
    }
    let cluster = enabled.unwrap().cluster.unwrap();
    assert_eq!(cluster.url.to_string(), "rediss://proxy@engine:6379/2");
    assert_eq!((&*cluster.prefix, cluster.acknowledge), ("exporter-proxy", Acknowledge::Engine));
    let printed = faults("[cluster]\nurl = \"redis://engine\"\n").join("\n");
    assert!(
        printed.contains("writes one-shot events to its own disk") && printed.contains("set store.path"),
        "{printed}"
    );
    let with_events = "[cluster]\nurl = \"redis://engine\"\n[store]\npath = \"/var/lib/p\"\n[events]\n";
    let events = read(&format!("{with_events}when_engine_away = \"refuse\"\n")).unwrap().events;
    assert_eq!(events.when_engine_away, WhenEngineAway::Refuse);
    let printed = faults(&format!("{with_events}use_explicit_timestamps = true\n")).join("\n");
    assert!(printed.contains("their timestamps have no common order"), "{printed}");
    let printed = faults("[cluster]\nurl = \"redis://:secret@engine\"\nprefix = \"a b\"\nack = \"all\"\n").join("\n");
    for part in ["cluster.password_file", "is not a valid prefix", "one of \"engine\", \"local\""] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    assert!(!printed.contains("secret@"), "a password is shown: {printed}");
}

#[test]
fn a_bitswap_monitor_needs_its_feature_and_peers_their_ids() {
    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let read = |text: &str| parse(text, "c.toml", &Environment::default());
    let enabled = read("[bitswap]\nenabled = true\nmonitor_name = \"north\"\n");
    if cfg!(feature = "bitswap") {
        let bitswap = enabled.unwrap().bitswap.unwrap();
        let listen: Vec<String> = bitswap.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]);
        assert_eq!((bitswap.max_peers, bitswap.monitor_name.as_deref()), (1_024, Some("north")));
    } else {
        let printed = enabled.map(|_| ()).unwrap_err().to_string();
        assert!(
            printed.contains("build it with: cargo build --release --features bitswap"),
            "{printed}"
        );
    }
    assert!(read("").unwrap().bitswap.is_none());
    let peer = format!("[bitswap]\npeers = [\"/dns4/node.example/tcp/4001/p2p/{PEER}\"]\n");
    assert!(read(&peer).unwrap().bitswap.is_none());
    for (text, why) in [
        ("listen = [\"0.0.0.0:4001\"]".to_owned(), "expected /ip4/ADDRESS/tcp/PORT"),
        (format!("listen = [\"/ip4/0.0.0.0/tcp/4001/p2p/{PEER}\"]"), "and no /p2p"),
        ("listen = [\"/dns4/h/tcp/4001\"]".to_owned(), "has an IP address"),
        ("peers = [\"/ip4/1.2.3.4/tcp/4001\"]".to_owned(), "a peer needs its port and its id"),
        (
            format!("peers = [\"/ip4/1.2.3.4/tcp/0/p2p/{PEER}\"]"),
            "a peer needs its port and its id",
        ),
        ("max_peers = 0".to_owned(), "out of range"),
        ("monitor_name = \"a\\u0007\"".to_owned(), "not a valid name"),
    ] {
        let printed = read(&format!("[bitswap]\n{text}\n")).map(|_| ()).unwrap_err().to_string();
        assert!(printed.contains(why), "{text}: {printed}");
    }
}

#[test]
fn a_summary_says_what_listens_where_and_who_set_what() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(
        &path,
        "[receiver]\nmax_message_bytes = 1048576\n[events]\nscrapers = [\"p\"]\n[store]\npath = \"/var/lib/kept\"\n",
    )
    .unwrap();
    let environment = Environment::from_pairs([("EXPORTER_PROXY__STORE__MAX_APPS", "7")]);
    let printed = load(Some(&path), &environment).unwrap().to_string();
    for part in [
        "c.toml, with EXPORTER_PROXY__STORE__MAX_APPS from the environment",
        "scraped at     http://0.0.0.0:6555/metrics",
        "tcp 127.0.0.1:6554",
        "user current, group current, mode 0660",
        "events         as events_to_metrics at /metrics and /event/metrics, at most 10000 pending",
        "scrapers told apart by address; 1 configured; forgotten after 10m; a new one gets the last 1m",
        "keeps          apps and events across restarts, in /var/lib/kept\n",
        "1MiB per message",
        "receiver.max_message_bytes = 1MiB (line 2)",
        "store.max_apps = 7 (EXPORTER_PROXY__STORE__MAX_APPS)",
    ] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    fs::write(&path, "[events]\nenabled = false\n").unwrap();
    let nothing = Environment::from_pairs(std::iter::empty::<(String, String)>());
    let printed = load(Some(&path), &nothing).unwrap().to_string();
    assert!(
        printed.contains("\nevents         disabled (events.enabled = false)\n"),
        "{printed}"
    );
    assert!(
        printed.contains("\nkeeps          apps and events in memory only (store.path is not set)\n"),
        "{printed}"
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
fn hyperdht_takes_keys_alone() {
    let key = "y".repeat(52);
    let p2p = format!("[p2p]\nenabled = true\nsecret = \"{}\"\n", "1".repeat(64));
    let with = |rest: &str| parse(&format!("{p2p}{rest}"), "c.toml", &Environment::default());
    let bridges = format!("bridges = [\"hyperdht://{key}\"]\n");
    let parsed = with(&format!(
        "{bridges}[bridge]\nhyperdht = true\nquic_listen = \"\"\n[hyperdht]\nbootstrap = [\"127.0.0.1:49737\"]\n"
    ));
    if cfg!(feature = "hyperdht") {
        let settings = parsed.unwrap();
        assert_eq!(settings.p2p.unwrap().bridges[0].to_string(), format!("hyperdht://{key}"));
        assert_eq!((settings.bridge.hyperdht, &settings.bridge.quic_listen), (Some(0), &None));
        assert_eq!(settings.hyperdht.bootstrap[0].to_string(), "127.0.0.1:49737");
        let told = with(&format!("bridges = [\"hyperdht://{key}\", \"quic://{key}@b:1\"]"))
            .unwrap_err()
            .to_string();
        assert!(told.contains("have the same key"), "{told}");
    } else {
        // A program without it refuses these keys with the name of the feature to build with.
        let told = parsed.unwrap_err().to_string();
        assert_eq!(
            told.matches("was built without HyperDHT; build it with the cargo feature").count(),
            2,
            "{told}"
        );
    }
    let told = with("[hyperdht]\nbootstrap = [\"nowhere\", \"b:0\"]\n[bridge]\nquic_listen = \"\"\n")
        .unwrap_err()
        .to_string();
    assert!(told.contains("bootstrap"), "{told}");
}

#[test]
fn settings_in_vain_are_warned_about() {
    let warnings = |text: &str| sound(text).warnings();
    assert!(warnings("").is_empty());
    assert_eq!(
        warnings("p2p.alias = \"north\"\np2p.enabled = false\n"),
        ["p2p.alias without effect: links are off; set p2p.enabled = true"]
    );
    let enabled = format!(
        "p2p.enabled = true\np2p.listen = \"127.0.0.1:1\"\np2p.allow = [\"{}\"]\n",
        "y".repeat(52)
    );
    assert!(warnings(&enabled).is_empty());
    let told = sound(&enabled).bridge_warnings();
    assert!(
        told[0].starts_with("p2p.enabled, p2p.listen, p2p.allow without effect: a bridge reads [bridge]"),
        "{told:?}"
    );
    assert!(sound("bridge.request_timeout = 7\n").bridge_warnings().is_empty());
    let zeros = "0".repeat(64);
    assert!(warnings(&format!("bridge.secret = \"{zeros}\"\n"))[0].starts_with("bridge.secret is the example of config.toml"));
    assert!(warnings(&format!("bridge.secret = \"{}\"\n", "1".repeat(64))).is_empty());
}

#[test]
fn a_variable_sets_the_key_that_is_in_no_section() {
    let value = "[{ api = \"http://127.0.0.1:5001\" }, { api = \"http://127.0.0.1:5002\", name = \"two\" }]";
    let environment = Environment::from_pairs([("EXPORTER_PROXY__IPFS", value)]);
    let file = "[[ipfs]]\napi = \"http://127.0.0.1:9\"\n";
    let nodes = parse(file, "c.toml", &environment).unwrap().polls.endpoints;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[1], "two");
    let unknown = Environment::from_pairs([("EXPORTER_PROXY__EXPORTER", "1"), ("EXPORTER_PROXY__IPFS", "1")]);
    let faults = parse("", "c.toml", &unknown).unwrap_err().to_string();
    let faults: Vec<&str> = faults.lines().collect();
    assert!(
        faults[0].starts_with("EXPORTER_PROXY__EXPORTER: expected EXPORTER_PROXY__SECTION__KEY"),
        "{faults:?}"
    );
    assert!(
        faults[1].starts_with("EXPORTER_PROXY__IPFS: \"ipfs\" in [[ipfs]]: expected tables such as [[ipfs]]"),
        "{faults:?}"
    );
}

#[test]
fn variables_with_one_underscore_are_warned_about_and_those_of_kubernetes_are_not() {
    let environment = Environment::from_pairs([
        ("EXPORTER_PROXY_RECEIVER_FORMAT", "json"),
        ("EXPORTER_PROXY_IPFS", "[]"),
        ("EXPORTER_PROXY_HTTP_ALLOWED_HOSTS", "[]"),
        ("EXPORTER_PROXY_PORT", "tcp://10.0.0.1:6555"),
        ("EXPORTER_PROXY_PORT_6555_TCP", "tcp://10.0.0.1:6555"),
        ("EXPORTER_PROXY_SERVICE_HOST", "10.0.0.1"),
        ("EXPORTER_PROXY_TOKEN", "x"),
        ("EXPORTER_PROXY_CREDENTIALS", "a:b"),
        ("EXPORTER_PROXY__STORE__MAX_APPS", "7"),
    ]);
    assert_eq!(
        environment.warnings(),
        [
            "the variable EXPORTER_PROXY_HTTP_ALLOWED_HOSTS has no effect; EXPORTER_PROXY__HTTP__ALLOWED_HOSTS, with two underscores, sets \
             http.allowed_hosts",
            "the variable EXPORTER_PROXY_IPFS has no effect; EXPORTER_PROXY__IPFS, with two underscores, sets ipfs",
            "the variable EXPORTER_PROXY_RECEIVER_FORMAT has no effect; EXPORTER_PROXY__RECEIVER__FORMAT, with two underscores, sets \
             receiver.format",
        ]
    );
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
