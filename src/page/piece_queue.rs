//! A queue for texts that are written piece by piece, as their clients take them and away from the threads that serve connections: a text may
//! be some times as large as what it is made from.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use tokio::sync::Semaphore;

use super::compression::{MIN_GZIP_BYTES, encoding, gzip_piece, set_encoding};
use crate::exposition::gzip::Joiner;
use crate::exposition::negotiate::ContentEncoding;
use crate::http::ResponseMemory;
use crate::supervise::blocking;

/// Bytes of text after which a piece ends. It takes a few milliseconds.
pub const PIECE_BYTES: usize = 256 << 10;

/// Pieces of all texts of a queue that are written at the same time: each takes a moment of a core.
const PIECES_AT_ONCE: usize = 1;

/// A text that is written piece by piece.
pub trait PieceWriter: Send + 'static {
    /// Appends to `out` until it has `enough` bytes, which may be some more, or until the text ends. Returns false at the end. It is called on a
    /// thread for blocking work.
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool;

    /// Bytes that it keeps between two pieces.
    fn memory(&self) -> u64;
}

/// Writes the texts of responses, a piece of one after a piece of another.
#[derive(Debug)]
pub struct PieceQueue {
    turns: Arc<Semaphore>,
}

impl Default for PieceQueue {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(PIECES_AT_ONCE)),
        }
    }
}

/// A text with the gzip member that it is written into.
struct Pieces<W> {
    writer: W,
    gzip: Option<Joiner>,
    begun: bool,
}

/// A piece, true if it is compressed, and what is left.
type NextPiece<W> = (Bytes, bool, Option<Pieces<W>>);

impl<W: PieceWriter> Pieces<W> {
    fn next(mut self) -> NextPiece<W> {
        let mut text = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        let has_more = self.writer.write(&mut text, PIECE_BYTES);
        let is_small = !self.begun && !has_more && text.len() < MIN_GZIP_BYTES;
        self.begun = true;
        // Without the spare capacity.
        let text = Bytes::from(text.into_boxed_slice());
        let (piece, is_gzip) = match self.gzip.as_mut().filter(|_| !is_small) {
            Some(joiner) => (gzip_piece(joiner, text, !has_more), true),
            None => (text, false),
        };
        (piece, is_gzip, has_more.then_some(self))
    }
}

impl PieceQueue {
    /// A response of this type, for a client that gets the text as it is.
    pub async fn respond<W: PieceWriter>(self: &Arc<Self>, content_type: &'static str, writer: W) -> Response<Body> {
        self.respond_in(ContentEncoding::Identity, content_type, writer).await.0
    }

    /// A response of this type, compressed if a request with these headers accepts that and the text is large.
    pub async fn respond_encoded<W: PieceWriter>(
        self: &Arc<Self>,
        headers: &HeaderMap,
        content_type: &'static str,
        writer: W,
    ) -> Response<Body> {
        let (mut response, encoding) = self.respond_in(encoding(headers), content_type, writer).await;
        set_encoding(response.headers_mut(), encoding);
        response
    }

    async fn respond_in<W: PieceWriter>(
        self: &Arc<Self>,
        encoding: ContentEncoding,
        content_type: &'static str,
        writer: W,
    ) -> (Response<Body>, ContentEncoding) {
        let gzip = (encoding == ContentEncoding::Gzip).then(Joiner::default);
        let pieces = Pieces {
            writer,
            gzip,
            begun: false,
        };
        let (first, is_gzip, rest) = self.next(pieces).await;
        let mut response = match rest {
            None => Response::new(Body::from(first)),
            Some(rest) => self.stream(first, rest),
        };
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        let encoding = if is_gzip {
            ContentEncoding::Gzip
        } else {
            ContentEncoding::Identity
        };
        (response, encoding)
    }

    /// A response of unknown length.
    fn stream<W: PieceWriter>(self: &Arc<Self>, first: Bytes, rest: Pieces<W>) -> Response<Body> {
        // What the writer keeps is there until the last piece is written; a piece is counted as it is sent.
        let held = Arc::new(AtomicU64::new(rest.writer.memory()));
        let memory = ResponseMemory::changing(Arc::clone(&held));
        let queue = Arc::clone(self);
        let rest = stream::unfold(Some(rest), move |rest| {
            let (queue, held) = (Arc::clone(&queue), Arc::clone(&held));
            async move {
                let (piece, _, rest) = queue.next(rest?).await;
                held.store(rest.as_ref().map_or(0, |rest| rest.writer.memory()), Ordering::Relaxed);
                Some((piece, rest))
            }
        });
        let pieces = stream::once(ready(first)).chain(rest).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::from_stream(pieces));
        response.extensions_mut().insert(memory);
        response
    }

    async fn next<W: PieceWriter>(&self, pieces: Pieces<W>) -> NextPiece<W> {
        // It is never closed. The work has the turn: it goes on where its client has gone.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        blocking(move || {
            let _turn = turn;
            pieces.next()
        })
        .await
    }
}

#[cfg(test)]
mod tests;
