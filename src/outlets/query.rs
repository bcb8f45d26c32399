//! Query parameters of requests, with errors that name the parameter.

use axum::extract::FromRequestParts;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

/// The query parameters of a request, read into `T`. A request with others gets 400.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(params)) => Ok(Self(params)),
            Err(rejection) => Err((StatusCode::BAD_REQUEST, message(&rejection))),
        }
    }
}

/// Returns the reason of the rejection in plain words, such as `own must be true or false`.
fn message(rejection: &QueryRejection) -> String {
    let text = rejection.body_text();
    let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    match reason.split_once(": provided string was not `true` or `false`") {
        Some((parameter, "")) => format!("{parameter} must be true or false"),
        _ => reason.to_owned(),
    }
}
