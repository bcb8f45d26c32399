//! The frame of the pages for browsers: style, script, and the stream that says when a page is out of date.
//!
//! A page is complete without its script. The script fetches the page again when the stream says so, and replaces the parts that have an
//! id. Nothing on a page comes from elsewhere, and its policy forbids inline styles and scripts.

mod live;

use axum::body::Body;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use maud::{DOCTYPE, Markup, Render, html};

use crate::http::{Permission, Routes, reply};
use crate::model::printable;

pub use live::{LiveUpdates, Version};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The only things that a page may load: its own style and script, and the stream of updates.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// A page of this title. `root` leads from the page to the root of the port, such as `""` or `"../"`, so that a page works below any
/// prefix.
#[must_use]
pub fn page(title: &str, root: &str, body: &Markup) -> Response<Body> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (Plain(title)) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(format!("{root}ui/page.css"));
                script src=(format!("{root}ui/page.js")) defer data-live=(format!("{root}ui/live")) {}
            }
            body { (body) }
        }
    };
    let mut answer = reply::html(page.into_string());
    let head = answer.headers_mut();
    head.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The routes of the style, the script and the stream of updates.
pub fn routes(live: LiveUpdates) -> Routes {
    let (style, script) = (
        || async { asset("text/css; charset=utf-8", STYLE) },
        || async { asset("text/javascript; charset=utf-8", SCRIPT) },
    );
    Routes::new()
        .route("/ui/page.css", Permission::ANY_ROLE, get(style))
        .route("/ui/page.js", Permission::ANY_ROLE, get(script))
        .route("/ui/live", Permission::ANY_ROLE, get(live::stream))
        .with_state(live)
}

fn asset(content_type: &'static str, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    let head = answer.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // An upgrade may change them; a browser that asks again gets a few kilobytes.
    head.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    answer
}

/// A text of others on a page, with the characters escaped that would change how it reads, besides those that HTML needs.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a>(pub &'a str);

impl Render for Plain<'_> {
    fn render_to(&self, page: &mut String) {
        printable(self.0).as_ref().render_to(page);
    }
}

/// A span of time in one or two units, such as `42 s` and `3 h 5 min`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Returns true if a client prefers a page: it accepts HTML.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.split(',').any(|range| range.trim_start().starts_with("text/html")))
}

/// The answer to one stream of updates too many.
fn too_many() -> Response<Body> {
    reply::text(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many pages are open; this one asks again from time to time",
    )
}

#[cfg(test)]
mod tests;
