//! Rate limit of repeated log lines for each subject, with a count of the suppressed ones.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines about one subject within [`WINDOW`]: enough to see a pattern, too few to fill a disk.
const LINES: u32 = 5;
/// The time over which [`LINES`] are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Subjects that are tracked, each for a window. Clients can name more of them; those share one window.
const MAX_SUBJECTS: usize = 1_024;
/// The subject of all lines beyond [`MAX_SUBJECTS`].
const OTHERS: &str = "";

#[derive(Debug)]
struct Window {
    since: Instant,
    admitted: u32,
    suppressed: u64,
}

/// Decides for each subject (an app, an alias, a peer, an endpoint) whether its next line is written.
#[derive(Debug, Default)]
pub struct Throttle {
    subjects: Mutex<Subjects>,
}

#[derive(Debug, Default)]
struct Subjects {
    /// Bounded by [`MAX_SUBJECTS`] and [`OTHERS`].
    windows: HashMap<String, Window>,
    /// Time of the last removal of old windows: a full table is not searched for each line.
    swept: Option<Instant>,
}

impl Throttle {
    /// Returns the number of lines suppressed since the last one if a line about `subject` may be written now, otherwise `None`.
    pub fn admit(&self, subject: &str, now: Instant) -> Option<u64> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let window = subjects.window(subject, now);
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.admitted) = (now, 0);
        }
        if window.admitted < LINES {
            window.admitted += 1;
            return Some(std::mem::take(&mut window.suppressed));
        }
        window.suppressed += 1;
        None
    }
}

impl Subjects {
    /// The window of a subject, or the shared one if there are too many subjects.
    fn window(&mut self, subject: &str, now: Instant) -> &mut Window {
        let is_due = |swept: Instant| now.saturating_duration_since(swept) >= WINDOW / 10;
        if self.is_full_for(subject) && self.swept.is_none_or(is_due) {
            self.windows
                .retain(|_, window| now.saturating_duration_since(window.since) < WINDOW);
            self.swept = Some(now);
        }
        let name = if self.is_full_for(subject) { OTHERS } else { subject };
        self.windows.entry(name.to_owned()).or_insert(Window {
            since: now,
            admitted: 0,
            suppressed: 0,
        })
    }

    fn is_full_for(&self, subject: &str) -> bool {
        self.windows.len() >= MAX_SUBJECTS && !self.windows.contains_key(subject)
    }
}

#[cfg(test)]
mod tests;
