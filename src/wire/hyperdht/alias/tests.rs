#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

#[test]
fn the_bytes_are_the_originals() {
    let request = AliasRequest {
        secret: [0xaa; 32],
        alias: "me".to_owned(),
        target: [0xbb; 32],
        hostname: "host".to_owned(),
        service: "svc".to_owned(),
    };
    let bytes = [&[1, 1][..], &[0xaa; 32], b"\x02me", &[0xbb; 32], b"\x04host\x03svc"].concat();
    assert_eq!(request.encode(), bytes);
    assert_eq!(AliasRequest::decode(bytes.into()).unwrap(), request);
    assert!(!format!("{request:?}").contains("170"), "the secret is never shown");
    for (reply, bytes) in [
        (AliasReply::Registered { updated: true }, &[1, 1, 1, 1][..]),
        (AliasReply::Registered { updated: false }, &[1, 1, 1, 0]),
        (AliasReply::Refused("Unauthorised".to_owned()), b"\x01\x01\x00\x0cUnauthorised"),
    ] {
        assert_eq!(reply.encode(), bytes);
        assert_eq!(AliasReply::decode(Bytes::copy_from_slice(bytes)).unwrap(), reply);
    }
}

#[test]
fn other_versions_are_refused() {
    let mut bytes = vec![2, 1];
    assert_eq!(
        AliasRequest::decode(bytes.clone().into()),
        Err(WireFault::Unknown {
            what: "major version",
            value: 2
        })
    );
    bytes[..].copy_from_slice(&[1, 2]);
    assert_eq!(
        AliasReply::decode(bytes.into()),
        Err(WireFault::Unknown {
            what: "minor version",
            value: 2
        })
    );
    assert_eq!(
        AliasReply::decode(Bytes::from_static(&[1, 0, 1, 1])),
        Ok(AliasReply::Registered { updated: true })
    );
}

proptest! {
    #[test]
    fn messages_read_back(secret: [u8; 32], alias in "\\PC{0,60}", target: [u8; 32], hostname in "\\PC{0,60}", service in "\\PC{0,60}") {
        let request = AliasRequest { secret, alias, target, hostname: hostname.clone(), service };
        prop_assert_eq!(AliasRequest::decode(request.encode().into())?, request);
        let refused = AliasReply::Refused(hostname);
        prop_assert_eq!(AliasReply::decode(refused.encode().into())?, refused);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from([&[1, 1][..], &bytes].concat());
        let _ = AliasRequest::decode(bytes.clone());
        let _ = AliasReply::decode(bytes);
    }
}
