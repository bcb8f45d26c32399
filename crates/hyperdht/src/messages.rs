//! Messages of HyperDHT nodes: [`Packet`]s of the RPC of the network (dht-rpc), and the values of HyperDHT's commands in them.
//!
//! Sources of the formats, by behavior on the wire: the npm packages dht-rpc and hyperdht.

mod packet;
mod payload;

pub use self::packet::{MAX_CLOSER_NODES, Packet, Reply, Request};
pub use self::payload::{
    Announcement, Firewall, Handshake, HandshakeMode, HandshakePayload, HolepunchInfo, MAX_PAYLOAD_ADDRESSES, PeerRecord, RelayInfo,
    UdxInfo,
};

/// Commands of every node, for the network itself.
pub mod internal {
    /// Asks for a reply.
    pub const PING: u64 = 0;
    /// Asks for a reply to another port of the sender.
    pub const PING_NAT: u64 = 1;
    /// Asks for the nodes close to a target.
    pub const FIND_NODE: u64 = 2;
    /// Reports that a node does not respond.
    pub const DOWN_HINT: u64 = 3;
    /// Asks for a reply after a delay in milliseconds.
    pub const DELAYED_PING: u64 = 4;
}

/// Commands of HyperDHT.
pub mod command {
    /// Starts a connection to the owner of a key.
    pub const PEER_HANDSHAKE: u64 = 0;
    /// Continues a connection between two peers behind NAT.
    pub const PEER_HOLEPUNCH: u64 = 1;
    /// Asks for the record of a key.
    pub const FIND_PEER: u64 = 2;
    /// Stores the record of a key.
    pub const ANNOUNCE: u64 = 4;
    /// Removes the record of a key.
    pub const UNANNOUNCE: u64 = 5;
}

/// Error codes of replies.
pub mod error_code {
    /// The node does not know the command.
    pub const UNKNOWN_COMMAND: u64 = 1;
    /// The token of a request was not issued by the node, or has expired.
    pub const INVALID_TOKEN: u64 = 2;
}
