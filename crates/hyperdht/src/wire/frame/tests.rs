#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

fn open(channel: u64, protocol: &str) -> Frame {
    Frame::Open {
        channel,
        protocol: protocol.to_owned(),
        id: Bytes::new(),
    }
}

fn data(channel: u64, kind: u64, payload: &'static [u8]) -> Frame {
    let payload = Bytes::from_static(payload);
    Frame::Data { channel, kind, payload }
}

fn frames(message: &[u8]) -> Result<Vec<Frame>, WireFault> {
    Frames::of(Bytes::copy_from_slice(message)).collect()
}

/// As seen from the JavaScript programs.
#[test]
fn the_bytes_are_the_originals() {
    let seen = b"\x00\x01\x01\x0eregister-alias\x00";
    assert_eq!(open(1, "register-alias").encode(), seen);
    assert_eq!(frames(seen).unwrap(), [open(1, "register-alias")]);
    let seen = [1, 0, 0x18, 7, b'm', b'e', b't', b'r', b'i', b'c', b's', 1, 1];
    assert_eq!(frames(&seen).unwrap(), [data(1, 0, b"\x18\x07metrics\x01\x01")]);
    assert_eq!(Frame::Reject { channel: 3 }.encode(), [0, 2, 3]);
    assert_eq!(Frame::Close { channel: 2 }.encode(), [0, 3, 2]);
}

#[test]
fn a_batch_holds_frames_of_several_channels() {
    let mut batch = vec![0, 0, 7, 2, 1, b'a', 1, 2, 0, 9, 3, 0, b'b', b'c'];
    assert_eq!(frames(&batch).unwrap(), [data(7, 1, b"a"), data(7, 2, b""), data(9, 0, b"bc")]);
    // It may contain control frames, also of unknown kinds.
    batch.extend_from_slice(&[0, 0, 2, 3, 7, 1, 99, 5, 1, 2, 1, b'p', 0]);
    assert_eq!(frames(&batch).unwrap()[3..], [Frame::Close { channel: 7 }, open(2, "p")]);
    assert_eq!(frames(&[0, 0, 7]).unwrap(), []);
}

#[test]
fn faults_end_a_message() {
    for bad in [
        &[0][..],
        &[1],
        &[0, 0],
        &[0, 0, 7, 5, 1],
        &[0, 0, 0, 2, 0, 1],
        &[0, 0, 7, 0],
        &[0, 1, 1, 4, b'x'],
        &[0, 1, 1, 1, 0xff, 0],
        &[0, 1, 1, 0xfd, 0, 1, 0],
        &[0, 2],
    ] {
        assert!(frames(bad).is_err(), "{bad:?}");
    }
    assert_eq!(frames(&[]).unwrap(), []);
    assert_eq!(frames(&[0, 9, 1, 2, 3]).unwrap(), [], "a kind of control of tomorrow");
    let mut after = Frames::of(Bytes::from_static(&[0, 0, 0, 2, 0, 1, 1, 1]));
    assert!(after.next().unwrap().is_err() && after.next().is_none());
}

proptest! {
    #[test]
    fn frames_read_back(channel in 1_u64.., protocol in "\\PC{0,60}", id: Vec<u8>, kind: u64, payload: Vec<u8>) {
        for frame in [
            Frame::Open { channel, protocol, id: id.into() },
            Frame::Reject { channel },
            Frame::Close { channel },
            Frame::Data { channel, kind, payload: payload.into() },
        ] {
            prop_assert_eq!(frames(&frame.encode())?, [frame]);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), control in 0_u8..4) {
        let _ = frames(&bytes);
        let _ = frames(&[&[0, control][..], &bytes].concat());
    }
}
