//! Encoding and decoding of the control messages of a peer link (`schema/link.capnp`).

use super::schema::link_capnp::link_message;

/// Limit of a control message in bytes: it contains a name, a host, a service and a reason, of a few hundred bytes each.
pub const MAX_LINK_MESSAGE_BYTES: usize = 16 * 1024;

/// Limit of segments per message: small messages have one, and builders with tiny segments need fewer than this.
const MAX_SEGMENTS: usize = 16;

/// Bytes per word, the unit of Cap'n Proto.
const WORD: usize = 8;

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkMessage {
    /// Registration of a proxy.
    Register(Register),
    /// The registration is accepted.
    Registered {
        /// True if the registration changed something at the bridge.
        updated: bool,
    },
    /// The registration is refused, with the reason.
    Refused(String),
    /// The response to the scrape with this number has reached its reader.
    Delivered(u64),
    /// The sender closes the link, with the reason.
    Goodbye(String),
    /// Another proxy is connected to the bridge with the same key.
    SharedKey(SharedKey),
    /// Another key has registered the proxy's alias.
    AliasLost(AliasLost),
    /// The alias of this name is the proxy's own again.
    AliasReturned(String),
}

/// Two proxies that are connected to a bridge with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedKey {
    /// The alias of the proxy that receives the message.
    pub alias: String,
    /// The address of that proxy, as seen by the bridge.
    pub address: String,
    /// The alias of the other proxy.
    pub other_alias: String,
    /// The address of the other proxy.
    pub other_address: String,
}

/// An alias that another proxy has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasLost {
    /// The alias.
    pub alias: String,
    /// The public key of the other proxy.
    pub key: [u8; 32],
    /// The address of the other proxy.
    pub address: String,
}

/// The registration of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The name of the proxy in requests to the bridge.
    pub alias: String,
    /// The kind of service.
    pub service: String,
    /// The host that it runs on.
    pub hostname: String,
    /// Proof that the sender knows the shared secret.
    pub proof: Vec<u8>,
}

/// Error of decoding a control message.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    /// Its header declares more than [`MAX_LINK_MESSAGE_BYTES`].
    #[error("a control message of more than {MAX_LINK_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// It is not a valid Cap'n Proto message of this schema.
    #[error("a malformed control message: {0}")]
    Malformed(String),
}

impl From<capnp::Error> for LinkFault {
    fn from(error: capnp::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<std::str::Utf8Error> for LinkFault {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl LinkMessage {
    /// The bytes of the message, in standard stream framing.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = capnp::message::Builder::new_default();
        let mut root = message.init_root::<link_message::Builder<'_>>();
        match self {
            Self::Register(register) => {
                let mut to = root.init_register();
                to.set_alias(&register.alias);
                to.set_service(&register.service);
                to.set_hostname(&register.hostname);
                to.set_proof(&register.proof);
            }
            Self::Registered { updated } => root.init_registered().set_updated(*updated),
            Self::Refused(why) => root.set_refused(why),
            Self::Delivered(scrape) => root.set_delivered(*scrape),
            Self::Goodbye(why) => root.set_goodbye(why),
            Self::SharedKey(shared) => {
                let mut to = root.init_shared_key();
                to.set_alias(&shared.alias);
                to.set_address(&shared.address);
                to.set_other_alias(&shared.other_alias);
                to.set_other_address(&shared.other_address);
            }
            Self::AliasLost(lost) => {
                let mut to = root.init_alias_lost();
                to.set_alias(&lost.alias);
                to.set_key(&lost.key);
                to.set_address(&lost.address);
            }
            Self::AliasReturned(alias) => root.set_alias_returned(alias),
        }
        capnp::serialize::write_message_to_words(&message)
    }

    /// Decodes the message at the start of `bytes` and returns it with its length; `None` while it is incomplete. A message of a later
    /// version, with an unknown union member, is `None` with its length.
    ///
    /// # Errors
    ///
    /// If these bytes can never become a message; the rest of the stream is unusable then.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Option<Self>, usize)>, LinkFault> {
        let Some(length) = length(bytes)? else { return Ok(None) };
        let Some(mut whole) = bytes.get(..length) else { return Ok(None) };
        let mut options = capnp::message::ReaderOptions::new();
        options.traversal_limit_in_words(Some(MAX_LINK_MESSAGE_BYTES));
        let reader = capnp::serialize::read_message_from_flat_slice_no_alloc(&mut whole, options)?;
        Ok(Some((read(reader.get_root()?)?, length)))
    }
}

fn read(message: link_message::Reader<'_>) -> Result<Option<LinkMessage>, LinkFault> {
    let Ok(which) = message.which() else {
        return Ok(None);
    };
    Ok(Some(match which {
        link_message::Register(register) => {
            let register = register?;
            LinkMessage::Register(Register {
                alias: register.get_alias()?.to_string()?,
                service: register.get_service()?.to_string()?,
                hostname: register.get_hostname()?.to_string()?,
                proof: register.get_proof()?.to_vec(),
            })
        }
        link_message::Registered(registered) => LinkMessage::Registered {
            updated: registered?.get_updated(),
        },
        link_message::Refused(why) => LinkMessage::Refused(why?.to_string()?),
        link_message::Delivered(scrape) => LinkMessage::Delivered(scrape),
        link_message::Goodbye(why) => LinkMessage::Goodbye(why?.to_string()?),
        link_message::SharedKey(shared) => {
            let shared = shared?;
            LinkMessage::SharedKey(SharedKey {
                alias: shared.get_alias()?.to_string()?,
                address: shared.get_address()?.to_string()?,
                other_alias: shared.get_other_alias()?.to_string()?,
                other_address: shared.get_other_address()?.to_string()?,
            })
        }
        link_message::AliasLost(lost) => {
            let lost = lost?;
            let key = lost.get_key()?.try_into();
            LinkMessage::AliasLost(AliasLost {
                alias: lost.get_alias()?.to_string()?,
                key: key.map_err(|_| LinkFault::Malformed("a key of other than 32 bytes".to_owned()))?,
                address: lost.get_address()?.to_string()?,
            })
        }
        link_message::AliasReturned(alias) => LinkMessage::AliasReturned(alias?.to_string()?),
    }))
}

/// Length of the message that begins here, header included, once its header has arrived.
fn length(bytes: &[u8]) -> Result<Option<usize>, LinkFault> {
    let number = |at: usize| {
        let half = bytes.get(at * 4..at * 4 + 4)?;
        usize::try_from(u32::from_le_bytes(half.try_into().ok()?)).ok()
    };
    let Some(segments) = number(0).map(|less_one| less_one.saturating_add(1)) else {
        return Ok(None);
    };
    if segments > MAX_SEGMENTS {
        return Err(LinkFault::Malformed(format!("{segments} segments")));
    }
    let mut total = (4 + 4 * segments).next_multiple_of(WORD);
    for segment in 0..segments {
        let Some(words) = number(1 + segment) else { return Ok(None) };
        total = total.saturating_add(words.saturating_mul(WORD));
    }
    if total > MAX_LINK_MESSAGE_BYTES {
        return Err(LinkFault::TooLarge);
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests;
