//! Short answers, as text that ends in a newline.

use std::borrow::Cow;
use std::fmt::Display;

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::model::{is_hidden, printable, printable_json};

/// An answer of plain text; a newline is added where it lacks one. Characters that a terminal interprets are escaped.
#[must_use]
pub fn text(status: StatusCode, text: impl Display) -> Response<Body> {
    rendered_text(status, text).map(Body::from)
}

/// As [`text`], with the text as the body.
#[must_use]
pub fn rendered_text(status: StatusCode, text: impl Display) -> Response<String> {
    let mut text = printable(&text.to_string()).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    answer(status, "text/plain; charset=utf-8", text)
}

/// An error as Go's HTTP servers send it, for clients that expect one of them.
#[must_use]
pub fn go_error(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = self::text(status, text);
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A value as JSON, ended by a newline for those who read it in a terminal.
#[must_use]
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    rendered_json(status, value).map(Body::from)
}

/// As [`json`], with the text as the body.
#[must_use]
pub fn rendered_json(status: StatusCode, value: &impl Serialize) -> Response<String> {
    let text = serde_json::to_string(value).expect("the program's own values have texts as keys, which JSON needs");
    let escaped = match printable_json(&text) {
        Cow::Owned(escaped) => Some(escaped),
        Cow::Borrowed(_) => None,
    };
    let mut text = escaped.unwrap_or(text);
    text.push('\n');
    answer(status, "application/json", text)
}

/// A page for a browser, which may load nothing from anywhere.
#[must_use]
pub fn html(page: String) -> Response<String> {
    let mut answer = answer(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'");
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

/// Text that cannot break out of an element or an attribute of a page, nor change the order in which it is shown.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if is_hidden(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
