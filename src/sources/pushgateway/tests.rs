use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::exposition::catalog::Rules;
use crate::http::{Access, AccessControl, AccessRules, HttpService, PeerAddr, Tokens};
use crate::model::Syntax;
use crate::store::{EventOptions, Limits as StoreLimits, Mode, View, open};
use crate::wire::FormatChoice;

const NOW: Timestamp = Timestamp::from_millis(1_764_437_212_007);

fn fault(text: &str) -> String {
    parse(Bytes::copy_from_slice(text.as_bytes()), Some("text/plain")).expect_err(text)
}

#[test]
fn lines_end_in_a_newline_alone() {
    for (text, line) in [
        ("a 1", 1),
        ("a 1\n# end", 2),
        ("a 1\n\n b 2", 3),
        ("a 1\r\n", 1),
        ("# HELP a b\r\n# TYPE a gauge\r\na 1\n", 2),
        ("a 1\n\r\n", 2),
    ] {
        let start = format!("text format parsing error in line {line}: unexpected ");
        assert!(fault(text).starts_with(&start), "{text:?}: {}", fault(text));
    }
    for text in ["", "a 1\n  ", "a{b=\"\r\"} 1\n", "# HELP a b\r\na 1\n", "# x\r\na 1\n"] {
        assert!(parse(Bytes::copy_from_slice(text.as_bytes()), None).is_ok(), "{text:?}");
    }
}

#[test]
fn a_fault_has_its_line_and_another_format_its_name() {
    assert_eq!(
        fault("a 1\nb c\n"),
        "text format parsing error in line 2: column 3: \"c\" is not a number"
    );
    let gzip = parse(Bytes::from_static(b"\x1f\x8b\x08\0\0\0\0\0"), None).expect_err("gzip is no text");
    assert!(gzip.contains("this is gzip"), "{gzip}");
}

#[test]
fn timestamps_and_reserved_labels_are_found() {
    let parse = |text: &'static str| parse(Bytes::from_static(text.as_bytes()), None).expect("a valid text");
    assert!(parse("a 1 5\n").check(true).is_err());
    assert!(parse("a 1 5\n").check(false).is_ok());
    assert!(parse("a{__b=\"1\"} 1\n").check(true).is_err());
}

fn text(body: &'static str, content_type: Option<&str>) -> PushedText {
    parse(Bytes::from_static(body.as_bytes()), content_type).expect("a valid text")
}

/// A group in the store as it is after pushes.
fn after(pushes: &[(&PushedText, bool)]) -> GroupText {
    let (inlet, view) = open(StoreLimits::default(), Mode::Merge(Rules::default()), EventOptions::default());
    let group = Group::from_path("/metrics/job/x").expect("a path");
    let mut last = GroupText {
        body: Vec::new(),
        syntax: Syntax::Text,
        records: Vec::new(),
    };
    for (pushed, replaces) in pushes {
        let current = view.apps();
        last = Draft::of(current.first().map(|app| &**app)).pushed(&group, pushed, *replaces, true, PushTimes::default(), NOW);
        let update = Update {
            app: group.app_name(),
            body: Bytes::copy_from_slice(&last.body),
            syntax: Some(last.syntax),
            records: Bytes::copy_from_slice(&last.records),
            read: None,
            labels: [].into(),
            origin: Origin {
                source: "test".into(),
                format: Format::Push,
            },
            at: NOW,
        };
        inlet.put(update, PutOptions::WHOLE).expect("it fits");
    }
    last
}

/// The lines of a group without the times of its pushes.
fn lines(group: &GroupText) -> Vec<&str> {
    let text = std::str::from_utf8(&group.body).expect("UTF-8");
    text.lines().filter(|line| !line.contains("push_")).collect()
}

#[test]
fn a_group_in_openmetrics_stays_openmetrics_until_text_is_added() {
    let openmetrics = text(
        "# TYPE a counter\na_total 1 # {t=\"1\"} 1\n# EOF\n",
        Some("application/openmetrics-text"),
    );
    let more = text("# TYPE b gauge\nb 2\n# EOF\n", None);
    let plain = text("# TYPE c counter\nc 3\n", None);
    let group = after(&[(&openmetrics, true), (&more, false)]);
    assert_eq!(group.syntax, Syntax::OpenMetrics);
    let expected = [
        "# TYPE a counter",
        "a_total{job=\"x\",instance=\"\"} 1 # {t=\"1\"} 1",
        "# TYPE b gauge",
        "b{job=\"x\",instance=\"\"} 2",
        "# EOF",
    ];
    assert_eq!(lines(&group), expected);
    let group = after(&[(&openmetrics, true), (&plain, false)]);
    assert_eq!(group.syntax, Syntax::Text);
    let expected = [
        "# TYPE a_total counter",
        "a_total{job=\"x\",instance=\"\"} 1",
        "# TYPE c counter",
        "c{job=\"x\",instance=\"\"} 3",
    ];
    assert_eq!(lines(&group), expected);
    // One that is replaced leaves nothing to mix with.
    assert_eq!(after(&[(&openmetrics, true), (&plain, true)]).syntax, Syntax::Text);
    assert_eq!(after(&[(&plain, true), (&openmetrics, true)]).syntax, Syntax::OpenMetrics);
}

fn in_openmetrics2(body: &'static str) -> Result<PushedText, BodyFault> {
    let read = openmetrics2::parse(body.as_bytes(), 1 << 20).expect("a short text");
    let group = Group::from_path("/metrics/job/x").expect("a path");
    of_openmetrics2(body.as_bytes(), read, &group, false, 1 << 20)
}

#[test]
fn openmetrics_2_gets_the_labels_of_the_group_in_text_and_records() {
    let native = in_openmetrics2(
        "# TYPE h histogram\nh{job=\"own\",a=\"1\"} {count:1,sum:2,schema:3,zero_threshold:0.5,zero_count:1}\n# TYPE i_info info\n\
         i_info{a=\"1\"} 1\n# EOF\n",
    )
    .expect("a valid text");
    let group = after(&[(&native, true)]);
    let expected = [
        "# TYPE h histogram",
        "h_bucket{a=\"1\",le=\"+Inf\",job=\"x\",instance=\"\"} 1",
        "h_count{a=\"1\",job=\"x\",instance=\"\"} 1",
        "h_sum{a=\"1\",job=\"x\",instance=\"\"} 2",
        "# TYPE i info",
        "i_info{a=\"1\",job=\"x\",instance=\"\"} 1",
        "# EOF",
    ];
    assert_eq!(lines(&group), expected);
    let records = String::from_utf8_lossy(&group.records);
    assert!(records.contains("\n\x03job\x12\x01x") && !records.contains("own"), "{records:?}");
    // A push of the family in text leaves nothing of it, and one of another family all of it.
    let other = text("# TYPE b gauge\nb 2\n# EOF\n", Some("application/openmetrics-text"));
    assert_eq!(after(&[(&native, true), (&other, false)]).records, group.records);
    let same = text("# TYPE h gauge\nh 2\n# EOF\n", Some("application/openmetrics-text"));
    assert_eq!(after(&[(&native, true), (&same, false)]).records, b"");
}

#[test]
fn faults_of_openmetrics_2_are_those_of_other_pushes() {
    for (body, fault) in [
        (
            "# TYPE h histogram\nh {count:1}\n# EOF\n",
            "line 2, column 3: the composite value lacks sum",
        ),
        ("up 1\n", "line 2, column 1: the end mark # EOF is missing"),
        (
            "# TYPE jobs counter\njobs_total 1\n# EOF\n",
            "send it as application/openmetrics-text; version=1.0.0",
        ),
    ] {
        match in_openmetrics2(body) {
            Err(BodyFault::Invalid(why)) => assert!(why.contains(fault), "{why}"),
            other => panic!("{body:?}: {other:?}"),
        }
    }
    // A series that occurs twice is found in the check, as in other formats.
    let twice = in_openmetrics2("up 1\nup 1\n# EOF\n").expect("a valid text").check(true);
    assert!(
        twice
            .as_ref()
            .is_err_and(|why| why.starts_with("line 2, column 1: duplicate series")),
        "{twice:?}"
    );
}

#[test]
fn a_pushed_family_replaces_records_of_its_name_also_with_characters_that_text_escapes() {
    let native = |count: u8| {
        let body = format!(
            "# TYPE \"a\\\"b\" histogram\n{{\"a\\\"b\"}} {{count:{count},sum:2,schema:3,zero_threshold:0.5,zero_count:{count}}}\n# EOF\n"
        );
        in_openmetrics2(body.leak()).expect("a valid text")
    };
    let (first, second) = (native(1), native(2));
    assert_eq!(after(&[(&first, true), (&second, false)]), after(&[(&second, true)]));
}

#[test]
fn a_group_has_the_times_of_its_last_pushes_at_its_end() {
    let group = Group::from_path("/metrics/job/x").expect("a path");
    let pushed = parse(Bytes::from_static(b"push_time_seconds 9\na 1 5\n"), None).expect("a valid text");
    let text = Draft::of(None).pushed(&group, &pushed, true, false, PushTimes::default(), NOW);
    assert_eq!(
        String::from_utf8(text.body).expect("text"),
        "a{job=\"x\",instance=\"\"} 1\n\
         # HELP push_failure_time_seconds Last Unix time when changing this group in the Pushgateway failed.\n\
         # TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{job=\"x\",instance=\"\"} 0\n\
         # HELP push_time_seconds Last Unix time when changing this group in the Pushgateway succeeded.\n\
         # TYPE push_time_seconds gauge\npush_time_seconds{job=\"x\",instance=\"\"} 1764437212.007\n"
    );
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'1'), Just(b'a'), Just(b'#'), any::<u8>()], 0..40), openmetrics: bool) {
        let content_type = openmetrics.then_some("application/openmetrics-text");
        if let Ok(pushed) = parse(Bytes::from(body), content_type) {
            let group = Group::from_path("/metrics/job/x/a/b").expect("a path");
            let text = Draft::of(None).pushed(&group, &pushed, true, true, PushTimes::default(), NOW);
            let grouped = crate::exposition::Exposition::parse(text.body.into(), text.syntax);
            prop_assert!(grouped.faults().is_empty(), "{:?} {:?}", grouped.faults(), grouped.body());
        }
    }
}

/// A handler with a store.
fn handler() -> (GroupHandler, View) {
    let (inlet, view) = open(StoreLimits::default(), Mode::Merge(Rules::default()), EventOptions::default());
    let limits = Limits {
        format: FormatChoice::default(),
        max_message_bytes: 1 << 20,
        idle_timeout: std::time::Duration::from_secs(60),
        allow: [].into(),
        allow_users: [].into(),
    };
    let rules = PushgatewayRules {
        strict: false,
        timestamps: TimestampRule::Reject,
        route_prefix: "".into(),
    };
    let (budget, limits) = (Budget::new(1 << 20), watch::channel(limits).1);
    (GroupHandler::new(inlet, Arc::default(), || NOW, limits, budget, rules), view)
}

#[tokio::test]
async fn a_deletion_waits_for_what_is_being_stored_in_its_group() {
    for (method, path) in [("DELETE", "/metrics/job/x"), ("PUT", "/api/v1/admin/wipe")] {
        let (handler, view) = handler();
        let group = Group::from_path("/metrics/job/x").expect("a path").app_name();
        let queue = Arc::clone(&handler.queues[queue_of(&group)]);
        let access = AccessControl::default();
        let local = vec!["127.0.0.0/8".parse().expect("a network")];
        let rules = AccessRules::of_networks(local, Vec::new());
        access.set(
            Access {
                rules,
                ..Access::default()
            },
            Tokens::default(),
        );
        let service = HttpService::new(routes(handler), &[], Arc::new(access), Arc::default());
        let ask = async |method: &str, path: &str, body: &'static str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "test")
                .body(Body::from(body))
                .expect("a request");
            service.call(request, PeerAddr::Unix { uid: None }).await.0.status()
        };
        assert_eq!(ask("PUT", "/metrics/job/x", "a 1\n").await, StatusCode::OK);
        // A push that is in work: it has read the group, and writes it as soon as it goes on.
        let turn = queue.lock_owned().await;
        let mut deletion = Box::pin(ask(method, path, ""));
        assert!(deletion.as_mut().now_or_never().is_none(), "{method}");
        assert_eq!(view.apps().len(), 1, "{method}");
        drop(turn);
        assert_eq!(deletion.await, StatusCode::ACCEPTED, "{method}");
        assert_eq!(view.apps().len(), 0, "{method}");
    }
}
