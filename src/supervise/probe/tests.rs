#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn what_the_peer_has_not_taken_is_seen() {
    let (mut near, mut far) = pair();
    let (here, there) = (Probe::new(&near), Probe::new(&far));
    assert_eq!(here.unacked().unwrap(), 0);
    // More than loopback's buffers hold, so that some of it must stay unacknowledged.
    near.set_nonblocking(true).unwrap();
    while near.write(&[0; 65_536]).is_ok() {}
    assert!(here.unacked().unwrap() > 0);
    assert!(there.unread().unwrap() > 0);
    far.set_nonblocking(true).unwrap();
    let mut sink = vec![0; 1 << 20];
    // Acknowledgements travel through the kernel by themselves: read until they are there.
    while here.unacked().unwrap() > 0 {
        let _ = far.read(&mut sink);
    }
}

#[test]
fn what_was_acknowledged_before_a_reset_is_known_on_tcp() {
    for count in [1, 100_000] {
        let (mut near, mut far) = pair();
        let probe = Probe::new(&near);
        near.write_all(&vec![0; count]).unwrap();
        far.read_exact(&mut vec![0; count]).unwrap();
        while probe.unacked().unwrap() > 0 {}
        SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(far);
        assert_eq!(probe.unacked().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(probe.had_all());
    }
}

#[test]
fn what_was_not_acknowledged_before_a_reset_is_known_too() {
    let (mut near, far) = pair();
    let probe = Probe::new(&near);
    near.set_nonblocking(true).unwrap();
    while near.write(&[0; 65_536]).is_ok() {}
    // It has unread bytes, so this is a reset.
    drop(far);
    assert_eq!(probe.unacked().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(!probe.had_all());
}

#[test]
fn a_unix_socket_never_says_that_all_was_read() {
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let probe = Probe::new(&near);
    near.write_all(b"unread").unwrap();
    drop(far);
    assert!(!probe.had_all());
}

#[test]
fn a_reset_is_an_error_and_so_is_a_closed_socket() {
    let (near, far) = pair();
    let probe = Probe::new(&near);
    SockRef::from(&far).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(far);
    // Loopback delivers a reset before close() returns.
    assert_eq!(probe.unacked().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    probe.withdraw();
    drop(near);
    assert_eq!(probe.unacked().unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(probe.unread().unwrap_err().kind(), io::ErrorKind::NotConnected);
}
