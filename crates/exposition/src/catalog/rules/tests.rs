use super::*;

#[test]
fn reserved_are_all_families_that_could_bear_a_reserved_name() {
    let rules = Rules::new(None, Duplicates::Label, &["exporter_proxy_", "events_to_metrics", "x_count"]);
    for name in [
        "exporter_proxy_apps",
        "events_to_metrics",
        "events_to_metrics_event",
        "x_count",
        "x",
        "x_count_total",
    ] {
        assert!(rules.is_reserved(name.as_bytes()), "{name}");
    }
    for name in ["exporter", "events_to", "xx", "events", "proxy_exporter_proxy_"] {
        assert!(!rules.is_reserved(name.as_bytes()), "{name}");
    }
}

#[test]
fn the_disambiguating_label_finds_a_free_name() {
    let name = |rules: &Rules, taken| rules.labels[usize::from(rules.free_rank(0, &taken))].clone();
    let rules = Rules::new(None, Duplicates::Label, &[]);
    assert_eq!(&*name(&rules, [0; MAX_RANKS]), "app");
    assert_eq!(&*name(&rules, [1, 0, 0, 0, 0, 0, 0, 0]), "exporter_app");
    assert_eq!(&*name(&rules, [1, 5, 0, 0, 0, 0, 0, 0]), "exporter_exporter_app");
    assert_eq!(rules.free_rank(0, &[1; MAX_RANKS]), LAST_RANK);
    let rules = Rules::new(Some("job"), Duplicates::Label, &[]);
    assert_eq!(
        &*name(&rules, [0; MAX_RANKS]),
        "exporter_app",
        "the label that all series have disambiguates nothing"
    );
}
