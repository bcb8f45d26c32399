//! Work that takes too long for a thread that serves connections.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

/// Threads for blocking work of the runtime: all that [`blocking`] does, such as rendering, compression and password hashes. They are made when
/// they are needed, and end 10 s after their last work.
pub const BLOCKING_THREADS: usize = 512;

/// The most threads that work of [`blocking_within`] may hold, of all semaphores together: as many are left to work that ends by itself.
pub const MAX_HANGING: usize = BLOCKING_THREADS / 2;

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

/// Does the work as [`blocking`] does, with one of these permits, which waiting callers get in order.
///
/// It is for work that may hang, such as a lookup: the thread holds the permit, not the caller, which may have timed out long before. So the
/// number of permits is that of the threads that hang at most.
pub async fn blocking_within<T: Send + 'static>(permits: &'static Semaphore, work: impl FnOnce() -> T + Send + 'static) -> T {
    // Such semaphores are never closed.
    let permit = permits.acquire().await.ok();
    blocking(move || {
        let _held = permit;
        work()
    })
    .await
}

/// Does the work as [`blocking`] does. The thread holds `permits`, and gives them back for what `later` resolves to, if it still works then.
///
/// It is for work that may hang, of which only the time shows that it does: it is counted among other work that hangs from then on. Where the
/// caller has given up, the thread keeps what it holds.
pub async fn blocking_holding<P: Send + 'static, T: Send + 'static>(
    permits: P,
    later: impl Future<Output = P>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let held = Arc::new(Mutex::new(Some(permits)));
    let of_thread = GiveBack(Arc::clone(&held));
    let mut working = pin!(blocking(move || {
        let _of_thread = of_thread;
        work()
    }));
    tokio::select! {
        biased;
        result = &mut working => return result,
        others = later => *lock(&held) = Some(others),
    }
    working.await
}

/// Gives back the permits of a thread at the end of its work. The caller, which may have exchanged them, may be there for longer.
struct GiveBack<P>(Arc<Mutex<Option<P>>>);

impl<P> Drop for GiveBack<P> {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

fn lock<P>(held: &Mutex<Option<P>>) -> MutexGuard<'_, Option<P>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One function for all kinds of work, so that the runtime's task is compiled once and not for each of them.
fn start(work: Box<dyn FnOnce() + Send>) {
    drop(spawn_blocking(work));
}

#[cfg(test)]
mod tests;
