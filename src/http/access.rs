//! Who may write, and who may post events.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use ipnet::IpNet;

use super::{Connection, reply};

/// Lets a request pass that may change something: its effective client is in `http.write_from`.
///
/// # Errors
///
/// The answer for all others: 403 with the key to change and the address that was seen.
#[expect(clippy::result_large_err, reason = "the error is the answer, and is sent at once")]
pub fn may_write(connection: &Connection, headers: &HeaderMap) -> Result<(), Response<Body>> {
    pass(connection, headers, &connection.access().write_from, "http.write_from")
}

/// Lets a request pass that posts an event: its effective client is in `events.post_from`.
///
/// # Errors
///
/// The answer for all others, as for [`may_write`].
#[expect(clippy::result_large_err, reason = "the error is the answer, and is sent at once")]
pub fn may_post_events(connection: &Connection, headers: &HeaderMap) -> Result<(), Response<Body>> {
    pass(connection, headers, &connection.access().post_events_from, "events.post_from")
}

#[expect(clippy::result_large_err, reason = "the error is the answer, and is sent at once")]
fn pass(connection: &Connection, headers: &HeaderMap, allowed: &[IpNet], key: &str) -> Result<(), Response<Body>> {
    let client = connection.client(headers);
    if client.is_in(allowed) {
        return Ok(());
    }
    Err(reply::text(
        StatusCode::FORBIDDEN,
        format_args!("{client} may not write here: the key {key} lists who may"),
    ))
}
