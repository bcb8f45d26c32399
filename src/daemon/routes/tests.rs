use super::*;

const ALL: Parts = Parts {
    events: true,
    pushgateway: true,
};

#[test]
fn endpoints_of_parts_that_are_not_served_are_left_out() {
    let all = endpoints(ALL);
    assert_eq!(all, ENDPOINTS);
    let without = requests(Parts { events: false, ..ALL });
    assert_eq!(without.len(), all.len() - OF_EVENTS.len(), "each of them is an endpoint");
    assert!(without.iter().all(|request| !request.contains("/event")), "{without:?}");
    let without = requests(Parts { pushgateway: false, ..ALL });
    assert_eq!(without.len(), all.len() - OF_PUSHGATEWAY.len(), "each of them is an endpoint");
    assert!(without.iter().all(|request| !request.contains("/job")), "{without:?}");
    let parts = Parts { events: false, ..ALL };
    assert!(reads(parts).iter().all(|request| request.starts_with("GET ")));
}
