#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn bootstrap_nodes_have_a_host_and_a_port() {
    for good in ["a:1", "127.0.0.1:49737", "88.99.3.86@node1.hyperdht.org:49737"] {
        assert!(BootstrapNode::parse(good).is_some(), "{good}");
    }
    for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:b", "x@a:1", "1.2.3.4@:1"] {
        assert_eq!(BootstrapNode::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_if_there_is_no_address_or_it_does_not_help() {
    let addresses = async |text, renew| BootstrapNode::parse(text).unwrap().addresses(renew).await;
    let [local, other] = ["127.0.0.1:7", "127.0.0.9:7"].map(|text| text.parse().unwrap());
    assert_eq!(addresses("127.0.0.9:7", true).await, [other]);
    assert!(addresses("localhost:7", false).await.contains(&local));
    assert_eq!(addresses("127.0.0.9@localhost:7", false).await, [other]);
    let both = addresses("127.0.0.9@localhost:7", true).await;
    assert!(both.contains(&other) && both.contains(&local));
}
