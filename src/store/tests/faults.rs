//! Faults and notes that the list of apps shows.

use super::*;

#[test]
fn faults_are_shown_until_the_next_update() {
    let (inlet, view) = in_raw(Limits::default());
    let app = AppName::new("poll").unwrap();
    assert!(!inlet.fault(&app, "unknown"));
    let polled = Origin {
        format: Format::Poll,
        ..origin()
    };
    inlet.register(app.clone(), polled.clone(), Timestamp::from_millis(0)).unwrap();
    assert!(inlet.fault(&app, "poll failed: refused"));
    let status = |now| {
        view.app("poll")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(now)), None)
            .to_string()
    };
    assert_eq!(status(0), "poll failed: refused");
    let update = Update {
        origin: polled,
        ..update("poll", "a 1\n", 0)
    };
    inlet.put(update, PutOptions::POLLED).unwrap();
    assert_eq!(status(0), "ok");
    // The sweep looks each second; a longer gap is taken for a clock that was set.
    (0..30).for_each(|tens| assert_eq!(status(tens * 10_000), "ok"));
    assert_eq!(status(300_000), "ok", "a polled app may have a long interval");
    assert!(inlet.withdraw(&app));
    assert_eq!((text(&view).as_str(), status(302_000).as_str()), ("", "stale 5m"));
    assert_eq!(
        view.totals(),
        Totals {
            apps: 1,
            bytes: 0,
            series: None
        }
    );
    assert!(inlet.remove(&app, Timestamp::default()));
    assert!(!inlet.remove(&app, Timestamp::default()));
}

#[test]
fn what_cannot_be_used_is_left_out_and_told() {
    let (inlet, view) = merging(Limits::default());
    let receipt = inlet.put(update("a", "good 1\nbad line here\n", 1), PutOptions::PUSHED).unwrap();
    assert_eq!(view.totals().series, Some(1));
    let complaint = receipt.news().unwrap();
    assert!(complaint.starts_with("1 line skipped (line 2,"), "{complaint}");
    assert!(
        inlet
            .put(update("a", "good 2\nbad line here\n", 2), PutOptions::PUSHED)
            .unwrap()
            .news()
            .is_none(),
        "the same complaint is no news"
    );
    assert_eq!(
        view.app("a")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(2)), None)
            .to_string(),
        complaint
    );
    assert!(text(&view).ends_with("good 2\n"), "{}", text(&view));
    assert!(
        inlet
            .put(update("a", "good 3\n", 3), PutOptions::PUSHED)
            .unwrap()
            .complaint
            .is_none()
    );
}

#[test]
fn an_update_without_one_usable_line_leaves_what_was() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "good 1\n", 1), PutOptions::PUSHED).unwrap();
    let refused = inlet.put(update("a", "<html>\n", 2), PutOptions::PUSHED).unwrap_err();
    assert_eq!(refused.reason(), "invalid");
    assert!(text(&view).contains("good 1\n"));
    assert!(
        inlet.put(update("a", "good 2\nbad\n", 2), PutOptions::WHOLE).is_err(),
        "all or nothing"
    );
    assert!(text(&view).contains("good 1\n"));
}

#[test]
fn an_app_before_its_first_update_says_so() {
    let (inlet, view) = merging(Limits::default());
    let name = AppName::new("polled").unwrap();
    inlet.register(name.clone(), origin(), Timestamp::from_millis(0)).unwrap();
    let status = |view: &View| {
        view.app("polled")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(1)), None)
            .to_string()
    };
    assert_eq!(status(&view), "ok; no update yet");
    inlet.put(update("polled", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    assert_eq!(status(&view), "ok");
}

#[test]
fn what_two_apps_share_is_a_note_and_no_fault() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "m 1\n", 1), PutOptions::PUSHED).unwrap();
    let receipt = inlet.put(update("b", "m 2\nn 1\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!((counts(&receipt), receipt.complaint), (Some((2, 2)), None), "all of it is shown");
    let app = view.app("b").unwrap();
    let status = app.status(view.moment(Timestamp::from_millis(2)), None);
    assert_eq!(status.to_string(), "ok; 1 duplicate series, which other apps have too");
    assert!(matches!(status, Status::Noted(_)));
}

#[test]
fn an_exemplar_that_is_left_out_is_a_note_and_logged_once() {
    let (inlet, view) = merging(Limits::default());
    let body = "# TYPE a counter\na_total 5 # {t=\"1\",t=\"2\"} 1.0\n# EOF\n";
    let receipt = inlet.put(update("a", body, 1), PutOptions::WHOLE).unwrap();
    let note = "1 exemplar skipped (line 2, column 20: label \"t\" occurs twice)";
    assert_eq!((receipt.news(), counts(&receipt)), (Some(note), Some((1, 1))));
    assert_eq!(inlet.put(update("a", body, 2), PutOptions::WHOLE).unwrap().news(), None);
    let status = view.app("a").unwrap().status(view.moment(Timestamp::from_millis(2)), None);
    assert_eq!(status.to_string(), format!("ok; {note}"));
    assert!(text(&view).contains("a_total 5\n"), "{}", text(&view));
}

#[test]
fn samples_that_a_format_leaves_out_because_of_their_times_are_a_note() {
    let (inlet, view) = merging(Limits::default());
    let body = "# TYPE x gauge\nx{n=\"1\"} 1 -1.5\nx{n=\"2\"} 2 0\nx{n=\"3\"} 3 -2\nx{n=\"4\"} 4 1700000000\n# EOF\n";
    inlet.put(update("a", body, 1), PutOptions::WHOLE).unwrap();
    let status = view
        .app("a")
        .unwrap()
        .status(view.moment(Timestamp::from_millis(2)), None)
        .to_string();
    let note = "2 samples with a timestamp before 1970 left out of the text format, 1 sample with a timestamp at the start of 1970 left out of protobuf";
    assert!(status.contains(note), "{status}");
    let text = text(&view);
    assert!(text.contains("x{n=\"2\"} 2 0\n") && !text.contains(" 1 -"), "{text}");
}

#[test]
fn neither_age_nor_a_failing_source_hides_what_is_wrong_with_a_text() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "good 1\nbad\n", 1), PutOptions::POLLED).unwrap();
    let status = |at| {
        view.app("a")
            .unwrap()
            .status(view.moment(Timestamp::from_millis(at)), None)
            .to_string()
    };
    let bad = "1 line skipped (line 2, column 4: the value is missing)";
    let first = status(1);
    // A clock that goes on by minutes at once was set: time passes in small steps.
    (1..400).for_each(|second| drop(status(second * 1_000)));
    assert_eq!((first, status(400_001)), (bad.to_owned(), format!("stale 6m; {bad}")));
    inlet.fault(&AppName::new("a").unwrap(), "poll failed: no");
    assert_eq!(status(400_001), format!("poll failed: no; {bad}"));
}

#[test]
fn a_text_that_hides_its_samples_in_a_comment_empties_nothing() {
    let (inlet, view) = merging(Limits::default());
    inlet.put(update("a", "jobs_done 1\n", 1), PutOptions::PUSHED).unwrap();
    for odd in ["# just words", "# HELP jobs_done x# TYPE jobs_done gaugejobs_done 1"] {
        for refused in [
            inlet.put(update("a", odd, 2), PutOptions::PUSHED),
            inlet.put(update("a", odd, 2), PutOptions::WHOLE),
            inlet.put(update("a", odd, 2), PutOptions::POLLED),
        ] {
            assert_eq!(refused.unwrap_err().reason(), "invalid", "{odd}");
        }
    }
    assert!(text(&view).contains("jobs_done 1\n"));
    let receipt = inlet
        .put(update("a", "# HELP jobs_done x\n# TYPE jobs_done gauge\n", 3), PutOptions::WHOLE)
        .unwrap();
    assert_eq!(receipt.series, Some(0));
    assert_eq!(text(&view), "");
}

#[test]
fn timestamps_that_prometheus_would_drop_are_told() {
    let (inlet, view) = merging(Limits::default());
    let now = 1_795_000_000_000;
    inlet.put(update("old", "m 1 1395066363000\n", now), PutOptions::PUSHED).unwrap();
    inlet
        .put(
            update("new", "n 1 1794999999000\nn{x=\"1\"} 1 1395066363000\n", now),
            PutOptions::PUSHED,
        )
        .unwrap();
    let status = |app: &str| {
        view.app(app)
            .unwrap()
            .status(view.moment(Timestamp::from_millis(now)), None)
            .to_string()
    };
    assert_eq!((&*status("old"), &*status("new")), ("timestamps too old for Prometheus", "ok"));
}
