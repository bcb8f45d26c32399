#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::net::Ipv4Addr;

use tokio::sync::mpsc;

use super::*;

/// A receiver that forwards what it gets; the end of the channel shows that it was dropped.
struct Forward(mpsc::UnboundedSender<Option<Vec<u8>>>);

impl PacketSink for Forward {
    fn receive(&self, _: SocketAddrV4, datagram: &[u8]) {
        self.0.send(Some(datagram.to_vec())).unwrap();
    }

    fn close(&self) {
        self.0.send(None).unwrap();
    }
}

fn forward() -> (Arc<Forward>, mpsc::UnboundedReceiver<Option<Vec<u8>>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Forward(sender)), receiver)
}

async fn socket() -> Arc<NodeSocket> {
    NodeSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn packet(stream: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    let udx = UdxPacket {
        stream,
        ..UdxPacket::default()
    };
    udx.encode(&mut packet);
    packet
}

#[tokio::test]
async fn packets_go_to_their_streams_and_others_to_the_network() {
    let (here, there) = (socket().await, socket().await);
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, here.port());
    let (sink, mut received) = forward();
    let stream = here.register(sink).unwrap();
    let (messages, mut inbox) = mpsc::unbounded_channel();
    let receiver = here.clone();
    let receiving = tokio::spawn(async move {
        let on_message = |_, message: &[u8]| messages.send(message.to_vec()).unwrap();
        receiver.receive(on_message, || ()).await;
    });
    // The first belongs to no stream and is dropped; one that is too short is a message.
    for datagram in [
        packet(stream.id().wrapping_add(1)),
        packet(stream.id()),
        packet(1)[..19].to_vec(),
        b"hello".to_vec(),
    ] {
        there.send(&datagram, to).await;
    }
    assert_eq!(received.recv().await.unwrap(), Some(packet(stream.id())));
    assert_eq!(inbox.recv().await.unwrap(), packet(1)[..19]);
    assert_eq!(inbox.recv().await.unwrap(), b"hello");
    // After a replacement the first receiver is gone.
    let (sink, mut replaced) = forward();
    stream.replace(sink);
    assert_eq!(received.recv().await, None);
    there.send(&packet(stream.id()), to).await;
    assert_eq!(replaced.recv().await.unwrap(), Some(packet(stream.id())));
    drop(stream);
    assert_eq!(replaced.recv().await, None);
    receiving.abort();
}

#[tokio::test]
async fn the_first_packet_of_a_socket_is_not_lost() {
    let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, there.local_addr().unwrap().port());
    socket().await.try_send(b"hello", to);
    let mut buffer = [0; 16];
    let received = tokio::time::timeout(Duration::from_secs(30), there.recv(&mut buffer)).await;
    assert_eq!(received.expect("it was sent").unwrap(), 5);
}

#[tokio::test]
async fn closing_ends_streams_and_refuses_new_ones() {
    let socket = socket().await;
    let (sink, mut received) = forward();
    let stream = socket.register(sink).unwrap();
    socket.close();
    assert_eq!(received.recv().await, Some(None));
    assert!(socket.register(forward().0).is_err());
    let (sink, mut received) = forward();
    stream.replace(sink);
    assert_eq!(received.recv().await, Some(None));
}

#[tokio::test]
async fn the_number_of_streams_is_bounded() {
    let socket = socket().await;
    let streams: Vec<_> = (0..MAX_STREAMS).map(|_| socket.register(forward().0).unwrap()).collect();
    let refused = socket.register(forward().0).map(|stream| stream.id()).unwrap_err();
    assert_eq!(refused.to_string(), "16384 streams are open already");
    drop(streams);
    assert!(socket.register(forward().0).is_ok());
}
