use super::*;

fn fill(buffer: &mut Buffer, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut spare = buffer.spare(rest.len(), usize::MAX);
        let n = spare.remaining_mut().min(rest.len());
        spare.put_slice(&rest[..n]);
        rest = &rest[n..];
    }
}

#[test]
fn nothing_is_allocated_before_the_first_byte_nor_kept_after_the_last() {
    let mut buffer = Buffer::new();
    assert_eq!(buffer.capacity(), 0);
    fill(&mut buffer, b"abc");
    buffer.release();
    assert_eq!(buffer.unread(), b"abc", "what is unread is never given away");
    buffer.consume(3);
    buffer.release();
    assert_eq!((buffer.capacity(), buffer.offset()), (0, 3));
}

#[test]
fn reads_grow_while_they_are_filled() {
    let mut buffer = Buffer::new();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let mut spare = buffer.spare(0, usize::MAX);
        let n = spare.remaining_mut();
        spare.put_slice(&vec![b'x'; n]);
        sizes.push(n);
        buffer.consume(n);
    }
    assert_eq!(sizes, [8192, 16384, 32768, 65536, 65536, 65536]);
    buffer.spare(0, usize::MAX).put_slice(b"x");
    buffer.consume(1);
    assert_eq!(buffer.spare(0, usize::MAX).remaining_mut(), LARGEST_READ);
}

#[test]
fn a_known_size_is_reserved_exactly_and_only_as_allowed() {
    let mut buffer = Buffer::new();
    fill(&mut buffer, b"head");
    assert_eq!(buffer.spare(1_000_000, 300).remaining_mut(), 300);
    assert_eq!(buffer.spare(1_000_000, usize::MAX).remaining_mut(), 1_000_000);
    assert_eq!(buffer.capacity(), 1_000_004);
    assert_eq!(buffer.unread(), b"head");
}

#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    let mut buffer = Buffer::new();
    fill(&mut buffer, &vec![b'x'; 1_000_000]);
    buffer.consume(999_990);
    assert!(buffer.capacity() >= 1_000_000);
    assert!(buffer.spare(0, usize::MAX).remaining_mut() > 0);
    assert!(buffer.capacity() <= LARGEST_READ, "{}", buffer.capacity());
    assert_eq!(buffer.unread(), b"xxxxxxxxxx");
    fill(&mut buffer, &vec![b'y'; 1_000_000]);
    buffer.consume(1_000_010);
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn a_large_message_in_small_pieces_is_seldom_moved() {
    let mut buffer = Buffer::new();
    fill(&mut buffer, &vec![b'x'; 2 * LARGEST_READ]);
    let (mut moves, mut capacity) = (0, buffer.capacity());
    while buffer.len() < 64 * LARGEST_READ {
        // As for a message of unknown length, which doubles.
        let wanted = buffer.len();
        buffer.spare(wanted, usize::MAX).put_slice(&[b'y'; 100]);
        if buffer.capacity() != capacity {
            (moves, capacity) = (moves + 1, buffer.capacity());
        }
    }
    assert!(moves <= 10, "{moves}");
    assert!(buffer.unread().starts_with(b"x") && buffer.unread().ends_with(b"y"));
}
