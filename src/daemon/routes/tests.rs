use super::*;

#[test]
fn what_only_events_have_is_listed_and_left_out() {
    let all = endpoints(true);
    assert_eq!(all, ENDPOINTS);
    let without = requests(false);
    assert_eq!(without.len(), all.len() - OF_EVENTS.len(), "each of them is an endpoint");
    assert!(without.iter().all(|request| !request.contains("/event")), "{without:?}");
    assert!(reads(false).iter().all(|request| request.starts_with("GET ")));
}
