#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::time::Instant;

use super::*;
use crate::http::PeerAddr;
use crate::http::connection::{Connection, tell};

#[test]
fn an_outcome_that_was_decided_and_not_reported_yet_is_not_decided_again() {
    for decided in [DeliveryOutcome::Acked, DeliveryOutcome::Unacked] {
        let connection = Connection::new(PeerAddr::Unix { uid: None }, Arc::default());
        let reported = Arc::new(Mutex::new(Vec::new()));
        connection.shared().state().begin(Some(0));
        let callback = reported.clone();
        let delivery = connection.on_delivery(move |outcome| callback.lock().unwrap().push(outcome));
        connection.shared().state().answered(true);
        tell(connection.shared().state().flushed(true, Instant::now()));
        // The thread that decided is preempted before it reports, and the scraper comes back on another connection.
        let verdicts = connection.shared().state().settle_all(decided);
        assert_eq!(delivery.settle_now(), Some(decided));
        assert_eq!(*reported.lock().unwrap(), [decided], "the callback has run");
        tell(verdicts);
        assert_eq!(*reported.lock().unwrap(), [decided]);
    }
}
