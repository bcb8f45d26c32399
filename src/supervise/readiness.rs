//! Readiness of the program, as its services report it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reasons that the program is not ready, set and cleared by its services.
#[derive(Debug, Default)]
pub struct Readiness {
    /// At most one for each service that reports any.
    obstacles: Mutex<Vec<(&'static str, String)>>,
}

impl Readiness {
    fn obstacles_mut(&self) -> MutexGuard<'_, Vec<(&'static str, String)>> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the reason that `part` is not ready, in place of an earlier one. Returns false if it had the same reason already.
    pub fn obstruct(&self, part: &'static str, why: String) -> bool {
        let mut obstacles = self.obstacles_mut();
        let known = obstacles.iter().any(|(other, reason)| *other == part && *reason == why);
        if !known {
            obstacles.retain(|(other, _)| *other != part);
            obstacles.push((part, why));
        }
        !known
    }

    /// Removes the reason of `part`. Returns false if it had none.
    pub fn clear(&self, part: &'static str) -> bool {
        let mut obstacles = self.obstacles_mut();
        let before = obstacles.len();
        obstacles.retain(|(other, _)| *other != part);
        obstacles.len() < before
    }

    /// The reasons, a line each; `None` if the program is ready.
    #[must_use]
    pub fn obstacles(&self) -> Option<String> {
        let obstacles = self.obstacles_mut();
        let lines = obstacles.iter().map(|(part, why)| format!("{part}: {why}\n"));
        (!obstacles.is_empty()).then(|| lines.collect())
    }
}

#[cfg(test)]
mod tests;
