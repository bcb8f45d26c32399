//! Bodies that give a name several types.

use super::*;
use crate::catalog::render_single;
use crate::negotiate::{Escaping, Format};

/// A metric of each type.
fn a_metric_of(kind: MessageType, value: u64) -> Message {
    let number = Message::new().double(scalar::VALUE, 1.0);
    match kind {
        MessageType::Counter => Message::new().inside(metric::COUNTER, &number),
        MessageType::Gauge => Message::new().inside(metric::GAUGE, &number),
        MessageType::Untyped => Message::new().inside(metric::UNTYPED, &number),
        MessageType::Summary => Message::new().inside(
            metric::SUMMARY,
            &Message::new().number(summary::COUNT, value).double(summary::SUM, 2.0),
        ),
        MessageType::Histogram | MessageType::GaugeHistogram => {
            let bucket = Message::new().number(bucket::COUNT, value).double(bucket::BOUND, 1.0);
            let histogram = Message::new().number(histogram::COUNT, value).double(histogram::SUM, 2.0);
            histogram_of(&histogram.inside(histogram::BUCKET, &bucket))
        }
    }
}

/// A body that gives one name two types.
pub(crate) fn contradicting(first: MessageType, second: MessageType) -> Vec<u8> {
    let metrics = [a_metric_of(first, 3).label("a", "1"), a_metric_of(second, 4).label("a", "2")];
    [family_of("x", first, &metrics[..1]), family_of("x", second, &metrics[1..])].concat()
}

/// The samples of a text in alphabetical order.
fn sorted_samples(text: &[u8]) -> Vec<&str> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    let mut samples: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
    samples.sort_unstable();
    samples
}

#[test]
fn a_body_that_gives_a_name_two_types_goes_out_without_duplicates() {
    for (first, second) in MessageType::ALL
        .into_iter()
        .flat_map(|first| MessageType::ALL.map(|second| (first, second)))
    {
        let read = Exposition::decode(&contradicting(first, second), MAX).unwrap();
        assert!(read.faults().is_empty(), "{first:?} and {second:?}: {:?}", read.faults());
        let format = Format::Protobuf(Some(Escaping::AllowUtf8));
        let rendered = render_single(&read.clone().into(), format.into());
        let out: Vec<u8> = rendered.chunks().iter().flat_map(|chunk| chunk.text().concat()).collect();
        let again = Exposition::decode(&out, MAX).unwrap();
        assert!(again.faults().is_empty(), "{first:?} and {second:?}: {:?}", again.faults());
        assert_eq!(
            sorted_samples(again.body()),
            sorted_samples(read.body()),
            "{first:?} and {second:?}"
        );
    }
}

#[test]
fn samples_with_a_header_of_their_own_go_out_beside_records() {
    let other = family_of(
        "x_bucket",
        MessageType::Gauge,
        &[a_metric_of(MessageType::Gauge, 1).label("b", "1")],
    );
    let body = [other, contradicting(MessageType::Gauge, MessageType::Summary)].concat();
    let read = Exposition::decode(&body, MAX).unwrap();
    assert!(!read.records().unwrap().carried.is_empty());
    let rendered = render_single(&read.into(), Format::Protobuf(None).into());
    let out: Vec<u8> = rendered.chunks().iter().flat_map(|chunk| chunk.text().concat()).collect();
    assert!(
        text(&out).contains("# TYPE x_bucket gauge\nx_bucket{b=\"1\"} 1\n"),
        "{}",
        text(&out)
    );
}
