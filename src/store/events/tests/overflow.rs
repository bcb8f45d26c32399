//! Losses of a scraper that is too far behind.

use super::*;

#[test]
fn a_scraper_too_far_behind_loses_the_oldest_and_only_that() {
    let mut events = Events::new(EventOptions {
        max_pending: 3,
        ..EventOptions::default()
    });
    take(&mut events, "slow", 0);
    take(&mut events, "quick", 0);
    for kind in ["x", "x", "y"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(take(&mut events, "slow", 1), [1, 3]);
    assert_eq!(take(&mut events, "quick", 1), [1, 3]);
    push(&mut events, "z", 2);
    assert_eq!(take(&mut events, "quick", 3), [2, 4]);
    push(&mut events, "x", 4);
    assert_eq!(events.sweep(ms(4)), [dropped(DropReason::Overflow, Some("slow"), 1)]);
    assert_eq!(take(&mut events, "slow", 5), [4, 5]);
    let overview = events.overview();
    let lost: Vec<_> = overview
        .scrapers
        .iter()
        .map(|scraper| (scraper.scraper.as_str(), scraper.lost))
        .collect();
    assert_eq!(lost, [("quick", 0), ("slow", 1)]);
}

#[test]
fn a_backlog_that_is_partly_lost_goes_on_behind_the_gap() {
    let mut events = Events::new(EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    });
    take(&mut events, "a", 0);
    for _ in 0..4 {
        push(&mut events, "x", 0);
    }
    assert_eq!(take(&mut events, "a", 1), [1]);
    push(&mut events, "y", 2);
    push(&mut events, "y", 2);
    assert_eq!(events.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 1)]);
    assert_eq!(take(&mut events, "a", 4), [3, 5]);
    assert_eq!(take(&mut events, "a", 4), [4, 6]);
}

#[test]
fn what_overflowed_while_lent_counts_by_the_fate_of_the_scrape() {
    for delivered in [true, false] {
        let mut events = Events::new(EventOptions {
            max_pending: 2,
            ..EventOptions::default()
        });
        come(&mut events, "a");
        push(&mut events, "x", 0);
        let lease = events.scrape(&who("a"), &home(), ms(0)).lease.unwrap();
        for kind in ["y", "z"] {
            push(&mut events, kind, 1);
        }
        assert_eq!(events.sweep(ms(1)), []);
        events.settle(lease, delivered);
        let lost = events.sweep(ms(1));
        assert_eq!(lost.len(), usize::from(!delivered));
        assert_eq!(take(&mut events, "a", 2), [2, 3]);
    }
}

#[test]
fn what_overflowed_while_lent_is_told_after_a_crash_and_nothing_else_is_lost() {
    let options = EventOptions {
        max_pending: 4,
        ..EventOptions::default()
    };
    let mut events = Events::new(options.clone());
    take(&mut events, "a", 0);
    (0..3).for_each(|_| _ = push(&mut events, "x", 0));
    assert_eq!(take(&mut events, "a", 0), [1]);
    assert_eq!(ids(&events.scrape(&who("a"), &home(), ms(0))), [2]);
    for kind in ["y", "z", "w"] {
        push(&mut events, kind, 0);
    }
    assert_eq!(events.sweep(ms(1)), []);

    let restart = |journal: Vec<JournalEntry>| {
        let mut events = Events::restoring(options.clone(), ms(2));
        journal.into_iter().for_each(|entry| events.apply(entry).unwrap());
        events.restored();
        events
    };
    // A rewritten journal, then one with changes appended.
    for add_words in [false, true] {
        let mut journal = events.entries();
        if add_words {
            assert!(!events.repeat_all_changes());
            journal.extend(events.take_changes());
        }
        let mut again = restart(journal.clone());
        assert_eq!(again.sweep(ms(3)), [dropped(DropReason::Overflow, Some("a"), 1)]);
        journal.extend(again.take_changes());
        let mut told = restart(journal);
        assert_eq!(told.sweep(ms(4)), [], "a loss is told once");
        assert_eq!(take(&mut told, "a", 4), [3, 4, 5, 6]);
    }
}
