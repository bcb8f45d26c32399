use super::*;

#[test]
fn a_want_that_comes_and_goes_is_said_once() {
    let mut pressure = Pressure::default();
    let begun = Instant::now();
    assert!(!pressure.end(begun));
    assert!(pressure.begin(begun));
    for tick in 1..100 {
        let now = begun + PRESSURE_WAIT * tick;
        assert!(!pressure.end(now));
        assert!(!pressure.begin(now));
    }
    let last = begun + PRESSURE_WAIT * 99;
    assert!(pressure.end(last + CALM));
    assert!(!pressure.end(last + CALM * 2));
    assert!(pressure.begin(last + CALM * 2));
}

#[test]
fn errors_of_clients_are_told_from_ours() {
    for code in [libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH, libc::EINTR] {
        assert!(is_the_clients(&io::Error::from_raw_os_error(code)), "{code}");
    }
    for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        assert!(!is_the_clients(&io::Error::from_raw_os_error(code)), "{code}");
    }
}

#[tokio::test]
async fn a_client_of_a_unix_socket_counts_for_its_user() {
    let (_near, far) = tokio::net::UnixStream::pair().expect("a pair of sockets");
    let user = nix::unistd::getuid().as_raw();
    assert_eq!(address_of(&Stream::unix(far)), IpAddr::from(user.to_be_bytes()));
}
