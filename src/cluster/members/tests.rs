#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::{Description, describe, forward_key, read};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

#[test]
fn a_replica_is_reached_at_the_address_that_it_listens_on_or_that_the_engine_sees() {
    let describe = |name, http: &str, tls, count, key: Option<&str>| {
        describe(&Description {
            name,
            http: Some(http.parse().unwrap()),
            local_ip: HERE,
            tls,
            count,
            forward_key: key.map(str::to_owned),
        })
    };
    let any = describe("one", "0.0.0.0:6555", false, 3, None);
    let loopback = describe("two", "127.0.0.1:6555", true, 0, Some("ab"));
    assert_eq!((forward_key(&any), forward_key(&loopback)), (None, Some("ab".to_owned())));
    let members = read(&[("b".to_owned(), loopback), ("a".to_owned(), any)], "b");
    assert_eq!(members[0].http, Some("10.0.0.7:6555".parse().unwrap()));
    assert_eq!((members[0].apps, members[0].has_lease, members[0].tls), (3, false, false));
    assert_eq!(members[1].http, Some("127.0.0.1:6555".parse().unwrap()));
    assert!(members[1].has_lease && members[1].tls);
}

proptest! {
    #[test]
    fn any_description_is_read(id in "\\PC{0,20}", about in "\\PC{0,80}") {
        let _ = forward_key(&about);
        let members = read(&[(id, about)], "x");
        prop_assert_eq!(members.len(), 1);
    }
}
