//! The body of a response: slices of immutable memory, written one after another, never joined.

use bytes::Bytes;

/// A list of slices with a known total length. Cloning it clones handles.
#[derive(Debug, Clone, Default)]
pub struct Body {
    parts: Vec<Bytes>,
    len: u64,
}

impl Body {
    /// From slices in their order.
    #[must_use]
    pub fn new(parts: Vec<Bytes>) -> Self {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts, len }
    }

    /// Adds a slice at the end.
    pub fn push(&mut self, part: Bytes) {
        self.len += part.len() as u64;
        self.parts.push(part);
    }

    /// Adds slices at the end.
    pub fn extend(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        for part in parts {
            self.push(part);
        }
    }

    /// The length of all slices together, in bytes: the `Content-Length`.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns true if the body is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The slices, by value, for sending.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }
}
