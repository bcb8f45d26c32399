//! Compression of responses that people ask for, in the encoding that a request accepts.

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http::{HeaderMap, Response};

use crate::exposition::gzip::{CompressionLevel, Compressor, Joiner, Piece};
use crate::exposition::negotiate::{self, ContentEncoding};

/// Bytes of text from which on a response is compressed. TCP sends as many in the first round trip (RFC 6928: ten segments), so that a shorter
/// response arrives no sooner.
pub const MIN_GZIP_BYTES: usize = 14 << 10;

/// The encoding of a response to a request with these headers, if it is large enough.
#[must_use]
pub fn encoding(headers: &HeaderMap) -> ContentEncoding {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    negotiate::content_encoding(values.map(HeaderValue::as_bytes))
}

/// Adds the headers of a response in this encoding. The format of most such responses depends on `Accept` as well.
pub fn set_encoding(head: &mut HeaderMap, encoding: ContentEncoding) {
    head.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if encoding == ContentEncoding::Gzip {
        head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// A rendered response in this encoding; as it is if it is shorter than [`MIN_GZIP_BYTES`]. Call it where rendering is done: it takes about ten
/// milliseconds for each megabyte.
#[must_use]
pub(super) fn encoded(response: Response<String>, encoding: ContentEncoding) -> Response<Body> {
    let (mut head, text) = response.into_parts();
    let is_large = text.len() >= MIN_GZIP_BYTES;
    let encoding = if is_large { encoding } else { ContentEncoding::Identity };
    set_encoding(&mut head.headers, encoding);
    let body = match encoding {
        ContentEncoding::Identity => Bytes::from(text),
        ContentEncoding::Gzip => {
            let mut joiner = Joiner::default();
            gzip_piece(&mut joiner, text.into(), true)
        }
    };
    Response::from_parts(head, Body::from(body))
}

/// The next bytes of a gzip member, and its end after the last text.
pub(super) fn gzip_piece(joiner: &mut Joiner, text: Bytes, is_last: bool) -> Bytes {
    let piece = Piece::compress(&[text], CompressionLevel::Fast, &mut Compressor::new());
    let mut slices = joiner.push(&piece);
    if is_last {
        slices.push(joiner.finish());
    }
    slices.concat().into()
}

#[cfg(test)]
pub(super) mod tests;
