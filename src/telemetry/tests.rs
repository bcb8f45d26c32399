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
