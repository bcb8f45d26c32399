//! Timestamps of samples.

use super::render::millis_of_seconds;
use super::{Exposition, FamilyFlags, Sample};
use crate::model::{Syntax, Timestamp};

impl Exposition {
    /// The newest timestamp of all samples; `None` without any, which needs no search.
    #[must_use]
    pub fn newest_timestamp(&self) -> Option<Timestamp> {
        let families = self
            .families()
            .iter()
            .filter(|family| family.flags.contains(FamilyFlags::TIMESTAMPS));
        let samples = families.flat_map(|family| self.samples(family));
        samples
            .filter_map(|sample| millis(sample.timestamp?, self.syntax()))
            .max()
            .map(Timestamp::from_millis)
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
mod tests {
    use super::*;

    #[test]
    fn both_units_are_understood() {
        let newest = |text: &'static str, syntax| Exposition::parse(text.into(), syntax).newest_timestamp().map(Timestamp::as_millis);
        assert_eq!(newest("a 1 1395066363000\nb 1\nc 2 -5\n", Syntax::Text), Some(1_395_066_363_000));
        assert_eq!(newest("a 1 1520879607.789\n# EOF\n", Syntax::OpenMetrics), Some(1_520_879_607_789));
        assert_eq!(newest("a 1\n", Syntax::Text), None);
    }
}
