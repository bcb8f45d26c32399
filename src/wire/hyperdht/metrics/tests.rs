#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn the_bytes_are_the_originals() {
    for (reply, bytes) in [
        (MetricsReply::Metrics(Bytes::from_static(b"a 1\n")), &b"\x00\x01\x04a 1\n"[..]),
        (MetricsReply::Metrics(Bytes::new()), b"\x00\x01\x00"),
        (MetricsReply::Failed("uid".to_owned()), b"\x00\x00\x03uid"),
    ] {
        assert_eq!(reply.encode(), bytes);
        assert_eq!(MetricsReply::decode(Bytes::copy_from_slice(bytes)).unwrap(), reply);
    }
    assert_eq!(
        MetricsReply::decode(Bytes::from_static(b"\x00\x01\x05abc")),
        Err(WireFault::Short("metrics"))
    );
}

proptest! {
    #[test]
    fn messages_read_back(text: Vec<u8>, why in "\\PC{0,60}") {
        for reply in [MetricsReply::Metrics(text.into()), MetricsReply::Failed(why)] {
            prop_assert_eq!(MetricsReply::decode(reply.encode().into())?, reply);
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = MetricsReply::decode(bytes.into());
    }
}
