use super::*;

#[test]
fn a_refusal_is_counted_under_its_source_and_reason() {
    let telemetry = Telemetry::default();
    for _ in 0..100 {
        telemetry.reject(Rejection {
            source: "s",
            peer: "p",
            reason: "malformed",
            detail: "d",
        });
    }
    let mut out = String::new();
    telemetry.write(&mut out);
    assert!(
        out.contains("exporter_proxy_rejected_total{source=\"s\",reason=\"malformed\"} 100\n"),
        "{out}"
    );
    assert!(out.contains("# TYPE exporter_proxy_scrape_duration_seconds histogram\n"), "{out}");
    assert!(
        !out.contains("exporter_proxy_updates_total"),
        "a family without samples has no header: {out}"
    );
}

#[test]
fn a_refusal_with_a_line_of_its_own_is_counted_and_listed_alike() {
    let telemetry = Telemetry::default();
    let rejection = Rejection {
        source: "external_poll: h:1",
        peer: "h",
        reason: "invalid",
        detail: "line 1",
    };
    telemetry.record_rejection(rejection);
    telemetry.reject(rejection);
    let listed = telemetry.recent_refusals();
    assert_eq!((listed.len(), listed[0].count, &*listed[0].client), (1, 2, "h"));
    let mut out = String::new();
    telemetry.write(&mut out);
    let counted = "exporter_proxy_rejected_total{source=\"external_poll: h:1\",reason=\"invalid\"} 2\n";
    assert!(out.contains(counted), "{out}");
}

#[test]
fn every_self_metric_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).expect("the page of the metrics");
    let names = Telemetry::names().iter().chain(BridgeTelemetry::names());
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not name {missing:?}");
}
