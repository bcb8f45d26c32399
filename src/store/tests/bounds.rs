//! Limits on apps, series and memory.

use proptest::prelude::*;

use super::*;

#[test]
fn what_does_not_fit_is_refused_and_harms_nothing() {
    let (inlet, view) = in_raw(Limits {
        max_apps: 2,
        max_memory: 10_000,
        ..Limits::default()
    });
    let text_of = |len: usize| "x".repeat(len);
    inlet.put(update("a", &text_of(4_000), 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("b", &text_of(4_000), 1), PutOptions::PUSHED).unwrap();
    assert_eq!(
        inlet.put(update("c", "", 1), PutOptions::PUSHED),
        Err(Refused::TooManyApps { max_apps: 2 })
    );
    let refused = inlet.put(update("a", &text_of(6_000), 1), PutOptions::PUSHED).unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Full {
                used: 10_000..,
                max_memory: 10_000
            }
        ),
        "{refused:?}"
    );
    assert_eq!(text(&view), format!("{0}\n{0}\n", text_of(4_000)));
    inlet.put(update("a", "1", 1), PutOptions::PUSHED).unwrap();
    inlet.put(update("b", &text_of(6_000), 1), PutOptions::PUSHED).unwrap();
    assert_eq!(view.totals().bytes, 6_001);
}

#[test]
fn the_last_of_the_memory_is_for_updates_that_grow_by_little() {
    const LIMIT: u64 = 64 << 20;
    let (inlet, view) = in_raw(Limits {
        max_memory: LIMIT,
        ..Limits::default()
    });
    let large = "x".repeat(1 << 20);
    let mut taken = 0;
    let refused = loop {
        match inlet.put(update(&format!("large{taken}"), &large, 1), PutOptions::PUSHED) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!((50..60).contains(&taken), "{taken} of a megabyte were taken");
    let room = LIMIT - LIMIT / 16;
    assert!(
        matches!(refused, Refused::NearlyFull { used, room: it, max_memory: LIMIT } if used > room && it == room),
        "{refused:?}"
    );
    assert_eq!(refused.reason(), "store_full");
    // Those of others continue to grow, and the large ones may be replaced by others of their size.
    for len in [100, 1_000, 60_000] {
        inlet.put(update("small", &"y".repeat(len), 2), PutOptions::PUSHED).unwrap();
    }
    inlet.put(update("large0", &"z".repeat(1 << 20), 2), PutOptions::PUSHED).unwrap();
    // Until all is used.
    let mut small = 0;
    let refused = loop {
        match inlet.put(update(&format!("more{small}"), &large[..60_000], 3), PutOptions::PUSHED) {
            Ok(_) => small += 1,
            Err(refused) => break refused,
        }
    };
    assert!(small > 40, "{small}");
    assert!(matches!(refused, Refused::Full { max_memory: LIMIT, .. }), "{refused:?}");
    assert!(view.totals().bytes <= LIMIT);
}

#[test]
fn a_store_over_a_lowered_limit_still_lets_apps_shrink() {
    let (inlet, view) = in_raw(Limits::default());
    inlet.put(update("a", "12345678", 1), PutOptions::PUSHED).unwrap();
    inlet.set_limits(Limits {
        max_memory: 4,
        ..Limits::default()
    });
    inlet.put(update("a", "1234567", 1), PutOptions::PUSHED).unwrap();
    assert!(inlet.put(update("a", "12345678", 1), PutOptions::PUSHED).is_err());
    assert_eq!(view.totals().bytes, 7);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, usize),
    Remove(u8),
    Withdraw(u8),
    Expire(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..8, 0usize..1_500).prop_map(|(app, len)| Step::Put(app, len)),
        (0u8..8).prop_map(Step::Remove),
        (0u8..8).prop_map(Step::Withdraw),
        (0i64..20).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_sums_always_add_up(steps in proptest::collection::vec(step(), 0..200)) {
        let limits = Limits { max_apps: 6, max_memory: 4_000, max_series_per_app: 10, expire_after: Some(Duration::from_millis(15)) };
        let (inlet, view) = in_raw(limits);
        for (at, step) in steps.into_iter().enumerate() {
            let at = i64::try_from(at).unwrap();
            let name = |app: u8| AppName::new(&app.to_string()).unwrap();
            match step {
                Step::Put(app, len) => { let _ = inlet.put(update(&app.to_string(), &"x".repeat(len), at), PutOptions::PUSHED); }
                Step::Remove(app) => { inlet.remove(&name(app), Timestamp::default()); }
                Step::Withdraw(app) => { inlet.withdraw(&name(app)); }
                Step::Expire(later) => { inlet.expire(Timestamp::from_millis(at + later)); }
            }
            let apps = view.apps();
            let bytes: usize = apps.iter().map(|app| app.text.body().len()).sum();
            prop_assert_eq!(view.totals(), Totals { apps: apps.len(), bytes: bytes as u64, series: None });
            prop_assert!(apps.len() <= 6 && bytes <= 4_000);
            prop_assert!(apps.iter().all(|app| view.app(app.name.as_str()).is_some()));
            prop_assert!(apps.windows(2).all(|pair| pair[0].order < pair[1].order));
        }
    }
}

#[test]
fn an_app_has_at_most_so_many_series() {
    let (inlet, view) = merging(Limits {
        max_series_per_app: 2,
        ..Limits::default()
    });
    inlet.put(update("a", "m 1\nn 1\n", 1), PutOptions::PUSHED).unwrap();
    let refused = inlet.put(update("a", "m 1\nn 1\no 1\n", 2), PutOptions::PUSHED).unwrap_err();
    assert_eq!(refused, Refused::TooManySeries { series: 3, max_series: 2 });
    assert_eq!(text(&view), "m 1\nn 1\n", "the app keeps what it had");
}

#[test]
fn what_says_the_same_again_is_in_memory_once() {
    let (inlet, view) = merging(Limits::default());
    let body_at = || view.app("a").unwrap().text.body().as_ptr();
    inlet.put(update("a", "a 1\n", 1), PutOptions::PUSHED).unwrap();
    let first = body_at();
    inlet.put(update("a", "a 1\n", 2), PutOptions::PUSHED).unwrap();
    assert_eq!(body_at(), first, "the catalog and the list of applications hold one text");
    assert_eq!(view.app("a").unwrap().updated, Some(Timestamp::from_millis(2)));
    inlet.put(update("a", "a 2\n", 3), PutOptions::PUSHED).unwrap();
    assert_eq!(text(&view), "a 2\n");
}

#[test]
fn memory_is_counted_and_given_back() {
    let (inlet, view) = merging(Limits::default());
    let nothing = view.memory();
    inlet.put(update("wide", &wide(2_000, 0), 0), PutOptions::PUSHED).unwrap();
    inlet.put(update("twin", &wide(2_000, 1), 0), PutOptions::PUSHED).unwrap();
    let stored = view.memory();
    assert!(stored > nothing + 2 * 2_000 * 60, "{stored}");
    let held = view
        .exposition(TEXT, Selection::Everything)
        .finish(ContentEncoding::Identity)
        .text();
    assert!(view.memory() > stored + 2_000 * 10, "copies count");
    for app in ["wide", "twin"] {
        assert!(inlet.remove(&AppName::new(app).unwrap(), Timestamp::default()));
    }
    assert!(view.memory() > nothing + 2_000 * 10, "an unfinished response keeps them");
    drop(held);
    // Large tables are freed on a thread of their own.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while view.memory() != nothing && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(view.memory(), nothing);
}
