use std::net::Ipv4Addr;

use super::*;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(n).into()
}

#[test]
fn an_address_gets_a_burst_and_then_one_at_a_time() {
    let (mut limiter, start) = (PunchLimiter::default(), Instant::now());
    let opened = |limiter: &mut PunchLimiter, now| (0..100).filter(|_| limiter.allows(address(1), now)).count();
    assert_eq!(opened(&mut limiter, start), 20);
    assert!(limiter.allows(address(2), start));
    assert_eq!(opened(&mut limiter, start + REFILL_INTERVAL), 1);
    assert_eq!(opened(&mut limiter, start + REFILL_INTERVAL * 100), 20);
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let (mut limiter, start) = (PunchLimiter::default(), Instant::now());
    let opened = (0..5_000).filter(|&n| limiter.allows(address(n), start)).count();
    assert_eq!((opened, limiter.refilled_at.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    assert!(limiter.allows(address(5_000), start + REFILL_INTERVAL));
}
