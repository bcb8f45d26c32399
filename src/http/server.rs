//! A listener, its slots and a service: HTTP as a part of the program.

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{ConnectionInfo, HttpService};
use crate::supervise::{Accepted, ConnectionSlots, Listener, Service};

/// Serves HTTP on one listener.
pub struct Server {
    name: String,
    listener: Listener,
    slots: ConnectionSlots,
    service: HttpService,
}

impl Server {
    /// HTTP on a listener that is bound; its name becomes `http` and the address.
    #[must_use]
    pub fn new(listener: Listener, slots: ConnectionSlots, service: HttpService) -> Self {
        Self {
            name: format!("http {}", listener.place()),
            listener,
            slots,
            service,
        }
    }
}

impl Service for Server {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self {
            listener, slots, service, ..
        } = *self;
        Box::pin(async move {
            let connections = stop.clone();
            let serve = move |accepted: Accepted| {
                let (service, stop) = (service.clone(), connections.clone());
                async move {
                    let (stream, info) = ConnectionInfo::from_accepted(accepted);
                    service.serve(stream, info, stop).await;
                }
            };
            listener.serve(slots, stop, serve).await;
            Ok(())
        })
    }
}
