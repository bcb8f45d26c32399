//! Who may write.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};

use super::{Connection, reply};

/// Lets a request pass that may change something: its effective client is in `http.write_from`.
///
/// # Errors
///
/// The answer for all others: 403 with the key to change and the address that was seen.
#[expect(clippy::result_large_err, reason = "the error is the answer, and is sent at once")]
pub fn may_write(connection: &Connection, headers: &HeaderMap) -> Result<(), Response<Body>> {
    let client = connection.client(headers);
    if client.is_in(&connection.access().write_from) {
        return Ok(());
    }
    Err(reply::text(
        StatusCode::FORBIDDEN,
        format_args!("{client} may not write here: the key http.write_from lists who may"),
    ))
}
