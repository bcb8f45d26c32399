//! One Cap'n Proto message of a receiver, written.

use super::schema::inbound_metrics_capnp::inbound_metrics;
use crate::model::AppName;

/// The bytes of one `InboundMetrics` message in standard stream framing.
#[must_use]
pub fn encode(app: &AppName, data: &str) -> Vec<u8> {
    let mut message = capnp::message::Builder::new_default();
    let mut inbound = message.init_root::<inbound_metrics::Builder<'_>>();
    inbound.set_app_name(app.as_str());
    inbound.set_data(data);
    capnp::serialize::write_message_to_words(&message)
}

#[cfg(test)]
mod tests;
