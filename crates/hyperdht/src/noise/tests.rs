#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::key::tests::bytes;

fn pair(byte: u8) -> KeyPair {
    KeyPair::from_seed(&[byte; 32])
}

/// A handshake of the npm package hyperdht, with known keys of the handshake.
#[test]
fn a_handshake_is_that_of_the_javascript_programs() {
    let first_payload: [u8; 16] = bytes("011a0001010a010203d7110100070001");
    let second_payload: [u8; 18] = bytes("011a0000010a010203d7110100fd2c010001");
    let first: [u8; 112] = bytes(
        "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1605c88a9067c5f85bd7499907d5c869548dd90bed5350bb2e7cb47efe61f60bc315838e49205f95b5a618d7c8c212eebf0fd5de81ab71274e18b1cdd5cbca7f519348161f87b4316273d638879811548",
    );
    let second: [u8; 66] = bytes(
        "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7cf6c2821970c01e7f0e7fe6064e8f4ac5a9aa8bce895de65cd95a2915549b6be1f3a0",
    );
    let (initiator, message) = Initiator::start(&pair(1), pair(3), pair(2).public_key(), &first_payload).unwrap();
    assert_eq!(message, first);
    let (responder, payload) = Responder::start(&pair(2), &message).unwrap();
    assert_eq!((responder.remote, &payload[..]), (pair(1).public_key(), &first_payload[..]));
    let (reply, theirs) = responder.finish(&pair(4), &second_payload).unwrap();
    assert_eq!(reply, second);
    let (payload, ours) = initiator.finish(&reply).unwrap();
    assert_eq!(payload, second_payload);
    assert_eq!((ours.remote, theirs.remote), (pair(2).public_key(), pair(1).public_key()));
    assert_eq!(ours.tx, bytes("cc00d99bd3a15a6779df38fd42fd25a84d73264023e7c1da95cf3bcbdce9c210"));
    assert_eq!(ours.rx, bytes("78dd48ecef5d11fd953197694a8ee2d9f8d86d49d56d856e3dd7c8e78047826b"));
    assert_eq!((theirs.tx, theirs.rx, theirs.hash), (ours.rx, ours.tx, ours.hash));
    assert_eq!(
        ours.hash,
        bytes(
            "8d8d401a3472852151bda897558faac2df3f6109ad62739683a3e1f9add11188d1cfeae18fe59e732fd8345ed76426bbcd8009d809adf927a4418dfc3d4539c8"
        )
    );
}

#[test]
fn a_message_to_another_key_and_a_reply_of_another_key_are_refused() {
    let (initiator, message) = Initiator::start(&pair(1), pair(3), pair(2).public_key(), b"hello").unwrap();
    assert!(Responder::start(&pair(5), &message).is_none());
    let (_, to_another) = Initiator::start(&pair(1), pair(3), pair(5).public_key(), b"hello").unwrap();
    let (other, _) = Responder::start(&pair(5), &to_another).unwrap();
    let (reply, _) = other.finish(&pair(4), b"hello").unwrap();
    assert!(initiator.finish(&reply).is_none());
}

proptest! {
    #[test]
    fn corrupt_and_foreign_messages_are_refused(
        foreign in prop::collection::vec(any::<u8>(), 0..200),
        at: prop::sample::Index,
        flip in 1_u8..,
    ) {
        prop_assert!(Responder::start(&pair(2), &foreign).is_none());
        let (initiator, mut message) = Initiator::start(&pair(1), pair(3), pair(2).public_key(), b"payload").unwrap();
        prop_assert!(initiator.finish(&foreign).is_none());
        let (responder, _) = Responder::start(&pair(2), &message).unwrap();
        let (mut reply, _) = responder.finish(&pair(4), b"payload").unwrap();
        let place = at.index(message.len());
        message[place] ^= flip;
        // A flipped sign of the ephemeral point is another point, with another secret.
        prop_assert!(Responder::start(&pair(2), &message).is_none());
        let place = at.index(reply.len());
        reply[place] ^= flip;
        prop_assert!(initiator.finish(&reply).is_none());
    }
}
