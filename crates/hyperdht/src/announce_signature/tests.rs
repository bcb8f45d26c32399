use super::*;
use crate::key::KeyPair;
use crate::key::tests::bytes;
use crate::messages::PeerRecord;

/// Signatures of the npm package hyperdht for the same record, token and node.
#[test]
fn signatures_are_those_of_the_javascript_programs() {
    let pair = KeyPair::from_seed(&[1; 32]);
    let record = PeerRecord {
        public_key: *pair.public_key().as_bytes(),
        relays: Vec::new(),
    };
    let signature = |purpose| pair.sign(&signed_text(purpose, &[5; 32], &[7; 32], &[6; 32], &record.encode(), None));
    let announce =
        "0367e3bf3250685f2f34e0f66dfca3875ef4d80719fb169b49048787368d093d8b40eeea37165bc69f46e49a161f32a14a1d4de5f1b24fb4b03adfb547073c06";
    let unannounce =
        "2e3c7588ad7bc911ef0385103425b966c5b567e7c981a113838a1dcc650d0ada2d1f4436c5755570eb404f9250eba5de21d618ecee0bc867eadcd9b655fb0c05";
    assert_eq!(signature(Purpose::Announce), bytes(announce));
    assert_eq!(signature(Purpose::Unannounce), bytes(unannounce));
}
