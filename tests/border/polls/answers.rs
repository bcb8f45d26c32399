//! Answers in all the forms that targets give them.

use std::io::Write;
use std::sync::Arc;

use exporter_proxy::model::Syntax;
use exporter_proxy::sources::polls::{Credentials, Password};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, endpoint, poll, poll_as, settings};
use super::target::Target;

/// What the target answers to `answer`, byte for byte, and then closes the connection.
async fn closing(answer: impl Into<Vec<u8>>) -> Target {
    let answer: Arc<[u8]> = answer.into().into();
    Target::serve(move |mut connection| {
        let answer = Arc::clone(&answer);
        async move {
            connection.request().await?;
            connection.io.write_all(&answer).await?;
            connection.io.shutdown().await
        }
    })
    .await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn http_1_0_that_ends_with_the_connection() {
    let target = closing("HTTP/1.0 200 OK\r\n\r\nup 1\n").await;
    assert_eq!(poll(&target.url("/")).await.unwrap(), "up 1\n");
}

#[tokio::test]
async fn chunks_and_trailers() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nup \r\n2;x=y\r\n1\n\r\n0\r\nX-Trailer: t\r\n\r\n";
    assert_eq!(poll(&Target::always(answer).await.url("/")).await.unwrap(), "up 1\n");
}

#[tokio::test]
async fn line_ends_and_a_missing_newline_are_passed_on() {
    let target = closing("HTTP/1.0 200 OK\r\n\r\na 1\r\nb 2").await;
    assert_eq!(poll(&target.url("/")).await.unwrap(), "a 1\r\nb 2");
}

#[tokio::test]
async fn any_content_type_and_none() {
    for content_type in ["", "Content-Type:\r\n", "Content-Type: text/html\r\n", "Content-Type: \u{ff}?;\r\n"] {
        let target = closing(format!("HTTP/1.0 200 OK\r\n{content_type}\r\nup 1\n")).await;
        assert_eq!(poll(&target.url("/")).await.as_deref(), Ok("up 1\n"), "{content_type:?}");
    }
}

#[tokio::test]
async fn openmetrics_is_told_to_the_store() {
    let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\na 1\n# EOF\n";
    let target = closing(answer).await;
    let url = target.url("/");
    let rig = Rig::start(settings([endpoint(&url)]));
    let app = rig.app(&url, |app| app.updated.is_some()).await;
    assert_eq!((app.text.syntax(), &**app.text.body()), (Syntax::OpenMetrics, &b"a 1\n# EOF\n"[..]));
    assert_eq!(&*app.origin.source, format!("external_poll: {}", target.address));
}

#[tokio::test]
async fn the_media_type_decides_on_the_format_whatever_the_last_line() {
    for (header, syntax) in [
        ("Content-Type: text/plain; charset=utf-8\r\n", Syntax::Text),
        ("Content-Type: text/html\r\n", Syntax::Text),
        ("Content-Type: application/octet-stream\r\n", Syntax::Text),
        ("Content-Type: application/openmetrics-text\r\n", Syntax::OpenMetrics),
        ("Content-Type:\r\n", Syntax::OpenMetrics),
        ("", Syntax::OpenMetrics),
    ] {
        let target = closing(format!(
            "HTTP/1.1 200 OK\r\n{header}Connection: close\r\n\r\n# TYPE t gauge\nt{{a=\"1\"}} 5 1795899672000\n# EOF\n"
        ))
        .await;
        let rig = Rig::start(settings([endpoint(&target.url("/"))]));
        let app = rig.app(&target.url("/"), |app| app.updated.is_some()).await;
        assert_eq!((app.text.syntax(), app.series()), (syntax, Some(1)), "{header:?}");
        let newest = app.text.exposition().unwrap().newest_timestamp().unwrap();
        let year_2026 = newest == 1_795_899_672_000;
        assert_eq!(year_2026, syntax == Syntax::Text, "{header:?}: {newest}");
    }
}

#[tokio::test]
async fn a_nul_in_a_label_is_no_binary_data() {
    let body = "# TYPE neighbour gauge\nneighbour{identity=\"sw1^@\0\0\"} 1\nother 1\n";
    let target = closing(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n{body}")).await;
    assert_eq!(poll(&target.url("/")).await.unwrap(), body);
}

#[tokio::test]
async fn an_encoding_that_is_none_of_http_is_passed_over_and_named_in_a_failure() {
    for coding in ["utf-8", "none", "8bit", "identity", "br", "UTF-8; x"] {
        let plain = closing(format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 4\r\n\r\na 1\n"
        ))
        .await;
        assert_eq!(poll(&plain.url("/")).await.as_deref(), Ok("a 1\n"), "{coding}");
    }
    let packed = closing("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n\x0b\x02\x01\x03").await;
    assert_eq!(
        poll(&packed.url("/")).await.unwrap_err(),
        "unknown Content-Encoding \"br\", and not metrics as plain text: the body is not metrics but binary data"
    );
    let unnamed = closing([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &gzip(b"a 1\n")].concat()).await;
    assert_eq!(poll(&unnamed.url("/")).await.unwrap_err(), "the body is not metrics but gzip");
}

#[tokio::test]
async fn heads_that_go_takes_are_taken() {
    let many: String = (0..300).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    for headers in [
        "X-Info : a\r\nX-Long: b\r\n c\r\nContent-Length: 4\r\n",
        "Content-Length:\r\n",
        "Content-Length:  \r\nTransfer-Encoding: identity\r\n",
        "Content-Length:\r\n\t4\r\n",
        "Content-Length : 4\r\n",
        "My Header: x\r\nContent-Length: 4\r\n",
        &many,
    ] {
        let target = closing(format!("HTTP/1.1 200 OK\r\n{headers}Connection: close\r\n\r\na 1\n")).await;
        assert_eq!(poll(&target.url("/")).await.as_deref(), Ok("a 1\n"), "{headers:?}");
    }
    let old = closing("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na 1\n").await;
    assert_eq!(poll(&old.url("/")).await.as_deref(), Ok("a 1\n"));
    let early = closing("HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\nHTTP/1.1 200 OK\nContent-Encoding\t: identity\n\na 1\n").await;
    assert_eq!(poll(&early.url("/")).await.as_deref(), Ok("a 1\n"));
}

#[tokio::test]
async fn odd_heads_do_not_cost_the_connection_and_bodies_are_no_heads() {
    // What looks like a folded header stands in the body, of every response on one connection.
    let body = "# X : y\n a 1\n";
    let answer = format!("HTTP/1.1 200 OK\r\nX-Info : a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let target = Target::always(answer).await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    assert_eq!(rig.body(&target.url("/")).await, body);
    target.asked(4).await;
    assert_eq!(target.connections(), 1);
    assert_eq!(rig.app(&target.url("/"), |_| true).await.fault, None);
}

#[tokio::test]
async fn a_text_that_hides_its_samples_is_a_failed_poll() {
    let target = closing("HTTP/1.1 200 OK\r\n\r\n# HELP a x# TYPE a gaugea 1").await;
    assert_eq!(
        poll(&target.url("/")).await.unwrap_err(),
        "line 1, column 11: the text has no samples, and a header inside another line: were its lines joined?"
    );
    let nothing_yet = closing("HTTP/1.1 200 OK\r\n\r\n# TYPE a counter\n").await;
    assert_eq!(poll(&nothing_yet.url("/")).await.as_deref(), Ok("# TYPE a counter\n"));
}

#[tokio::test]
async fn gzip_is_asked_for_and_read() {
    let body = gzip(b"up 1\n");
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    let target = Target::always(answer).await;
    assert_eq!(poll(&target.url("/")).await.unwrap(), "up 1\n");
    let request = target.requests()[0].to_lowercase();
    for header in [
        "accept-encoding: gzip\r\n",
        "user-agent: exporter-proxy/",
        "x-prometheus-scrape-timeout-seconds: 10\r\n",
    ] {
        assert!(request.contains(header), "{header} is not in {request}");
    }
}

#[tokio::test]
async fn a_whole_large_body_is_taken_and_one_byte_more_is_not() {
    let body = "a 1\n".repeat(1 << 18);
    let fits = Target::always(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(poll(&fits.url("/")).await.unwrap().len(), 1 << 20);
    let longer = closing(format!("HTTP/1.1 200 OK\r\n\r\n{body}\n")).await;
    assert!(poll(&longer.url("/")).await.unwrap_err().contains("longer than 1048576 bytes"));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let target = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").await;
    let _rig = Rig::start(settings([endpoint(&target.url("/"))]));
    target.asked(4).await;
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_open() {
    let target = Target::always("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy").await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    assert_eq!(
        rig.fault(&target.url("/")).await,
        "poll failed: the response has status 503 Service Unavailable"
    );
    target.asked(3).await;
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_poll() {
    // Every second request on a connection meets a target that has just given up on it.
    let target = Target::serve(|mut connection| async move {
        connection.request().await?;
        connection.answer("200 OK", "", b"a 1\n").await?;
        connection.request().await?;
        Ok(())
    })
    .await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    target.asked(7).await;
    let app = rig.app(&target.url("/"), |_| true).await;
    assert_eq!(app.fault, None);
    assert!(target.connections() >= 4);
}

#[tokio::test]
async fn a_fresh_connection_that_is_closed_is_not_tried_twice() {
    let target = Target::serve(|mut connection| async move { connection.request().await.map(|_| ()) }).await;
    let fault = poll_as(settings([slowly(&target.url("/"))])).await.unwrap_err();
    assert!(fault.starts_with("not a valid HTTP response"), "{fault}");
    assert_eq!(target.connections(), 1);
}

/// An endpoint that is polled once and then not again within a test.
fn slowly(url: &str) -> exporter_proxy::sources::polls::Endpoint {
    let mut endpoint = endpoint(url);
    endpoint.interval = std::time::Duration::from_secs(3_600);
    endpoint
}

#[tokio::test]
async fn a_body_cut_short_is_a_failure() {
    let target = closing("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n").await;
    let fault = poll(&target.url("/")).await.unwrap_err();
    assert!(fault.contains("not a valid HTTP response"), "{fault}");
}

#[tokio::test]
async fn redirects_are_followed_within_the_host_and_credentials_stay_at_home() {
    let other = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nb 2\n").await;
    let elsewhere = other.url("/there?x=1");
    let target = Target::serve(move |mut connection| {
        let elsewhere = elsewhere.clone();
        async move {
            loop {
                match connection.request().await?.contains(" /next ") {
                    true => connection.answer("307 There", &format!("Location: {elsewhere}\r\n"), b"").await?,
                    false => connection.answer("301 Here", "Location: /next\r\n", b"moved").await?,
                }
            }
        }
    })
    .await;
    let mut endpoint = slowly(&target.url("/first"));
    endpoint.credentials = Some(Credentials::Basic {
        username: "u".to_owned(),
        password: Password::Given("p".into()),
    });
    assert_eq!(poll_as(settings([endpoint])).await.unwrap(), "b 2\n");
    let at_home = target.requests();
    assert_eq!((at_home.len(), target.connections()), (2, 1));
    assert!(
        at_home.iter().all(|request| request.contains("authorization: Basic dTpw\r\n")),
        "{at_home:?}"
    );
    let away = &other.requests()[0];
    assert!(
        away.starts_with("GET /there?x=1 HTTP/1.1\r\n") && !away.contains("authorization"),
        "{away}"
    );
}

#[tokio::test]
async fn a_bearer_token_is_read_again_for_each_poll() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "first\n").unwrap();
    let target = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").await;
    let mut endpoint = endpoint(&target.url("/"));
    endpoint.credentials = Some(Credentials::BearerFile(token.path().to_owned()));
    let rig = Rig::start(settings([endpoint]));
    rig.body(&target.url("/")).await;
    assert!(target.requests()[0].contains("authorization: Bearer first\r\n"));
    std::fs::write(token.path(), "second").unwrap();
    super::target::eventually("the new token", || {
        target.requests().last()?.contains("Bearer second\r\n").then_some(())
    })
    .await;
    std::fs::remove_file(token.path()).unwrap();
    let app = rig.app(&target.url("/"), |app| app.fault.is_some()).await;
    assert!(app.fault.as_deref().unwrap().contains("cannot read"), "{:?}", app.fault);
    assert_eq!(&**app.text.body(), b"a 1\n", "the last good data stays");
}

#[tokio::test]
async fn what_is_no_metrics_is_refused_before_it_replaces_any() {
    let target = Target::serve(|mut connection| async move {
        connection.request().await?;
        connection.answer("200 OK", "", b"a 1\n").await?;
        loop {
            connection.request().await?;
            connection
                .answer("200 OK", "Content-Type: text/html\r\n", b"<!DOCTYPE html><title>Log in</title>")
                .await?;
        }
    })
    .await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    let app = rig.app(&target.url("/"), |app| app.fault.is_some()).await;
    assert_eq!(
        app.fault.as_deref(),
        Some("poll failed: the body is not metrics but a page of HTML or XML")
    );
    assert_eq!(&**app.text.body(), b"a 1\n");
}

#[tokio::test]
async fn nobody_there() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = poll(&format!("http://{closed}/")).await.unwrap_err();
    assert!(fault.starts_with(&format!("cannot connect to {closed}: ")), "{fault}");
    let fault = poll("http://no-such-host.invalid/").await.unwrap_err();
    assert!(fault.starts_with("cannot look up no-such-host.invalid: "), "{fault}");
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_at_each() {
    // Where localhost is ::1 as well, nobody listens there.
    let target = Target::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").await;
    let url = format!("http://localhost:{}/", target.address.port());
    assert_eq!(poll(&url).await.unwrap(), "a 1\n");
}
