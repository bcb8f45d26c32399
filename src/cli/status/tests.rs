use serde_json::json;

use super::*;

#[test]
fn a_proxy_is_described_with_what_is_wrong_first() {
    let status = json!({
        "role": "proxy", "version": "1.2.3", "uptime_seconds": 65, "ready": false,
        "not_ready_because": ["store.path: disk full"], "notes": ["a note\u{1b}[31m"],
        "apps": { "total": 3, "ok": 1, "stale": 1, "fault": 1, "series": 7, "bytes": 2048 },
        "faults": [{ "name": "a", "detail": "line 2: bad" }],
        "refused": [{ "reason": "syntax", "client": "10.0.0.1", "count": 2, "age_seconds": 5, "detail": "no" }],
        "removed": [],
        "events": { "accepted": 4, "scrapers": [{ "scraper": "p", "pending": 1, "in_flight": 0, "lost": 0 }] },
        "scrapers": [], "links": [{ "bridge": "b", "registered": true, "last_scrape_age_seconds": null, "last_error": null }],
        "cluster": { "engine": "redis://e:6379", "connected": false, "pending": 2,
                     "members": [{ "name": "one", "http": "10.0.0.1:6555", "version": "1.2.3", "apps": 3, "polls": true }] },
        "limits": [{ "key": "store.max_memory", "of": null, "used": 1536, "limit": 1_073_741_824_u64, "unit": "bytes" },
                   { "key": "exporter.concurrent_requests", "of": "0.0.0.0:6555", "used": 1, "limit": 8, "unit": "connections" }],
    });
    let shown = describe("h:1", &status);
    for line in [
        "exporter-proxy 1.2.3, proxy at h:1, up 1 min 5 s, NOT READY\n3 apps: 1 ok, 1 stale, 1 with faults; 7 series, 2.0 KiB\n\
         not ready: store.path: disk full\nnote: a note",
        "Limits:\n  store.max_memory: 1.5 KiB of 1.0 GiB\n  exporter.concurrent_requests at 0.0.0.0:6555: 1 of 8 connections\n",
        "Apps with faults, and stale ones:\n  a: line 2: bad\n",
        "  syntax from 10.0.0.1, 2 times, last 5 s ago: no\n",
        "Events: 4 accepted\n  p: 1 pending, 0 in flight, 0 lost\n",
        "  b: registered, last scrape never\n",
        "Replicas at redis://e:6379, NOT connected, 2 changes to be written:\n  one at 10.0.0.1:6555: version 1.2.3, 3 apps, polls for all\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    assert!(!shown.contains('\u{1b}') && !shown.contains("Removed"), "{shown}");
}

#[test]
fn a_bridge_is_described_by_its_aliases() {
    let status = json!({
        "role": "bridge", "version": "1.2.3", "uptime_seconds": 5, "ready": true, "not_ready_because": null, "notes": [],
        "key": "yyy", "aliases": { "total": 2, "connected": 1 }, "faults": [],
        "cluster": { "engine": "redis://e:6379", "connected": true, "pending": 0,
                     "members": [{ "name": "one", "http": "10.0.0.1:30000", "version": "1.2.3", "aliases": 2 }] },
    });
    let shown = describe("h:1", &status);
    assert_eq!(
        shown,
        "exporter-proxy 1.2.3, bridge at h:1, up 5 s, ready\n2 aliases, 1 connected\npublic key yyy\n\nReplicas at redis://e:6379, connected, \
         0 changes to be written:\n  one at 10.0.0.1:30000: version 1.2.3, 2 aliases\n"
    );
}

#[test]
fn another_server_is_recognized() {
    for text in ["<html>", "{}", "{\"role\": 1}"] {
        assert!(parse("h:1", text).is_err(), "{text}");
    }
    assert!(parse("h:1", "{\"role\": \"proxy\"}").is_ok());
}
