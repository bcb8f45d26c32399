use super::*;

const IDLE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_dribbling_sender_has_five_timeouts_for_a_message() {
    let start = Instant::now();
    let mut clock = MessageDeadline::new(IDLE, start);
    assert_eq!(clock.deadline(), start + IDLE);
    for n in 1..=20 {
        clock.bytes_came(start + Duration::from_secs(n * 30));
    }
    assert_eq!(clock.deadline(), start + IDLE * 5);
    clock.message_begins(start + IDLE * 4);
    assert_eq!(clock.deadline(), start + IDLE * 5);
    clock.extend(IDLE);
    assert_eq!(clock.deadline(), start + IDLE * 6);
}
