#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn the_soft_limit_becomes_the_hard_one() {
    let raised = raise_open_files().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!((soft, hard), (raised, raised));
}

#[test]
fn connections_are_shared_out_where_files_are_scarce() {
    assert_eq!(connections_per_listener(u64::MAX, 3, 2_048), 2_048);
    assert_eq!(connections_per_listener(20_000, 3, 2_048), 2_048);
    assert_eq!(connections_per_listener(1_024, 3, 2_048), 297);
    assert_eq!(connections_per_listener(256, 3, 2_048), 41);
    assert_eq!(connections_per_listener(256, 3, 8), 8);
    assert_eq!(connections_per_listener(4, 3, 2_048), 1);
    assert_eq!(connections_per_listener(0, 0, 0), 1);
}

#[test]
fn a_limit_that_is_too_low_is_said_with_both_numbers() {
    assert_eq!(too_few_open_files(4_096, 2_048), None);
    let text = too_few_open_files(1_024, 2_048).unwrap();
    assert!(text.contains("1024") && text.contains("2176"), "{text}");
}
