#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::table::tests::{app, present};
use super::*;
use crate::store::MonotonicTime;

#[test]
fn names_of_apps_cannot_break_out_of_the_page() {
    let app = app("<a href=\"x\">'&/", Some(1));
    let present = present(MonotonicTime::default());
    let row = app_row(&(app.clone(), present.status(&app)), present).into_string();
    assert!(row.contains("href=\"apps/%3Ca%20href%3D%22x%22%3E%27%26%2F\""), "{row}");
    assert!(row.contains("&lt;a href=&quot;x&quot;&gt;'&amp;/</a>"), "{row}");
}

#[test]
fn a_request_is_a_link_where_a_browser_can_follow_it() {
    let shown = endpoints(&[("GET /apps", "table"), ("GET /apps/NAME", "one"), ("POST /event", "report")]).into_string();
    assert!(shown.contains("<a href=\"./apps\"><code>GET /apps</code></a>"), "{shown}");
    assert!(
        shown.contains("<td><code>GET /apps/NAME</code></td>") && shown.contains("<td><code>POST /event</code></td>"),
        "{shown}"
    );
}

#[test]
fn bytes_are_shown_in_the_largest_unit() {
    for (number, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (4 << 30, "4.0 GiB")] {
        assert_eq!(bytes(number), shown);
    }
}

#[test]
fn the_page_of_an_app_shows_its_families_and_the_first_part_of_its_text() {
    let app = app("north", Some(1));
    let pushed = UpdateRun {
        source: "http".into(),
        client: Some(crate::model::Client::Ip([10, 0, 0, 1].into())),
        refused: Some("invalid"),
        count: 3,
        bytes: 20,
        smallest: 10,
        largest: 30,
        first: Instant::now(),
        last: Instant::now(),
    };
    let page = app_page(&app, present(MonotonicTime::default()), &[pushed]).into_body();
    for part in [
        "<h1>north</h1>",
        "1 line skipped (line 2",
        "<td class=\"name\"><code>a</code></td>",
        "a 1\nb\n",
        "20 (10 to 30)</td><td>10.0.0.1</td><td>http</td><td class=\"fault\">refused: invalid</td>",
        "href=\"../ui/page.css\"",
        "href=\"north/metrics\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn one_update_is_visible_beside_many() {
    let mut minutes = [0; MINUTES];
    (minutes[0], minutes[MINUTES - 2]) = (1, 600);
    let chart = rate_chart(minutes).into_string();
    // Of the first minute and the last whole one, of fifteen.
    assert!(chart.contains("<path d=\"M0 16v-1h3v1M52 16v-16h3v16\">"), "{chart}");
    assert!(
        chart.contains("aria-label=\"600 in the last whole minute, at most 600\""),
        "{chart}"
    );
}
