use std::future::poll_fn;

use futures_util::FutureExt;

use super::*;

/// The bytes that a response may write now; none if it has to wait.
fn room(response: &mut ResponseTurns) -> Option<usize> {
    poll_fn(|cx| response.poll_room(cx)).now_or_never()
}

fn wrote(response: &mut ResponseTurns, outcome: Poll<usize>) {
    let done = poll_fn(|cx| {
        response.wrote(&outcome, cx);
        Poll::Ready(())
    });
    assert!(done.now_or_never().is_some());
}

/// A response that has written its first bytes.
fn large(link: &LinkTurns) -> ResponseTurns {
    let mut response = ResponseTurns::new(link);
    assert_eq!(room(&mut response), Some(FREE_BYTES));
    wrote(&mut response, Poll::Ready(FREE_BYTES));
    response
}

#[tokio::test]
async fn large_responses_take_turns_and_small_ones_need_none() {
    let link = LinkTurns::default();
    let mut all: Vec<_> = (0..=WRITERS).map(|_| large(&link)).collect();
    let rooms: Vec<_> = all.iter_mut().map(room).collect();
    assert_eq!(rooms[..WRITERS], [Some(TURN_BYTES); WRITERS]);
    assert_eq!(rooms[WRITERS], None);
    assert_eq!(room(&mut ResponseTurns::new(&link)), Some(FREE_BYTES), "a small one");
    wrote(&mut all[0], Poll::Ready(TURN_BYTES - 1));
    assert_eq!((room(&mut all[0]), room(&mut all[WRITERS])), (Some(1), None));
    wrote(&mut all[0], Poll::Ready(1));
    // The turn goes to the one that waits, and the first one waits behind it.
    assert_eq!((room(&mut all[0]), room(&mut all[WRITERS])), (None, Some(TURN_BYTES)));
    all[1].release();
    assert_eq!(
        room(&mut all[0]),
        Some(TURN_BYTES),
        "a response with nothing to write at the moment gives its turn back"
    );
    assert_eq!(room(&mut all[1]), None);
    all.truncate(WRITERS);
    assert_eq!(room(&mut all[1]), Some(TURN_BYTES), "a dropped response gives its turn back");
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_reader_does_not_read_gives_its_turn_up() {
    let link = LinkTurns::default();
    let mut stuck: Vec<_> = (0..WRITERS).map(|_| large(&link)).collect();
    let mut other = large(&link);
    for response in &mut stuck {
        assert_eq!(room(response), Some(TURN_BYTES));
        wrote(response, Poll::Pending);
    }
    assert_eq!(room(&mut other), None);
    sleep(BLOCKED_AFTER + Duration::from_millis(1)).await;
    stuck.iter_mut().for_each(|response| wrote(response, Poll::Pending));
    assert_eq!(room(&mut other), Some(TURN_BYTES));
    // It may write as soon as it can, and from then on it takes turns again.
    let mut further: Vec<_> = (1..WRITERS).map(|_| large(&link)).collect();
    assert!(further.iter_mut().all(|response| room(response).is_some()));
    assert_eq!(room(&mut stuck[0]), Some(TURN_BYTES));
    wrote(&mut stuck[0], Poll::Ready(10));
    assert_eq!(room(&mut stuck[0]), None);
}
