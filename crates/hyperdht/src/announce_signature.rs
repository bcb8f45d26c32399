//! The text that the owner of a key signs to announce it, or to remove the announcement.

use crate::hash::{hash, namespace};

/// The purpose of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Announce,
    Unannounce,
}

/// Returns the text to sign: a record at one node, valid as long as the node's token. `refresh` is the secret with which others renew the
/// record.
pub(crate) fn signed_text(
    purpose: Purpose,
    target: &[u8; 32],
    node: &[u8; 32],
    token: &[u8; 32],
    record: &[u8],
    refresh: Option<&[u8; 32]>,
) -> [u8; 64] {
    let command = match purpose {
        Purpose::Announce => 4,
        Purpose::Unannounce => 5,
    };
    let refresh = refresh.map_or(&[][..], |refresh| refresh);
    let mut text = [0; 64];
    text[..32].copy_from_slice(&namespace("hyperswarm/dht", command));
    text[32..].copy_from_slice(&hash(&[target, node, token, record, refresh]));
    text
}

#[cfg(test)]
mod tests;
