//! What senders on sockets may do, what they are told, and what they cannot do to others.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::harness::{PATIENCE, Proxy, converse, until};

fn capnp(app: &str, data: &str) -> Vec<u8> {
    exporter_proxy::wire::encode(&exporter_proxy::model::AppName::new(app).unwrap(), data)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_on_both_sockets() {
    let proxy = Proxy::start().await;
    assert_eq!(proxy.tcp_say(br#"{"a":"a 1","b":["b 1","b 2"]} {"c":""}"#).await, "");
    assert_eq!(proxy.unix_say(br#"{"d":"d 1"}"#).await, "");
    assert_eq!(proxy.tcp_say(&[capnp("e", "e 1\n"), capnp("f", "f 1")].concat()).await, "");
    assert_eq!(proxy.unix_say(&capnp("g", "g 1")).await, "");
    let text = proxy.text("/metrics?own=false").await;
    for line in ["a 1", "b 1", "d 1", "e 1", "f 1", "g 1"] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in {text}");
    }
    let apps = proxy.text("/apps?format=wide").await;
    assert!(apps.contains(&proxy.tcp().to_string()) && apps.contains("receiver.sock"), "{apps}");
    assert!(apps.contains("| c "), "an update to nothing stays listed: {apps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_never_closes_is_heard() {
    let proxy = Proxy::start().await;
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    for n in 0..3 {
        stream.write_all(format!("{{\"app\":\"metric {n}\"}}").as_bytes()).await.unwrap();
        proxy.shows(&format!("metric {n}\n")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_counted_and_harms_nothing() {
    let proxy = Proxy::start().await;
    proxy.tcp_say(br#"{"app":"good 1"}"#).await;
    for (bytes, reason, told) in [
        (&br#"{"app":"bad"#[..], "truncated", "ended inside a message"),
        (br#"{"app":7}"#, "bad_value", "not a number"),
        (br#"{"":"x 1"}"#, "bad_app_name", "must not be empty"),
        (b"HELO x\r\n\r\n", "malformed", "byte 0"),
    ] {
        let answer = proxy.tcp_say(bytes).await;
        let error: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{answer:?}: {e}"));
        assert!(error["error"].as_str().unwrap().contains(told), "{answer}");
        let series = format!("exporter_proxy_rejected_total{{source=\"{}\",reason=\"{reason}\"}}", proxy.tcp());
        assert_eq!(proxy.own(&series).await, Some(1.0), "{series}");
    }
    let mut bomb = capnp("app", "bad 1");
    bomb.truncate(bomb.len() - 3);
    assert_eq!(proxy.tcp_say(&bomb).await, "", "Cap'n Proto senders are never written to");
    assert_eq!(proxy.tcp_say(&[0, 0, 0, 0, 255, 255, 255, 255]).await, "");
    assert!(proxy.text("/metrics").await.starts_with("good 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_format_is_refused_where_only_one_is_taken() {
    let proxy = Proxy::with("receiver.format = \"capnp\"").await;
    assert!(proxy.tcp_say(br#"{"app":"a 1"}"#).await.contains("takes only Cap'n Proto"));
    proxy.tcp_say(&capnp("app", "b 1")).await;
    assert!(proxy.text("/metrics").await.starts_with("b 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_costs_that_app_alone() {
    let proxy = Proxy::start().await;
    let told = proxy.tcp_say(br#"{"a":"a 1","b":{},"c":"c 1"}"#).await;
    assert!(told.contains("app \\\"b\\\""), "{told}");
    let text = proxy.text("/metrics?own=false").await;
    assert_eq!(text, "a 1\nc 1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sender_is_cut_off_and_an_idle_one_is_not() {
    let proxy = Proxy::with("receiver.idle_timeout = \"100ms\"").await;
    let mut idle = TcpStream::connect(proxy.tcp()).await.unwrap();
    let mut stalled = TcpStream::connect(proxy.tcp()).await.unwrap();
    stalled.write_all(b"{\"app\":\"st").await.unwrap();
    let mut told = String::new();
    tokio::time::timeout(PATIENCE, stalled.read_to_string(&mut told))
        .await
        .unwrap()
        .unwrap();
    assert!(told.contains("idle_timeout"), "{told}");
    idle.write_all(b"{\"app\":\"late 1\"}").await.unwrap();
    proxy.shows("late 1\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_hold_every_seat_make_room() {
    let proxy = Proxy::with("exporter.concurrent_requests = 8").await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(proxy.tcp()).await.unwrap());
    }
    for n in 0..20 {
        assert_eq!(proxy.tcp_say(format!("{{\"app\":\"m {n}\"}}").as_bytes()).await, "");
        assert!(proxy.text("/metrics").await.contains(&format!("m {n}\n")));
    }
}

/// More clients than seats, each of which says all it has to say at once and ends: nobody who has spoken is the one to go.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_spoken_is_not_closed_for_a_newcomer() {
    let proxy = Proxy::with("exporter.concurrent_requests = 8").await;
    let (tcp, unix) = (proxy.tcp(), proxy.unix().to_owned());
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..400 {
        let (unix, message) = (unix.clone(), format!("{{\"app{n}\":\"m{n} 1\"}}"));
        senders.spawn(async move {
            let mut told = String::new();
            if n % 2 == 0 {
                let mut stream = TcpStream::connect(tcp).await.unwrap();
                stream.write_all(message.as_bytes()).await.unwrap();
                stream.read_to_string(&mut told).await.map(|_| told)
            } else {
                let mut stream = UnixStream::connect(unix).await.unwrap();
                stream.write_all(message.as_bytes()).await.unwrap();
                stream.read_to_string(&mut told).await.map(|_| told)
            }
        });
    }
    until("all 400 are stored", async || proxy.own("exporter_proxy_apps").await == Some(400.0)).await;
    // The last ones keep their seats until somebody needs them.
    senders.abort_all();
    while let Some(ended) = senders.join_next().await {
        if let Ok(heard) = ended {
            assert_eq!(heard.unwrap(), "", "a clean end, no reset");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_whole_messages_is_not_the_longest_idle() {
    let proxy = Proxy::with("exporter.concurrent_requests = 4").await;
    let mut active = TcpStream::connect(proxy.tcp()).await.unwrap();
    let mut idle = Vec::new();
    for n in 0..12 {
        active.write_all(format!("{{\"app\":\"m {n}\"}}").as_bytes()).await.unwrap();
        proxy.shows(&format!("m {n}\n")).await;
        idle.push(TcpStream::connect(proxy.tcp()).await.unwrap());
        until("the newcomer is let in", async || {
            let series = format!("exporter_proxy_connections_accepted_total{{listener=\"{}\"}}", proxy.tcp());
            proxy.own(&series).await >= Some(2.0 + f64::from(n))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_connections_wait_for_a_seat_and_none_is_lost() {
    let proxy = Proxy::with("exporter.concurrent_requests = 4").await;
    let mut busy = Vec::new();
    for n in 0..64 {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(format!("{{\"busy{n}\":\"busy{n} ").as_bytes()).await.unwrap();
        busy.push(stream);
    }
    for stream in &mut busy {
        stream.write_all(b"1\"}").await.unwrap();
        stream.shutdown().await.unwrap();
    }
    until("all 64 are stored", async || proxy.own("exporter_proxy_apps").await == Some(64.0)).await;
}

/// Half a message on each of more connections than there are slots, from one address; on the Unix socket that is a user.
#[tokio::test(flavor = "multi_thread")]
async fn half_messages_of_one_address_keep_no_other_out() {
    const SLOTS: usize = 512;
    const CROWD: usize = 600;
    let proxy = Proxy::with(&format!("exporter.concurrent_requests = {SLOTS}")).await;
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(proxy.tcp()).await.unwrap()
    };
    let mut between = from("127.0.0.3").await;
    between.write_all(b"{\"between\":\"between 1\"}").await.unwrap();
    proxy.shows("between 1\n").await;
    let (mut tcp, mut unix) = (Vec::new(), Vec::new());
    for number in 0..CROWD {
        // An earlier message makes no difference.
        let whole: &[u8] = if number % 2 == 0 { b"" } else { b"{\"whole\":\"whole 1\"}" };
        let bytes = [whole, b"{\"half\":\"ha"].concat();
        let mut stream = from("127.0.0.2").await;
        stream.write_all(&bytes).await.unwrap();
        tcp.push(stream);
        let mut stream = UnixStream::connect(proxy.unix()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        unix.push(stream);
    }
    for number in 0..20 {
        let other = from(&format!("127.0.1.{number}")).await;
        let told = converse(other, format!("{{\"tcp{number}\":\"tcp{number} 1\"}}").as_bytes()).await;
        assert_eq!(told, "");
        let told = proxy.unix_say(format!("{{\"unix{number}\":\"unix{number} 1\"}}").as_bytes()).await;
        assert_eq!(told, "");
    }
    proxy.shows("tcp19 1\n").await;
    proxy.shows("unix19 1\n").await;
    let (mut over_tcp, mut over_unix) = (String::new(), String::new());
    tokio::time::timeout(PATIENCE, async {
        tcp[0].read_to_string(&mut over_tcp).await.unwrap();
        unix[0].read_to_string(&mut over_unix).await.unwrap();
    })
    .await
    .expect("the oldest are closed");
    let places = [proxy.tcp().to_string(), proxy.unix().display().to_string()];
    for (place, told) in places.iter().zip([over_tcp, over_unix]) {
        assert!(
            told.contains("this address has too many connections with an incomplete message"),
            "{told}"
        );
        let series = format!("exporter_proxy_rejected_total{{source=\"{place}\",reason=\"stalled\"}}");
        let closed = proxy.own(&series).await.unwrap();
        assert!(closed >= (CROWD - SLOTS) as f64, "{series} {closed}");
    }
    // One that is idle between two messages was not the one to go, and one of the youngest can complete its message.
    between.write_all(b"{\"between\":\"between 2\"}").await.unwrap();
    proxy.shows("between 2\n").await;
    tcp.last_mut().unwrap().write_all(b"lf 1\"}").await.unwrap();
    proxy.shows("half 1\n").await;
    unix.last_mut().unwrap().write_all(b"lf 2\"}").await.unwrap();
    proxy.shows("half 2\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_refused_before_it_is_held() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"64KiB\"").await;
    let mut huge = b"{\"app\":\"".to_vec();
    huge.resize(1 << 20, b'x');
    let told = proxy.tcp_say(&huge).await;
    assert!(told.contains("receiver.max_message_bytes is 65536"), "{told}");
    assert_eq!(proxy.own("exporter_proxy_apps").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_received_messages_share_a_budget_and_all_arrive_in_the_end() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"1MiB\"\nreceiver.max_inflight_bytes = \"1MiB\"").await;
    let filler = "x".repeat(700_000);
    let senders = (0..8).map(|n| {
        let message = format!("{{\"app{n}\":\"# {filler}\\nm{n} 1\"}}");
        let address = proxy.tcp();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for chunk in message.as_bytes().chunks(50_000) {
                stream.write_all(chunk).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.shutdown().await.unwrap();
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    until("all 8 are stored", async || proxy.own("exporter_proxy_apps").await == Some(8.0)).await;
}

/// Those who hold the budget stall, so whoever waits for them waits for seconds.
#[tokio::test(flavor = "multi_thread")]
async fn small_messages_pass_those_who_hold_the_budget() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"1MiB\"\nreceiver.max_inflight_bytes = \"1MiB\"").await;
    let mut holders = Vec::new();
    for _ in 0..4 {
        let mut holder = TcpStream::connect(proxy.tcp()).await.unwrap();
        holder.write_all(b"{\"held\":\"").await.unwrap();
        // What does not fit into the sockets once the proxy stops reading is not waited for.
        let _ = tokio::time::timeout(Duration::from_millis(200), holder.write_all(&vec![b'x'; 900_000])).await;
        holders.push(holder);
    }
    let mut small = TcpStream::connect(proxy.tcp()).await.unwrap();
    for piece in [&b"{\"small\""[..], b":\"small", b" 1\"}"] {
        small.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.shows("small 1\n").await;
    let pushed = proxy.send(http::Request::put("/apps/pushed/metrics"), "pushed 1\n").await;
    assert_eq!(pushed.status(), 200);
}

/// Two pushes that stop would hold more than the whole budget for half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_holds_the_budget_and_stops_gives_it_to_large_messages() {
    let proxy = Proxy::with("receiver.max_message_bytes = \"1MiB\"\nreceiver.max_inflight_bytes = \"1MiB\"").await;
    let push = async || {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let head = "PUT /apps/held/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n";
        let bytes = format!("{head}{}", "#".repeat(850_000));
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    };
    let (mut first, mut second) = (push().await, push().await);
    let message = format!("{{\"large\":\"# {}\\nlarge 1\"}}", "x".repeat(700_000));
    let messages = async {
        loop {
            assert_eq!(proxy.tcp_say(message.as_bytes()).await, "");
        }
    };
    let (mut to_first, mut to_second) = (String::new(), String::new());
    let answered = async {
        tokio::select! {
            read = first.read_to_string(&mut to_first) => read,
            read = second.read_to_string(&mut to_second) => read,
            () = messages => unreachable!("it goes on"),
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap();
    let answer = to_first + &to_second;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("others wait for the memory that it takes"), "{answer}");
    assert_eq!(proxy.tcp_say(message.as_bytes()).await, "");
    proxy.shows("large 1\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_busy_connections_lose_nothing() {
    let proxy = Proxy::start().await;
    let mut open = Vec::new();
    for n in 0..2_000 {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(format!("{{\"app{n}\":").as_bytes()).await.unwrap();
        open.push(stream);
    }
    for stream in &mut open {
        stream.write_all(b"\"m 1\"}").await.unwrap();
    }
    until("all 2,000 are stored", async || {
        proxy.own("exporter_proxy_apps").await == Some(2_000.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_takes_what_was_sent() {
    let proxy = Proxy::start().await;
    let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
    stream.write_all(b"{\"half\":").await.unwrap();
    until("the connection is there", async || {
        proxy
            .own(&format!("exporter_proxy_receiver_connections{{listener=\"{}\"}}", proxy.tcp()))
            .await
            == Some(1.0)
    })
    .await;
    let _keep_the_port = TcpStream::connect(proxy.http).await.unwrap();
    let http = proxy.http;
    let finishing = tokio::spawn(proxy.finish());
    until("the stop has begun", async || TcpStream::connect(http).await.is_err()).await;
    stream.write_all(b"\"m 1\"}").await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(told, "");
    let report = finishing.await.unwrap();
    assert!(report.is_clean(), "{report}");
}

/// Nobody has accepted them yet, but their connection stands and they have sent what they had to say: to them it is received.
#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_takes_those_in_the_queue() {
    let proxy = Proxy::with("exporter.concurrent_requests = 2").await;
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut holder = TcpStream::connect(proxy.tcp()).await.unwrap();
        holder.write_all(b"{\"held\":").await.unwrap();
        holders.push(holder);
    }
    let listener = format!("{{listener=\"{}\"}}", proxy.tcp());
    until("the seats are taken", async || {
        proxy.own(&format!("exporter_proxy_receiver_connections{listener}")).await == Some(2.0)
    })
    .await;
    let mut queue = Vec::new();
    for n in 0..20 {
        let mut stream = TcpStream::connect(proxy.tcp()).await.unwrap();
        stream.write_all(format!("{{\"queued{n}\":\"m 1\"}}").as_bytes()).await.unwrap();
        queue.push(stream);
    }
    let _keep_the_port = TcpStream::connect(proxy.http).await.unwrap();
    let http = proxy.http;
    let finishing = tokio::spawn(proxy.finish());
    until("the stop has begun", async || TcpStream::connect(http).await.is_err()).await;
    for holder in &mut holders {
        holder.write_all(b"\"m 1\"}").await.unwrap();
    }
    for stream in &mut queue {
        // An end of file means that all was read; what is thrown away unread is answered with a reset.
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
    let report = finishing.await.unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn messages_at_the_http_port_are_refused_with_the_way_to_the_receiver() {
    let proxy = Proxy::start().await;
    let send = async |bytes: &[u8]| converse(TcpStream::connect(proxy.http).await.unwrap(), bytes).await;
    let refused = send(b"{\"foo\": \"m 1\"}\n").await;
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap_or_else(|e| panic!("{e}: {refused}"));
    assert!(
        refused["error"].as_str().unwrap().contains("receiver.receiver_tcp_socket"),
        "{refused}"
    );
    for other in [&b"\0\0\0\0\x02\0\0\0"[..], b"nothing of HTTP\r\n\r\n"] {
        let answer = send(other).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(proxy.get("/apps").await.status(), 200);
}
