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
fn every_self_metric_is_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).expect("the page of the metrics");
    let names = Telemetry::names().iter().chain(BridgeTelemetry::names());
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not name {missing:?}");
}
