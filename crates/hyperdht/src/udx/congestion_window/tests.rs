use super::*;

const RTT: Duration = Duration::from_millis(20);

#[test]
fn it_doubles_then_falls_and_climbs_back() {
    let (mut window, mut now) = (CongestionWindow::default(), Instant::now());
    for round in 0..5 {
        assert!(window.allows(0, (10 * 1152) << round) && !window.allows(1, (10 * 1152) << round));
        window.acknowledged((10 * 1152) << round, RTT, now);
    }
    let before = window.bytes;
    window.lost();
    assert!(window.bytes < before * 0.71);
    for _ in 0..1000 {
        now += RTT;
        let bytes = 100 * 1152;
        window.acknowledged(bytes, RTT, now);
    }
    assert!(window.bytes > before, "{} of {before}", window.bytes);
    window.collapsed();
    assert!(window.allows(0, 2 * 1152) && !window.allows(0, 3 * 1152));
    for _ in 0..100 {
        window.lost();
    }
    assert!(window.allows(0, 2 * 1152), "something always may be sent");
}

#[test]
fn packets_are_spread_over_the_round_trip() {
    let (mut window, start) = (CongestionWindow::default(), Instant::now());
    assert_eq!(window.due(None, start), None);
    let rtt = Some(Duration::from_millis(100));
    let (mut now, mut sent) = (start, 0);
    while now < start + Duration::from_millis(500) {
        match window.due(rtt, now) {
            None => {
                window.sent(1152);
                sent += 1;
            }
            Some(due) => now = due.max(now + Duration::from_millis(1)),
        }
    }
    // Twice the window of 10 packets each 100 ms, plus the burst.
    assert!((95..=125).contains(&sent), "{sent}");
}
