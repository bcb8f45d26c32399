//! Frames of HyperDHT's channels, and the calls in them.

use bytes::Bytes;
use exporter_proxy_hyperdht::wire::{Call, Frame, Frames, Reply};

/// Checks that there are no more frames than bytes and none after a fault, and that frames and calls encode and decode to the same.
pub fn check(input: &[u8]) {
    let mut frames = Frames::of(Bytes::copy_from_slice(input));
    let mut count = 0;
    while let Some(frame) = frames.next() {
        count += 1;
        assert!(count <= input.len(), "more frames than bytes");
        match frame {
            Ok(frame) => same(&frame),
            Err(_) => assert!(frames.next().is_none(), "it goes on after a fault"),
        }
    }
}

fn same(frame: &Frame) {
    // Channel 0 never has data.
    let again: Vec<_> = Frames::of(frame.encode().into()).collect();
    assert_eq!(again, [Ok(frame.clone())]);
    let Frame::Data { kind, payload, .. } = frame else { return };
    let Ok(Some(call)) = Call::decode(*kind, payload.clone()) else {
        return;
    };
    let written = match &call {
        Call::Request { id, method, value } => Call::request(1, *id, method, value),
        Call::Response(Reply { id, outcome }) => match outcome {
            Ok(value) => Call::response(1, *id, Ok(std::slice::from_ref(value))),
            Err(failure) => Call::response(1, *id, Err(failure)),
        },
    };
    let Some(Ok(Frame::Data { kind, payload, .. })) = Frames::of(written.into()).next() else {
        panic!("a call is no frame")
    };
    assert_eq!(Call::decode(kind, payload), Ok(Some(call)));
}
