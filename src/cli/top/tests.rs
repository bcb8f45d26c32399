use serde_json::json;

use super::*;

fn proxy() -> (Value, Value) {
    let status = json!({
        "role": "proxy", "version": "1.2.3", "uptime_seconds": 5, "ready": true, "notes": ["a note"],
        "apps": { "total": 3, "ok": 3, "stale": 0, "fault": 0, "series": 7, "bytes": 2048 },
    });
    let app = |name: &str| json!({ "name": name, "source": "http", "last_update": "2026-01-01T00:00:00Z", "series": 2, "bytes": 10, "status": "ok" });
    let list =
        json!({ "time": "2026-01-01T00:01:05Z", "apps": [app("one\u{1b}[2J"), app("two"), app("漢字\tand a tab"), app(&"漢".repeat(60))] });
    (status, list)
}

#[test]
fn a_page_fits_the_terminal() {
    let (status, list) = proxy();
    for (width, height) in [(80, 24), (40, 7), (20, 2), (1, 1)] {
        let shown = page("h:1", &status, &list, width, Some(height));
        assert!(shown.lines().count() <= height.max(5), "{shown}");
        assert!(shown.lines().all(|line| get_line_width(line) <= width), "{width}: {shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
    let shown = page("h:1", &status, &list, 80, Some(24));
    assert!(shown.contains("two           ") && shown.contains("  ok  "), "{shown}");
    let columns: Vec<usize> = shown
        .lines()
        .filter_map(|line| line.find("  ok  ").map(|at| get_line_width(&line[..at])))
        .collect();
    assert!(
        columns.len() == 4 && columns.iter().all(|at| *at == columns[0]),
        "{columns:?}: {shown}"
    );
    assert!(shown.contains("漢字 and a tab ") && shown.contains("漢…"), "{shown}");
    assert!(shown.contains("1 min 5 s") && shown.contains("note: a note"), "{shown}");
}

#[test]
fn rows_that_do_not_fit_are_counted() {
    let (status, list) = proxy();
    // Four lines of head, the head of the table, one app, and the count.
    let shown = page("h:1", &status, &list, 80, Some(7 + 1));
    assert!(shown.ends_with("and 3 more"), "{shown}");
    let all = page("h:1", &status, &list, 80, None);
    assert!(all.contains("two") && all.contains("漢漢") && !all.contains("more"), "{all}");
}

#[test]
fn a_bridge_is_shown_by_its_aliases() {
    let status = json!({ "role": "bridge", "version": "1", "uptime_seconds": 5, "ready": true, "aliases": { "total": 1, "connected": 1 } });
    let list =
        json!([{ "alias": "north", "hostname": "h", "service": "s", "over": "quic", "connected": true, "round_trip_seconds": 0.0123 }]);
    let shown = page("h:1", &status, &list, 80, Some(24));
    assert!(
        shown.contains("1 alias, 1 connected") && shown.contains("north  connected  12.3 ms"),
        "{shown}"
    );
}
