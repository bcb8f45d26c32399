#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::net::Ipv4Addr;

use super::*;

fn client(n: usize) -> Client {
    Client::Ip(Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into())
}

fn limit(per_second: u32) -> PostRate {
    PostRate::new(NonZeroU32::new(per_second).unwrap())
}

/// Number of admitted posts.
fn passed(limit: &PostRate, client: &Client, posts: usize, now: Instant) -> usize {
    (0..posts).filter(|_| limit.admit(client, now).is_ok()).count()
}

#[test]
fn a_client_may_send_ten_seconds_worth_at_once_and_then_the_rate() {
    let (limit, start) = (limit(100), Instant::now());
    assert_eq!(passed(&limit, &client(1), 5_000, start), 1_000);
    assert_eq!(passed(&limit, &client(2), 1, start), 1, "another client is not affected");
    assert_eq!(limit.admit(&client(1), start), Err(Duration::from_millis(10)));
    assert_eq!(passed(&limit, &client(1), 5_000, start + Duration::from_secs(1)), 100);
    assert_eq!(passed(&limit, &client(1), 5_000, start + Duration::from_secs(60)), 1_000);
}

#[test]
fn another_limit_holds_from_then_on() {
    let (limit, start) = (limit(100), Instant::now());
    limit.set(NonZeroU32::MIN);
    assert_eq!(passed(&limit, &client(1), 5_000, start), 10);
}

#[test]
fn more_clients_than_are_counted_share_one_count_until_others_are_quiet() {
    let (limit, start) = (limit(1), Instant::now());
    for n in 0..MAX_CLIENTS {
        assert!(limit.admit(&client(n), start).is_ok());
    }
    let later = MAX_CLIENTS..MAX_CLIENTS + 100;
    assert_eq!(later.clone().filter(|&n| limit.admit(&client(n), start).is_ok()).count(), 10);
    assert!(limit.counts.lock().unwrap().full_at.len() <= MAX_CLIENTS);
    let quiet = start + Duration::from_secs(5);
    assert_eq!(later.filter(|&n| limit.admit(&client(n), quiet).is_ok()).count(), 100);
}
