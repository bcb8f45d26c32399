//! Health and readiness endpoints.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};

use crate::http::reply;
use crate::supervise::Notes;

/// Reasons that the program is not ready, set and cleared by its services.
#[derive(Debug, Default)]
pub struct Readiness {
    /// One entry for each part that has something to say; bounded by the number of parts.
    obstacles: Mutex<Vec<(&'static str, String)>>,
}

impl Readiness {
    /// Says that `part` is not ready, and why.
    pub fn obstruct(&self, part: &'static str, why: String) {
        let mut obstacles = self.obstacles.lock().unwrap_or_else(PoisonError::into_inner);
        obstacles.retain(|(other, _)| *other != part);
        obstacles.push((part, why));
    }

    /// Says that `part` is ready.
    pub fn clear(&self, part: &'static str) {
        self.obstacles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(other, _)| *other != part);
    }

    /// The reasons, a line each; empty if the program is ready.
    #[must_use]
    pub fn obstacles(&self) -> Option<String> {
        let obstacles = self.obstacles.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = obstacles.iter().map(|(part, why)| format!("{part}: {why}\n"));
        (!obstacles.is_empty()).then(|| lines.collect())
    }
}

/// `GET /healthz`, `GET /-/healthy`: always 200.
pub(super) async fn alive() -> Response<Body> {
    reply::text(StatusCode::OK, "ok")
}

/// `GET /readyz`, `GET /-/ready`: 200, or 503 and why. Troubles that keep nothing from working are noted in either case.
pub(super) async fn ready(State((readiness, notes)): State<(Arc<Readiness>, Arc<Notes>)>) -> Response<Body> {
    let notes: String = notes.lines().iter().map(|note| format!("note: {note}\n")).collect();
    match readiness.obstacles() {
        None => reply::text(StatusCode::OK, format_args!("ready\n{notes}")),
        Some(why) => reply::text(StatusCode::SERVICE_UNAVAILABLE, format_args!("{why}{notes}")),
    }
}

#[cfg(test)]
mod tests;
