#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use super::*;

/// A body with frames from a channel.
struct Piped(mpsc::UnboundedReceiver<Result<Bytes, &'static str>>);

impl Body for Piped {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx).map(|next| next.map(|data| data.map(Frame::data)))
    }
}

fn piped() -> (mpsc::UnboundedSender<Result<Bytes, &'static str>>, ReadAhead<&'static str>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, read_ahead(Response::new(Piped(receiver))).into_body())
}

/// Gives the task time to read all that is available.
async fn run_task() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn all_of_a_response_is_taken_from_its_link_while_nothing_reads() {
    let (sender, mut body) = piped();
    for _ in 0..100 {
        sender.send(Ok(Bytes::from_static(b"12345"))).unwrap();
    }
    drop(sender);
    run_task().await;
    assert_eq!(body.bytes.load(Ordering::Relaxed), 500);
    assert_eq!((&mut body).collect().await.unwrap().to_bytes().len(), 500);
    assert_eq!(body.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_ahead_is_bounded_and_goes_on_as_it_is_read() {
    let (sender, mut body) = piped();
    let piece = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..40 {
        sender.send(Ok(piece.clone())).unwrap();
    }
    run_task().await;
    assert_eq!(body.bytes.load(Ordering::Relaxed), MAX_AHEAD);
    body.frame().await.unwrap().unwrap();
    run_task().await;
    assert_eq!(body.bytes.load(Ordering::Relaxed), MAX_AHEAD);
}

#[tokio::test]
async fn a_response_that_breaks_off_does_so_after_what_came() {
    let (sender, mut body) = piped();
    sender.send(Ok(Bytes::from_static(b"12345"))).unwrap();
    sender.send(Err("lost")).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 5);
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "lost");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_reading() {
    let (sender, body) = piped();
    run_task().await;
    drop(body);
    sender.closed().await;
}

/// A body of known length.
struct Sized(Piped, u64);

impl Body for Sized {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

#[tokio::test]
async fn a_response_of_known_length_ends_with_its_last_byte() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut body = read_ahead(Response::new(Sized(Piped(receiver), 10))).into_body();
    for is_last in [false, true] {
        assert!(!body.is_end_stream());
        sender.send(Ok(Bytes::from_static(b"12345"))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 5);
        // The channel is open, so the task has not seen the end.
        assert_eq!(body.is_end_stream(), is_last);
    }
}
