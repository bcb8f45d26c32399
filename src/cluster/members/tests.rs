#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::{describe, read};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

#[test]
fn a_replica_is_reached_at_the_address_that_it_listens_on_or_that_the_engine_sees() {
    let any = describe("one", Some("0.0.0.0:6555".parse().unwrap()), HERE, false, 3);
    let loopback = describe("two", Some("127.0.0.1:6555".parse().unwrap()), HERE, true, 0);
    let members = read(&[("b".to_owned(), loopback), ("a".to_owned(), any)], "b");
    assert_eq!(members[0].http, Some("10.0.0.7:6555".parse().unwrap()));
    assert_eq!((members[0].apps, members[0].has_lease, members[0].tls), (3, false, false));
    assert_eq!(members[1].http, Some("127.0.0.1:6555".parse().unwrap()));
    assert!(members[1].has_lease && members[1].tls);
}

proptest! {
    #[test]
    fn any_description_is_read(id in "\\PC{0,20}", about in "\\PC{0,80}") {
        let members = read(&[(id, about)], "x");
        prop_assert_eq!(members.len(), 1);
    }
}
