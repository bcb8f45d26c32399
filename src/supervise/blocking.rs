//! Work that takes too long for a thread that serves connections.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// Does the work on a thread of its own and gives back what came of it.
///
/// A panic there goes on in the caller, as if the caller had done the work itself, so that whatever catches and counts the caller's panics
/// catches and counts this one: a result that is not there can never pass for an empty one. Where the runtime shuts down before the work
/// has begun, this never resolves, and the caller is dropped with the runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    // A receiver that is gone is a caller that was dropped: no one wants the result.
    start(Box::new(move || drop(sender.send(catch_unwind(AssertUnwindSafe(work))))));
    match receiver.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_shut_down) => std::future::pending().await,
    }
}

/// One function for all kinds of work, so that the runtime's task is compiled once and not for each of them.
fn start(work: Box<dyn FnOnce() + Send>) {
    drop(spawn_blocking(work));
}

#[cfg(test)]
mod tests;
