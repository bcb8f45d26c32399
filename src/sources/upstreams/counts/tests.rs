use super::*;

#[test]
fn every_sum_has_a_series_of_its_own() {
    let sums = Tally {
        messages: 1,
        wantlists_full: 2,
        wantlists_incremental: 3,
        want_block: [4, 5],
        want_have: [6, 7],
        cancel: 8,
        blocks: 9,
        have: 10,
        dont_have: 11,
        connected: 12,
        disconnected: 13,
    };
    let text = render("a:1", &sums);
    let mut values: Vec<u64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    values.sort_unstable();
    assert_eq!(values, (1..=13).collect::<Vec<_>>(), "{text}");
    assert!(
        text.contains("\nwantlist_entries_received{monitor=\"a:1\",entry_type=\"want_have\",send_dont_have=\"true\"} 7\n"),
        "{text}"
    );
    assert!(
        text.contains("# TYPE bitswap_messages_received counter\nbitswap_messages_received{monitor=\"a:1\"} 1\n"),
        "{text}"
    );
}
