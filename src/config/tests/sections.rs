//! Sections with rules of their own.

use super::*;
use crate::sources::polls::{ClientCertificate, Credentials, Password};
use crate::store::WhenEngineAway;

#[test]
fn a_rate_is_a_number_and_its_unit() {
    for text in ["1000", "x/s", "/s", "5/m", "-1/s", "1.5/s"] {
        let told = faults(&format!("[events]\npost_rate = {text:?}"));
        assert!(told.len() == 1 && told[0].contains("such as \"1000/s\""), "{told:?}");
    }
    assert!(faults("[events]\npost_rate = 1000")[0].contains("such as \"1000/s\""));
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
