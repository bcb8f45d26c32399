//! The body of a response, read and decompressed up to its limit.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;

use super::error::PollError;
use crate::exposition::protobuf;
use crate::model::Syntax;
use crate::sources::LARGE_BYTES;
use crate::sources::receiver::Budget;
use crate::wire::ForeignFormat;

/// The bodies that are read at the same time may have together, beyond [`LARGE_BYTES`] each, this multiple of `max_body_bytes`; further ones wait.
/// Bounds the memory of polls in addition to the store's. A body takes from it as it grows, so an endpoint that stalls holds what it has sent.
const WHOLE_BODIES: usize = 8;

/// The memory of bodies that are being read, over all endpoints, of at most `max_body_bytes` each.
pub(super) fn budget_for(max_body_bytes: usize) -> usize {
    max_body_bytes.saturating_mul(WHOLE_BODIES)
}

/// The budget of all endpoints. Its limit, from [`budget_for`], comes with the settings.
pub(super) fn budget() -> Arc<Budget> {
    Budget::with_free(0, LARGE_BYTES)
}

/// Decompressed bytes after which the task yields: about a tenth of a millisecond of work.
const TURN_BYTES: usize = 256 << 10;

/// Bytes for which a step of decompression counts at least: a gzip member that unpacks to nothing costs a decoder.
const STEP_COST: usize = 4 << 10;

/// Bytes of a Content-Encoding that are quoted: more than any real name has.
const QUOTED_ENCODING_BYTES: usize = 32;

/// Reader of response bodies.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyReader<'a> {
    /// The limit in bytes, both as received and decompressed.
    pub(super) limit: usize,
    /// The length of the previous body.
    pub(super) expected: usize,
    /// The memory of bodies that are being read.
    pub(super) budget: &'a Arc<Budget>,
}

impl BodyReader<'_> {
    /// Reads a body with these headers.
    pub(super) async fn read<B>(self, headers: &HeaderMap, mut body: B) -> Result<Bytes, PollError>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        if body.size_hint().lower() > self.limit as u64 {
            return Err(PollError::TooLong(self.limit));
        }
        let mut sink = Sink::new(headers, self);
        let (mut wire, mut work, mut reservation) = (0_usize, 0, self.budget.reservation());
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|e| PollError::http(&e))?.into_data() else {
                continue;
            };
            wire = wire.saturating_add(data.len());
            if wire > self.limit {
                return Err(PollError::TooLong(self.limit));
            }
            while !data.is_empty() {
                let before = sink.out().bytes.len();
                sink.take(&mut data)?;
                let length = sink.out().bytes.len();
                reservation.reserve(length).await;
                work += length - before + STEP_COST;
                if work >= TURN_BYTES {
                    work = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
        // An allocation of exact size, because the body is kept.
        Ok(Bytes::from(sink.finish()?.into_boxed_slice()))
    }
}

/// Destination of the bytes of a body.
enum Sink {
    Plain(Limited),
    Gzip(Box<MultiGzDecoder<Limited>>),
}

impl Sink {
    fn new(headers: &HeaderMap, reader: BodyReader<'_>) -> Self {
        let out = Limited {
            bytes: Vec::with_capacity(reader.expected.min(LARGE_BYTES).min(reader.limit)),
            limit: reader.limit,
            full: false,
        };
        match coding(headers).to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip(Box::new(MultiGzDecoder::new(out))),
            _ => Self::Plain(out),
        }
    }

    fn out(&self) -> &Limited {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    /// Consumes some bytes from the front of `data`; a decoder consumes no more than it can decompress at once.
    fn take(&mut self, data: &mut Bytes) -> Result<(), PollError> {
        let taken = match self {
            Self::Plain(out) => out.write(data),
            Self::Gzip(decoder) => decoder.write(data),
        };
        match taken {
            Ok(0) => Err(PollError::Gzip(io::ErrorKind::InvalidData.into())),
            Ok(taken) => {
                drop(data.split_to(taken));
                Ok(())
            }
            Err(why) => Err(self.failure(why)),
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, PollError> {
        if let Self::Gzip(decoder) = &mut self
            && let Err(why) = decoder.try_finish()
        {
            return Err(self.failure(why));
        }
        Ok(std::mem::take(match &mut self {
            Self::Plain(out) => &mut out.bytes,
            Self::Gzip(decoder) => &mut decoder.get_mut().bytes,
        }))
    }

    fn failure(&self, why: io::Error) -> PollError {
        let out = self.out();
        match self {
            Self::Plain(_) => PollError::TooLong(out.limit),
            Self::Gzip(_) if out.full => PollError::Bomb(out.limit),
            Self::Gzip(_) => PollError::Gzip(why),
        }
    }
}

/// Buffer with a size limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
    /// True if a write exceeded the limit.
    full: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The syntax by the Content-Type of a body: the text format for types that are not an exposition's, such as the `text/html` of simple web
/// servers. `None` if the type is missing or empty, so that it is detected by the last line.
pub(super) fn syntax(headers: &HeaderMap) -> Option<Syntax> {
    let given = headers.get(header::CONTENT_TYPE)?;
    if given.as_bytes().trim_ascii().is_empty() {
        return None;
    }
    Some(given.to_str().ok().and_then(Syntax::from_content_type).unwrap_or_default())
}

/// True if the Content-Type of a body is that of protobuf metrics.
///
/// # Errors
/// If it is protobuf of another kind.
pub(super) fn is_protobuf(headers: &HeaderMap) -> Result<bool, PollError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    Ok(given.map_or(Ok(false), protobuf::is_content_type)?)
}

/// The Content-Encoding of a body.
fn coding(headers: &HeaderMap) -> &[u8] {
    headers
        .get(header::CONTENT_ENCODING)
        .map_or(&b""[..], |value| value.as_bytes())
        .trim_ascii()
}

/// An unknown Content-Encoding. As in Prometheus, the body is then parsed as plain text, which it nearly always is.
pub(super) fn unknown_coding(headers: &HeaderMap) -> Option<String> {
    let coding = coding(headers);
    let known = [&b""[..], b"identity", b"gzip", b"x-gzip"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(coding));
    let quoted = || {
        String::from_utf8_lossy(&coding[..coding.len().min(QUOTED_ENCODING_BYTES)])
            .escape_debug()
            .to_string()
    };
    (!known).then(quoted)
}

/// Refuses HTML and XML, such as a login page, before it replaces valid data, although a line of it may look like a sample. Other texts
/// are refused by the store if no line is usable.
pub(super) fn reject_markup(body: &[u8]) -> Result<(), PollError> {
    match ForeignFormat::of(body) {
        Some(page @ ForeignFormat::Markup) => Err(PollError::NotMetrics(page)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
