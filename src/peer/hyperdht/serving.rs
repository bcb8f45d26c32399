//! The end of a connection that answers: requests of one method on one channel, several at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::calling::{End, unknown_method};
use super::pipe::Pipe;
use super::sending::{Gone, Outbox, Received, Sending};
use crate::peer::bridge_session::log_panic;
use crate::wire::hyperdht::{Call, Failure, Frame, Frames, WireFault};

/// Our number for the one channel that is served.
const CHANNEL: u64 = 1;

/// Requests of one connection in work at once; more are not read until one is answered.
const MAX_IN_WORK: usize = 32;

/// What is answered.
pub(super) trait Service: Send + Sync + 'static {
    /// The protocol of the channel.
    const PROTOCOL: &'static str;
    /// The one method of it.
    const METHOD: &'static str;
    /// The longest message with requests, in bytes. Whoever asks chooses how much of it we hold.
    const MAX_BYTES: usize = 64 << 10;

    /// Answers a request.
    fn answer(&self, value: Bytes) -> impl Future<Output = Answer> + Send;
}

/// The answer to a request.
pub(super) struct Answer {
    /// The value, in pieces that are put together when they are sent, or why there is none.
    pub(super) outcome: Result<Vec<Bytes>, Failure>,
    /// What is to be done once the other end has received it.
    pub(super) received: Option<Received>,
}

impl Answer {
    /// An answer whose fate does not matter.
    pub(super) fn plain(value: Vec<u8>) -> Self {
        Self {
            outcome: Ok(vec![value.into()]),
            received: None,
        }
    }
}

/// Answers over a connection until it ends, is idle for so long, or `stop`: then what is in work is finished.
pub(super) async fn serve<S: Service>(pipe: Pipe, service: Arc<S>, idle: Duration, stop: CancellationToken) -> End {
    let (outbox, sending) = Sending::start(pipe.writer, None);
    let mut reader = pipe.reader;
    reader.limit(S::MAX_BYTES);
    let mut serving = Serving {
        service,
        outbox,
        theirs: None,
        work: JoinSet::new(),
    };
    let mut heard = Instant::now();
    // How it ended: by us, in good order, or otherwise.
    let end: Result<String, End> = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok("stopping".to_owned()),
            () = serving.outbox.gone() => break Err((false, "nothing can be sent any more".to_owned())),
            () = sleep_until(heard + idle), if serving.work.is_empty() => break Ok(format!("nothing was asked for {idle:?}")),
            Some(done) = serving.work.join_next() => log_panic(done),
            message = reader.next(), if serving.work.len() < MAX_IN_WORK => {
                heard = Instant::now();
                match message {
                    Ok(Some(message)) => match serving.hear(message).await {
                        Ok(()) => {}
                        Err(Fault::Wire(fault)) => break Err((false, fault.to_string())),
                        Err(Fault::Gone) => break Err((false, "nothing can be sent any more".to_owned())),
                    },
                    // It takes nothing more, although its transport may: what is under way now is for nobody.
                    Ok(None) => break Err((true, "the other end has closed the connection".to_owned())),
                    Err(error) => break Err((false, error.to_string())),
                }
            }
        }
    };
    match end {
        Ok(why) => {
            // The supervisor limits how long that may take.
            while let Some(done) = serving.work.join_next().await {
                log_panic(done);
            }
            drop(serving);
            sending.finish().await;
            (true, why)
        }
        Err(end) => {
            sending.leave();
            end
        }
    }
}

/// Why nothing more is heard.
enum Fault {
    Wire(WireFault),
    Gone,
}

impl From<WireFault> for Fault {
    fn from(fault: WireFault) -> Self {
        Self::Wire(fault)
    }
}

impl From<Gone> for Fault {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

struct Serving<S> {
    service: Arc<S>,
    outbox: Outbox,
    /// Their number for the channel that is served.
    theirs: Option<u64>,
    /// At most [`MAX_IN_WORK`].
    work: JoinSet<()>,
}

impl<S: Service> Serving<S> {
    async fn hear(&mut self, message: Bytes) -> Result<(), Fault> {
        for frame in Frames::of(message) {
            match frame? {
                Frame::Open { channel, protocol, id } => {
                    let wanted = self.theirs.is_none() && id.is_empty() && protocol == S::PROTOCOL;
                    let answer = if wanted {
                        self.theirs = Some(channel);
                        Frame::Open {
                            channel: CHANNEL,
                            protocol,
                            id,
                        }
                    } else {
                        // What nobody answers the other end would keep for ever.
                        Frame::Reject { channel }
                    };
                    self.outbox.send(answer.encode()).await?;
                }
                // Both ends count it as closed then, and both numbers may come again.
                Frame::Close { channel } if Some(channel) == self.theirs => self.theirs = None,
                Frame::Data { channel, kind, payload } if Some(channel) == self.theirs => self.hear_call(kind, payload).await?,
                // What was sent before they knew that we do not want their channel.
                Frame::Reject { .. } | Frame::Close { .. } | Frame::Data { .. } => {}
            }
        }
        Ok(())
    }

    async fn hear_call(&mut self, kind: u64, payload: Bytes) -> Result<(), Fault> {
        let Some(Call::Request { id, method, value }) = Call::decode(kind, payload)? else {
            return Ok(());
        };
        if method != S::METHOD {
            if id != 0 {
                let failure = unknown_method(&method);
                self.outbox.send(Call::response(CHANNEL, id, Err(&failure))).await?;
            }
            return Ok(());
        }
        // A batch may hold more requests than are worked on at once.
        while self.work.len() >= MAX_IN_WORK
            && let Some(done) = self.work.join_next().await
        {
            log_panic(done);
        }
        self.work.spawn(answer(self.service.clone(), self.outbox.clone(), id, value));
        Ok(())
    }
}

async fn answer<S: Service>(service: Arc<S>, outbox: Outbox, id: u64, value: Bytes) {
    let Answer { outcome, received } = service.answer(value).await;
    if id == 0 {
        // An answer is not wanted.
        return;
    }
    let message = || Call::response(CHANNEL, id, outcome.as_deref());
    // Where it cannot be sent, nobody hears that it was received.
    let _ = outbox.send_followed(message, received).await;
}
