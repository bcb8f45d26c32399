#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn urls_are_split_and_others_are_refused() {
    let split = |text: &str| text.parse::<HealthUrl>();
    for (url, place, transport, path) in [
        ("http://a:6555/readyz", "a:6555", Transport::Http, "/readyz"),
        ("http://[::1]/x?y=1", "[::1]:80", Transport::Http, "/x?y=1"),
        ("https://a/", "a:443", Transport::Https, "/"),
        ("unix:/run/a.sock", "/run/a.sock", Transport::Unix, "/readyz"),
        ("unix:///run/a b%20?/é.sock", "/run/a b%20?/é.sock", Transport::Unix, "/readyz"),
        ("http+unix:/run/a.sock", "/run/a.sock", Transport::Unix, "/readyz"),
    ] {
        let place = place.to_owned();
        let (server, path) = (HttpServer { place, transport }, path.to_owned());
        assert_eq!(split(url), Ok(HealthUrl { server, path }));
    }
    assert!(split("ftp://a/").unwrap_err().contains("only http://"));
    for wrong in ["mailto:a", "unix:", "unix://", "a:6555", "a", ""] {
        assert!(split(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn an_answer_of_not_ready_is_final_and_a_refused_connection_is_not() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    let plain = |place| HttpServer {
        place,
        transport: Transport::Http,
    };
    let answering = async |status: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = plain(listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let response = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        address
    };
    let (ready, unready) = (answering("200 OK").await, answering("503 Service Unavailable").await);
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nothing = plain(reserved.local_addr().unwrap().to_string());
    drop(reserved);
    let check = Healthcheck {
        url: None,
        role: None,
        timeout: 60,
        web: WebConfigFile::default(),
        access: HttpAccess::default(),
    };
    let error = check.ask(&[unready, ready.clone()], &check.access, "/readyz").await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error:#}");
    assert_eq!(check.ask(&[nothing, ready], &check.access, "/readyz").await.unwrap(), "ok");
}
