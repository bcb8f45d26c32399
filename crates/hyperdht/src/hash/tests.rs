use super::*;
use crate::key::tests::bytes;

/// The values are those of libsodium and of the npm package hypercore-crypto.
#[test]
fn hashes_are_those_of_libsodium() {
    // The id of a node: the hash of its address.
    let address = [127, 0, 0, 1, 0x49, 0xc2];
    assert_eq!(
        hash(&[&address]),
        bytes("d1dcf835b0d62b9230c41393cb96a34f5f8b9f814f421ca3382dfc1678022e0e")
    );
    assert_eq!(hash(&[&address[..2], &address[2..]]), hash(&[&address]));
    assert_eq!(
        keyed_hash(&[1; 64], b"data"),
        bytes("75b06b36f32364eff7f2d2ee3ddac15ddac685eba43e30672360e2e50a3c26d3")
    );
    assert_eq!(
        namespace("hyperswarm/dht", 0),
        bytes("14d6d4b49214ab1033ed204976caa258bae9e1e8543b9ad1fd996a910b0c4e3a")
    );
    // The test vector of RFC 7693, appendix A.
    assert_eq!(
        long_hash(&[b"a", b"bc"]),
        bytes(
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
        )
    );
}
