use super::*;

fn relayed(topic: Topic, length: usize) -> Notification {
    Notification::Relayed {
        topic,
        event: vec![b'x'; length].into(),
    }
}

async fn numbers(feed: &mut Subscription) -> Vec<u64> {
    numbers_and_missed(feed).await.0
}

async fn numbers_and_missed(feed: &mut Subscription) -> (Vec<u64>, Vec<(Topic, u64)>) {
    let mut taken = VecDeque::new();
    let missed = feed.take(&mut taken).await;
    (taken.iter().map(|numbered| numbered.number).collect(), missed.iter().collect())
}

#[tokio::test]
async fn topics_change_while_a_subscription_is_read_and_numbers_go_on() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
    let topics = feed.topics();
    publisher.publish(&relayed(Topic::Poll, 1));
    publisher.publish(&relayed(Topic::Bitswap, 1));
    topics.set(Topics::ALL);
    assert!(publisher.has_subscribers(Topic::Poll));
    publisher.publish(&relayed(Topic::Poll, 1));
    topics.set(Topics::default());
    assert!(!publisher.has_subscribers(Topic::Bitswap));
    publisher.publish(&relayed(Topic::Bitswap, 1));
    topics.set(Topics::only(Topic::Bitswap));
    publisher.publish(&relayed(Topic::Bitswap, 1));
    assert_eq!(numbers(&mut feed).await, [0, 1, 2]);
    drop(feed);
    topics.set(Topics::ALL);
    assert!(!publisher.has_subscribers(Topic::Poll), "a dropped subscription has no topics");
}

#[tokio::test]
async fn each_subscriber_gets_its_topics_from_its_subscription_on() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    assert!(!publisher.has_subscribers(Topic::Poll));
    publisher.publish(&relayed(Topic::Poll, 1));
    let mut polls = bus.subscribe(Topics::only(Topic::Poll));
    let mut all = bus.subscribe(Topics::ALL);
    assert!(publisher.has_subscribers(Topic::Poll));
    for topic in [Topic::Poll, Topic::Bitswap, Topic::Poll] {
        publisher.publish(&relayed(topic, 1));
    }
    assert_eq!(numbers(&mut polls).await, [0, 1]);
    assert_eq!(numbers(&mut all).await, [0, 1, 2]);
    drop(all);
    assert!(publisher.has_subscribers(Topic::Poll) && !publisher.has_subscribers(Topic::Bitswap));
    drop(polls);
    assert!(!publisher.has_subscribers(Topic::Poll));
}

#[tokio::test]
async fn a_slow_subscriber_misses_the_newest_and_sees_it() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
    for _ in 0..MAX_QUEUED + 10 {
        publisher.publish(&relayed(Topic::Bitswap, 1));
    }
    let (taken, missed) = numbers_and_missed(&mut feed).await;
    assert_eq!((taken.len(), taken.last()), (MAX_QUEUED, Some(&(MAX_QUEUED as u64 - 1))));
    assert_eq!(missed, [(Topic::Bitswap, 10)]);
    publisher.publish(&relayed(Topic::Bitswap, 1));
    assert_eq!(numbers_and_missed(&mut feed).await, (vec![MAX_QUEUED as u64 + 10], vec![]));
}

#[tokio::test]
async fn large_changes_are_bounded_by_their_bytes() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
    for _ in 0..4 {
        publisher.publish(&relayed(Topic::Bitswap, MAX_QUEUED_BYTES / 2 - 100));
    }
    assert_eq!(numbers(&mut feed).await, [0, 1]);
    publisher.publish(&relayed(Topic::Bitswap, MAX_QUEUED_BYTES * 2));
    assert_eq!(numbers(&mut feed).await, [4]);
}

#[tokio::test]
async fn a_publisher_can_wait_for_capacity() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    publisher.wait_for_capacity().await;
    let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
    for _ in 0..=MAX_QUEUED / 2 {
        publisher.publish(&relayed(Topic::Bitswap, 1));
    }
    let mut room = std::pin::pin!(publisher.wait_for_capacity());
    assert!(futures_util::poll!(&mut room).is_pending());
    numbers(&mut feed).await;
    room.await;
}

#[tokio::test]
async fn a_dropped_subscription_leaves_capacity() {
    let bus = Bus::default();
    let publisher = bus.publisher().clone();
    let feed = bus.subscribe(Topics::only(Topic::Bitswap));
    publisher.publish(&relayed(Topic::Bitswap, MAX_QUEUED_BYTES));
    let mut room = std::pin::pin!(publisher.wait_for_capacity());
    assert!(futures_util::poll!(&mut room).is_pending());
    drop(feed);
    room.await;
}
