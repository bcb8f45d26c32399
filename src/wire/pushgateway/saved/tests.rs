#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;
use crate::wire::gob::tests::{put_bytes, put_number, stream};
use crate::wire::protobuf::push_bytes;

type Family = (String, Vec<u8>);

/// Labels and families.
type Labelled = (Vec<(String, String)>, Vec<Family>);

/// A file with these groups.
fn file(groups: &[Labelled]) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, groups.len() as u64);
    for (labels, families) in groups {
        put_bytes(&mut out, b"key");
        out.push(1);
        put_number(&mut out, labels.len() as u64);
        for (name, value) in labels {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        out.push(1);
        put_number(&mut out, families.len() as u64);
        for (name, family) in families {
            put_bytes(&mut out, name.as_bytes());
            out.push(1);
            put_bytes(&mut out, &[0; 15]);
            out.push(1);
            put_bytes(&mut out, family);
            out.push(0);
        }
        out.push(0);
    }
    stream(&out)
}

/// A family of one gauge.
fn gauge_family(name: &str, value: f64) -> Vec<u8> {
    let (mut gauge, mut metric, mut family) = (vec![9], Vec::new(), Vec::new());
    gauge.extend_from_slice(&value.to_le_bytes());
    push_bytes(&mut metric, field::METRIC_GAUGE, &gauge);
    push_bytes(&mut family, field::FAMILY_NAME, name.as_bytes());
    push_bytes(&mut family, field::FAMILY_METRIC, &metric);
    family
}

#[test]
fn a_group_has_its_labels_its_families_and_the_times_of_its_pushes() {
    let families = [("a", 1.5), (PUSH_TIME.0, 1e9), (PUSH_FAILURE_TIME.0, 0.0)];
    let families = families.map(|(name, value)| (name.to_owned(), gauge_family(name, value)));
    let labels = vec![("zone".to_owned(), "z".to_owned()), (JOB.to_owned(), "x".to_owned())];
    let file = file(&[(labels, families.to_vec())]);
    let groups: Vec<SavedGroup> = SavedGroups::new(&file).unwrap().map(Result::unwrap).collect();
    let family = gauge_family("a", 1.5);
    let expected = SavedGroup {
        group: Group::from_path("/metrics/job/x/zone/z").unwrap(),
        families: [vec![u8::try_from(family.len()).unwrap()], family].concat(),
        count: 1,
        pushed: Some(1e9),
        failed: Some(0.0),
    };
    assert_eq!(groups, [expected]);
}

/// Files that the real programs have written: docs/migration/pushgateway.md names the versions.
const REAL: [(&str, &[u8], usize); 2] = [
    ("1.5.1", include_bytes!("../../../../tests/fixtures/pushgateway/1.5.1.gob"), 5),
    ("1.11.2", include_bytes!("../../../../tests/fixtures/pushgateway/1.11.2.gob"), 7),
];

#[test]
fn files_of_two_versions_are_read_whole() {
    for (version, file, count) in REAL {
        let groups: Vec<SavedGroup> = SavedGroups::new(file).unwrap().map(Result::unwrap).collect();
        assert_eq!(groups.len(), count, "{version}");
        let of = |path: &str| {
            let group = Group::from_path(path).unwrap();
            groups
                .iter()
                .find(|saved| saved.group == group)
                .unwrap_or_else(|| panic!("{version}: no {path}"))
        };
        let backup = of("/metrics/job/backup/instance/db1");
        assert_eq!((backup.count, backup.failed), (3, Some(0.0)));
        assert!(backup.pushed > Some(1.7e9));
        assert_eq!(of("/metrics/job/titan%2F%C3%A9/path/%2Fvar%2Ftmp").count, 1);
        assert_eq!(of("/metrics/job/pb").count, 5);
        let failed = of("/metrics/job/failed");
        assert_eq!((failed.count, failed.pushed), (0, Some(0.0)));
        assert!(failed.failed > Some(1.7e9));
        assert_eq!(of("/metrics/job/empty/instance/").count, 0);
        // Each cut is noticed.
        for end in (0..file.len()).step_by(7) {
            let groups = SavedGroups::new(&file[..end]);
            assert!(groups.is_err() || groups.unwrap().any(|group| group.is_err()), "{version}: {end}");
        }
    }
}

#[test]
fn what_is_no_such_file_is_refused() {
    for bytes in [&b""[..], b"hello", b"{\"a\":1}", &[0x1f, 0x8b, 8, 0, 0, 0]] {
        let groups = SavedGroups::new(bytes).map(|groups| groups.collect::<Vec<_>>());
        assert!(groups.is_err() || groups.unwrap().iter().any(Result::is_err), "{bytes:?}");
    }
    let no_job = file(&[(Vec::new(), Vec::new())]);
    assert_eq!(SavedGroups::new(&no_job).unwrap().next(), Some(Err(SavedError::NoJob)));
}

proptest! {
    #[test]
    fn groups_are_read_as_they_were_written(
        groups in prop::collection::vec((".{0,9}", prop::collection::btree_map("[a-ik-z]{1,5}", ".{0,9}", 0..3), prop::collection::vec(("[a-z]{1,9}", any::<f64>()), 0..4)), 0..4),
    ) {
        let file = file(&groups.iter().map(|(job, labels, families)| {
            let labels = labels.clone().into_iter().chain([(JOB.to_owned(), job.clone())]).collect();
            let families = families.iter().map(|(name, value)| (name.clone(), gauge_family(name, *value))).collect();
            (labels, families)
        }).collect::<Vec<_>>());
        let read: Result<Vec<SavedGroup>, SavedError> = SavedGroups::new(&file).unwrap().collect();
        let read = read.unwrap();
        prop_assert_eq!(read.len(), groups.len());
        for (read, (job, labels, families)) in read.iter().zip(groups) {
            prop_assert_eq!(&read.group, &Group::new(job, labels));
            prop_assert_eq!(read.count, families.len());
        }
    }

    #[test]
    fn damaged_files_are_read_without_harm(cut in 0_usize..200, at in 0_usize..200, byte: u8) {
        let labels = vec![(JOB.to_owned(), "x".to_owned())];
        let mut file = file(&[(labels, vec![("a".to_owned(), gauge_family("a", 1.0)); 3])]);
        file.truncate(file.len() - cut % file.len());
        let len = file.len();
        file[at % len] = byte;
        if let Ok(groups) = SavedGroups::new(&file) {
            // Each group takes some bytes of the file, whatever their number claims to be.
            prop_assert!(groups.count() <= file.len() + 1);
        }
    }
}
