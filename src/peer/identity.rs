//! Names of peers: keys, addresses, registrations.

mod address;
mod key;
mod key_pair;
mod registration;

pub use address::{LinkAddress, QuicAddress};
pub use key::{InvalidKey, PublicKey, SharedSecret};
pub use key_pair::{Identity, IdentityError, Seed, default_key_file};
pub use registration::{Alias, AliasError, MAX_NAME_BYTES, Registration};

pub(super) use key_pair::key_of;
pub(super) use registration::explain_refusal;
