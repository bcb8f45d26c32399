#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// All frames, and how often the body yielded.
fn collect(mut body: SharedBody) -> (Vec<Bytes>, usize) {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut frames, mut yields) = (Vec::new(), 0);
    loop {
        let before = body.size_hint().exact().unwrap();
        assert_eq!(body.is_end_stream(), before == 0);
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Pending => yields += 1,
            Poll::Ready(None) => return (frames, yields),
            Poll::Ready(Some(frame)) => {
                let data = frame.unwrap().into_data().unwrap();
                assert_eq!(body.len(), before - data.len() as u64);
                frames.push(data);
            }
        }
    }
}

#[test]
fn large_parts_are_sliced_without_a_copy_and_it_yields_in_between() {
    let part = Bytes::from(vec![7; 5 * FRAME + 3]);
    let start = part.as_ptr();
    let (frames, yields) = collect(SharedBody::from(vec![part]));
    assert_eq!(
        frames.iter().map(Bytes::len).collect::<Vec<_>>(),
        [FRAME, FRAME, FRAME, FRAME, FRAME, 3]
    );
    assert_eq!(yields, 5);
    assert_eq!(frames[2].as_ptr(), start.wrapping_add(2 * FRAME));
}

#[test]
fn slices_are_joined_as_they_are_sent() {
    let row = Slices::new((0..100_000).map(|n| Bytes::from(n.to_string())).collect());
    let expected = row.join(&b", "[..]);
    let body = SharedBody::joined_by(row, Bytes::from_static(b", "));
    assert_eq!(body.len(), expected.len() as u64);
    let (frames, _) = collect(body);
    assert!(frames.iter().all(|frame| frame.len() <= FRAME));
    assert_eq!(frames.concat(), expected);
    for (slices, expected) in [(0, ""), (1, "x"), (2, "x--x")] {
        let row = Slices::new(vec![Bytes::from_static(b"x"); slices]);
        assert_eq!(
            collect(SharedBody::joined_by(row, Bytes::from_static(b"--"))).0.concat(),
            expected.as_bytes()
        );
    }
}

#[test]
fn nothing_is_an_end() {
    assert_eq!(collect(SharedBody::default()).0.len(), 0);
    assert_eq!(
        collect(SharedBody::new(vec![
            Slices::default(),
            Slices::new(vec![Bytes::new(), Bytes::new()])
        ]))
        .0
        .len(),
        0
    );
}

proptest! {
    #[test]
    fn the_frames_are_the_parts(sizes in prop::collection::vec(0usize..400_000, 0..12), row in 1usize..5) {
        let parts: Vec<Bytes> = sizes.iter().zip(0u8..).map(|(size, byte)| Bytes::from(vec![byte; *size])).collect();
        let rows = parts.chunks(row).map(|row| Slices::new(row.to_vec())).collect();
        let (frames, yields) = collect(SharedBody::new(rows));
        prop_assert_eq!(frames.concat(), parts.concat());
        prop_assert!(frames.iter().all(|frame| !frame.is_empty() && frame.len() <= FRAME));
        prop_assert!(yields <= sizes.iter().sum::<usize>() / FRAME);
    }

    #[test]
    fn the_batches_are_the_parts(
        sizes in prop::collection::vec(0usize..400_000, 0..12),
        small in 0usize..200,
        row in 1usize..50,
        step in 1usize..500_000,
    ) {
        let sizes: Vec<usize> = sizes.into_iter().chain(vec![7; small]).collect();
        let parts: Vec<Bytes> = sizes.iter().zip((0..=u8::MAX).cycle()).map(|(size, byte)| Bytes::from(vec![byte; *size])).collect();
        let body = SharedBody::new(parts.chunks(row).map(|row| Slices::new(row.to_vec())).collect());
        let mut written = Vec::new();
        loop {
            let before = body.memory().left();
            let mut batch = body.memory().next_batch();
            prop_assert_eq!(body.memory().left(), before - batch.len() as u64);
            prop_assert!(batch.len() <= BATCH_BYTES);
            if batch.is_empty() {
                break;
            }
            while batch.has_remaining() {
                let mut slices = [IoSlice::new(&[]); BATCH_SLICES + 1];
                let count = batch.chunks_vectored(&mut slices);
                prop_assert!(count <= BATCH_SLICES);
                let chunk: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert_eq!(chunk.len(), batch.remaining());
                let taken = step.min(chunk.len());
                written.extend_from_slice(&chunk[..taken]);
                batch.advance(taken);
            }
        }
        prop_assert_eq!(body.memory().left(), 0);
        prop_assert_eq!(written, parts.concat());
    }
}
