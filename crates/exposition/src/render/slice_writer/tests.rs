use super::*;

#[test]
fn text_that_is_the_same_is_not_copied() {
    let body = Bytes::from(vec![b'x'; 3 * MIN_SLICE_BYTES]);
    let mut out = SliceWriter::default();
    out.write(b"head\n");
    out.write_slice(&body, 0..MIN_SLICE_BYTES);
    out.write(b"xx");
    out.write_slice(&body, MIN_SLICE_BYTES + 2..2 * MIN_SLICE_BYTES);
    out.write(b"\n");
    out.write_slice(&body, 0..10);
    let parts = out.finish();
    assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [5, 2 * MIN_SLICE_BYTES, 11]);
    assert_eq!(parts[1].as_ptr(), body.as_ptr());
}
