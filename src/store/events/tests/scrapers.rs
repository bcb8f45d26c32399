//! Scrapers that are known: new, declared, evicted and forgotten ones.

use super::*;

#[test]
fn a_newcomer_gets_the_events_of_the_window() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "old", 0);
    wait(&mut events, 0, 30);
    push(&mut events, "young", 30_000);
    assert_eq!(wait(&mut events, 30_000, 30), [dropped(DropReason::NoScraper, None, 1)]);
    assert_eq!(events.peek(&who("a")).len(), 1);
    let leased = events.scrape(&who("a"), &home(), ms(60_000));
    assert_eq!((ids(&leased), leased.status), (vec![2], ScraperStatus::New));

    let mut none = Events::new(EventOptions {
        newcomer_window: Duration::ZERO,
        ..EventOptions::default()
    });
    push(&mut none, "x", 0);
    assert!(take(&mut none, "a", 0).is_empty());
    assert_eq!(none.sweep(ms(1)), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn a_declared_scraper_is_known_from_the_start_and_for_ever() {
    let mut events = Events::new(EventOptions {
        scrapers: vec![who("prom")],
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    assert_eq!(wait(&mut events, 0, 2_000), []);
    assert_eq!(take(&mut events, "prom", 2_000_000), [1]);
}

#[test]
fn a_scraper_that_stays_away_is_forgotten_and_its_loss_told() {
    let mut events = Events::new(EventOptions::default());
    come(&mut events, "a");
    push(&mut events, "x", 0);
    assert_eq!(wait(&mut events, 0, 599), []);
    assert_eq!(events.sweep(ms(600_000)), [dropped(DropReason::Expired, Some("a"), 1)]);
    assert!(events.pending().is_empty());
    assert!(take(&mut events, "a", 600_001).is_empty(), "the window has passed");
}

#[test]
fn a_loan_keeps_its_scraper_known() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    let leased = events.scrape(&who("a"), &home(), ms(0));
    assert_eq!(wait(&mut events, 0, 700), []);
    assert!(events.settle(leased.lease.unwrap(), false));
    assert_eq!(wait(&mut events, 700_000, 599), []);
    assert_eq!(take(&mut events, "a", 1_299_500), [1]);
}

#[test]
fn a_clock_that_is_set_makes_nobody_forgotten() {
    let mut events = Events::new(EventOptions::default());
    take(&mut events, "a", 0);
    push(&mut events, "x", 0);
    assert_eq!(events.sweep(ms(3_600_000_000)), []);
    push(&mut events, "y", 1_000);
    assert_eq!(take(&mut events, "a", 2_000), [1, 2]);
}

#[test]
fn an_event_that_waited_for_the_disk_lets_no_time_pass() {
    let mut events = Events::new(EventOptions::default());
    wait(&mut events, 0, 30);
    let before = events.clock.last();
    for second in 31..60 {
        push(&mut events, "x", 1_000);
        events.scrape(&who("a"), &home(), ms(2_000));
        events.sweep(ms(1_000 * second));
    }
    assert_eq!(events.clock.last().since(before), Duration::from_secs(29));
}

/// A first scrape from an address, and how it went.
fn visit(events: &mut Events, name: &str, address: &str, at: i64) -> ScraperStatus {
    let leased = events.scrape(&who(name), &client(address), ms(at));
    leased.lease.map(|lease| events.settle(lease, true));
    leased.status
}

fn knows(events: &Events, name: &str) -> bool {
    events.scrapers.contains_key(&who(name))
}

#[test]
fn an_address_has_so_many_scrapers_and_those_that_came_once_make_room() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 3,
        scrapers: vec![who("declared")],
        ..EventOptions::default()
    });
    visit(&mut events, "declared", "10.0.0.1", 0);
    for (name, at) in [("regular", 0), ("regular", 1), ("old", 2), ("young", 3), ("other", 4), ("old", 5)] {
        let address = if name == "other" { "10.0.0.2" } else { "10.0.0.1" };
        assert_ne!(visit(&mut events, name, address, at), ScraperStatus::Untracked);
    }
    // "old" came again, so "young" is the only one left to make room.
    assert_eq!(visit(&mut events, "next", "10.0.0.1", 6), ScraperStatus::New);
    assert!(!knows(&events, "young") && knows(&events, "old") && knows(&events, "other"));
    assert_eq!(visit(&mut events, "next", "10.0.0.1", 7), ScraperStatus::Known);
    assert_eq!(visit(&mut events, "one more", "10.0.0.1", 8), ScraperStatus::Untracked);
    assert_eq!(visit(&mut events, "another", "10.0.0.2", 8), ScraperStatus::New);
    assert_eq!(wait(&mut events, 8, 1), [], "an eviction is no loss");
}

#[test]
fn a_flood_of_names_evicts_none_that_comes_regularly_and_is_not_counted() {
    let mut events = Events::new(EventOptions::default());
    for name in ["prom-a", "prom-b"] {
        come(&mut events, name);
    }
    push(&mut events, "x", 0);
    for n in 0..1_100 {
        assert_eq!(visit(&mut events, &n.to_string(), "10.6.6.6", n), ScraperStatus::New);
    }
    assert_eq!(events.scrapers.len(), 2 + 64);
    assert_eq!(pending(&events), [(who("prom-a"), 1), (who("prom-b"), 1)]);
    push(&mut events, "y", 0);
    assert_eq!(take(&mut events, "prom-a", 1_200), [1, 2]);
    (0..600).for_each(|_| _ = take(&mut events, "prom-a", 1_200));
    assert_eq!(
        wait(&mut events, 1_200, 601),
        [
            dropped(DropReason::Expired, Some("prom-a"), 0),
            dropped(DropReason::Expired, Some("prom-b"), 2)
        ][1..],
        "those that came once expire silently"
    );
    assert!(events.scrapers.is_empty());
}

#[test]
fn the_number_of_scrapers_is_bounded() {
    let mut events = Events::new(EventOptions {
        scrapers: vec![who("declared"), who("declared too")],
        max_scrapers_per_address: MAX_SCRAPERS,
        ..EventOptions::default()
    });
    for n in 0..MAX_SCRAPERS - 2 {
        come(&mut events, &n.to_string());
    }
    for (name, address, at) in [("once", "10.0.0.1", 1), ("flood", "10.0.0.2", 2)] {
        assert_eq!(visit(&mut events, name, address, at), ScraperStatus::New);
    }
    assert_eq!(visit(&mut events, "next", "10.0.0.2", 2), ScraperStatus::New);
    assert!(!knows(&events, "once"), "it was not seen for longest");
    assert_eq!(visit(&mut events, "next", "10.0.0.2", 3), ScraperStatus::Known);
    assert_eq!(visit(&mut events, "flood", "10.0.0.2", 3), ScraperStatus::Known);
    push(&mut events, "x", 3);
    let leased = events.scrape(&who("one more"), &home(), ms(3));
    assert_eq!((ids(&leased), leased.status), (vec![], ScraperStatus::Untracked));
    assert_eq!(take(&mut events, "7", 3), [1]);
    assert_eq!(take(&mut events, "declared", 3), [1]);
}

#[test]
fn a_scraper_that_is_evicted_while_it_is_served_settles_nothing_of_its_next_scrape() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 1,
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    let early = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
    visit(&mut events, "b", "127.0.0.1", 0);
    let late = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
    assert!(!events.settle(early, true));
    assert_eq!(events.active_lease(&who("a")), Some(late));
}

#[test]
fn a_scraper_that_makes_room_for_another_one_loses_nothing_that_it_has_received() {
    let mut events = Events::new(EventOptions {
        max_scrapers_per_address: 1,
        ..EventOptions::default()
    });
    push(&mut events, "x", 0);
    assert_eq!(take(&mut events, "a", 0), [1]);
    wait(&mut events, 0, 61);
    visit(&mut events, "b", "127.0.0.1", 61_000);
    assert!(!knows(&events, "a"));
    assert_eq!(wait(&mut events, 61_000, 1), []);
    // What is pending for the one that came once when it makes room is claimed by no scraper.
    push(&mut events, "y", 62_000);
    wait(&mut events, 62_000, 61);
    visit(&mut events, "c", "127.0.0.1", 123_000);
    assert_eq!(wait(&mut events, 123_000, 1), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn what_only_a_passer_by_would_have_got_is_nobodys() {
    let mut events = Events::new(EventOptions::default());
    push(&mut events, "x", 0);
    assert_eq!(take(&mut events, "curl", 0), [1]);
    push(&mut events, "y", 0);
    assert_eq!(wait(&mut events, 0, 599), []);
    assert_eq!(events.sweep(ms(600_000)), [dropped(DropReason::NoScraper, None, 1)]);
}

#[test]
fn what_a_newcomer_lost_is_told_once_it_comes_again() {
    let mut events = Events::new(EventOptions {
        max_pending: 2,
        ..EventOptions::default()
    });
    take(&mut events, "a", 0);
    (0..5).for_each(|n| _ = push(&mut events, &n.to_string(), 0));
    assert_eq!(events.sweep(ms(1)), []);
    assert_eq!(take(&mut events, "a", 2), [4, 5]);
    assert_eq!(events.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 3)]);
}

#[test]
fn a_restart_keeps_who_comes_regularly() {
    let mut events = Events::new(EventOptions::default());
    come(&mut events, "regular");
    take(&mut events, "once", 0);
    let mut again = Events::restoring(EventOptions::default(), ms(1));
    events.entries().into_iter().for_each(|entry| again.apply(entry).unwrap());
    again.restored();
    assert_eq!(pending(&again), [(who("regular"), 0)]);
    assert!(knows(&again, "once"));
}
