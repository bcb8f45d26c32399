//! The end of a connection that asks: requests on one channel, and the answers to them in whatever order they come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::pipe::{Pipe, PipeReader};
use super::sending::{Gone, Outbox, Sending};
use crate::peer::HyperdhtError;
use crate::wire::hyperdht::{Call, Failure, FailureCode, Frame, Frames, Reply, WireFault};

/// Our number for the one channel that we open.
const CHANNEL: u64 = 1;

/// Requests that may wait for an answer on one connection: more than scrapers of one proxy there are.
const MAX_WAITING: usize = 1_024;

/// How a connection ended: whether that was meant, and why.
pub(super) type End = (bool, String);

/// Asks over a connection, which is closed when this is dropped.
pub(super) struct Caller {
    shared: Arc<Shared>,
    outbox: Outbox,
    sending: Sending,
    reading: AbortOnDropHandle<()>,
    ending: Ending,
}

/// Tells of the end of a connection once, by the first that knows of one; at the latest when the connection is dropped.
struct Ending(Arc<Teller>);

/// Called with the end of a connection.
type OnEnd = Box<dyn FnOnce(End) + Send>;

/// What is called at the end, until it was.
struct Teller(Mutex<Option<OnEnd>>);

impl Teller {
    fn tell(&self, end: End) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            ended(end);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.tell((true, "closed here".to_owned()));
    }
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    last_id: u64,
    /// At most [`MAX_WAITING`].
    waiting: HashMap<u64, oneshot::Sender<Result<Bytes, HyperdhtError>>>,
    over: Option<String>,
}

impl Caller {
    /// Opens a channel of this protocol; `ended` is called when the connection ends, or is given up here.
    pub(super) fn new(pipe: Pipe, protocol: &str, ended: impl FnOnce(End) + Send + 'static) -> Self {
        let open = Frame::Open {
            channel: CHANNEL,
            protocol: protocol.to_owned(),
            id: Bytes::new(),
        };
        let (outbox, sending) = Sending::start(pipe.writer, Some(open.encode()));
        let shared = Arc::<Shared>::default();
        let reading = Reading {
            protocol: protocol.to_owned(),
            theirs: None,
            shared: shared.clone(),
            outbox: outbox.clone(),
        };
        let reader = pipe.reader;
        let ending = Ending(Arc::new(Teller(Mutex::new(Some(Box::new(ended))))));
        let teller = ending.0.clone();
        let reading = tokio::spawn(async move {
            let shared = reading.shared.clone();
            let end = reading.run(reader).await;
            shared.end(&end.1);
            teller.tell(end);
        });
        Self {
            shared,
            outbox,
            sending,
            reading: AbortOnDropHandle::new(reading),
            ending,
        }
    }

    /// Tells of the end of the connection, which is about to be given up.
    pub(super) fn tell_end(&self, end: End) {
        self.ending.0.tell(end);
    }

    /// Whether it can still be asked.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.lock().over.is_none()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Where there is none in time, or the other end says why there is none.
    pub(super) async fn ask(&self, method: &str, value: &[u8], wait: Duration) -> Result<Bytes, HyperdhtError> {
        let mut expected = Expected::new(&self.shared)?;
        let request = Call::request(CHANNEL, expected.id, method, value);
        let answered = async {
            // Why it is gone is said by the answer.
            let _ = self.outbox.send(request).await;
            (&mut expected.answer).await
        };
        match timeout(wait, answered).await {
            Err(_) => Err(HyperdhtError::Timeout(wait)),
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(HyperdhtError::Lost("the connection is closed".to_owned())),
        }
    }

    /// Closes the connection in good order.
    pub(super) async fn close(self) {
        let Self {
            outbox, sending, reading, ..
        } = self;
        // What has no outbox any more ends the connection when it has sent all.
        drop((outbox, reading));
        sending.finish().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: u64, outcome: Result<Bytes, HyperdhtError>) {
        let waiting = self.lock().waiting.remove(&id);
        // An answer that nobody waits for any more comes too late.
        if let Some(waiting) = waiting {
            let _ = waiting.send(outcome);
        }
    }

    fn end(&self, why: &str) {
        let waiting = {
            let mut state = self.lock();
            state.over = Some(why.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            let _ = waiting.send(Err(HyperdhtError::Lost(why.to_owned())));
        }
    }
}

/// A place among those who wait; left when it is dropped.
struct Expected<'s> {
    shared: &'s Shared,
    id: u64,
    answer: oneshot::Receiver<Result<Bytes, HyperdhtError>>,
}

impl<'s> Expected<'s> {
    fn new(shared: &'s Shared) -> Result<Self, HyperdhtError> {
        let mut state = shared.lock();
        if let Some(why) = &state.over {
            return Err(HyperdhtError::Lost(why.clone()));
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(HyperdhtError::Busy);
        }
        let (tell, answer) = oneshot::channel();
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.insert(id, tell);
        Ok(Self { shared, id, answer })
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.id);
    }
}

/// The task that reads.
struct Reading {
    protocol: String,
    /// Their number for the channel, once they have opened it, too.
    theirs: Option<u64>,
    shared: Arc<Shared>,
    outbox: Outbox,
}

/// Why reading ends.
enum Stop {
    Meant(&'static str),
    Fault(WireFault),
    Gone,
}

impl From<WireFault> for Stop {
    fn from(fault: WireFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Reading {
    async fn run(mut self, mut reader: PipeReader) -> End {
        loop {
            let outbox = self.outbox.clone();
            let message = tokio::select! {
                message = reader.next() => match message {
                    Ok(Some(message)) => message,
                    Ok(None) => return (true, "the other end has closed the connection".to_owned()),
                    Err(error) => return (false, error.to_string()),
                },
                () = outbox.gone() => return (false, "nothing can be sent any more".to_owned()),
            };
            if let Err(stop) = self.hear(message).await {
                return match stop {
                    Stop::Meant(why) => (true, why.to_owned()),
                    Stop::Fault(fault) => (false, fault.to_string()),
                    Stop::Gone => (false, "nothing can be sent any more".to_owned()),
                };
            }
        }
    }

    async fn hear(&mut self, message: Bytes) -> Result<(), Stop> {
        for frame in Frames::of(message) {
            match frame? {
                Frame::Open { channel, protocol, id } => {
                    if self.theirs.is_none() && id.is_empty() && protocol == self.protocol {
                        self.theirs = Some(channel);
                    } else {
                        // What nobody answers the other end would keep for ever.
                        self.outbox.send(Frame::Reject { channel }.encode()).await?;
                    }
                }
                Frame::Reject { channel: CHANNEL } => return Err(Stop::Meant("the other end does not speak this protocol")),
                Frame::Close { channel } if Some(channel) == self.theirs => {
                    return Err(Stop::Meant("the other end has closed the channel"));
                }
                Frame::Data { channel, kind, payload } if Some(channel) == self.theirs => {
                    self.hear_call(kind, payload).await?;
                }
                // What was sent before they knew that we do not want their channel.
                Frame::Reject { .. } | Frame::Close { .. } | Frame::Data { .. } => {}
            }
        }
        Ok(())
    }

    async fn hear_call(&self, kind: u64, payload: Bytes) -> Result<(), Stop> {
        match Call::decode(kind, payload)? {
            Some(Call::Response(Reply { id, outcome })) => {
                self.shared
                    .settle(id, outcome.map_err(|failure| HyperdhtError::Failed(failure.to_string())));
            }
            Some(Call::Request { id, method, .. }) if id != 0 => {
                let failure = unknown_method(&method);
                self.outbox.send(Call::response(CHANNEL, id, Err(&failure))).await?;
            }
            Some(Call::Request { .. }) | None => {}
        }
        Ok(())
    }
}

/// What a request for a method is answered with that is not there.
pub(super) fn unknown_method(method: &str) -> Failure {
    Failure {
        message: format!("unknown method {method:?}"),
        code: Some(FailureCode::UnknownMethod),
    }
}
