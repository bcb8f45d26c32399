//! The body of a request, collected within a limit.

use std::error::Error;
use std::io::{self, Read as _, Write};
use std::mem;

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use futures_util::FutureExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use snap::read::FrameDecoder;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::reply;
use crate::supervise::Pace;

/// Memory set aside on the word of a Content-Length header alone; the rest follows as bytes arrive.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// Limit on the output of one decompression step: the decoder has a buffer of this size and flushes it before filling it again.
const STEP: usize = 32 * 1024;

/// Decompressed bytes, or packed ones of snappy, after which other tasks get their turn, a tenth of a millisecond or two. The runtime's own budget is 128 steps: with
/// 50 clients that send zeros, all others waited for 50 times 4 MiB.
const TURN: usize = 8 * STEP;

/// Bytes for which a step of decompression counts at least: a gzip member that unpacks to nothing has 20 bytes, and costs a decoder.
const STEP_COST: usize = 4 * 1024;

/// Chunks of snappy in one step: a chunk that unpacks to nothing may have four bytes.
const STEP_CHUNKS: usize = 256;

/// Limit on a body, compressed and decompressed alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// The number of bytes.
    pub bytes: usize,
    /// The configuration key of the limit, for the error response.
    pub key: &'static str,
}

/// Error of reading a body; it converts into the response.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than the limit, packed or unpacked: 413.
    #[error("the body is larger than {} bytes, the limit that {} sets", .0.bytes, .0.key)]
    TooLarge(BodyLimit),
    /// A Content-Encoding other than gzip and snappy: 415.
    #[error("the content encoding `{0}` is not understood, only gzip and snappy are")]
    Encoding(String),
    /// It is no gzip, or the gzip ends early or fails its checksum: 400.
    #[error("the body is not valid gzip: {0}")]
    Corrupt(#[source] io::Error),
    /// It is not a stream of snappy frames, or it ends early or fails a checksum: 400.
    #[error("the body is not valid snappy: {0}")]
    CorruptSnappy(#[source] io::Error),
    /// It stopped arriving: 408.
    #[error("timeout while reading the request body")]
    Stalled,
    /// It hardly arrived, and its memory was asked back: 408.
    #[error("the request body hardly arrives, and others wait for the memory that it takes")]
    Slow,
    /// The connection failed or the chunks were malformed: 400.
    #[error("the body ended early: {0}")]
    Broken(#[source] axum::Error),
}

impl BodyError {
    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Stalled | Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Corrupt(_) | Self::CorruptSnappy(_) | Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response<Body> {
        let mut response = reply::text(self.status(), &self);
        if matches!(self, Self::Encoding(_)) {
            // RFC 9110, 15.5.16: this header in a 415 says what would have been understood.
            response
                .headers_mut()
                .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, snappy"));
        }
        response
    }
}

/// Memory budget of bodies, so that many large bodies at once have a common bound.
pub trait MemoryBudget: Send {
    /// Resolves once `bytes` in all may be held, which can take as long as others hold them.
    fn reserve(&mut self, bytes: usize) -> impl Future<Output = ()> + Send;

    /// Resolves once others wait for what is held here; for a budget without an end it never does. The caller gives up what it reads or
    /// [keeps](MemoryBudget::keep) it.
    fn asked_back(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Keeps what was asked back: the client goes on sending.
    fn keep(&mut self) {}
}

/// Collects a request's body, unpacked where it is gzip or snappy, taking no more memory than `budget` has covered.
///
/// A length over the limit is refused before anything is read. The result may share a larger allocation: copy what is kept for long.
///
/// # Errors
///
/// See [`BodyError`]; it is an answer as it stands.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: BodyLimit, budget: &mut impl MemoryBudget) -> Result<Bytes, BodyError> {
    Ok(collect(headers, body, limit, budget).await?.finish()?.into_shared())
}

/// As [`read_body`], for a body that is kept: it shares no larger allocation.
///
/// # Errors
///
/// See [`BodyError`]; it is an answer as it stands.
pub async fn read_kept_body(headers: &HeaderMap, body: Body, limit: BodyLimit, budget: &mut impl MemoryBudget) -> Result<Bytes, BodyError> {
    Ok(collect(headers, body, limit, budget).await?.finish()?.into_own())
}

/// Collects a body, unpacked.
async fn collect(headers: &HeaderMap, body: Body, limit: BodyLimit, budget: &mut impl MemoryBudget) -> Result<Sink, BodyError> {
    let announced = announced(headers, limit)?;
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if coding.is_none_or(|coding| !coding.eq_ignore_ascii_case(b"snappy")) {
        return collect_into(sink(headers, limit, announced)?, body, limit, budget).await;
    }
    let packed = collect_into(Sink::Plain(Plain::Empty { announced }), body, limit, budget).await?;
    let unpacked = unpack_snappy(&packed.finish()?.into_shared(), limit, budget).await?;
    Ok(Sink::Plain(Plain::Many(unpacked)))
}

/// Unpacks snappy frames, as Go's library writes them: what they unpack to is known for each frame of at most 64 KiB alone.
async fn unpack_snappy(packed: &[u8], limit: BodyLimit, budget: &mut impl MemoryBudget) -> Result<Vec<u8>, BodyError> {
    let (mut decoder, mut unpacked, mut turn) = (FrameDecoder::new(SnappySteps::new(packed)), Vec::new(), 0);
    loop {
        let start = unpacked.len();
        budget.reserve(packed.len() + (start + STEP).max(2 * start)).await;
        unpacked.resize(start + STEP, 0);
        let read = decoder.read(&mut unpacked[start..]).map_err(BodyError::CorruptSnappy)?;
        unpacked.truncate(start + read);
        if unpacked.len() > limit.bytes {
            return Err(BodyError::TooLarge(limit));
        }
        let step_ended = read == 0;
        if step_ended && !decoder.get_mut().begin_step() {
            return Ok(unpacked);
        }
        turn += read;
        if step_ended || turn >= TURN {
            turn = 0;
            yield_now().await;
        }
    }
}

/// Chunks of snappy, of which the decoder sees some at a time: then it finds the end of file, after which it can go on. By itself it looks
/// through all chunks that unpack to nothing at once.
struct SnappySteps<'a> {
    packed: &'a [u8],
    /// Bytes of the step in work.
    left: usize,
}

impl<'a> SnappySteps<'a> {
    fn new(packed: &'a [u8]) -> Self {
        let mut steps = Self { packed, left: 0 };
        steps.begin_step();
        steps
    }

    /// Begins the next step, a number of whole chunks. Returns false at the end.
    fn begin_step(&mut self) -> bool {
        for _ in 0..STEP_CHUNKS {
            // A chunk has its type and its length in three bytes before it. One that is cut off is the decoder's to refuse.
            let Some([_, length @ ..]) = self.packed[self.left..].first_chunk::<4>() else {
                self.left = self.packed.len();
                break;
            };
            let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
            self.left = self.packed.len().min(self.left + 4 + length);
            if self.left >= TURN {
                break;
            }
        }
        self.left > 0
    }
}

impl io::Read for SnappySteps<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.packed[..self.left]).read(buffer)?;
        self.packed = &self.packed[read..];
        self.left -= read;
        Ok(read)
    }
}

async fn collect_into(mut sink: Sink, mut body: Body, limit: BodyLimit, budget: &mut impl MemoryBudget) -> Result<Sink, BodyError> {
    let (mut packed, mut turn, mut pace) = (0, 0, Pace::for_memory(Instant::now()));
    while let Some(frame) = next_frame(&mut body, pace, budget).await? {
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        packed += data.len();
        if packed > limit.bytes {
            return Err(BodyError::TooLarge(limit));
        }
        pace.add(data.len() as u64, Instant::now());
        while !data.is_empty() {
            let since = Instant::now();
            budget.reserve(sink.needs(&data)).await;
            pace.extend(since.elapsed());
            turn += sink.take(&mut data)? + STEP_COST;
            if turn >= TURN {
                turn = 0;
                yield_now().await;
            }
        }
    }
    Ok(sink)
}

/// The next piece of a body, unless the client is slow and its memory is asked back.
async fn next_frame(body: &mut Body, pace: Pace, budget: &mut impl MemoryBudget) -> Result<Option<Frame<Bytes>>, BodyError> {
    let asked_back = async {
        sleep_until(pace.slow_from()).await;
        budget.asked_back().await;
    };
    let frame = tokio::select! {
        biased;
        frame = body.frame() => frame,
        () = asked_back => {
            // The runtime may not have noticed yet what has arrived.
            yield_now().await;
            let frame = body.frame().now_or_never().ok_or(BodyError::Slow)?;
            budget.keep();
            frame
        }
    };
    frame.transpose().map_err(broken)
}

/// Reads a request's body to its end and keeps nothing of it, so that its client gets the answer and can use the connection again.
///
/// # Errors
///
/// If it is larger than `limit`, as sent, or truncated.
pub async fn drain_body(headers: &HeaderMap, mut body: Body, limit: BodyLimit) -> Result<(), BodyError> {
    announced(headers, limit)?;
    let mut drained = 0;
    while let Some(frame) = body.frame().await {
        drained += frame.map_err(broken)?.data_ref().map_or(0, Bytes::len);
        if drained > limit.bytes {
            return Err(BodyError::TooLarge(limit));
        }
    }
    Ok(())
}

/// The length that a request announces, 0 where it announces none.
fn announced(headers: &HeaderMap, limit: BodyLimit) -> Result<usize, BodyError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    usize::try_from(announced)
        .ok()
        .filter(|length| *length <= limit.bytes)
        .ok_or(BodyError::TooLarge(limit))
}

fn sink(headers: &HeaderMap, limit: BodyLimit, announced: usize) -> Result<Sink, BodyError> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => Ok(Sink::Plain(Plain::Empty { announced })),
        Some(name) if name.is_empty() || name.eq_ignore_ascii_case(b"identity") => Ok(Sink::Plain(Plain::Empty { announced })),
        Some(name) if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
            let unpacked = Limited {
                bytes: Vec::new(),
                limit,
                exceeded: false,
            };
            Ok(Sink::Gzip {
                decoder: Box::new(MultiGzDecoder::new(unpacked)),
                empty: true,
            })
        }
        Some(other) => Err(BodyError::Encoding(String::from_utf8_lossy(other).into_owned())),
    }
}

fn broken(error: axum::Error) -> BodyError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if this
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::TimedOut)
        {
            return BodyError::Stalled;
        }
        cause = this.source();
    }
    BodyError::Broken(error)
}

/// Destination of the pieces of a body.
enum Sink {
    Plain(Plain),
    Gzip {
        decoder: Box<MultiGzDecoder<Limited>>,
        empty: bool,
    },
}

/// A complete body.
enum Collected {
    /// A slice of the connection's read buffer.
    Piece(Bytes),
    /// A buffer of its own.
    Buffer(Vec<u8>),
}

impl Collected {
    fn into_shared(self) -> Bytes {
        match self {
            Self::Piece(piece) => piece,
            Self::Buffer(buffer) => buffer.into(),
        }
    }

    fn into_own(self) -> Bytes {
        match self {
            Self::Piece(piece) => Bytes::copy_from_slice(&piece),
            // Without spare capacity, which a body of the announced length has none of.
            Self::Buffer(buffer) => buffer.into_boxed_slice().into(),
        }
    }
}

/// An unpacked body: one piece is passed on as it is, several are joined.
enum Plain {
    Empty { announced: usize },
    One { piece: Bytes, announced: usize },
    Many(Vec<u8>),
}

impl Sink {
    /// Takes bytes off the front of `data`: all of them, or as many as unpack to at most [`STEP`]. Returns the number of bytes added.
    fn take(&mut self, data: &mut Bytes) -> Result<usize, BodyError> {
        match self {
            Self::Plain(plain) => {
                let added = data.len();
                plain.take(mem::take(data));
                Ok(added)
            }
            Self::Gzip { decoder, empty } => {
                *empty &= data.is_empty();
                let before = decoder.get_ref().bytes.len();
                let taken = decoder.write(data);
                let taken = decoder.get_mut().check(taken)?;
                if taken == 0 {
                    return Err(BodyError::Corrupt(io::ErrorKind::InvalidData.into()));
                }
                data.advance(taken);
                Ok(decoder.get_ref().bytes.len() - before)
            }
        }
    }

    /// The memory needed in all to add these bytes, growing like a vector.
    fn needs(&self, data: &Bytes) -> usize {
        let (held, more) = match self {
            Self::Plain(Plain::Empty { .. }) => return data.len(),
            Self::Plain(Plain::One { piece, announced }) => return (piece.len() + data.len()).max(FIRST_ALLOCATION.min(*announced)),
            Self::Plain(Plain::Many(joined)) => (joined, data.len()),
            Self::Gzip { decoder, .. } => (&decoder.get_ref().bytes, STEP),
        };
        let needed = held.len() + more;
        if needed <= held.capacity() {
            held.capacity()
        } else {
            needed.max(held.capacity() * 2)
        }
    }

    fn finish(self) -> Result<Collected, BodyError> {
        match self {
            Self::Plain(plain) => Ok(plain.finish()),
            // No byte at all is no body rather than a cut off one: a DELETE with a gzip header, for instance.
            Self::Gzip { empty: true, .. } => Ok(Collected::Piece(Bytes::new())),
            Self::Gzip { mut decoder, .. } => {
                let ended = decoder.try_finish();
                decoder.get_mut().check(ended)?;
                Ok(Collected::Buffer(mem::take(&mut decoder.get_mut().bytes)))
            }
        }
    }
}

impl Plain {
    fn take(&mut self, data: Bytes) {
        *self = match mem::replace(self, Self::Empty { announced: 0 }) {
            Self::Empty { announced } => Self::One { piece: data, announced },
            Self::One { piece, announced } => {
                let mut joined = Vec::with_capacity((piece.len() + data.len()).max(announced.min(FIRST_ALLOCATION)));
                joined.extend_from_slice(&piece);
                joined.extend_from_slice(&data);
                Self::Many(joined)
            }
            Self::Many(mut joined) => {
                joined.extend_from_slice(&data);
                Self::Many(joined)
            }
        };
    }

    fn finish(self) -> Collected {
        match self {
            Self::Empty { .. } => Collected::Piece(Bytes::new()),
            Self::One { piece, .. } => Collected::Piece(piece),
            Self::Many(joined) => Collected::Buffer(joined),
        }
    }
}

/// A buffer that refuses what goes beyond the limit.
#[derive(Debug)]
struct Limited {
    bytes: Vec<u8>,
    limit: BodyLimit,
    exceeded: bool,
}

impl Limited {
    /// Distinguishes a full buffer from invalid gzip.
    fn check<T>(&self, outcome: io::Result<T>) -> Result<T, BodyError> {
        match outcome {
            Err(_) if self.exceeded => Err(BodyError::TooLarge(self.limit)),
            Err(e) => Err(BodyError::Corrupt(e)),
            Ok(done) => Ok(done),
        }
    }
}

impl Write for Limited {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit.bytes {
            self.exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
