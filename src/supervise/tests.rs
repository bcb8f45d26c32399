#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

struct Act<F>(&'static str, F);

impl<F, R> Service for Act<F>
where
    F: FnOnce(CancellationToken) -> R + Send,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    fn name(&self) -> &str {
        self.0
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin((self.1)(stop))
    }
}

async fn obeys(stop: CancellationToken) -> anyhow::Result<()> {
    stop.cancelled().await;
    Ok(())
}

async fn hangs(_: CancellationToken) -> anyhow::Result<()> {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_everything_well() {
    let mut all = Supervisor::new();
    all.add(Act("a", obeys));
    all.add(Act("b", obeys));
    let stop = Stop::default();
    stop.graceful.cancel();
    let report = all.run(stop, DRAIN).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_stops_the_others_and_is_named() {
    let mut all = Supervisor::new();
    all.add(Act("steady", obeys));
    all.add(Act("weak", |_| async { anyhow::bail!("disk on fire") }));
    let report = all.run(Stop::default(), DRAIN).await;
    assert_eq!(report.to_string(), "weak failed: disk on fire");
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_request_to_stop_is_a_failure() {
    let mut all = Supervisor::new();
    all.add(Act("steady", obeys));
    all.add(Act("quitter", |_| async { Ok(()) }));
    let report = all.run(Stop::default(), DRAIN).await;
    assert_eq!(report.to_string(), "quitter failed: it ended without a request to stop");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_with_its_text() {
    let mut all = Supervisor::new();
    all.add(Act("steady", obeys));
    all.add(Act("nervous", |_| async { panic!("boo {}", 1) }));
    let report = all.run(Stop::default(), DRAIN).await;
    assert_eq!(report.to_string(), "nervous failed: it panicked: boo 1");
}

#[tokio::test(start_paused = true)]
async fn draining_has_a_limit_and_names_what_remains() {
    let mut all = Supervisor::new();
    all.add(Act("zeta", hangs));
    all.add(Act("alpha", hangs));
    all.add(Act("steady", obeys));
    let stop = Stop::default();
    stop.graceful.cancel();
    let began = tokio::time::Instant::now();
    let report = all.run(stop, DRAIN).await;
    assert_eq!(began.elapsed(), DRAIN);
    assert_eq!(report.to_string(), "gave up waiting for alpha, zeta");
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_stops_at_once() {
    let mut all = Supervisor::new();
    all.add(Act("slow", hangs));
    let stop = Stop::default();
    stop.graceful.cancel();
    let hurry = stop.immediate.clone();
    let began = tokio::time::Instant::now();
    let later = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        hurry.cancel();
    };
    let (report, ()) = tokio::join!(all.run(stop, DRAIN), later);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(report.unfinished, ["slow"]);
}
