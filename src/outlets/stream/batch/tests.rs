#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

fn batch(lengths: &[usize]) -> Batch {
    let ends: Vec<usize> = lengths
        .iter()
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect();
    let bytes: Vec<u8> = (0..*ends.last().unwrap()).map(|at| u8::try_from(at % 251).unwrap()).collect();
    Batch::new(bytes.into(), ends.into())
}

#[test]
fn a_batch_is_cut_between_frames() {
    let three = batch(&[10, 20, 30]);
    let cut = |messages, bytes| three.first(messages, bytes).map(|first| (first.messages(), first.len()));
    assert_eq!(cut(9, 999), Some((3, 60)));
    assert_eq!(cut(2, 999), Some((2, 30)));
    assert_eq!(cut(9, 59), Some((2, 30)));
    assert_eq!(cut(9, 9), None);
    assert_eq!(cut(0, 999), None);
    assert_eq!(three.first(2, 60).unwrap().first(9, 10).map(|first| first.messages()), Some(1));
}

#[test]
fn a_client_gets_the_frames_of_its_topics() {
    let topics = vec![Topic::Poll, Topic::Bitswap, Topic::Poll, Topic::OneShot];
    let packed = Packed::new((0..10).collect::<Vec<u8>>().into(), [1, 3, 6, 10].into(), topics);
    let of = |topics: &[Topic]| {
        let batch = packed.of(topics.iter().copied().collect())?;
        Some((batch.bytes.to_vec(), batch.ends.to_vec(), batch.messages()))
    };
    assert_eq!(of(&Topic::ALL), Some(((0..10).collect(), vec![1, 3, 6, 10], 4)));
    assert_eq!(of(&[Topic::Poll]), Some((vec![0, 3, 4, 5], vec![1, 4], 2)));
    assert_eq!(of(&[Topic::Bitswap, Topic::OneShot]), Some((vec![1, 2, 6, 7, 8, 9], vec![2, 6], 2)));
    assert_eq!(of(&[Topic::AppUpdate]), None);
    assert_eq!(of(&[]), None);
}

proptest! {
    #[test]
    fn any_pace_of_writing_gives_all_bytes_and_counts_all_frames(
        batches in proptest::collection::vec(proptest::collection::vec(1usize..50, 1..6), 1..8),
        cuts in proptest::collection::vec((1usize..9, 1usize..200), 1..8),
        paces in proptest::collection::vec(1usize..90, 1..20),
    ) {
        let batches: Vec<Batch> = batches.iter().zip(cuts.iter().cycle())
            .filter_map(|(lengths, (messages, bytes))| batch(lengths).first(*messages, *bytes)).collect();
        let whole: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes.to_vec()).collect();
        let messages: usize = batches.iter().map(Batch::messages).sum();
        let (mut out, mut seen, mut total) = (Outgoing::default(), Vec::new(), Progress::default());
        out.extend(batches);
        let mut paces = paces.iter().cycle();
        while !out.is_empty() {
            let mut room = Outgoing::room();
            let used = out.slices(&mut room);
            let pieces: Vec<u8> = room[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let pace = (*paces.next().unwrap()).min(pieces.len());
            seen.extend_from_slice(&pieces[..pace]);
            let progress = out.advance(pace);
            total.frames += progress.frames;
            total.messages += progress.messages;
            total.bytes += progress.bytes;
        }
        prop_assert_eq!(total, Progress { frames: messages, messages, bytes: whole.len() });
        prop_assert_eq!(seen, whole);
    }
}
