//! Polled servers of one-shot events: each event enters the proxy's own log once, and never stands as a latest value.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use http::Request;

use super::rig::{Rig, endpoint, settings};
use super::target::{Connection, Target, eventually};
use crate::harness::{Proxy, until};
use crate::process::{Process, config};

/// A text of a server of events, with one event.
fn text_with(event: &str) -> String {
    format!(
        "# TYPE up gauge\nup 1\n# TYPE events_to_metrics gauge\n{event}\n# TYPE events_to_metrics_event_count counter\n\
         events_to_metrics_event_count 1\n"
    )
}

/// A proxy that polls another one as the app "A", often.
async fn polling(of: &Proxy, path: &str, more: &str) -> Proxy {
    Proxy::with(&format!(
        "poll_external = {{ poll_other_scrape_endpoints = true, poll_interval = \"100ms\", client_timeout = 30, \
         other_scrape_endpoints = [{{ url = \"http://{}{path}\", name = \"A\"{more} }}] }}",
        of.http
    ))
    .await
}

/// The samples of a family in a text.
fn samples(text: &str, family: &str) -> Vec<String> {
    let is_one = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(is_one).map(str::to_owned).collect()
}

/// How many events the scraper of this address and kind has not got yet.
async fn pending(proxy: &Proxy, scraper: &str) -> Option<f64> {
    let text = proxy.text("/metrics?peek=true").await;
    let line = format!("events_to_metrics_scraper_counts{{scraper=\"127.0.0.1 {scraper}\"}} ");
    let found = text.lines().find_map(|line_of| line_of.strip_prefix(&line));
    found.map(|value| value.parse().unwrap())
}

/// Waits until a proxy has polled its endpoint a few times from now on.
async fn polled_again(proxy: &Proxy, source: &str) {
    let series = format!("exporter_proxy_updates_total{{source=\"{source}\",format=\"poll\"}}");
    let own = async || {
        let text = proxy.text("/metrics?peek=true").await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(&series))
            .map(|value| value.trim().parse::<f64>().unwrap());
        value.unwrap_or(0.0)
    };
    let before = own().await;
    until("the endpoint is polled", async || own().await >= before + 3.0).await;
}

/// Posts events to one proxy, scrapes another one that polls it, and gives back what the scraper got until it had so many.
async fn through(first: &Proxy, second: &Proxy, posts: &[&str]) -> Vec<String> {
    let source = format!("external_poll: {}", first.http);
    let scrape = async || {
        let alone = second.text("/metrics?app=A&own=false").await;
        assert_eq!(
            samples(&alone, "events_to_metrics"),
            Vec::<String>::new(),
            "an event stands as a latest value"
        );
        let answer = second.ask(Request::get("/metrics").header("user-agent", "Prometheus/3")).await;
        samples(&String::from_utf8_lossy(answer.body()), "events_to_metrics")
    };
    until("the first proxy knows the second", async || {
        pending(first, "exporter-proxy").await == Some(0.0)
    })
    .await;
    assert!(scrape().await.is_empty());
    for post in posts {
        assert_eq!(first.ask(Request::post(format!("/event?{post}"))).await.status(), 200);
    }
    let mut got = Vec::new();
    until("all events have come", async || {
        got.extend(scrape().await);
        got.len() >= posts.len()
    })
    .await;
    until("all are known to have been received", async || {
        pending(first, "exporter-proxy").await == Some(0.0)
    })
    .await;
    polled_again(second, &source).await;
    got.extend(scrape().await);
    got.sort();
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_passes_a_second_proxy_once_with_and_without_timestamps() {
    for explicit in [true, false] {
        for path in ["/metrics?own=false", "/metrics", "/event/metrics"] {
            let first = Proxy::with(&format!("events.use_explicit_timestamps = {explicit}")).await;
            let second = polling(&first, path, "").await;
            let posts = [
                "kind=deploy&value=1",
                "kind=deploy&value=2",
                "kind=deploy&value=3",
                "kind=other&value=0.5",
            ];
            let expected = [
                "events_to_metrics{kind=\"deploy\"} 1",
                "events_to_metrics{kind=\"deploy\"} 2",
                "events_to_metrics{kind=\"deploy\"} 3",
                "events_to_metrics{kind=\"other\"} 0.5",
            ];
            assert_eq!(through(&first, &second, &posts).await, expected, "{path}, {explicit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_one_scrapes_between_two_polls_an_event_comes_once() {
    let first = Proxy::start().await;
    first.ask(Request::post("/event?kind=a")).await;
    // The first poll gets the events of the last minute, and there is no second one.
    let second = polling(&first, "/metrics", ", interval = \"1h\"").await;
    until("it is polled", async || {
        let answer = second.ask(Request::get("/apps/A/metrics")).await;
        String::from_utf8_lossy(answer.body()).contains("exporter_proxy_build_info")
    })
    .await;
    let mut got = Vec::new();
    for _ in 0..5 {
        let answer = second.ask(Request::get("/metrics").header("user-agent", "Prometheus/3")).await;
        got.extend(samples(&String::from_utf8_lossy(answer.body()), "events_to_metrics"));
    }
    assert_eq!(got, ["events_to_metrics{kind=\"a\"} 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn families_that_are_named_are_events_and_the_own_family_of_both_is_one() {
    let first = Proxy::with("events.metric_name = \"deploys\"").await;
    for (named, mine) in [(", events = [\"deploys\"]", "events_to_metrics"), ("", "deploys")] {
        let second = Proxy::with(&format!(
            "events.metric_name = \"{mine}\"\npoll_external = {{ poll_other_scrape_endpoints = true, poll_interval = \"100ms\", \
             other_scrape_endpoints = [{{ url = \"http://{}/metrics?scraper={mine}\", name = \"A\", labels = {{ site = \"north\" }}{named} }}] }}",
            first.http
        ))
        .await;
        first.ask(Request::post("/event?kind=a")).await;
        let expected = format!("{mine}{{kind=\"a\",site=\"north\"}} 1");
        until(&format!("{expected} comes"), async || {
            let answer = second.ask(Request::get("/metrics").header("user-agent", "Prometheus/3")).await;
            samples(&String::from_utf8_lossy(answer.body()), mine).contains(&expected)
        })
        .await;
        assert!(!second.text("/metrics?app=A").await.contains("deploys{"));
        drop(second);
    }
}

/// How connections to a target ended: in good order, or by a reset.
type Ends = Arc<Mutex<Vec<Result<(), io::ErrorKind>>>>;

/// Answers one request, and notes how the connection ends.
async fn answer_and_wait(mut connection: Connection, answer: &[u8], ends: &Ends) -> io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    connection.request().await?;
    connection.io.write_all(answer).await?;
    let end = loop {
        match connection.request().await {
            Ok(_) => connection.io.write_all(answer).await?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(()),
            Err(error) => break Err(error.kind()),
        }
    };
    ends.lock().unwrap().push(end);
    Ok(())
}

/// A target with one answer, and how its connections end.
async fn target(answer: String) -> (Target, Ends) {
    let (ends, answer) = (Ends::default(), Arc::<str>::from(answer));
    let seen = Arc::clone(&ends);
    let target = Target::serve(move |connection| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move { answer_and_wait(connection, answer.as_bytes(), &seen).await }
    })
    .await;
    (target, ends)
}

fn http(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn first_end(ends: &Ends) -> Result<(), io::ErrorKind> {
    eventually("a connection ends", || ends.lock().unwrap().first().copied()).await
}

#[tokio::test]
async fn recorded_events_end_the_connection_in_good_order_and_anything_else_resets_it() {
    let event = text_with("events_to_metrics{kind=\"a\"} 1");
    let (good, ends) = target(http("", &event)).await;
    let rig = Rig::start(settings([endpoint(&good.url("/"))]));
    assert_eq!(first_end(&ends).await, Ok(()));
    assert!(!rig.body(&good.url("/")).await.contains("kind=\"a\""));
    eventually("further polls", || (good.requests().len() >= 3).then_some(())).await;
    // A connection is counted before its request, so the requests are counted first.
    let requests = good.requests().len();
    assert!(requests <= good.connections(), "no request follows an answer with events");
    rig.stop().await;

    let cut = http("", &event).replace("Content-Length: ", "Content-Length: 1");
    for (what, answer) in [
        ("invalid gzip", http("Content-Encoding: gzip\r\n", &event)),
        ("a body that does not end", cut),
        ("more than is taken", http("", &format!("{event}{}", "# x\n".repeat(500_000)))),
    ] {
        let (bad, ends) = target(answer).await;
        let mut hasty = endpoint(&bad.url("/"));
        hasty.timeout = Duration::from_millis(300);
        let rig = Rig::start(settings([hasty]));
        let end = first_end(&ends).await;
        assert!(
            matches!(end, Err(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)),
            "{what}: {end:?}"
        );
        assert_eq!(rig.view.event_counts().0, 0, "{what}");
    }
}

#[tokio::test]
async fn without_events_the_connection_is_kept() {
    let (target, ends) = target(http("", "up 1\n")).await;
    let mut unhurried = endpoint(&target.url("/"));
    unhurried.interval = Duration::from_millis(700);
    let rig = Rig::start(settings([unhurried]));
    let source = format!("external_poll: {}", target.address);
    let stored = format!("exporter_proxy_updates_total{{source=\"{source}\",format=\"poll\"}}");
    eventually("two polls", || rig.metric(&stored).filter(|count| count == "2")).await;
    assert_eq!(target.connections(), 1);
    // Between two polls: in the middle of one the connection would be reset.
    rig.stop().await;
    assert_eq!(first_end(&ends).await, Ok(()));
}

#[tokio::test]
async fn what_shows_the_same_stamped_event_again_and_again_is_recorded_once() {
    let (target, _) = target(http("", &text_with("events_to_metrics{kind=\"a\"} 1 1700000000000"))).await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    target.asked(4).await;
    assert_eq!(rig.view.event_counts().0, 1);
}

#[tokio::test]
async fn samples_that_can_be_no_events_are_counted_and_do_not_stand() {
    let (target, _) = target(http("", &text_with("events_to_metrics{__a=\"x\"} 1\nevents_to_metrics{b=\"1\"} 2"))).await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    target.asked(2).await;
    assert!(!rig.body(&target.url("/")).await.contains("events_to_metrics{"));
    let source = format!("external_poll: {}", target.address);
    let series = format!("exporter_proxy_rejected_total{{source=\"{source}\",reason=\"bad_event\"}}");
    eventually("it is counted", || rig.metric(&series)).await;
    assert!(rig.view.event_counts().0 >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_while_it_reads_has_not_received_anything() {
    let event = text_with("events_to_metrics{kind=\"a\"} 1");
    // Everything is there but the last byte, and nothing is left unread.
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{event}", event.len() + 1);
    let (target, ends) = target(cut).await;
    let folder = tempfile::tempdir().unwrap();
    let polls = format!(
        "poll_external = {{ poll_other_scrape_endpoints = true, client_timeout = 60, other_scrape_endpoints = [{:?}] }}\n",
        target.url("/")
    );
    let mut process = Process::start(&config(folder.path(), &polls));
    process.line("polling 1 endpoints");
    target.asked(1).await;
    // Its destructor is a `kill -9`.
    drop(process);
    assert_eq!(first_end(&ends).await, Err(io::ErrorKind::ConnectionReset));
}
