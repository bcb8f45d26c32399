use super::super::table::tests::{app, present};
use super::*;
use crate::store::MonotonicTime;

fn names(filter: &AppFilter) -> Vec<String> {
    let mut broken = (*app("broken", Some(1))).clone();
    broken.fault = Some("poll failed: connection refused".into());
    let apps = vec![app("b", Some(1)), app("a", Some(1)), Arc::new(broken)];
    let listed = filter.narrow(with_states(apps, present(MonotonicTime::default())), Order::Name);
    listed.iter().map(|(app, _)| app.name.as_str().to_owned()).collect()
}

#[test]
fn a_search_looks_at_names_sources_and_states() {
    let search = |q: &str| AppFilter {
        q: Some(q.to_owned()),
        ..AppFilter::default()
    };
    assert_eq!(names(&search("REFUSED")), ["broken"]);
    assert_eq!(names(&search("127.0.0.1")), ["a", "b", "broken"]);
    assert_eq!(names(&search("no such")), [""; 0]);
}

#[test]
fn faults_come_first_where_the_state_is_the_order() {
    let filter = AppFilter {
        sort: Some(Order::State),
        ..AppFilter::default()
    };
    // The text of the test apps has a faulty line.
    assert_eq!(names(&filter), ["a", "b", "broken"]);
    let filter = AppFilter {
        state: Some(State::Ok),
        ..filter
    };
    assert_eq!(names(&filter), [""; 0]);
}

#[test]
fn all_apps_are_counted_by_state() {
    let listed = with_states(vec![app("a", Some(1)), app("b", None)], present(MonotonicTime::default()));
    let counts = AppCounts::of(&listed);
    assert_eq!((counts.apps(), counts.fault, counts.series, counts.bytes), (2, 2, Some(2), 12));
}
