//! Access by network: the clients that may write, and those that may use a route with a list of its own.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use ipnet::IpNet;

use super::{Client, Connection, reply};

/// Lets a request pass that changes something, if its effective client is in `http.write_from`.
///
/// # Errors
///
/// The response for every other client: 403 with the address of the client and the configuration key.
#[expect(clippy::result_large_err, reason = "the error is the response, and is sent at once")]
pub fn may_write(connection: &Connection, headers: &HeaderMap) -> Result<(), Response<Body>> {
    allow_from(connection, headers, &connection.access().write_from, "push", "http.write_from")
}

/// Lets a request pass if its effective client is in one of these networks, the value of the configuration key `key`. `action` is the
/// verb of the refusal.
///
/// # Errors
///
/// The response for every other client, as for [`may_write`].
#[expect(clippy::result_large_err, reason = "the error is the response, and is sent at once")]
pub fn allow_from(connection: &Connection, headers: &HeaderMap, networks: &[IpNet], action: &str, key: &str) -> Result<(), Response<Body>> {
    let client = connection.client(headers);
    if client.is_in(networks) {
        return Ok(());
    }
    let text = match &client {
        Client::Behind(address) => format!(
            "{address} is not allowed to {action} for the client that it forwards for: it is not in http.trusted_proxies, or does not name \
             that client in X-Forwarded-For"
        ),
        client => format!("{client} is not allowed to {action}; add it to {key}"),
    };
    Err(reply::text(StatusCode::FORBIDDEN, text))
}
