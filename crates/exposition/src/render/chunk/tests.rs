use super::*;

#[test]
fn portions_are_bounded_and_whole() {
    let text = [vec![1; MAX_PIECE_TEXT - 1], vec![2; 2 * MAX_PIECE_TEXT], vec![3; 5]].map(Bytes::from);
    let portions = portions(&text);
    assert!(portions.iter().all(|it| it.iter().map(Bytes::len).sum::<usize>() <= MAX_PIECE_TEXT));
    assert_eq!(portions.concat().concat(), text.concat());
}

#[test]
fn compressing_changes_the_form_and_not_the_text() {
    let chunk = Chunk::new(vec![Bytes::from(vec![b'a'; 1000])]);
    let stored = chunk.pieces();
    chunk.compress(CompressionLevel::Fast, &mut Compressor::new());
    assert_eq!(chunk.level(), Some(CompressionLevel::Fast));
    let deflated: u64 = chunk.pieces().iter().map(Piece::deflated_len).sum();
    assert!(deflated < 100);
    assert_eq!(chunk.pieces()[0].text_len(), stored[0].text_len());
}
