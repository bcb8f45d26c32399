//! Speed of the decoders of the receivers: streams of messages of 18 kB, 100 series of 6 labels each, fed in reads of
//! 64 kB. Copying them into the receive buffer, which the kernel does in life, is part of the time.

use bytes::BufMut;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exporter_proxy::wire::schema::inbound_metrics_capnp::inbound_metrics;
use exporter_proxy::wire::{FormatChoice, StreamDecoder};

/// Messages in one stream.
const MESSAGES: usize = 64;

/// No limit that these messages come near to.
const MAX_MESSAGE_BYTES: usize = 1 << 24;

fn main() {
    divan::main();
}

/// The text of an app with `series` series.
fn exposition(series: usize) -> String {
    let mut text = String::from("# HELP http_request_duration_seconds Time until the last byte of the answer.\n");
    text += "# TYPE http_request_duration_seconds histogram\n";
    for n in 0..series {
        text += &format!(
            "http_request_duration_seconds_bucket{{instance=\"10.0.{}.{n}:9100\",job=\"checkout-service\",method=\"GET\",path=\"/api/v1/orders/{{id}}\",status=\"200\",le=\"{}.5\"}} {}\n",
            n % 7,
            n % 13,
            n * 977
        );
    }
    text
}

fn capnp_stream() -> Vec<u8> {
    let mut stream = Vec::new();
    for n in 0..MESSAGES {
        let mut message = capnp::message::Builder::new_default();
        let mut root: inbound_metrics::Builder<'_> = message.init_root();
        root.set_app_name(format!("app-{n}"));
        root.set_data(exposition(100));
        stream.extend(capnp::serialize::write_message_to_words(&message));
    }
    stream
}

fn json_strings() -> Vec<u8> {
    let objects = (0..MESSAGES).map(|n| format!("{}\n", serde_json::json!({ format!("app-{n}"): exposition(100) })));
    objects.collect::<String>().into_bytes()
}

fn json_arrays() -> Vec<u8> {
    let text = exposition(100);
    let lines: Vec<&str> = text.lines().collect();
    let objects = (0..MESSAGES).map(|n| format!("{}\n", serde_json::json!({ format!("app-{n}"): lines })));
    objects.collect::<String>().into_bytes()
}

/// Feeds the whole stream and counts what comes out.
fn drain(stream: &[u8]) -> usize {
    let mut decoder = StreamDecoder::new(FormatChoice::Auto, MAX_MESSAGE_BYTES);
    let (mut rest, mut messages) = (stream, 0);
    while !rest.is_empty() {
        let mut spare = decoder.spare(usize::MAX);
        let n = spare.remaining_mut().min(rest.len());
        spare.put_slice(&rest[..n]);
        rest = &rest[n..];
        for item in decoder.by_ref() {
            divan::black_box(item.expect("the stream is good"));
            messages += 1;
        }
    }
    messages
}

fn run(bencher: Bencher<'_, '_>, stream: &[u8]) {
    assert_eq!(drain(stream), MESSAGES);
    bencher
        .counter(BytesCount::of_slice(stream))
        .counter(ItemsCount::new(MESSAGES))
        .bench(|| drain(divan::black_box(stream)));
}

#[divan::bench]
fn capnp(bencher: Bencher<'_, '_>) {
    run(bencher, &capnp_stream());
}

#[divan::bench]
fn json_string(bencher: Bencher<'_, '_>) {
    run(bencher, &json_strings());
}

#[divan::bench]
fn json_array(bencher: Bencher<'_, '_>) {
    run(bencher, &json_arrays());
}
