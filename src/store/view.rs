//! The reading half.

use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{App, Shared};
use crate::exposition::gzip::{Compressor, Effort, Piece};
use crate::exposition::raw;

/// The reading half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Applications, those without data included.
    pub apps: usize,
    /// Bytes of exposition text.
    pub bytes: u64,
}

/// What was rendered last, and of which generation.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    generation: Option<u64>,
    exposed: Exposed,
}

/// The exposition of all applications at one moment. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct Exposed {
    segments: Arc<[Bytes]>,
    pieces: Arc<OnceLock<Arc<[Piece]>>>,
}

impl Exposed {
    /// The text, as a list of slices.
    #[must_use]
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// The text deflated, ready to be joined. Whoever asks first compresses it, which takes some 10 ms a megabyte, and
    /// the others wait; afterwards it is there.
    #[must_use]
    pub fn pieces(&self) -> Arc<[Piece]> {
        let deflate = || {
            let mut compressor = Compressor::new();
            let piece = |segment: &Bytes| Piece::compress(std::slice::from_ref(segment), Effort::Fast, &mut compressor);
            self.segments.iter().map(piece).collect()
        };
        Arc::clone(self.pieces.get_or_init(deflate))
    }
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// All applications in the order of first sight.
    #[must_use]
    pub fn apps(&self) -> Vec<Arc<App>> {
        self.shared.latest().apps().cloned().collect()
    }

    /// One application.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<Arc<App>> {
        self.shared.latest().get(name).cloned()
    }

    /// The exposition of one application alone; `None` if it is unknown.
    #[must_use]
    pub fn app_exposition(&self, name: &str) -> Option<Exposed> {
        let body = self.app(name)?.body.clone();
        Some(Exposed {
            segments: raw::concatenate([&body]).into(),
            pieces: Arc::default(),
        })
    }

    /// How much is stored now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let latest = self.shared.latest();
        Totals {
            apps: latest.len(),
            bytes: latest.bytes(),
        }
    }

    /// A number that changes whenever an application's data or its time of update does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.latest().generation()
    }

    /// The age at which pushed applications are forgotten.
    #[must_use]
    pub fn expire_after(&self) -> Option<Duration> {
        self.shared.latest().limits.expire_after
    }

    /// The exposition of all applications, with every update that was acknowledged before this call.
    #[must_use]
    pub fn exposition(&self) -> Exposed {
        // Whoever comes first renders while the others wait here; pushes only ever wait for the handles to be copied.
        let mut rendered = self.shared.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, bodies) = {
            let latest = self.shared.latest();
            if rendered.generation == Some(latest.generation()) {
                return rendered.exposed.clone();
            }
            (latest.generation(), latest.apps().map(|app| app.body.clone()).collect::<Vec<_>>())
        };
        let exposed = Exposed {
            segments: raw::concatenate(&bodies).into(),
            pieces: Arc::default(),
        };
        *rendered = Rendered {
            generation: Some(generation),
            exposed: exposed.clone(),
        };
        exposed
    }
}
