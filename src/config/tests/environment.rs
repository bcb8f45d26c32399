//! Variables: ours, and those of the originals.

use super::*;

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
