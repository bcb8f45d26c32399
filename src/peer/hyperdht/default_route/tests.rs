use super::*;

#[test]
fn only_what_is_there_now_and_was_not_is_new() {
    let (a, b) = (Some(PROBE_ADDRESSES[0]), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert!(is_new([None, None], [a, None]) && is_new([a, None], [b, None]) && is_new([a, None], [a, b]));
    assert!(!is_new([a, None], [a, None]) && !is_new([a, b], [None, b]) && !is_new([a, None], [None, None]));
}
