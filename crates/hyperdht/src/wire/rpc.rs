//! protomux-rpc: requests by method on a channel, and their responses.

use std::fmt;

use bytes::Bytes;

use super::{Reader, WireFault, Writer, shortened};

/// Limit of a method name in bytes; those in use have 7 characters.
pub const MAX_METHOD_BYTES: usize = 255;

/// The kinds of messages on a channel.
const REQUEST: u64 = 0;
const RESPONSE: u64 = 1;

/// Flags of a response.
const IS_ERROR: u8 = 1;
const HAS_CODE: u8 = 1 << 1;
const HAS_CAUSE: u8 = 1 << 2;
const HAS_CONTEXT: u8 = 1 << 3;

/// A message on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A request.
    Request {
        /// Its number, which the response repeats; 0 if no response is expected.
        id: u64,
        /// The requested method.
        method: String,
        /// The argument, in the method's encoding.
        value: Bytes,
    },
    /// A response.
    Response(Reply),
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The number of the request.
    pub id: u64,
    /// The value in the method's encoding, or an error.
    pub outcome: Result<Bytes, RpcError>,
}

/// Error of the RPC protocol itself. Refusals by the method, such as "unauthorised", are values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// The message.
    pub message: String,
    /// The code, if the response has one.
    pub code: Option<RpcErrorCode>,
}

/// Codes of RPC errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpcErrorCode {
    /// There is no such method.
    UnknownMethod,
    /// The method has failed.
    Request,
    /// The request cannot be decoded.
    Decode,
    /// The response cannot be encoded.
    Encode,
    /// Another code.
    Other(String),
}

impl RpcErrorCode {
    /// The code on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::UnknownMethod => "UNKNOWN_METHOD",
            Self::Request => "REQUEST_ERROR",
            Self::Decode => "DECODE_ERROR",
            Self::Encode => "ENCODE_ERROR",
            Self::Other(code) => code,
        }
    }

    fn of(code: String) -> Self {
        match code.as_str() {
            "UNKNOWN_METHOD" => Self::UnknownMethod,
            "REQUEST_ERROR" => Self::Request,
            "DECODE_ERROR" => Self::Decode,
            "ENCODE_ERROR" => Self::Encode,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{}: {}", code.as_str(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Call {
    /// Decodes a message on a channel; `None` if it is of an unknown kind.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(kind: u64, payload: Bytes) -> Result<Option<Self>, WireFault> {
        let mut from = Reader::new(payload);
        Ok(match kind {
            REQUEST => Some(Self::Request {
                id: from.uint("a request")?,
                method: from.name(MAX_METHOD_BYTES, "a method")?,
                value: from.rest(),
            }),
            RESPONSE => Some(Self::Response(Reply::decode(from)?)),
            _ => None,
        })
    }

    /// Encodes a request on a channel as a complete message.
    #[must_use]
    pub fn request(channel: u64, id: u64, method: &str, value: &[u8]) -> Vec<u8> {
        let mut to = Writer::default();
        to.uint(channel).uint(REQUEST).uint(id).text(method).raw(value);
        to.finish()
    }

    /// Encodes a response on a channel as a complete message; the value may come in several pieces.
    #[must_use]
    pub fn response(channel: u64, id: u64, outcome: Result<&[Bytes], &RpcError>) -> Vec<u8> {
        /// Enough for the numbers before a value.
        const HEAD: usize = 32;
        let length = outcome.map_or(0, |pieces| pieces.iter().map(Bytes::len).sum());
        let mut to = Writer::with_capacity(HEAD + length);
        to.uint(channel).uint(RESPONSE);
        match outcome {
            Ok(pieces) => {
                to.raw(&[0]).uint(id);
                for piece in pieces {
                    to.raw(piece);
                }
            }
            Err(failure) => {
                let code = if failure.code.is_some() { HAS_CODE } else { 0 };
                to.raw(&[IS_ERROR | code])
                    .uint(id)
                    .text(shortened(&failure.message, super::MAX_TEXT_BYTES));
                if let Some(code) = &failure.code {
                    to.text(shortened(code.as_str(), super::MAX_TEXT_BYTES));
                }
            }
        }
        to.finish()
    }
}

impl Reply {
    fn decode(mut from: Reader) -> Result<Self, WireFault> {
        let flags = from.take(1, "a response")?[0];
        let id = from.uint("a response")?;
        if flags & IS_ERROR == 0 {
            let outcome = Ok(from.rest());
            return Ok(Self { id, outcome });
        }
        let message = from.text("an error")?;
        let code = match flags & HAS_CODE {
            0 => None,
            _ => Some(RpcErrorCode::of(from.text("a code")?)),
        };
        if flags & HAS_CAUSE != 0 {
            from.text("a cause")?;
            from.text("a cause")?;
        }
        if flags & HAS_CONTEXT != 0 {
            from.text("a context")?;
        }
        let outcome = Err(RpcError { message, code });
        Ok(Self { id, outcome })
    }
}

#[cfg(test)]
mod tests;
