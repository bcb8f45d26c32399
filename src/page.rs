//! The frame of the pages for browsers: style, script, the stream that says when a page is out of date, and the queues and the compression of
//! what is rendered for people.
//!
//! A page is complete without its script. The script fetches the page again when the stream says so, and replaces the parts that have an
//! id. Nothing on a page comes from elsewhere, and its policy forbids inline styles and scripts.

mod compression;
mod live;
mod piece_queue;
mod render_queue;

use axum::body::Body;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use maud::{DOCTYPE, Markup, Render, html};

use crate::http::{Permission, Routes, accepts, reply};
use crate::model::printable;

pub use compression::{MIN_GZIP_BYTES, encoding, set_encoding};
pub use live::{LiveUpdates, Version};
pub use piece_queue::{PIECE_BYTES, PieceQueue, PieceWriter};
pub use render_queue::RenderQueue;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The only things that a page may load: its own style and script, and the stream of updates.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// A page of this title. `root` leads from the page to the root of the port, such as `""` or `"../"`, so that a page works below any
/// prefix.
#[must_use]
pub fn page(title: &str, root: &str, body: &Markup) -> Response<String> {
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

/// A section with a table, or with one line where there is nothing to show. Columns with a `#` before their heading have numbers.
#[must_use]
pub fn section(heading: &str, head: &[&str], rows: &[Markup], nothing: &str) -> Markup {
    html! {
        h2 { (heading) }
        @if rows.is_empty() { p.soft { (nothing) } } @else { (table(head, rows)) }
    }
}

/// A table, which scrolls where the page is too narrow. Columns with a `#` before their heading have numbers; one without a heading has
/// buttons.
#[must_use]
pub fn table(head: &[&str], rows: &[Markup]) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { @for name in head { @match name.strip_prefix('#') {
                Some(name) => { th.n scope="col" { (name) } },
                None if name.is_empty() => { th scope="col" { span.hidden { "Action" } } },
                None => { th scope="col" { (name) } },
            } } } }
            tbody { @for row in rows { tr { (row) } } }
        } }
    }
}

/// The head of the page about the program: its name, the time since its start, and how old the page is.
#[must_use]
pub fn header(name: &str, uptime_seconds: u64) -> Markup {
    html! {
        header {
            h1 { (name) }
            p.soft { "up " (span(uptime_seconds)) ", page " span #live role="status" { "as of when it was loaded" } }
        }
    }
}

/// The lines that say that the program is ready, or why it is not, and the notes about what does not work.
#[must_use]
pub fn readiness(obstacles: Option<&str>, notes: &[String]) -> Markup {
    html! {
        @match obstacles {
            None => { p.ok { "ready" } },
            Some(lines) => { @for line in lines.lines() { p.fault { "not ready: " (Plain(line)) } } },
        }
        @for note in notes { p.stale { "note: " (Plain(note)) } }
    }
}

/// Returns true if a client prefers a page: it accepts HTML.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
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
