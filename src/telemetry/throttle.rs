//! Log lines that strangers can cause are limited for each source, and what was left unsaid is counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines one source may cause within [`WINDOW`]: enough to see a pattern, too few to fill a disk.
const LINES: u32 = 5;
/// The time over which [`LINES`] are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Limit on sources, more than any program has that logs at the same time. Beyond it all further ones share the limit of [`OTHERS`].
const MAX_SOURCES: usize = 1_024;
/// The source of lines beyond [`MAX_SOURCES`].
const OTHERS: &str = "others";

#[derive(Debug)]
struct Window {
    since: Instant,
    said: u32,
    unsaid: u64,
}

/// Decides for each source whether its next line is written.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Bounded by [`MAX_SOURCES`] and one more.
    sources: Mutex<HashMap<String, Window>>,
}

impl Throttle {
    /// Whether a line of `source` may be written now: `Some(n)` if so, with the number of lines left unsaid since the last one.
    pub fn admit(&self, source: &str, now: Instant) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut source = source;
        if !sources.contains_key(source) && sources.len() >= MAX_SOURCES {
            sources.retain(|_, window| now.saturating_duration_since(window.since) < WINDOW);
            if sources.len() >= MAX_SOURCES {
                source = OTHERS;
            }
        }
        if !sources.contains_key(source) {
            sources.insert(
                source.to_owned(),
                Window {
                    since: now,
                    said: 0,
                    unsaid: 0,
                },
            );
        }
        let window = sources.get_mut(source)?;
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.said) = (now, 0);
        }
        if window.said < LINES {
            window.said += 1;
            return Some(std::mem::take(&mut window.unsaid));
        }
        window.unsaid += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_source_is_cut_short_and_the_rest_is_counted() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let said = (0..100).filter(|_| throttle.admit("noisy", start).is_some()).count();
        assert_eq!(said, 5);
        assert_eq!(throttle.admit("quiet", start), Some(0));
        assert_eq!(throttle.admit("noisy", start + WINDOW), Some(95));
        assert_eq!(throttle.admit("noisy", start + WINDOW), Some(0));
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let admitted = (0..2 * MAX_SOURCES)
            .filter(|n| throttle.admit(&n.to_string(), start).is_some())
            .count();
        assert_eq!(throttle.sources.lock().map(|s| s.len()).unwrap_or(0), MAX_SOURCES + 1);
        assert_eq!(admitted, MAX_SOURCES + 5, "the others share one limit");
        assert_eq!(throttle.admit("later", start + WINDOW), Some(0));
    }
}
