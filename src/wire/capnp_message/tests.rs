#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::wire::{FormatChoice, Inbound, StreamDecoder};
use bytes::BufMut as _;

#[test]
fn what_is_written_can_be_read() {
    let app = AppName::new("ä app").unwrap();
    let bytes = encode(&app, "a 1\n");
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, 1024);
    decoder.spare(bytes.len()).put_slice(&bytes);
    assert_eq!(decoder.next(), Some(Ok(Inbound { app, data: "a 1\n".into() })));
    assert_eq!(decoder.finish(), None);
}
