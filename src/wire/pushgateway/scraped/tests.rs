#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::wire::protobuf::push_varint;

fn metric(labels: &[(&str, &str)], value: f64) -> Vec<u8> {
    let mut metric = Vec::new();
    for (name, value) in labels {
        let mut pair = Vec::new();
        push_bytes(&mut pair, field::LABEL_NAME, name.as_bytes());
        push_bytes(&mut pair, field::LABEL_VALUE, value.as_bytes());
        push_bytes(&mut metric, field::METRIC_LABEL, &pair);
    }
    push_bytes(&mut metric, field::METRIC_GAUGE, &[&[9][..], &value.to_le_bytes()].concat());
    metric
}

fn family(name: &str, metrics: &[Vec<u8>]) -> Vec<u8> {
    let mut family = Vec::new();
    push_bytes(&mut family, field::FAMILY_NAME, name.as_bytes());
    metrics
        .iter()
        .for_each(|metric| push_bytes(&mut family, field::FAMILY_METRIC, metric));
    family
}

fn delimited(families: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        push_varint(&mut out, family.len() as u64);
        out.extend_from_slice(family);
    }
    out
}

const X: &[(&str, &str)] = &[("instance", ""), ("job", "x")];
const Y: &[(&str, &str)] = &[("instance", ""), ("job", "y")];

const API: &str = r#"{"status":"success","data":[
    {"labels":{"job":"x"},"last_push_successful":true,
     "a":{"time_stamp":"2026-01-01T00:00:00Z","type":"GAUGE","metrics":[{"labels":{"instance":"","job":"x"},"value":"1"}]},
     "push_time_seconds":{"type":"GAUGE","metrics":[{"labels":{"instance":"","job":"x"},"value":"5"}]}},
    {"labels":{"job":"y"},"last_push_successful":true,
     "a":{"type":"GAUGE","metrics":[{"labels":{"instance":"","job":"y"},"value":"2"}]},
     "gone":{"type":"GAUGE","metrics":[{"labels":{"instance":"","job":"y"},"value":"2"}]}}]}"#;

#[test]
fn each_group_gets_its_series_and_the_time_of_its_push() {
    let scrape = delimited(&[
        family("a", &[metric(X, 1.0), metric(Y, 2.0), metric(&[], 3.0)]),
        family("push_time_seconds", &[metric(X, 5.0)]),
        family("go_goroutines", &[metric(&[], 9.0)]),
    ]);
    let (groups, missing) = groups_of_scrape(API.as_bytes(), &scrape).unwrap();
    assert_eq!(missing, 1);
    let [x, y] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!(x.families, delimited(&[family("a", &[metric(X, 1.0)])]));
    assert_eq!((x.pushed, x.count, y.pushed, y.count), (Some(5.0), 1, None, 1));
    assert_eq!(y.families, delimited(&[family("a", &[metric(Y, 2.0)])]));
}

#[test]
fn other_responses_are_refused() {
    assert!(matches!(groups_of_scrape(b"<html>", b""), Err(ScrapedError::Api(_))));
    assert!(matches!(groups_of_scrape(b"{}", b""), Err(ScrapedError::Api(_))));
    assert!(matches!(
        groups_of_scrape(br#"{"data":[{"labels":{}}]}"#, b""),
        Err(ScrapedError::NoJob)
    ));
    assert!(matches!(
        groups_of_scrape(API.as_bytes(), b"# HELP a b\na 1\n"),
        Err(ScrapedError::Scrape(_))
    ));
}
