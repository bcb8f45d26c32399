//! The end of a connection that we close: the client gets time to take everything, and shows whether it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::connection::SharedConnection;
use super::delivery::DeliveryOutcome;
use super::layer::Layer;

/// Read and thrown away at once while waiting for an end of file.
const SINK: usize = 8 * 1024;

/// Interval of polling the kernel for unacknowledged bytes: it has no event for that.
const LOOK: Duration = Duration::from_millis(10);

/// Time for a client that has all of a response to close by itself. It knows the response's length, so that takes a round trip; one that
/// waits for our end instead waits that much longer, only over TLS and if events were in its last response.
const CLIENT_CLOSES: Duration = Duration::from_millis(500);

/// Shuts our side down, reads to the client's end of file and waits for its acknowledgements, each for at most `limit`, and judges.
///
/// Closing at once instead would make the kernel answer whatever the client is still sending with a reset, which can destroy a response
/// that the client has not read yet.
pub(super) async fn lingering_close<S>(mut socket: Layer<S>, shared: &Arc<SharedConnection>, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (ends_with_data, is_open) = (socket.ends_with_data(), shared.state().has_open_responses());
    if ends_with_data && is_open && !shared.state().has_ended() {
        let _ = timeout(limit + CLIENT_CLOSES, let_client_close(&mut socket, shared, limit)).await;
    }
    if !shared.state().has_ended() {
        // When time is up the client has shown nothing, and that is what is judged below.
        let _ = timeout(limit, drain_input(&mut socket)).await;
    }
    if shared.state().has_open_responses() {
        let outcome = if shared.state().has_ended() && all_acked(shared, limit).await {
            DeliveryOutcome::Acked
        } else {
            DeliveryOutcome::Unacked
        };
        shared.change(|state| state.settle_all(outcome));
    }
}

/// Waits for the client's end of file, for a moment after everything was acknowledged.
///
/// TLS ends with an alert. If it is still unread when the client closes its socket, the client's kernel resets the connection, as it does
/// for a client that has not read the response: then the events would come again.
async fn let_client_close<S>(socket: &mut Layer<S>, shared: &Arc<SharedConnection>, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let client_closes = async {
        if all_acked(shared, limit).await {
            sleep(CLIENT_CLOSES).await;
        }
    };
    tokio::select! {
        () = discard(socket) => {}
        () = client_closes => {}
    }
}

/// Reads to the client's end of file.
async fn discard<S>(socket: &mut Layer<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut sink = vec![0; SINK];
    // Below TLS: what is thrown away needs no decryption, and the end of file is the transport's.
    let transport = socket.transport();
    while transport.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

async fn drain_input<S>(socket: &mut Layer<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A shutdown fails where the client is gone, and then so does the first read.
    let _ = socket.shutdown().await;
    discard(socket).await;
}

async fn all_acked(shared: &Arc<SharedConnection>, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match shared.unacked() {
            Some(Ok(0)) => return !shared.state().has_failed(),
            Some(Ok(_)) if Instant::now() < until => sleep(LOOK).await,
            _ => return false,
        }
    }
}
