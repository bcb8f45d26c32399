//! Places in the log for each owner of events.

use super::*;
use crate::model::AppName;

fn endpoint(app: &str) -> Owner {
    Owner::Endpoint(AppName::new(app).unwrap())
}

/// Judges events of one client and takes those that may be taken. Returns how many were.
fn post(events: &mut Events, address: &str, kinds: std::ops::Range<u32>, at: i64) -> usize {
    submit(events, &Owner::Poster(client(address)), kinds, at)
}

/// The same for any owner.
fn submit(events: &mut Events, owner: &Owner, kinds: std::ops::Range<u32>, at: i64) -> usize {
    let submissions: Vec<_> = kinds
        .map(|kind| Submission {
            owner: owner.clone(),
            ..submission(&kind.to_string(), at)
        })
        .collect();
    let admissions = events.admit(&submissions);
    let mut taken = 0;
    for (admission, submission) in admissions.into_iter().zip(submissions) {
        match admission {
            Admission::New { record, oldest } => {
                taken += 1;
                events.accept(record, oldest, None, submission.owner, None);
            }
            other => assert_eq!(other, Admission::Crowded),
        }
    }
    taken
}

#[test]
fn a_flood_of_posts_pushes_out_no_event_of_a_client_that_has_fewer() {
    // One post after another, and all at once as the journal takes them.
    for batch in [1, 500] {
        let mut events = Events::new(EventOptions {
            max_pending: 100,
            ..EventOptions::default()
        });
        come(&mut events, "prom");
        assert_eq!(post(&mut events, "10.0.0.1", 1_000..1_001, 0), 1);
        let taken: usize = (0..500 / batch)
            .map(|n| post(&mut events, "10.6.6.6", n * batch..(n + 1) * batch, 1))
            .sum();
        assert_eq!((taken, events.log.len()), (90, 91));
        assert_eq!(
            post(&mut events, "10.0.0.2", 2_000..2_001, 1),
            1,
            "there is a place for another client"
        );
        assert_eq!(take(&mut events, "prom", 2), (1..=92).collect::<Vec<_>>());
        assert_eq!(post(&mut events, "10.6.6.6", 0..500, 3), 500, "nothing of others is awaited now");
    }
}

#[test]
fn in_a_full_log_a_client_that_has_more_than_another_is_refused() {
    let mut events = Events::new(EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    for (address, taken) in [
        ("10.0.0.1", 1),
        ("10.0.0.2", 1),
        ("10.0.0.2", 1),
        ("10.0.0.3", 1),
        ("10.0.0.2", 0),
        // It has as few as the owner of the oldest, which it pushes out.
        ("10.0.0.3", 1),
    ] {
        assert_eq!(post(&mut events, address, 0..1, 0), taken, "{address}");
    }
    assert_eq!(events.log.len(), 4);
}

#[test]
fn events_that_no_living_scraper_awaits_are_pushed_out() {
    let full = |options: EventOptions| {
        let mut events = Events::new(EventOptions {
            max_pending: 10,
            ..options
        });
        post(&mut events, "10.0.0.1", 0..1, 0);
        post(&mut events, "10.6.6.6", 0..9, 0);
        events
    };
    // Declared, and not seen since the start.
    let mut events = full(EventOptions {
        scrapers: vec![who("dead")],
        ..EventOptions::default()
    });
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 3);
    // Came once.
    let mut events = full(EventOptions::default());
    events.scrape(&who("curl"), &home(), ms(0));
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 3);
    // Comes regularly, until it stays away; then an event that has waited for a minute is old.
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    post(&mut events, "10.0.0.1", 0..1, 0);
    post(&mut events, "10.6.6.6", 0..9, 0);
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 1), 0);
    wait(&mut events, 0, 60);
    assert_eq!(post(&mut events, "10.6.6.6", 9..12, 60_000), 3);
}

#[test]
fn a_client_pushes_out_its_own_oldest_events() {
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(post(&mut events, "10.6.6.6", 0..50, 0), 50);
    assert_eq!(take(&mut events, "prom", 1), (41..=50).collect::<Vec<_>>());
}

#[test]
fn polled_events_are_taken_whatever_others_have_pending() {
    let mut events = Events::new(EventOptions {
        max_pending: 10,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(post(&mut events, "10.0.0.1", 0..1, 0), 1);
    assert_eq!(submit(&mut events, &endpoint("polled"), 1..20, 0), 19);
}

#[test]
fn a_flood_of_posts_pushes_out_no_polled_or_restored_event_of_an_owner_with_fewer() {
    for owner in [endpoint("polled"), Owner::Restored] {
        for batch in [1, 500] {
            let mut events = Events::new(EventOptions {
                max_pending: 100,
                ..EventOptions::default()
            });
            come(&mut events, "prom");
            assert_eq!(submit(&mut events, &owner, 1_000..1_005, 0), 5);
            let taken: usize = (0..500 / batch)
                .map(|n| post(&mut events, "10.6.6.6", n * batch..(n + 1) * batch, 1))
                .sum();
            assert_eq!((taken, events.log.len()), (86, 91), "{owner:?}");
            assert_eq!(take(&mut events, "prom", 2), (1..=91).collect::<Vec<_>>(), "{owner:?}");
        }
    }
}

#[test]
fn a_polled_event_is_pushed_out_once_its_endpoint_has_as_many_as_the_poster() {
    let mut events = Events::new(EventOptions {
        max_pending: 5,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(submit(&mut events, &endpoint("a"), 0..2, 0), 2);
    assert_eq!(post(&mut events, "10.6.6.6", 2..5, 0), 3);
    assert_eq!(post(&mut events, "10.6.6.6", 5..6, 0), 0, "two are fewer than three");
    assert_eq!(post(&mut events, "10.0.0.1", 6..7, 0), 1, "it has none yet");
    assert_eq!(submit(&mut events, &endpoint("a"), 7..8, 0), 1, "its own oldest");
    assert_eq!(events.log.first(), 3);
}

#[test]
fn each_polled_endpoint_has_a_share_of_its_own() {
    let mut events = Events::new(EventOptions {
        max_pending: 6,
        ..EventOptions::default()
    });
    come(&mut events, "prom");
    assert_eq!(submit(&mut events, &endpoint("a"), 0..1, 0), 1);
    assert_eq!(submit(&mut events, &endpoint("b"), 1..4, 0), 3);
    assert_eq!(post(&mut events, "10.6.6.6", 4..7, 0), 2, "the event of a is of an owner with one");
    assert_eq!(take(&mut events, "prom", 0), (1..=6).collect::<Vec<_>>());
}
