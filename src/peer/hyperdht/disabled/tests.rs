use super::*;

#[tokio::test]
async fn the_error_says_what_to_do() {
    let error = Network::join(&[], 0).await.err().map(|e| e.to_string());
    let expected =
        "this program was built without HyperDHT; build it with the cargo feature \"hyperdht\", or use quic:// instead of hyperdht://";
    assert_eq!(error.as_deref(), Some(expected));
}
