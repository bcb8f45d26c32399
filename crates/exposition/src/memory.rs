//! Counter for the memory of texts and rendered segments, as long as the store or a response holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Counter of held bytes. A clone is a handle to the same counter.
#[derive(Debug, Clone, Default)]
pub struct MemoryMeter(Arc<AtomicU64>);

/// Bytes that are counted until they are dropped.
struct Metered {
    bytes: Bytes,
    meter: MemoryMeter,
}

/// Memory of a counted buffer beside its bytes: the owner object and the allocator's overhead.
const OVERHEAD: u64 = 96;

impl MemoryMeter {
    /// Counts bytes until the last slice of them is dropped.
    #[must_use]
    pub fn hold(&self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        self.0.fetch_add(bytes.len() as u64 + OVERHEAD, Ordering::Relaxed);
        Bytes::from_owner(Metered {
            bytes,
            meter: self.clone(),
        })
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Metered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes.len() as u64 + OVERHEAD, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
