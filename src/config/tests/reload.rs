//! Changes that a reload takes up, and the keys that each program reads.

use super::*;

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
