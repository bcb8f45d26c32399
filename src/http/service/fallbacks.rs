//! The answers for paths and methods that are not there.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{HeaderValue, LOCATION};
use http::{Request, Response, StatusCode, Uri};

use crate::http::access::Need;
use crate::http::{reply, routes};

/// The response to a request without a route, if its sender has no role at all.
fn refusal_of_any(request: Request<Body>) -> Option<Response<Body>> {
    let need = Need { role: None, app: None };
    routes::refusal(&request.into_parts().0, need)
}

/// Adds the answers for paths and methods that are not there: a list of `endpoints`, or the redirect to one of the router's `paths`.
pub(super) fn with_fallbacks(routes: Router, paths: Arc<[String]>, endpoints: &[&str]) -> Router {
    let list: Arc<str> = endpoints
        .iter()
        .map(|endpoint| format!("  {endpoint}\n"))
        .collect::<String>()
        .into();
    let not_found = move |request: Request<Body>| {
        let (list, paths, uri) = (list.clone(), paths.clone(), request.uri().clone());
        async move {
            if let Some(refusal) = refusal_of_any(request) {
                return refusal;
            }
            without_slash(&uri, &paths).unwrap_or_else(|| {
                reply::text(
                    StatusCode::NOT_FOUND,
                    format_args!("no endpoint {}; the endpoints are:\n{list}", uri.path()),
                )
            })
        }
    };
    let not_allowed = |request: Request<Body>| async move {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let path = uri.path();
        if let Some(refusal) = refusal_of_any(request) {
            return refusal;
        }
        reply::text(
            StatusCode::METHOD_NOT_ALLOWED,
            format_args!("{path} does not allow {method}; the header Allow lists the methods it allows"),
        )
    };
    routes.fallback(not_found).method_not_allowed_fallback(not_allowed)
}

/// The redirect from a path with a slash at its end to the same without, where that is the path of a route.
fn without_slash(uri: &Uri, paths: &[String]) -> Option<Response<Body>> {
    let path = uri.path().strip_suffix('/')?;
    let is_it = |route: &String| {
        let (mut wanted, mut found) = (route.split('/'), path.split('/'));
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some(wanted), Some(found)) if wanted == found || (is_parameter(wanted) && !found.is_empty()) => {}
                _ => return false,
            }
        }
    };
    paths.iter().any(is_it).then_some(())?;
    let last = path.rsplit('/').next().filter(|last| !last.is_empty())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // Relative, so that it holds behind a proxy that puts something before the path.
    let location = HeaderValue::try_from(format!("../{last}{query}")).ok()?;
    let mut response = reply::text(
        StatusCode::PERMANENT_REDIRECT,
        format_args!("moved to the path without the trailing slash: {path}"),
    );
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// True for a segment of a route that stands for any one segment. One for the rest of a path takes the slash itself.
fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && !segment.starts_with("{*")
}
