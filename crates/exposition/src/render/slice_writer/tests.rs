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

#[test]
fn a_copied_header_that_stands_before_a_slice_becomes_part_of_it() {
    let mut text = b"# TYPE a gauge\n".to_vec();
    text.resize(3 * MIN_SLICE_BYTES, b'a');
    let body = Bytes::from(text);
    let mut out = SliceWriter::default();
    out.write(b"# TYPE a gauge\n");
    out.write_slice(&body, 15..2 * MIN_SLICE_BYTES);
    out.write(b"# TYPE b gauge\n");
    out.write_slice(&body, 15..MIN_SLICE_BYTES + 15);
    let parts = out.finish();
    assert_eq!(
        parts,
        [
            body.slice(..2 * MIN_SLICE_BYTES),
            // The rest of the line is the same in both.
            Bytes::from_static(b"# TYPE b"),
            body.slice(8..MIN_SLICE_BYTES + 15)
        ]
    );
    assert_eq!(parts[0].as_ptr(), body.as_ptr());
}
