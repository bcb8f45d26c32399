//! Work that takes too long for a thread that serves connections.

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Does the work on a thread of its own and gives back what came of it.
///
/// A panic there goes on in the caller, as if the caller had done the work itself, so that whatever catches and counts the caller's panics
/// catches and counts this one: a result that is not there can never pass for an empty one. Where the runtime shuts down before the work
/// has begun, this never resolves, and the caller is dropped with the runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_shut_down) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
