//! `/metrics` and what else is exposition: everything, one application, and how it is encoded.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, Response};
use serde::Deserialize;

use super::{Own, unknown_app};
use crate::exposition::gzip::{Compressor, Effort, Piece, join};
use crate::exposition::negotiate::{self, Coding, Format};
use crate::http::Chunks;
use crate::store::{Exposed, View};
use crate::telemetry::{Counter, Telemetry};

/// What the metrics endpoints need.
#[derive(Debug)]
pub struct Scraping {
    view: View,
    own: Own,
    telemetry: Arc<Telemetry>,
    plain_bytes: Arc<Counter>,
    gzip_bytes: Arc<Counter>,
    /// Whether gzip is offered (`exposition.compression`).
    compression: bool,
}

/// What a scraper may ask for.
#[derive(Debug, Deserialize)]
pub(super) struct Wishes {
    /// Only this application.
    app: Option<String>,
    /// `false` leaves the proxy's own metrics out.
    #[serde(default = "yes")]
    own: bool,
}

fn yes() -> bool {
    true
}

impl Scraping {
    /// Endpoints over this view.
    #[must_use]
    pub fn new(view: View, own: Own, telemetry: Arc<Telemetry>, compression: bool) -> Self {
        let bytes = |encoding| telemetry.scrape_bytes_total.with([encoding]);
        let (plain_bytes, gzip_bytes) = (bytes("identity"), bytes("gzip"));
        Self {
            view,
            own,
            telemetry,
            plain_bytes,
            gzip_bytes,
            compression,
        }
    }

    fn coding(&self, headers: &HeaderMap) -> Coding {
        if !self.compression {
            return Coding::Identity;
        }
        negotiate::coding(headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    }

    /// Encodes the prepared text and a tail of this moment and counts what goes out.
    async fn answer(&self, headers: &HeaderMap, exposed: Exposed, tail: Vec<Bytes>) -> Response<Body> {
        let coding = self.coding(headers);
        let chunks = match coding {
            Coding::Identity => exposed.segments().iter().cloned().chain(tail).collect(),
            Coding::Gzip => deflate(exposed, tail).await,
        };
        let body = Chunks::new(chunks);
        match coding {
            Coding::Identity => self.plain_bytes.add(body.len()),
            Coding::Gzip => self.gzip_bytes.add(body.len()),
        }
        let mut answer = Response::new(Body::new(body));
        let head = answer.headers_mut();
        head.insert(CONTENT_TYPE, HeaderValue::from_static(Format::Text004.content_type()));
        head.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if coding == Coding::Gzip {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// One gzip member. Text that has not been compressed yet is, away from the threads that serve connections.
async fn deflate(exposed: Exposed, tail: Vec<Bytes>) -> Vec<Bytes> {
    let work = move || {
        let tail = Piece::compress(&tail, Effort::Fast, &mut Compressor::new());
        join(exposed.pieces().iter().chain([&tail]))
    };
    // The work neither blocks nor panics; were it cancelled with the runtime, nobody would be left to read the answer.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

/// `GET /metrics`
pub(super) async fn all(State(scraping): State<Arc<Scraping>>, Query(wishes): Query<Wishes>, headers: HeaderMap) -> Response<Body> {
    let began = Instant::now();
    let exposed = match &wishes.app {
        None => scraping.view.exposition(),
        Some(app) => match scraping.view.app_exposition(app) {
            Some(exposed) => exposed,
            None => return unknown_app(app),
        },
    };
    let own = if wishes.own {
        scraping.own.render(&scraping.view)
    } else {
        Vec::new()
    };
    let answer = scraping.answer(&headers, exposed, own).await;
    scraping.telemetry.scrape_duration_seconds.observe(began.elapsed());
    answer
}

/// `GET /apps/NAME/metrics`
pub(super) async fn one(State(scraping): State<Arc<Scraping>>, Path(app): Path<String>, headers: HeaderMap) -> Response<Body> {
    match scraping.view.app_exposition(&app) {
        Some(exposed) => scraping.answer(&headers, exposed, Vec::new()).await,
        None => unknown_app(&app),
    }
}
