//! Targets that would rather harm than answer.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use exporter_proxy::sources::polls::Endpoint;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, endpoint, poll, poll_as, settings};
use super::target::Target;

/// More than this never leaves a flooding target: what the poll takes and what the sockets between them hold.
const MOST_SENT: u64 = 32 << 20;

fn impatient(url: &str) -> Endpoint {
    let mut endpoint = endpoint(url);
    endpoint.timeout = Duration::from_millis(300);
    endpoint
}

/// A target that sends `head` and then `more` for ever, and the number of bytes of it that went out.
async fn flood(head: &'static [u8], more: &'static [u8]) -> (Target, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let target = Target::serve(move |mut connection| {
        let sent = Arc::clone(&counter);
        async move {
            connection.request().await?;
            connection.io.write_all(head).await?;
            let more = more.repeat(((64 << 10) / more.len()).max(1));
            loop {
                connection.io.write_all(&more).await?;
                sent.fetch_add(more.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    (target, sent)
}

/// A flood must end in a failure that says `why` and in a closed connection, long before time is up.
async fn cut(head: &'static [u8], more: &'static [u8], why: &str) {
    let (target, sent) = flood(head, more).await;
    // A busy machine needs seconds for a quarter of a million chunks; the limits end the poll, not its time.
    let mut patient = endpoint(&target.url("/"));
    patient.timeout = crate::harness::PATIENCE;
    let fault = poll_as(settings([patient])).await.unwrap_err();
    assert!(fault.contains(why), "{fault}");
    target.ended(1).await;
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < MOST_SENT, "{sent} bytes went out");
}

#[tokio::test]
async fn a_target_that_hangs_is_given_up_and_closed() {
    let target = Target::serve(|mut connection| async move { connection.until_closed().await }).await;
    let fault = poll_as(settings([impatient(&target.url("/"))])).await.unwrap_err();
    assert_eq!(fault, "no response within 300ms (timed out waiting for the headers)");
    target.ended(1).await;
}

#[tokio::test]
async fn a_target_that_hangs_after_the_headers() {
    let target = Target::serve(|mut connection| async move {
        connection.request().await?;
        connection.io.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\n").await?;
        connection.until_closed().await
    })
    .await;
    let fault = poll_as(settings([impatient(&target.url("/"))])).await.unwrap_err();
    assert_eq!(fault, "no response within 300ms (timed out reading the body)");
    target.ended(1).await;
}

#[tokio::test]
async fn a_trickle_does_not_prolong_the_time() {
    let target = Target::serve(|mut connection| async move {
        connection.request().await?;
        connection.io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        loop {
            connection.io.write_all(b"a").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let fault = poll_as(settings([impatient(&target.url("/"))])).await.unwrap_err();
    assert_eq!(fault, "no response within 300ms (timed out reading the body)");
    target.ended(1).await;
}

#[tokio::test]
async fn a_target_that_redirects_for_ever() {
    let target = Target::always("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 5\r\n\r\nagain").await;
    let mut endpoint = endpoint(&target.url("/"));
    endpoint.interval = Duration::from_secs(3_600);
    assert_eq!(poll_as(settings([endpoint])).await.unwrap_err(), "more than 5 redirects");
    assert_eq!((target.requests().len(), target.connections()), (6, 1));
}

#[tokio::test]
async fn a_target_that_redirects_to_somebody_else() {
    let victim = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").await;
    let location = format!("http://localhost:{}/", victim.address.port());
    let target = Target::always(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")).await;
    let fault = poll(&target.url("/")).await.unwrap_err();
    assert_eq!(fault, "redirected to another host (localhost), which is not followed");
    assert_eq!(victim.connections(), 0);
}

#[tokio::test]
async fn a_flood_of_body() {
    cut(b"HTTP/1.1 200 OK\r\n\r\n", b"a 1\n", "longer than 1048576 bytes").await;
}

#[tokio::test]
async fn a_flood_of_chunks() {
    cut(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4\r\na 1\n\r\n",
        "longer than",
    )
    .await;
}

#[tokio::test]
async fn a_flood_that_is_announced() {
    cut(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", b"a 1\n", "longer than").await;
}

#[tokio::test]
async fn a_flood_of_headers() {
    cut(
        b"HTTP/1.1 200 OK\r\n",
        b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        "not a valid HTTP response",
    )
    .await;
    cut(b"HTTP/1.1 200 OK\r\nX: ", b"yyyyyyyyyyyyyyyyyyyyyyy", "not a valid HTTP response").await;
}

#[tokio::test]
async fn a_flood_behind_a_redirect() {
    let (target, sent) = flood(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", b"again").await;
    assert_eq!(poll(&target.url("/")).await.unwrap_err(), "more than 5 redirects");
    target.ended(6).await;
    assert!(sent.load(Ordering::SeqCst) < 6 * MOST_SENT);
}

#[tokio::test]
async fn garbage() {
    cut(b"\0\xff\x13garbage\r\n\r\n", b"\x01\x02\x03", "not a valid HTTP response").await;
    cut(b"SSH-2.0-OpenSSH_9.9\r\n", b"SSH", "not a valid HTTP response").await;
    cut(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"a",
        "not a valid HTTP response",
    )
    .await;
    let binary = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fE\0F").await;
    assert_eq!(poll(&binary.url("/")).await.unwrap_err(), "the body is not metrics but binary data");
}

#[tokio::test]
async fn a_gzip_bomb() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..4 {
        encoder.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 100_000, "what is sent is well within the limit");
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    answer.extend(bomb);
    let fault = poll(&Target::always(answer).await.url("/")).await.unwrap_err();
    assert!(fault.contains("longer than 1048576 bytes once decompressed"), "{fault}");
}

#[tokio::test]
async fn the_others_are_polled_meanwhile() {
    let hangs = Target::serve(|mut connection| async move { connection.until_closed().await }).await;
    let (floods, _) = flood(b"HTTP/1.1 200 OK\r\n\r\n", b"a 1\n").await;
    let good = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").await;
    let rig = Rig::start(settings([&hangs, &floods, &good].map(|target| endpoint(&target.url("/")))));
    good.asked(10).await;
    // The first poll of the target that hangs is not over: the others did not wait for it.
    let app = rig.app(&hangs.url("/"), |_| true).await;
    assert_eq!((app.updated, &app.fault, hangs.connections()), (None, &None, 1));
    rig.app(&floods.url("/"), |app| app.fault.is_some()).await;
    rig.stop().await;
    hangs.ended(1).await;
}
