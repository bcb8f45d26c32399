#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use futures_util::StreamExt;
use http_body_util::BodyStream;

use super::*;
use crate::exposition::openmetrics2::UnstatedTypes;
use crate::exposition::protobuf::{put_gauge, put_gauge_family};

/// Messages of a family with this number of series.
fn messages(series: usize) -> Vec<Arc<Vec<Bytes>>> {
    let (mut head, mut metrics) = (Vec::new(), Vec::new());
    for number in 0..series {
        put_gauge(&[("number", &number.to_string())], 1.0, &mut metrics);
    }
    put_gauge_family("up", "Whether it is up.", metrics.len(), &mut head);
    vec![Arc::new(vec![head.into(), metrics.into()])]
}

async fn frames(body: TranslatedBody) -> Vec<Bytes> {
    BodyStream::new(body)
        .map(|frame| frame.unwrap().into_data().unwrap())
        .collect()
        .await
}

#[tokio::test]
async fn a_body_comes_in_frames_plain_or_as_one_gzip_member() {
    let series = 20_000;
    let writer = || Writer::new(messages(series), &UnstatedTypes::new());
    let sent = Arc::new(Counter::default());
    let plain = frames(TranslatedBody::new(writer(), None, Arc::clone(&sent))).await;
    assert!(plain.len() > 2 && plain.iter().all(|frame| frame.len() < FRAME_TEXT + 100));
    let text = String::from_utf8(plain.concat()).unwrap();
    assert_eq!(text.lines().count(), series + 3);
    assert!(text.starts_with("# TYPE up gauge\n# HELP up Whether it is up.\nup{number=\"0\"} 1\n"));
    assert!(text.ends_with("up{number=\"19999\"} 1\n# EOF\n"));
    assert_eq!(sent.get(), text.len() as u64);

    let zipped = frames(TranslatedBody::new(writer(), Some(Arc::default()), sent)).await.concat();
    assert!(zipped.len() * 4 < text.len());
    let (mut decoder, mut inflated) = (GzDecoder::new(&zipped[..]), String::new());
    decoder.read_to_string(&mut inflated).unwrap();
    assert_eq!(inflated, text);
    assert!(decoder.into_inner().is_empty(), "one member");
}
