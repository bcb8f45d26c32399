#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::exposition::catalog::Rules;
use crate::http::{ConnectionInfo, HttpService, HttpStats, PeerAddr, StalledResponses};
use crate::model::{Format, Origin, Update};
use crate::page::PIECE_BYTES;
use crate::store::{EventOptions, Inlet, Limits, Mode, PutOptions, open};

const NOW: Timestamp = Timestamp::from_millis(1_764_437_212_123);

fn put(inlet: &Inlet, app: AppName, text: String) {
    let update = Update {
        app,
        body: text.into(),
        syntax: None,
        records: Bytes::new(),
        read: None,
        labels: [].into(),
        origin: Origin {
            source: SOURCE.into(),
            format: Format::Push,
        },
        at: NOW,
    };
    inlet.put(update, PutOptions::WHOLE).unwrap();
}

/// The JSON of an app that is a group.
fn group(app: &App) -> Vec<u8> {
    let mut text = Vec::new();
    assert!(!GroupWriter::new(app).write(&mut text, usize::MAX), "all is written at once");
    text
}

fn listed(name: &str, text: &str, mode: Mode) -> Value {
    let (inlet, view) = open(Limits::default(), mode, EventOptions::default());
    put(&inlet, AppName::new(name).unwrap(), text.to_owned());
    serde_json::from_slice(&group(&view.apps()[0])).unwrap()
}

const TIMES: &str = "# TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{job=\"x\",instance=\"\"} 5\n\
                     # TYPE push_time_seconds gauge\npush_time_seconds{job=\"x\",instance=\"\"} 4\n";

#[test]
fn a_group_has_its_labels_its_families_and_the_outcome_of_its_last_push() {
    for mode in [Mode::Merge(Rules::default()), Mode::Raw] {
        let text = format!("# HELP a Some \\\\ help.\n# TYPE a counter\na{{job=\"x\",instance=\"\",b=\"\\\"\"}} 1500000\n{TIMES}");
        let group = listed("pushgateway: job=\"x\"", &text, mode);
        assert_eq!(group["labels"], json!({"job": "x"}));
        assert_eq!(group["last_push_successful"], false);
        let expected = json!({
            "type": "COUNTER", "help": "Some \\ help.", "time_stamp": "2025-11-29T17:26:52.123Z",
            "metrics": [{"labels": {"job": "x", "instance": "", "b": "\""}, "value": "1.5e+06"}],
        });
        assert_eq!(group["a"], expected);
        assert_eq!(group["push_time_seconds"]["metrics"][0]["value"], "4");
        assert_eq!(group["push_failure_time_seconds"]["time_stamp"], "2025-11-29T17:26:52.123Z");
    }
}

#[test]
fn a_failed_push_moves_the_time_of_its_own_gauge_alone() {
    let text = "# TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{job=\"x\",instance=\"\"} 1764437215.5\n\
                # TYPE push_time_seconds gauge\npush_time_seconds{job=\"x\",instance=\"\"} 1764437212.123\n";
    let group = listed("pushgateway: job=\"x\"", text, Mode::Merge(Rules::default()));
    assert_eq!(group["push_time_seconds"]["time_stamp"], "2025-11-29T17:26:52.123Z");
    assert_eq!(group["push_failure_time_seconds"]["time_stamp"], "2025-11-29T17:26:55.500Z");
}

#[test]
fn a_group_in_openmetrics_has_the_names_of_the_text_format() {
    let text = "# TYPE a counter\na_total{job=\"x\"} 1\n# TYPE push_time_seconds gauge\npush_time_seconds{job=\"x\"} 4\n# EOF\n";
    let group = listed("pushgateway: job=\"x\"", text, Mode::Merge(Rules::default()));
    assert_eq!(
        (&group["a_total"]["type"], &group["labels"]),
        (&json!("COUNTER"), &json!({"job": "x"}))
    );
}

#[test]
fn an_instance_that_was_pushed_empty_is_a_label_of_the_group() {
    let group = listed("pushgateway: job=\"x\",instance=\"\"", TIMES, Mode::Raw);
    assert_eq!(group["labels"], json!({"job": "x", "instance": ""}));
}

#[test]
fn buckets_and_quantiles_are_those_of_one_metric() {
    let text = "# TYPE h histogram\nh_bucket{l=\"1\",le=\"0.5\"} 1\nh_bucket{l=\"1\",le=\"+Inf\"} 2\nh_sum{l=\"1\"} 3.5\nh_count{l=\"1\"} 2\n\
                # TYPE s summary\ns{quantile=\"0.99\"} 1e-7\ns_sum 1000000\ns_count 3000000\n";
    let group = listed("pushgateway: job=\"x\"", &format!("{text}{TIMES}"), Mode::Merge(Rules::default()));
    let expected = json!([{"labels": {"l": "1"}, "buckets": {"0.5": "1", "+Inf": "2"}, "sum": "3.5", "count": "2"}]);
    assert_eq!(group["h"]["metrics"], expected);
    let expected = json!([{"labels": {}, "quantiles": {"0.99": "1e-07"}, "sum": "1e+06", "count": "3000000"}]);
    assert_eq!(group["s"]["metrics"], expected);
}

#[test]
fn a_listing_is_written_in_pieces_and_leaves_out_what_is_gone() {
    let (inlet, view) = open(Limits::default(), Mode::Merge(Rules::default()), EventOptions::default());
    let app = |n: usize| AppName::new(&format!("pushgateway: job=\"{n}\"")).unwrap();
    let line = |n: usize, at: usize| format!("a{{job=\"{n}\",at=\"{at:050}\"}} 1\n");
    for n in 0..5 {
        let text: String = (0..2_000).map(|at| line(n, at)).collect();
        put(
            &inlet,
            app(n),
            format!("{text}{TIMES}").replace("job=\"x\"", &format!("job=\"{n}\"")),
        );
    }
    let mut listing = Listing::new(view, (0..5).map(app).collect());
    inlet.remove(&app(3), NOW);
    let (mut pieces, mut whole, mut has_more) = (0, Vec::new(), true);
    while has_more {
        let mut piece = Vec::new();
        has_more = listing.write(&mut piece, PIECE_BYTES);
        assert!(piece.len() < PIECE_BYTES + 1_000, "{}", piece.len());
        pieces += 1;
        whole.extend_from_slice(&piece);
    }
    let listed: Value = serde_json::from_slice(&whole).unwrap();
    let jobs: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["labels"]["job"].as_str().unwrap())
        .collect();
    assert_eq!(jobs, ["0", "1", "2", "4"]);
    assert!(pieces > 1);
}

#[test]
fn a_large_group_is_listed_in_pieces_and_its_text_counts_meanwhile() {
    let (inlet, view) = open(Limits::default(), Mode::Merge(Rules::default()), EventOptions::default());
    let lines: String = (0..20_000).map(|at| format!("a{{job=\"x\",at=\"{at:050}\"}} 1\n")).collect();
    let name = AppName::new("pushgateway: job=\"x\"").unwrap();
    put(&inlet, name.clone(), format!("{lines}{TIMES}"));
    let (whole, text) = (group(&view.apps()[0]), view.apps()[0].text.body().len() as u64);
    let mut listing = Listing::new(view, vec![name.clone()]);
    let (mut pieces, mut listed) = (0, Vec::new());
    loop {
        let mut piece = Vec::new();
        let has_more = listing.write(&mut piece, PIECE_BYTES);
        assert!(piece.len() < PIECE_BYTES + 1_000, "a piece of {} bytes", piece.len());
        listed.extend_from_slice(&piece);
        pieces += 1;
        if !has_more {
            break;
        }
        assert!(listing.memory() >= text, "{} of {text} bytes count", listing.memory());
        // What replaces the group while it is listed is left for the next listing.
        put(&inlet, name.clone(), format!("a{{job=\"x\"}} 2\n{TIMES}"));
    }
    assert!(pieces > 5, "{pieces} pieces");
    assert_eq!(listed, [&br#"{"status":"success","data":["#[..], &whole[..], &b"]}"[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn readers_that_stop_hold_a_piece_each_and_the_first_ones_are_closed() {
    const LIMIT: u64 = 2 << 20;
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    let lines: String = (0..3_000).map(|at| format!("a{{job=\"x\",at=\"{at:050}\"}} 1\n")).collect();
    put(&inlet, AppName::new("pushgateway: job=\"x\"").unwrap(), format!("{lines}{TIMES}"));
    let piece = PIECE_BYTES as u64;
    assert!(group(&view.apps()[0]).len() > PIECE_BYTES);
    let mut stats = HttpStats::default();
    stats.stalled_responses = Arc::new(StalledResponses::new(LIMIT));
    let stats = Arc::new(stats);
    let outlet = Arc::new(PushgatewayOutlet::new(view, NOW, BTreeMap::new(), "".into()));
    let service = HttpService::new(routes(outlet), &[], Arc::default(), Arc::clone(&stats));
    let mut readers = Vec::new();
    for _ in 0..20 {
        let (mut client, server) = tokio::io::duplex(1_000);
        let info = ConnectionInfo {
            peer: PeerAddr::Unix { uid: None },
            queue: None,
            observer: None,
            slot: None,
        };
        let service = service.clone();
        let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
        client.write_all(b"GET /api/v1/metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The head and the beginning of the list.
        client.read_exact(&mut [0; 500]).await.unwrap();
        readers.push((client, running));
        sleep(Duration::from_secs(1)).await;
    }
    let kept = stats.stalled_responses.kept();
    assert!(
        piece > LIMIT / 20 && kept >= piece && kept <= LIMIT,
        "{kept} bytes with pieces of {piece}"
    );
    let closed: Vec<bool> = readers.iter().map(|(_, running)| running.is_finished()).collect();
    assert!(closed[0] && !closed[19], "{closed:?}");
}
