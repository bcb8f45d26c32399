//! Requests and answers: what HTTP promises, and this room on top of it.

use super::*;

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    for _ in 0..3 {
        let answered = ask(&mut client, "/small").await;
        assert_eq!((answered.status, answered.text()), (200, "small\n"));
        let answered = ask(&mut client, "/big?size=700001").await;
        assert_eq!(answered.headers["content-length"], "700001");
        assert_eq!(answered.body, payload(700_001).concat());
    }
    drop(client);
    assert_eq!(served.site.stats.requests.load(Ordering::Relaxed), 6);
    served.end().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    send(
        &mut client,
        &"GET /small HTTP/1.1\r\nhost: test\r\n\r\nGET /big?size=300000 HTTP/1.1\r\nhost: test\r\n\r\n".repeat(8),
    )
    .await;
    for _ in 0..8 {
        assert_eq!(answer(&mut client).await.text(), "small\n");
        assert_eq!(answer(&mut client).await.body.len(), 300_000);
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    for _ in 0..2 {
        request(&mut client, "HEAD", "/big?size=5000").await;
        let answered = head(&mut client).await;
        assert_eq!((answered.status, &*answered.headers["content-length"]), (200, "5000"));
    }
    assert_eq!(ask(&mut client, "/small").await.text(), "small\n");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_what_there_is() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    let answered = ask(&mut client, "/nowhere").await;
    assert_eq!(
        (answered.status, answered.text()),
        (404, "no endpoint /nowhere; the endpoints are:\n  GET /small\n  PUT /body\n")
    );
    request(&mut client, "DELETE", "/small").await;
    let answered = answer(&mut client).await;
    assert_eq!((answered.status, &*answered.headers["allow"]), (405, "GET,HEAD"));
    assert_eq!(
        answered.text(),
        "/small does not allow DELETE; the header Allow lists the methods it allows\n"
    );
}

#[tokio::test]
async fn malformed_requests_and_heads_that_are_too_large_are_refused() {
    let served = Served::usual().await;
    let long = format!("GET /small HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
    for (text, status) in [
        ("NONSENSE\r\n\r\n", 400),
        ("GET /small HTTP/1.1\r\nhost: test\r\nno colon\r\n\r\n", 400),
        (&long, 431),
    ] {
        let mut client = served.connect().await;
        send(&mut client, text).await;
        assert_eq!(answer(&mut client).await.status, status);
        assert!(is_closed(&mut client).await);
    }
}

#[tokio::test]
async fn http2_is_told_that_this_is_http1() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    send(&mut client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answered = answer(&mut client).await;
    assert_eq!((answered.status, answered.text()), (505, "only HTTP/1.1 is supported\n"));
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let served = Served::usual().await;
    let (mut bad, mut good) = (served.connect().await, served.connect().await);
    assert_eq!(ask(&mut good, "/small").await.status, 200);
    let answered = ask(&mut bad, "/panic").await;
    assert_eq!((answered.status, &*answered.headers["connection"]), (500, "close"));
    assert!(answered.text().ends_with('\n'));
    assert!(is_closed(&mut bad).await);
    assert_eq!(ask(&mut good, "/small").await.status, 200);
    assert_eq!(served.site.stats.panics.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_client_can_read_why() {
    let served = Served::usual().await;
    const LARGE: usize = 30_000_000;
    let mut client = served.connect().await;
    send(
        &mut client,
        &format!("PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: {LARGE}\r\n\r\n"),
    )
    .await;
    let (mut read, mut write) = client.split();
    let upload = async {
        // It fails once the server has closed, as with any upload that is refused.
        let _ = write.write_all(&vec![b'x'; LARGE]).await;
    };
    let (answered, ()) = tokio::join!(answer(&mut read), upload);
    assert_eq!(
        (answered.status, answered.text()),
        (413, "the body is larger than 1000 bytes, the limit that test.max_body sets\n")
    );
    // The same without a length that could warn.
    let mut client = served.connect().await;
    send(
        &mut client,
        "PUT /body HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
    for _ in 0..4 {
        send(&mut client, &chunk).await;
    }
    assert_eq!(answer(&mut client).await.status, 413);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_answered_without_a_body() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    send(
        &mut client,
        "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
    assert_eq!(head(&mut client).await.status, 100);
    send(&mut client, "12345").await;
    assert_eq!(answer(&mut client).await.text(), "5 bytes\n");
    send(
        &mut client,
        "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
    assert_eq!(answer(&mut client).await.status, 413);
}

#[tokio::test]
async fn a_keep_alive_push_may_follow_another() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    for size in [0, 1, 999, 1_000] {
        send(
            &mut client,
            &format!(
                "PUT /body HTTP/1.1\r\nhost: test\r\ncontent-length: {size}\r\n\r\n{}",
                "x".repeat(size)
            ),
        )
        .await;
        assert_eq!(answer(&mut client).await.text(), format!("{size} bytes\n"));
    }
}

#[tokio::test]
async fn a_page_of_another_site_may_not_write() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    send(
        &mut client,
        "PUT /body HTTP/1.1\r\nhost: proxy\r\norigin: http://evil.example\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let answered = answer(&mut client).await;
    assert_eq!((answered.status, answered.text()), (403, "cross-site request refused\n"));
    assert_eq!(served.site.stats.cross_site.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn access_lists_can_change_while_connections_are_open() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    let refused = "127.0.0.1 is not allowed to push; add it to http.write_from\n";
    assert_eq!(ask(&mut client, "/who").await.text(), refused);
    let local: Vec<ipnet::IpNet> = vec!["127.0.0.0/8".parse().unwrap()];
    let access = Access {
        rules: AccessRules::of_networks(local.clone(), Vec::new()),
        ..Access::default()
    };
    served.site.access.set(access.clone(), Vec::new());
    assert_eq!(ask(&mut client, "/who").await.text(), "127.0.0.1 may write\n");
    let forwarded = "GET /who HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 192.0.2.7\r\n\r\n";
    send(&mut client, forwarded).await;
    let unknown = answer(&mut client).await.text().to_owned();
    assert!(
        unknown.starts_with("127.0.0.1 is not allowed to push for the client that it forwards for"),
        "{unknown}"
    );
    let behind = Access {
        trusted_proxies: local,
        ..access
    };
    served.site.access.set(behind, Vec::new());
    send(&mut client, forwarded).await;
    assert_eq!(answer(&mut client).await.text(), refused.replace("127.0.0.1", "192.0.2.7"));
}

#[tokio::test]
async fn any_stream_will_do() {
    let site = Site::new(Timers::default());
    let (mut client, server) = tokio::io::duplex(1_000);
    let service = site.service.clone();
    let info = ConnectionInfo {
        peer: PeerAddr::Link("some key".into()),
        queue: None,
        observer: None,
        slot: None,
    };
    let running = tokio::spawn(async move { service.serve(server, info, CancellationToken::new()).await });
    assert_eq!(ask(&mut client, "/big?size=100000").await.body.len(), 100_000);
    assert_eq!(
        ask(&mut client, "/who").await.text(),
        "some key is not allowed to push; add it to http.write_from\n"
    );
    drop(client);
    running.await.unwrap();
}

#[tokio::test]
async fn old_clients_are_answered_in_their_way() {
    let served = Served::usual().await;
    let mut client = served.connect().await;
    send(&mut client, "GET /small HTTP/1.0\r\n\r\n").await;
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n") && all.ends_with("\r\n\r\nsmall\n"), "{all}");
}
