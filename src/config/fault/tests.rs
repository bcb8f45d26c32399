use super::*;

#[test]
fn a_close_name_is_offered_and_a_far_one_is_not() {
    let known = [
        "format",
        "receive_on_tcp_socket",
        "receiver_tcp_socket",
        "idle_timeout",
        "max_message_bytes",
    ];
    assert_eq!(nearest("recieve_on_tcp", &known), Some("receive_on_tcp_socket"));
    assert_eq!(nearest("formt", &known), Some("format"));
    assert_eq!(nearest("timeout", &known), Some("idle_timeout"));
    assert_eq!(nearest("max_mesage_bytes", &known), Some("max_message_bytes"));
    assert_eq!(nearest("path", &known), None);
    assert_eq!(nearest("", &known), None);
    assert_eq!(nearest("x", &[]), None);
}

#[test]
fn faults_print_by_place_one_a_line() {
    let at = |place, text: &str| Fault { place, text: text.into() };
    let faults = Faults::new(
        "c.toml".into(),
        vec![
            at(Location::Variable("EXPORTER_PROXY__B".into()), "v"),
            at(Location::Line(12, 5), "l"),
            at(Location::Line(2, 50), "k"),
        ],
    );
    assert_eq!(faults.to_string(), "c.toml:2:50: k\nc.toml:12:5: l\nEXPORTER_PROXY__B: v");
}
