//! Timestamps of samples.

use super::render::millis_of_seconds;
use super::{Exposition, FamilyFlags, Sample};
use crate::Syntax;

impl Exposition {
    /// The newest timestamp of all samples, in milliseconds since the Unix epoch; `None` without any, which needs no search.
    #[must_use]
    pub fn newest_timestamp(&self) -> Option<i64> {
        let families = self
            .families()
            .iter()
            .filter(|family| family.flags.contains(FamilyFlags::TIMESTAMPS));
        let samples = families.flat_map(|family| self.samples(family));
        samples.filter_map(|sample| millis(sample.timestamp?, self.syntax())).max()
    }
}

/// Converts a checked timestamp to milliseconds, the unit of Prometheus.
pub(super) fn millis(written: &[u8], syntax: Syntax) -> Option<i64> {
    match syntax {
        Syntax::Text => std::str::from_utf8(written).ok()?.parse().ok(),
        Syntax::OpenMetrics => Some(millis_of_seconds(written)),
    }
}

impl Sample<'_> {
    /// The timestamp in milliseconds.
    pub(super) fn millis(&self, syntax: Syntax) -> Option<i64> {
        millis(self.timestamp?, syntax)
    }
}

#[cfg(test)]
mod tests;
