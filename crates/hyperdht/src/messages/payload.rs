//! Values of HyperDHT's commands.

use std::net::SocketAddrV4;

use bytes::Bytes;

use crate::wire::{Reader, WireFault, Writer};

/// Limit on the addresses, relays and alike of one list that are used. Further ones are ignored: a machine has a few.
pub const MAX_PAYLOAD_ADDRESSES: usize = 16;
/// Bytes of an IPv6 address with its port.
const ADDRESS6_BYTES: u64 = 18;

/// The direction of a handshake on its way through relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeMode {
    /// From the dialing peer, to a relay or to the dialed peer.
    FromClient,
    /// From the dialed peer, to the relay that the request came from.
    FromServer,
    /// From the relay, to the dialed peer.
    FromRelay,
    /// From a second relay, which knows the dialed peer.
    FromSecondRelay,
    /// The reply for the dialing peer.
    Reply,
}

impl HandshakeMode {
    const ALL: [Self; 5] = [
        Self::FromClient,
        Self::FromServer,
        Self::FromRelay,
        Self::FromSecondRelay,
        Self::Reply,
    ];
}

/// The value of the command [`super::command::PEER_HANDSHAKE`] and of its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The direction.
    pub mode: HandshakeMode,
    /// The message of the Noise handshake.
    pub noise: Bytes,
    /// The address of the peer at the other end, as the relay sees it.
    pub peer_address: Option<SocketAddrV4>,
    /// The address of the first of two relays.
    pub relay_address: Option<SocketAddrV4>,
}

impl Handshake {
    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// If it is truncated, or has an unknown mode.
    pub fn decode(value: Bytes) -> Result<Self, WireFault> {
        let mut reader = Reader::new(value);
        let flags = reader.uint("flags")?;
        let mode = reader.uint("a mode")?;
        let known = usize::try_from(mode).ok().and_then(|at| HandshakeMode::ALL.get(at));
        Ok(Self {
            mode: *known.ok_or(WireFault::Unknown {
                what: "a handshake of mode",
                value: mode,
            })?,
            noise: reader.bytes(usize::MAX, "a handshake")?,
            peer_address: optional(flags & 1, || reader.address("an address"))?,
            relay_address: optional(flags & 2, || reader.address("an address"))?,
        })
    }

    /// Encodes the value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = u64::from(self.peer_address.is_some()) | u64::from(self.relay_address.is_some()) << 1;
        let mut writer = Writer::default();
        writer.uint(flags).uint(self.mode as u64).bytes(&self.noise);
        for address in [self.peer_address, self.relay_address].into_iter().flatten() {
            writer.address(address);
        }
        writer.finish()
    }
}

/// Reads a part that a flag announces.
fn optional<T>(flag: u64, read: impl FnOnce() -> Result<T, WireFault>) -> Result<Option<T>, WireFault> {
    if flag == 0 { Ok(None) } else { read().map(Some) }
}

/// The NAT in front of a peer. Numbers without a meaning are kept, because other programs may use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firewall(pub u64);

impl Firewall {
    /// Not known.
    pub const UNKNOWN: Self = Self(0);
    /// None: packets from anywhere arrive.
    pub const OPEN: Self = Self(1);
    /// The external address does not depend on the destination.
    pub const CONSISTENT: Self = Self(2);
    /// The external port depends on the destination.
    pub const RANDOM: Self = Self(3);
}

/// A node that relays handshakes, and the address of the peer as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayInfo {
    /// The node.
    pub relay: SocketAddrV4,
    /// The peer.
    pub peer: SocketAddrV4,
}

/// The parameters of hole punching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolepunchInfo {
    /// The number of the attempt.
    pub id: u64,
    /// The nodes through which it continues.
    pub relays: Vec<RelayInfo>,
}

/// The parameters of the UDX stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdxInfo {
    /// The version; 1 is written.
    pub version: u64,
    /// True if the socket can be used for other streams.
    pub reusable_socket: bool,
    /// The sender's id of the stream.
    pub id: u64,
    /// The first sequence number.
    pub seq: u64,
}

/// The payload of a handshake in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakePayload {
    /// The version; 1 is written. Of other versions nothing else is decoded.
    pub version: u64,
    /// 0, or the reason of a refusal.
    pub error: u64,
    /// The NAT in front of the sender.
    pub firewall: Firewall,
    /// The parameters of hole punching.
    pub holepunch: Option<HolepunchInfo>,
    /// The addresses of the sender. Those over IPv6 are skipped.
    pub addresses: Vec<SocketAddrV4>,
    /// The parameters of the stream.
    pub udx: Option<UdxInfo>,
    /// The version of the secret stream.
    pub secret_stream: Option<u64>,
    /// True if the sender wants all data to go through a relay.
    pub relay_through: bool,
}

impl HandshakePayload {
    /// Decodes a payload.
    ///
    /// # Errors
    ///
    /// If it is truncated.
    pub fn decode(payload: Bytes) -> Result<Self, WireFault> {
        let mut reader = Reader::new(payload);
        let version = reader.uint("a version")?;
        let mut payload = Self {
            version,
            error: 0,
            firewall: Firewall::UNKNOWN,
            holepunch: None,
            addresses: Vec::new(),
            udx: None,
            secret_stream: None,
            relay_through: false,
        };
        if version != 1 {
            return Ok(payload);
        }
        let flags = reader.uint("flags")?;
        payload.error = reader.uint("an error")?;
        payload.firewall = Firewall(reader.uint("a firewall")?);
        payload.holepunch = optional(flags & 1, || decode_holepunch(&mut reader))?;
        payload.addresses = optional(flags & 2, || reader.addresses(MAX_PAYLOAD_ADDRESSES, "addresses"))?.unwrap_or_default();
        if flags & 4 != 0 {
            let count = reader.uint("addresses")?;
            reader.take(count.saturating_mul(ADDRESS6_BYTES), "addresses")?;
        }
        payload.udx = optional(flags & 8, || decode_udx(&mut reader))?;
        payload.secret_stream = optional(flags & 16, || reader.uint("a version"))?;
        payload.relay_through = flags & 32 != 0;
        Ok(payload)
    }

    /// Encodes the payload, without a data relay, which is only received.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = u64::from(self.holepunch.is_some())
            | u64::from(!self.addresses.is_empty()) << 1
            | u64::from(self.udx.is_some()) << 3
            | u64::from(self.secret_stream.is_some()) << 4;
        let mut writer = Writer::default();
        writer.uint(self.version);
        if self.version != 1 {
            return writer.finish();
        }
        writer.uint(flags).uint(self.error).uint(self.firewall.0);
        if let Some(holepunch) = &self.holepunch {
            writer.uint(holepunch.id).uint(holepunch.relays.len() as u64);
            for relay in &holepunch.relays {
                writer.address(relay.relay).address(relay.peer);
            }
        }
        if !self.addresses.is_empty() {
            writer.addresses(&self.addresses);
        }
        if let Some(udx) = &self.udx {
            writer.uint(udx.version).uint(udx.reusable_socket.into()).uint(udx.id).uint(udx.seq);
        }
        if let Some(version) = self.secret_stream {
            writer.uint(version);
        }
        writer.finish()
    }
}

fn decode_holepunch(reader: &mut Reader) -> Result<HolepunchInfo, WireFault> {
    let id = reader.uint("a hole punching id")?;
    let ends = reader.addresses_of(2, MAX_PAYLOAD_ADDRESSES, "relays")?;
    let relay = |ends: &[SocketAddrV4]| RelayInfo {
        relay: ends[0],
        peer: ends[1],
    };
    let relays = ends.chunks_exact(2).map(relay).collect();
    Ok(HolepunchInfo { id, relays })
}

fn decode_udx(reader: &mut Reader) -> Result<UdxInfo, WireFault> {
    Ok(UdxInfo {
        version: reader.uint("a version")?,
        reusable_socket: reader.uint("features")? & 1 != 0,
        id: reader.uint("a stream id")?,
        seq: reader.uint("a sequence number")?,
    })
}

/// The record of a key: the nodes that relay handshakes to its owner, beside the nodes that store the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// The key.
    pub public_key: [u8; 32],
    /// The relays, at most [`MAX_PAYLOAD_ADDRESSES`].
    pub relays: Vec<SocketAddrV4>,
}

impl PeerRecord {
    /// Decodes a record.
    ///
    /// # Errors
    ///
    /// If it is truncated.
    pub fn decode(value: Bytes) -> Result<Self, WireFault> {
        Self::read(&mut Reader::new(value))
    }

    fn read(reader: &mut Reader) -> Result<Self, WireFault> {
        Ok(Self {
            public_key: reader.fixed32("a key")?,
            relays: reader.addresses(MAX_PAYLOAD_ADDRESSES, "relays")?,
        })
    }

    /// Encodes the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(&self.public_key).addresses(&self.relays);
        writer.finish()
    }
}

/// The value of the commands [`super::command::ANNOUNCE`] and [`super::command::UNANNOUNCE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The record; absent in a request that only renews it, which this crate does not send.
    pub peer: Option<PeerRecord>,
    /// The secret for such requests.
    pub refresh: Option<[u8; 32]>,
    /// The signature of the owner of the key.
    pub signature: Option<[u8; 64]>,
}

impl Announcement {
    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// If it is truncated.
    pub fn decode(value: Bytes) -> Result<Self, WireFault> {
        let mut reader = Reader::new(value);
        let flags = reader.uint("flags")?;
        Ok(Self {
            peer: optional(flags & 1, || PeerRecord::read(&mut reader))?,
            refresh: optional(flags & 2, || reader.fixed32("a secret"))?,
            signature: optional(flags & 4, || reader.array("a signature"))?,
        })
    }

    /// Encodes the value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = u64::from(self.peer.is_some()) | u64::from(self.refresh.is_some()) << 1 | u64::from(self.signature.is_some()) << 2;
        let mut writer = Writer::default();
        writer.uint(flags);
        if let Some(peer) = &self.peer {
            writer.raw(&peer.encode());
        }
        if let Some(refresh) = &self.refresh {
            writer.raw(refresh);
        }
        if let Some(signature) = &self.signature {
            writer.raw(signature);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests;
