#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;
use crate::wire::protobuf::push_number;

fn pair(name: &str, value: &str) -> Vec<u8> {
    let mut pair = Vec::new();
    push_bytes(&mut pair, field::LABEL_NAME, name.as_bytes());
    push_bytes(&mut pair, field::LABEL_VALUE, value.as_bytes());
    pair
}

fn metric(labels: &[(&str, &str)], timestamp: Option<u64>, labels_first: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let write_labels = |out: &mut Vec<u8>| {
        labels
            .iter()
            .for_each(|(name, value)| push_bytes(out, field::METRIC_LABEL, &pair(name, value)))
    };
    if labels_first {
        write_labels(&mut out);
    }
    push_bytes(&mut out, field::METRIC_GAUGE, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
    if let Some(timestamp) = timestamp {
        push_number(&mut out, field::METRIC_TIMESTAMP, timestamp);
    }
    if !labels_first {
        write_labels(&mut out);
    }
    out
}

fn body(name: &str, metrics: &[Vec<u8>]) -> Vec<u8> {
    let mut family = Vec::new();
    push_bytes(&mut family, field::FAMILY_NAME, name.as_bytes());
    metrics
        .iter()
        .for_each(|metric| push_bytes(&mut family, field::FAMILY_METRIC, metric));
    let mut out = Vec::new();
    push_varint(&mut out, family.len() as u64);
    [out, family].concat()
}

#[test]
fn labels_of_the_group_replace_those_of_metrics() {
    let group = Group::from_path("/metrics/job/x/zone/z").unwrap();
    let pushed = body(
        "a",
        &[
            metric(&[("job", "own"), ("b", "1")], Some(5), true),
            metric(&[("instance", "i")], None, true),
        ],
    );
    let expected = body(
        "a",
        &[
            metric(&[("b", "1"), ("job", "x"), ("zone", "z"), ("instance", "")], Some(5), false),
            metric(&[("instance", "i"), ("job", "x"), ("zone", "z")], None, false),
        ],
    );
    let sorted = |mut bytes: Vec<u8>| {
        bytes.sort_unstable();
        bytes
    };
    let relabelled = relabel(&pushed, &group, false, 1_000).unwrap();
    assert_eq!(sorted(relabelled.clone()), sorted(expected));
    assert_eq!(relabel(&relabelled, &group, false, 1_000).unwrap().len(), relabelled.len());
    let stripped = relabel(&pushed, &group, true, 1_000).unwrap();
    assert_eq!(stripped.len() + 2, relabelled.len());
    assert_eq!(relabel(&pushed, &group, false, 50), Err(RelabelError::TooLong(50)));
}

#[test]
fn families_are_kept_by_their_names() {
    let (a, b) = (body("a", &[metric(&[], None, true)]), body("b", &[]));
    let both = [a, b.clone()].concat();
    assert_eq!(retain_families(&both, |name| name != b"a").unwrap(), b);
    assert_eq!(retain_families(&both, |_| true).unwrap(), both);
    assert!(retain_families(&both[..both.len() - 1], |_| true).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_relabelled_or_refused(bytes in prop::collection::vec(prop_oneof![0u8..48, any::<u8>()], 0..60)) {
        let group = Group::from_path("/metrics/job/x").unwrap();
        if let Ok(relabelled) = relabel(&bytes, &group, false, 10_000) {
            prop_assert!(relabel(&relabelled, &group, true, 20_000).is_ok());
        }
    }
}
