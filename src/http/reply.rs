//! Short answers, as text that ends in a newline.

use std::fmt::Display;

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

/// An answer of plain text; a newline is added where it lacks one.
#[must_use]
pub fn text(status: StatusCode, text: impl Display) -> Response<Body> {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
