//! The age of apps and of polled data.

use super::*;

#[test]
fn many_that_end_together_are_forgotten_in_turns() {
    let (inlet, view) = merging(Limits {
        expire_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    });
    let name = |app: usize| format!("app{app}");
    let apps = 2 * Inlet::EXPIRES_AT_ONCE + 10;
    (0..apps).for_each(|app| drop(inlet.put(update(&name(app), "x 1\n", 1), PutOptions::PUSHED).unwrap()));
    let now = Timestamp::from_millis(10_001);
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    // An app that is updated before its turn stays.
    inlet.put(update(&name(apps - 1), "x 2\n", 10_001), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.expire(now).len(), Inlet::EXPIRES_AT_ONCE);
    assert_eq!(inlet.expire(now).len(), 9);
    assert!(inlet.expire(now).is_empty());
    assert_eq!(view.totals().apps, 1);
    assert_eq!(inlet.expire(Timestamp::from_millis(20_001)).len(), 1);
}

#[test]
fn an_app_expires_at_the_age_that_its_last_update_has_set() {
    let expire_after = |seconds| Limits {
        expire_after: seconds,
        ..Limits::default()
    };
    let after = |seconds| PutOptions {
        expire_after: Some(Duration::from_secs(seconds)),
        ..PutOptions::PUSHED
    };
    for limit in [None, Some(Duration::from_secs(9))] {
        let (inlet, view) = in_raw(expire_after(limit));
        let at = Timestamp::from_millis;
        inlet.put(update("short", "a 1", 0), after(2)).unwrap();
        inlet.put(update("long", "b 1", 0), after(30)).unwrap();
        inlet.put(update("again", "c 1", 0), after(2)).unwrap();
        inlet.put(update("reset", "d 1", 0), after(2)).unwrap();
        inlet.put(update("again", "c 1", 1_000), after(4)).unwrap();
        inlet.put(update("reset", "d 1", 1_000), PutOptions::PUSHED).unwrap();
        assert!(inlet.expire(at(1_999)).is_empty());
        assert_eq!(inlet.expire(at(2_000)), [AppName::new("short").unwrap()]);
        assert_eq!(inlet.expire(at(5_000)), [AppName::new("again").unwrap()]);
        let rest = inlet.expire(at(10_000));
        assert_eq!(rest.is_empty(), limit.is_none(), "{rest:?}");
        // The clock takes a step of more than ten seconds for one that was set.
        let gone = [19_000, 28_000, 29_999].map(|now| inlet.expire(at(now)).len());
        assert_eq!(gone, [0, 0, 0]);
        assert_eq!(inlet.expire(at(30_000)), [AppName::new("long").unwrap()]);
        assert_eq!(view.totals().apps, usize::from(limit.is_none()));
    }
}

#[test]
fn a_clock_that_is_set_forgets_nothing() {
    const HOUR: i64 = 3_600_000;
    let (inlet, view) = in_raw(Limits {
        expire_after: Some(Duration::from_secs(3_600)),
        ..Limits::default()
    });
    let status = |now| {
        let now = view.moment(Timestamp::from_millis(now));
        view.app("a").unwrap().status(now, view.expire_after()).to_string()
    };
    inlet.put(update("a", "a 1", 5 * HOUR), PutOptions::PUSHED).unwrap();
    for now in [7 * HOUR, 7 * HOUR + 1_000, HOUR, HOUR + 1_000, 9 * HOUR] {
        assert!(inlet.expire(Timestamp::from_millis(now)).is_empty(), "{now}");
        assert_eq!(status(now), "ok");
    }
    // An hour that really goes by, looked at each second, ends it.
    let mut now = 9 * HOUR;
    while inlet.expire(Timestamp::from_millis(now)).is_empty() {
        now += 1_000;
        assert!(now <= 10 * HOUR);
    }
    assert!(now > 10 * HOUR - 30_000, "at most ten seconds count of each step: {now}");
}

#[test]
fn pushed_apps_expire_and_polled_ones_do_not() {
    let (inlet, view) = in_raw(Limits {
        expire_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    });
    inlet.put(update("old", "old 1", 0), PutOptions::PUSHED).unwrap();
    inlet.put(update("polled", "polled 1", 0), PutOptions::POLLED).unwrap();
    assert!(inlet.expire(Timestamp::from_millis(9_999)).is_empty());
    inlet.put(update("young", "young 1", 9_999), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.expire(Timestamp::from_millis(10_000)), [AppName::new("old").unwrap()]);
    assert_eq!(text(&view), "polled 1\nyoung 1\n");
    assert_eq!(inlet.expire(Timestamp::from_millis(19_999)).len(), 1);
    assert_eq!(
        view.totals(),
        Totals {
            apps: 1,
            bytes: 8,
            series: None
        }
    );
}

#[test]
fn a_note_about_an_app_makes_it_no_younger() {
    let limits = Limits {
        expire_after: Some(Duration::from_secs(9)),
        ..Limits::default()
    };
    let (inlet, view) = in_raw(limits);
    let (at, app) = (Timestamp::from_millis, AppName::new("app").unwrap());
    let note = PutOptions {
        keeps_age: true,
        ..PutOptions::PUSHED
    };
    let updated = || view.app("app").unwrap().updated;
    // Of an unknown app it is the first update, and its age is the one that later ones keep.
    inlet.put(update("app", "failed 0\n", 1_000), note).unwrap();
    assert_eq!(updated(), Some(at(1_000)));
    inlet.put(update("app", "a 1\n", 2_000), PutOptions::PUSHED).unwrap();
    inlet.put(update("app", "a 1\nfailed 8\n", 8_000), note).unwrap();
    assert_eq!((text(&view).as_str(), updated()), ("a 1\nfailed 8\n", Some(at(2_000))));
    assert!(inlet.expire(at(10_999)).is_empty());
    assert_eq!(inlet.expire(at(11_000)), [app]);
}

#[test]
fn an_app_that_is_not_polled_is_stale_after_five_minutes() {
    for (format, options) in [(Format::Push, PutOptions::PUSHED), (Format::Stream, PutOptions::POLLED)] {
        let (inlet, view) = in_raw(Limits::default());
        let mut update = update("app", "a 1\n", 0);
        update.origin.format = format;
        inlet.put(update, options).unwrap();
        let status = |seconds: i64| {
            let moment = view.moment(Timestamp::from_millis(seconds * 1_000));
            view.app("app").unwrap().status(moment, None).to_string()
        };
        (0..300).step_by(10).for_each(|seconds| assert_eq!(status(seconds), "ok"));
        assert_eq!(status(300), "stale 5m", "{format:?}");
    }
}

#[test]
fn polled_data_has_an_age_while_it_is_exposed() {
    let (inlet, _view) = in_raw(Limits::default());
    let (app, at) = (AppName::new("polled").unwrap(), Timestamp::from_millis);
    let polled = |time| {
        let format = Format::Poll;
        Update {
            origin: Origin { format, ..origin() },
            ..update("polled", "a 1\n", time)
        }
    };
    assert_eq!(inlet.age_of_polled(&app, at(0)), None, "it is unknown");
    inlet.register(app.clone(), polled(0).origin, at(0)).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(0)), None, "it has no data");
    inlet.put(polled(1_000), PutOptions::POLLED).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(4_000)), Some(Duration::from_secs(3)));
    assert!(inlet.withdraw(&app));
    assert_eq!(inlet.age_of_polled(&app, at(4_000)), None, "it is withdrawn");
    inlet.put(update("polled", "a 1\n", 5_000), PutOptions::PUSHED).unwrap();
    assert_eq!(inlet.age_of_polled(&app, at(5_000)), None, "it was pushed");
}
