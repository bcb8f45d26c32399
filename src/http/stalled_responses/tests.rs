use super::*;
use crate::http::shared_body::{SharedBody, Slices};

fn row(bytes: usize) -> Slices {
    Arc::new(vec![Bytes::from(vec![0; bytes])])
}

/// Responses that stalled one second after another, in order.
struct Site {
    stalled_responses: Arc<StalledResponses>,
    start: Instant,
    stalled: Vec<(SharedBody, Ticket)>,
}

impl Site {
    fn new(limit: u64) -> Self {
        Self {
            stalled_responses: Arc::new(StalledResponses::new(limit)),
            start: Instant::now(),
            stalled: Vec::new(),
        }
    }

    fn stall(&mut self, rows: &[&Slices]) {
        let body = SharedBody::new(rows.iter().map(|&row| Arc::clone(row)).collect());
        let since = self.start + Duration::from_secs(self.stalled.len() as u64);
        let ticket = self.stalled_responses.add(body.memory(), since, Waker::noop());
        self.stalled.push((body, ticket));
    }

    /// The indices of the responses that must be closed.
    fn closed(&self) -> Vec<usize> {
        let now = self.start + Duration::from_secs(3_600);
        let tickets = self.stalled.iter().enumerate();
        tickets
            .filter_map(|(number, (_, ticket))| ticket.must_close(now, Waker::noop()).then_some(number))
            .collect()
    }
}

#[tokio::test]
async fn what_is_current_is_not_kept_by_those_who_share_it() {
    let mut site = Site::new(100);
    let (current, old) = (row(500), row(90));
    (0..50).for_each(|_| site.stall(&[&current, &old]));
    assert_eq!(site.stalled_responses.kept(), 0);
    drop(old);
    assert_eq!(site.stalled_responses.kept(), 90);
    assert!(site.closed().is_empty());
    drop(current);
    assert_eq!(site.stalled_responses.kept(), 590);
}

#[tokio::test]
async fn the_longest_stalled_are_closed_and_no_more_than_needed() {
    let mut site = Site::new(100);
    for _ in 0..5 {
        let version = row(40);
        site.stall(&[&version]);
    }
    assert_eq!(site.closed(), [0, 1, 2]);
    site.stalled.drain(..3);
    assert_eq!(site.stalled_responses.kept(), 80);
    assert!(site.closed().is_empty());
    site.stalled.clear();
    assert_eq!(site.stalled_responses.kept(), 0);
    let table = site.stalled_responses.table();
    assert!(table.rows.is_empty() && table.bytes == 0);
}

#[tokio::test]
async fn a_version_counts_once_and_goes_with_its_last_reader() {
    let mut site = Site::new(100);
    let (old, older) = (row(70), row(60));
    site.stall(&[&older]);
    site.stall(&[&old]);
    site.stall(&[&older]);
    drop((old, older));
    assert_eq!(site.stalled_responses.kept(), 130);
    // Closing the first frees nothing while the third has the same, and closing the second is enough.
    assert_eq!(site.closed(), [0, 1]);
}

#[tokio::test]
async fn what_was_sent_of_an_old_version_counts_until_its_response_ends() {
    let stalled_responses = Arc::new(StalledResponses::new(100));
    let parts = [row(30), row(40)];
    let mut body = SharedBody::new(parts.to_vec());
    let first = body.next_frame().map(|frame| frame.len());
    assert_eq!(first, Some(30));
    let _second = body.next_frame();
    let ticket = stalled_responses.add(body.memory(), Instant::now(), Waker::noop());
    assert_eq!(stalled_responses.kept(), 0);
    drop(parts);
    assert_eq!(stalled_responses.kept(), 70);
    drop(ticket);
    assert_eq!(stalled_responses.kept(), 0);
}

#[tokio::test]
async fn a_body_that_is_no_list_of_parts_counts_whole() {
    let stalled_responses = Arc::new(StalledResponses::new(100));
    let tickets: Vec<_> = (0..3)
        .map(|n| stalled_responses.add(&ResponseMemory::opaque(40), Instant::now() + Duration::from_secs(n), Waker::noop()))
        .collect();
    let later = Instant::now() + Duration::from_secs(60);
    let closed: Vec<_> = tickets.iter().map(|ticket| ticket.must_close(later, Waker::noop())).collect();
    assert_eq!(closed, [true, false, false]);
}

#[tokio::test]
async fn a_response_that_stalls_at_the_limit_is_counted_at_once() {
    let mut site = Site::new(100);
    // No ticket looks here: what is added has to hold the limit by itself.
    for number in 0..50 {
        let version = row(40);
        site.stall(&[&version]);
        drop(version);
        assert!(site.stalled_responses.kept() <= 100 + 40, "response {number}");
    }
    // The last one was current when it was added, and is not any more.
    assert_eq!(site.closed().len(), 48);
    assert!(site.stalled_responses.kept() <= 100);
}

#[tokio::test]
async fn what_is_closed_leaves_room_for_those_that_stall_next() {
    let mut site = Site::new(1_600);
    let versions: Vec<_> = (0..161).map(|_| row(10)).collect();
    versions.iter().for_each(|version| site.stall(&[version]));
    drop(versions);
    assert_eq!(site.stalled_responses.kept(), 1_610);
    assert_eq!(site.closed().len(), 11, "down to fifteen sixteenths");
    let looks = |site: &Site| site.stalled_responses.table().kept_at_most;
    assert_eq!(looks(&site), 1_500);
    site.stall(&[&row(10)]);
    assert_eq!(looks(&site), 1_510, "added up without a look");
}
