use super::*;

#[test]
fn bootstrap_nodes_have_a_host_and_a_port() {
    for good in ["a:1", "127.0.0.1:49737", "88.99.3.86@node1.hyperdht.org:49737"] {
        assert!(check_host_port(good).is_ok(), "{good}");
    }
    for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:b"] {
        assert!(check_host_port(bad).is_err(), "{bad}");
    }
}
