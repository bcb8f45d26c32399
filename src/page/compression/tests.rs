#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read as _;

use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;

use super::*;

/// The encoding of a response and its text.
pub(in crate::page) async fn read(response: Response<Body>) -> (ContentEncoding, String) {
    assert_eq!(response.headers()[VARY], "accept, accept-encoding");
    let is_gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    if !is_gzip {
        return (ContentEncoding::Identity, String::from_utf8(body.to_vec()).unwrap());
    }
    let mut text = String::new();
    let mut decoder = GzDecoder::new(&*body);
    decoder.read_to_string(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "it is one member");
    (ContentEncoding::Gzip, text)
}

#[tokio::test]
async fn a_large_response_is_compressed_for_clients_that_accept_it() {
    use ContentEncoding::{Gzip, Identity};
    for (length, accepted, expected) in [
        (MIN_GZIP_BYTES - 1, Gzip, Identity),
        (MIN_GZIP_BYTES, Gzip, Gzip),
        (MIN_GZIP_BYTES, Identity, Identity),
        (3 << 20, Gzip, Gzip),
    ] {
        let text = "some text\n".repeat(length / 10 + 1)[..length].to_owned();
        let response = encoded(Response::new(text.clone()), accepted);
        let (got, shown) = read(response).await;
        assert!(got == expected && shown == text, "{length} bytes as {got:?}");
    }
}

#[test]
fn a_request_without_the_header_gets_the_text_as_it_is() {
    let mut headers = HeaderMap::new();
    assert_eq!(encoding(&headers), ContentEncoding::Identity);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
    assert_eq!(encoding(&headers), ContentEncoding::Gzip);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0"));
    assert_eq!(encoding(&headers), ContentEncoding::Identity);
}
