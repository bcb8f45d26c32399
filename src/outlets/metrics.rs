//! `/metrics` and what else is exposition: everything, one application, and how it is encoded.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT, VARY};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use serde::Deserialize;

use super::compression_queue::CompressionQueue;
use super::events::{EventOutlet, ScrapeRequest};
use super::query::Query;
use super::recent_scrapers::{RecentScrapers, Scraped, Scraper};
use super::translated_body::TranslatedBody;
use super::{SelfMetrics, unknown_app};
use crate::exposition::catalog::{self, Selection};
use crate::exposition::gzip::{self, CompressorPool, Piece};
use crate::exposition::negotiate::{self, ContentEncoding, Format};
use crate::exposition::openmetrics2::{UnstatedTypes, Writer};
use crate::exposition::render::{Chunk, OutputFormat};
use crate::http::{Connection, Sender, SharedBody, Slices, reply};
use crate::page::RenderQueue;
use crate::store::{App, PendingExposition, RenderedExposition, View};
use crate::supervise::blocking;
use crate::telemetry::{Counter, Telemetry};

/// Text that is compressed on the thread that serves the connection: it takes a tenth of a millisecond.
const SMALL_TEXT: u64 = 64 << 10;

/// Handler of the metrics endpoints.
#[derive(Debug)]
pub struct MetricsHandler {
    view: View,
    self_metrics: SelfMetrics,
    telemetry: Arc<Telemetry>,
    plain_bytes: Arc<Counter>,
    gzip_bytes: Arc<Counter>,
    compression_queue: CompressionQueue,
    /// Compressors of self metrics and events.
    compressors: Arc<CompressorPool>,
    /// Preparations of responses in OpenMetrics 2.0, which look at all families: one at a time, however many ask.
    translations: RenderQueue,
    /// True if gzip is offered (`exposition.compression`).
    compression: bool,
    /// The events of the response, where events are enabled.
    events: Option<Arc<EventOutlet>>,
    scrapers: RecentScrapers,
}

/// Query parameters of a scrape.
#[derive(Debug, Deserialize)]
pub(super) struct QueryParams {
    /// Only this application.
    app: Option<String>,
    /// `false` leaves the proxy's own metrics out.
    #[serde(default = "yes")]
    own: bool,
    /// `own` leaves all applications out.
    only: Option<String>,
    /// `true` shows this scraper's events and takes none.
    #[serde(default)]
    peek: bool,
}

fn yes() -> bool {
    true
}

impl MetricsHandler {
    /// Endpoints over this view; what is to be compressed goes to `deflating`.
    #[must_use]
    pub fn new(
        view: View,
        self_metrics: SelfMetrics,
        telemetry: Arc<Telemetry>,
        compression_queue: CompressionQueue,
        compression: bool,
        events: Option<Arc<EventOutlet>>,
    ) -> Self {
        let bytes = |encoding| telemetry.scrape_bytes_total.with([encoding]);
        let (plain_bytes, gzip_bytes) = (bytes("identity"), bytes("gzip"));
        Self {
            view,
            self_metrics,
            telemetry,
            plain_bytes,
            gzip_bytes,
            compression_queue,
            compressors: Arc::default(),
            translations: RenderQueue::default(),
            compression,
            events,
            scrapers: RecentScrapers::default(),
        }
    }

    /// The format to answer in; text that is not read can only be given as it came.
    pub(super) fn format(&self, headers: &HeaderMap) -> Format {
        if self.view.merges() {
            negotiate::format(values(headers, ACCEPT))
        } else {
            Format::Text004
        }
    }

    /// An exposition of these applications, as far as it is prepared.
    pub(super) fn prepare(&self, format: Format, which: Selection<'_>) -> PendingExposition {
        self.view.exposition(OutputFormat::from(format), which)
    }

    /// The clients that have scraped lately.
    pub(super) fn scrapers(&self) -> Vec<Scraper> {
        self.scrapers.list()
    }

    /// Records a scrape for the status page, and logs it at debug level.
    pub(super) fn record(
        &self,
        (connection, uri, headers): (&Connection, &Uri, &HeaderMap),
        (format, encoding): (Format, ContentEncoding),
        answer: &Response<Body>,
        began: Instant,
    ) {
        let (client, bytes) = (connection.client(headers), answer.body().size_hint().exact());
        let seconds = began.elapsed().as_secs_f64();
        tracing::debug!(%client, %uri, bytes, gzip = encoding == ContentEncoding::Gzip, seconds, "scrape");
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let scraped = Scraped {
            agent: agent.unwrap_or_default(),
            request: uri.path_and_query().map_or("/", |request| request.as_str()),
            format,
            encoding,
            bytes,
            began,
            now: Instant::now(),
        };
        self.scrapers.record(client, scraped);
    }

    /// Counts the time that a scrape took.
    pub(super) fn observe(&self, began: Instant) {
        self.telemetry.scrape_duration_seconds.observe(began.elapsed());
    }

    pub(super) fn content_encoding(&self, headers: &HeaderMap) -> ContentEncoding {
        if self.compression {
            negotiate::content_encoding(values(headers, ACCEPT_ENCODING))
        } else {
            ContentEncoding::Identity
        }
    }

    /// The self metrics for an exposition.
    fn own(&self, exposed: &RenderedExposition, now: Instant) -> SelfMetricsBody {
        let own = self.self_metrics.render(&self.view, now);
        let apps = self.self_metrics.app_metrics();
        if exposed.has_reserved() {
            return SelfMetricsBody {
                tail: vec![apps.text(&self.view), own],
                ..SelfMetricsBody::default()
            };
        }
        SelfMetricsBody {
            apps: if exposed.is_protobuf() {
                apps.messages(&self.view)
            } else {
                apps.chunks(&self.view)
            },
            tail: vec![own],
            ..SelfMetricsBody::default()
        }
    }

    /// The end of an exposition. If apps have series under the names of self metrics, they are merged in a blocking task.
    async fn tail(exposed: &RenderedExposition, own: Vec<Bytes>) -> Vec<Arc<Chunk>> {
        if !exposed.mixes() {
            return exposed.tail(own);
        }
        let exposed = exposed.clone();
        blocking(move || exposed.tail(own)).await
    }

    /// Compresses the chunks that are not compressed, away from the threads that serve connections where that takes time.
    async fn compress(&self, chunks: Vec<Arc<Chunk>>) {
        let pending: Vec<_> = chunks.into_iter().filter(|chunk| chunk.level().is_none()).collect();
        let text: u64 = pending.iter().map(|chunk| chunk.len()).sum();
        let compressors = Arc::clone(&self.compressors);
        let work = move || {
            compressors.with(|compressor| pending.iter().for_each(|chunk| chunk.compress_once(compressor)));
        };
        if text <= SMALL_TEXT { work() } else { blocking(work).await }
    }

    /// The tail as few chunks: small ones, which are made for this response alone, are compressed together.
    fn condensed(tail: Vec<Arc<Chunk>>) -> Vec<Arc<Chunk>> {
        let is_small = |chunk: &Arc<Chunk>| chunk.level().is_none() && chunk.len() < SMALL_TEXT;
        let mut condensed = Vec::new();
        for run in tail.chunk_by(|one, other| is_small(one) && is_small(other)) {
            match run {
                [chunk] => condensed.push(Arc::clone(chunk)),
                run => {
                    let slices = run.iter().flat_map(|chunk| chunk.text().to_vec());
                    condensed.push(Arc::new(Chunk::new(slices.collect())));
                }
            }
        }
        condensed
    }

    /// Encodes what is exposed and its tail, and counts what goes out. `app` is the app that the response shows as it was pushed.
    pub(super) async fn answer(
        &self,
        (format, encoding): (Format, ContentEncoding),
        exposed: &RenderedExposition,
        own: SelfMetricsBody,
        app: Option<&App>,
    ) -> Response<Body> {
        let SelfMetricsBody { apps, events, tail } = own;
        let tail = Self::tail(exposed, tail).await;
        let rows = || {
            let mut rows = exposed.text();
            rows.extend(apps.iter().chain(&events).chain(&tail).map(|chunk| chunk.text()));
            rows
        };
        if matches!(format, Format::OpenMetrics200(_)) {
            let answer = self.translate(rows(), format, encoding, app).await;
            return with_head(answer, format, encoding);
        }
        let body = match encoding {
            ContentEncoding::Identity => SharedBody::new(rows()),
            ContentEncoding::Gzip => {
                self.compression_queue.offer(&exposed.take_newly_compressed());
                let chunks: Vec<_> = apps.into_iter().chain(events).chain(Self::condensed(tail)).collect();
                self.compress(chunks.clone()).await;
                let pieces: Vec<Piece> = chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
                SharedBody::new(gzip::join(std::iter::once(&*exposed.piece()).chain(&pieces)))
            }
        };
        match encoding {
            ContentEncoding::Identity => self.plain_bytes.add(body.len()),
            ContentEncoding::Gzip => self.gzip_bytes.add(body.len()),
        }
        with_head(body.into_response(), format, encoding)
    }

    /// A response in OpenMetrics 2.0, which is made of these messages as it is sent.
    async fn translate(&self, rows: Vec<Slices>, format: Format, encoding: ContentEncoding, app: Option<&App>) -> Response<Body> {
        let escaping = format.escaping();
        let (view, exposition) = (self.view.clone(), app.map(|app| app.text.exposition().cloned()));
        let messages = rows.clone();
        let read = move || {
            let types = match exposition {
                Some(exposition) => exposition.map_or_else(UnstatedTypes::new, |it| catalog::unstated_types_of_single(&it, escaping)),
                None => view.unstated_types(escaping),
            };
            Writer::new(messages, &types)
        };
        let writer = self.translations.render(read).await;
        let (gzip, sent) = match encoding {
            ContentEncoding::Identity => (None, &self.plain_bytes),
            ContentEncoding::Gzip => (Some(Arc::clone(&self.compressors)), &self.gzip_bytes),
        };
        // The memory that it keeps is that of the messages and of their names.
        let response = SharedBody::new(rows).keeping(writer.memory()).into_response();
        let body = TranslatedBody::new(writer, gzip, Arc::clone(sent));
        response.map(|_| Body::new(body))
    }
}

/// The encoding of what a response is made from: OpenMetrics 2.0 is written from text.
pub(super) const fn source_encoding(format: Format, encoding: ContentEncoding) -> ContentEncoding {
    match format {
        Format::OpenMetrics200(_) => ContentEncoding::Identity,
        _ => encoding,
    }
}

fn with_head(mut answer: Response<Body>, format: Format, encoding: ContentEncoding) -> Response<Body> {
    let head = answer.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    head.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if encoding == ContentEncoding::Gzip {
        head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// Self metrics and events of a response.
#[derive(Debug, Default)]
pub(super) struct SelfMetricsBody {
    /// The self metrics about apps, if they need no merge.
    apps: Vec<Arc<Chunk>>,
    /// Events, if they are many and go out as they are.
    events: Vec<Arc<Chunk>>,
    /// The rest, as text format 0.0.4.
    tail: Vec<Bytes>,
}

impl SelfMetricsBody {
    /// Adds text of format 0.0.4, which is merged with the rest.
    pub(super) fn push_text(&mut self, text: String) {
        if !text.is_empty() {
            self.tail.push(text.into());
        }
    }

    /// Adds families in the format of the response.
    pub(super) fn push_chunks(&mut self, chunks: Vec<Arc<Chunk>>) {
        self.events.extend(chunks);
    }
}

/// Renders what is left to render, away from the threads that serve connections where that takes time.
pub(super) async fn finish(prepared: PendingExposition, encoding: ContentEncoding) -> RenderedExposition {
    if prepared.is_ready(encoding) {
        return prepared.finish(encoding);
    }
    blocking(move || prepared.finish(encoding)).await
}

/// The same, with what the proxy says of itself.
async fn finish_with(
    handler: &Arc<MetricsHandler>,
    prepared: PendingExposition,
    encoding: ContentEncoding,
    own: bool,
) -> (RenderedExposition, SelfMetricsBody) {
    // What is merged with the applications' series is one text, which takes as long as there are applications.
    let ready = prepared.is_ready(encoding) && !prepared.mixes() && (!own || handler.self_metrics.app_metrics().is_ready(&handler.view));
    let handler = Arc::clone(handler);
    let work = move || {
        let exposed = prepared.finish(encoding);
        let self_metrics = if own {
            handler.own(&exposed, Instant::now())
        } else {
            SelfMetricsBody::default()
        };
        (exposed, self_metrics)
    };
    if ready { work() } else { blocking(work).await }
}

/// The answer about an application that has nothing to show, so that a scrape of it alone fails as a scrape of its source would: one that
/// is unknown, and one that is asked and has not answered yet, or not for too long.
fn without_data(name: &str, app: Option<&App>) -> Option<Response<Body>> {
    let Some(app) = app else {
        return Some(unknown_app(name));
    };
    if app.updated.is_some() && !app.withdrawn {
        return None;
    }
    let why = app.fault.as_deref().unwrap_or(match app.updated {
        None => "no successful poll yet",
        Some(_) => "the last successful poll is too old",
    });
    Some(reply::text(
        StatusCode::SERVICE_UNAVAILABLE,
        format_args!("app {name:?} has no metrics at the moment: {why}"),
    ))
}

/// `GET /metrics`
pub(super) async fn all(
    State(handler): State<Arc<MetricsHandler>>,
    Query(params): Query<QueryParams>,
    Extension(connection): Extension<Connection>,
    Extension(sender): Extension<Sender>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let began = Instant::now();
    let app = params.app.as_deref();
    if let Some(other) = params.only.as_deref().filter(|only| *only != "own") {
        return reply::text(
            StatusCode::BAD_REQUEST,
            format_args!("only={other:?} is not supported; only=own omits all apps"),
        );
    }
    if let Some(refusal) = app.and_then(|name| without_data(name, handler.view.app(name).as_deref())) {
        return refusal;
    }
    let format = handler.format(&headers);
    let which = match app {
        _ if params.only.as_deref() == Some("own") => Selection::Nothing,
        Some(app) => Selection::App(app),
        None => Selection::Everything,
    };
    let encoding = handler.content_encoding(&headers);
    let (prepared, source) = (handler.prepare(format, which), source_encoding(format, encoding));
    let (exposed, mut self_metrics) = finish_with(&handler, prepared, source, params.own).await;
    // Events come last: from here on nothing can go wrong with the answer but its way.
    if let Some(events) = handler.events.as_ref().filter(|_| app.is_none()) {
        let scraped = events.scrape_events(ScrapeRequest {
            connection: &connection,
            sender: &sender,
            method: &method,
            uri: &uri,
            headers: &headers,
            peek: params.peek,
            counts: params.own,
        });
        if let Some(scraped) = scraped.await {
            events.append_events(&mut self_metrics, scraped, &exposed, format, source).await;
        }
    }
    let answer = handler.answer((format, encoding), &exposed, self_metrics, None).await;
    handler.observe(began);
    handler.record((&connection, &uri, &headers), (format, encoding), &answer, began);
    answer
}

/// `GET /apps/NAME/metrics`
pub(super) async fn one(
    State(handler): State<Arc<MetricsHandler>>,
    Path(app): Path<String>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let began = Instant::now();
    let format = handler.format(&headers);
    let known = handler.view.app(&app);
    if let Some(refusal) = without_data(&app, known.as_deref()) {
        return refusal;
    }
    let Some(prepared) = handler.view.app_exposition(&app, OutputFormat::from(format)) else {
        return unknown_app(&app);
    };
    let encoding = handler.content_encoding(&headers);
    let exposed = finish(prepared, source_encoding(format, encoding)).await;
    let own = SelfMetricsBody::default();
    let answer = handler.answer((format, encoding), &exposed, own, known.as_deref()).await;
    handler.record((&connection, &uri, &headers), (format, encoding), &answer, began);
    answer
}
