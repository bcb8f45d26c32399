use super::*;

fn batch(messages: usize, length: usize) -> Batch {
    let ends: Vec<usize> = (1..=messages).map(|n| n * length).collect();
    Batch::new(vec![0; messages * length].into(), ends.into())
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_what_was_written_makes_room() {
    let (queue, mut out) = (ClientQueue::new(Topics::ALL, 5), Outgoing::default());
    assert_eq!(
        (queue.offer(&batch(3, 10)), queue.offer(&batch(3, 10)), queue.offer(&batch(1, 10))),
        (0, 1, 1)
    );
    assert!(queue.take(&mut out).await);
    assert_eq!(queue.offer(&batch(1, 10)), 1, "what is being written still counts");
    queue.written(&out.advance(35));
    assert_eq!(queue.offer(&batch(4, 10)), 1, "a batch makes room when all of it is written");
    assert_eq!(queue.dropped(), 4);
}

#[tokio::test]
async fn bytes_are_bounded_too_but_one_message_always_fits() {
    let queue = ClientQueue::new(Topics::ALL, 100);
    assert_eq!(queue.offer(&batch(1, MAX_QUEUED_BYTES + 1)), 0);
    assert_eq!(queue.offer(&batch(1, 1)), 1);
    let queue = ClientQueue::new(Topics::ALL, 100);
    assert_eq!(queue.offer(&batch(1, MAX_QUEUED_BYTES / 2)), 0);
    assert_eq!(queue.offer(&batch(3, MAX_QUEUED_BYTES / 4)), 1);
}

#[tokio::test]
async fn a_closed_queue_is_emptied_first() {
    let (queue, mut out) = (ClientQueue::new(Topics::ALL, 5), Outgoing::default());
    queue.offer(&batch(1, 10));
    queue.close();
    assert!(queue.take(&mut out).await);
    out.advance(10);
    assert!(!queue.take(&mut out).await);
}
