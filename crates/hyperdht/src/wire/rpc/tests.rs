#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use proptest::prelude::*;

fn decode(message: &[u8]) -> Result<Option<Call>, WireFault> {
    let mut from = Reader::new(Bytes::copy_from_slice(message));
    from.uint("a channel")?;
    let kind = from.uint("a kind")?;
    Call::decode(kind, from.rest())
}

#[test]
fn the_bytes_are_the_originals() {
    let seen = b"\x01\x00\x18\x07metrics\x01\x01";
    assert_eq!(Call::request(1, 0x18, "metrics", &[1, 1]), seen);
    let (id, method, value) = (0x18, "metrics".to_owned(), Bytes::from_static(&[1, 1]));
    assert_eq!(decode(seen).unwrap(), Some(Call::Request { id, method, value }));
    let pieces = [Bytes::from_static(&[1, 1]), Bytes::from_static(&[1, 1])];
    assert_eq!(Call::response(1, 5, Ok(&pieces)), [1, 1, 0, 5, 1, 1, 1, 1]);
}

#[test]
fn errors_carry_what_their_flags_say() {
    let failure = |message: &str, code| {
        let message = message.to_owned();
        Some(Call::Response(Reply {
            id: 9,
            outcome: Err(RpcError { message, code }),
        }))
    };
    assert_eq!(decode(b"\x01\x01\x01\x09\x03bad").unwrap(), failure("bad", None));
    assert_eq!(
        decode(b"\x01\x01\x03\x09\x03bad\x01X").unwrap(),
        failure("bad", Some(RpcErrorCode::Other("X".to_owned())))
    );
    let all = b"\x01\x01\x0f\x09\x03bad\x0cDECODE_ERROR\x01c\x01d\x01e";
    assert_eq!(decode(all).unwrap(), failure("bad", Some(RpcErrorCode::Decode)));
    assert!(decode(&all[..all.len() - 1]).is_err());
    assert!(decode(b"\x01\x01").is_err() && decode(b"\x01\x00\x01\x05abc").is_err());
    assert_eq!(decode(b"\x01\x07abc").unwrap(), None);
    let told = RpcError {
        message: "no".to_owned(),
        code: Some(RpcErrorCode::UnknownMethod),
    };
    assert_eq!(told.to_string(), "UNKNOWN_METHOD: no");
}

proptest! {
    #[test]
    fn requests_and_responses_read_back(id: u64, method in "\\PC{0,60}", value: Vec<u8>, message in "\\PC{0,60}", code in 0_usize..6) {
        let request = Call::Request { id, method: method.clone(), value: value.clone().into() };
        prop_assert_eq!(decode(&Call::request(1, id, &method, &value))?, Some(request));
        let value = Bytes::from(value);
        let response = Call::response(1, id, Ok(std::slice::from_ref(&value)));
        prop_assert_eq!(decode(&response)?, Some(Call::Response(Reply { id, outcome: Ok(value) })));
        let codes = [RpcErrorCode::UnknownMethod, RpcErrorCode::Request, RpcErrorCode::Decode, RpcErrorCode::Encode, RpcErrorCode::Other("E".into())];
        let failure = RpcError { message, code: codes.get(code).cloned() };
        let response = Call::response(1, id, Err(&failure));
        prop_assert_eq!(decode(&response)?, Some(Call::Response(Reply { id, outcome: Err(failure) })));
    }

    #[test]
    fn no_bytes_panic(kind in 0_u64..3, payload: Vec<u8>) {
        let _ = Call::decode(kind, payload.into());
    }
}
