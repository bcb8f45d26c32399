#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Group, PathError, app_of_path, escape_label_name, unescape_label_name};
use crate::model::MAX_APP_NAME_BYTES;

fn group(path: &str) -> Result<Vec<(String, String)>, PathError> {
    let group = Group::from_path(path)?;
    Ok(group.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_path_gives_the_labels_with_the_job_first() {
    for (path, expected) in [
        ("/metrics/job/x", &[("job", "x")][..]),
        ("/metrics/job/x/", &[("job", "x")]),
        (
            "/metrics/job/x/zone/z/instance/i",
            &[("job", "x"), ("instance", "i"), ("zone", "z")],
        ),
        ("/metrics/job/x/a/1/a/2", &[("job", "x"), ("a", "2")]),
        ("/metrics/job/x/job/y", &[("job", "x")]),
        ("/metrics/job/x/instance/", &[("job", "x"), ("instance", "")]),
        ("/metrics/job/x/a//b/1", &[("job", "x"), ("a", ""), ("b", "1")]),
        ("/metrics/job/a%2Fb/path/%2Fvar%2Ftmp", &[("job", "a/b"), ("path", "/var/tmp")]),
        ("/metrics/job/a+b%20c", &[("job", "a+b c")]),
        ("/metrics/job@base64/dGl0YW4vw6k=", &[("job", "titan/é")]),
        ("/metrics/job@base64/dGl0YW4vw6k/name@base64/=", &[("job", "titan/é"), ("name", "")]),
        ("/metrics/job/x/U__a_2e_b__c/1", &[("job", "x"), ("a.b_c", "1")]),
        ("/metrics/job/x/a-b/1", &[("job", "x"), ("a-b", "1")]),
    ] {
        assert_eq!(group(path), Ok(pairs(expected)), "{path}");
    }
}

#[test]
fn faults_have_the_words_of_pushgateway() {
    for (path, expected) in [
        ("/metrics/job//a/b", "job name is required"),
        ("/metrics/job@base64/=", "job name is required"),
        ("/metrics/job/x/a", "odd number of components in label string \"/a\""),
        ("/metrics/job/x/a/b/c", "odd number of components in label string \"/a/b/c\""),
        ("/metrics/job/x/__a/b", "improper label name \"__a\""),
        ("/metrics/job/x//b", "improper label name \"\""),
        (
            "/metrics/job@base64/dGl0!",
            "invalid base64 encoding in job name \"tit\": illegal base64 data at input byte 4",
        ),
        (
            "/metrics/job@base64/dGl0Y",
            "invalid base64 encoding in job name \"tit\": illegal base64 data at input byte 4",
        ),
        (
            "/metrics/job/x/a@base64/d+l",
            "invalid base64 encoding for label a=\"d+l\": illegal base64 data at input byte 1",
        ),
        ("/metrics/job/%ff", "\"%ff\" in the path is not valid UTF-8"),
    ] {
        assert_eq!(Group::from_path(path).unwrap_err().to_string(), expected, "{path}");
    }
}

#[test]
fn the_name_of_the_app_shows_the_labels() {
    let name = |path: &str| Group::from_path(path).unwrap().app_name().as_str().to_owned();
    assert_eq!(name("/metrics/job/x/instance/y"), "pushgateway: job=\"x\",instance=\"y\"");
    assert_eq!(
        name("/metrics/job/%22%5C%0A%01/U__a_2e_b/1"),
        "pushgateway: job=\"\\\"\\\\\\n\\u{1}\",\"a.b\"=\"1\""
    );
    assert_eq!(app_of_path("/prefix/metrics/job/x").as_deref(), Some("pushgateway: job=\"x\""));
    assert_eq!(app_of_path("/prefix/metrics/job/x/a"), None);
    assert_eq!(app_of_path("/apps"), None);
}

#[test]
fn names_that_would_be_too_long_differ_in_their_hashes() {
    let name = |job: String| Group::new(job, []).app_name().as_str().to_owned();
    let long = "é".repeat(200);
    let (one, other) = (name(format!("{long}1")), name(format!("{long}2")));
    assert!(one.len() <= MAX_APP_NAME_BYTES && other.len() <= MAX_APP_NAME_BYTES);
    assert_ne!(one, other);
    assert!(one.starts_with("pushgateway: job=\"éé"), "{one}");
}

#[test]
fn label_names_that_are_not_validly_escaped_are_taken_as_they_are() {
    for name in ["U__a_", "U__a_zz_", "U__a_110000_", "U__a_1234567_", "U__a_d800_", "a_b", "U_a"] {
        assert_eq!(unescape_label_name(name), name);
    }
}

proptest! {
    #[test]
    fn the_path_of_a_group_gives_the_group(
        job in ".{1,12}",
        labels in prop::collection::vec((r"([a-z_é.]{1,6}|U__[a-z_]{0,4})", ".{0,12}"), 0..4),
    ) {
        let labels = labels.into_iter().filter(|(name, _)| !name.starts_with("__"));
        let group = Group::new(job, labels);
        prop_assert_eq!(Group::from_path(&group.path()), Ok(group));
    }

    #[test]
    fn a_label_name_survives_its_escaping(name in "(\\PC|[_U]){1,10}") {
        prop_assert_eq!(unescape_label_name(&escape_label_name(&name)), name);
    }

    #[test]
    fn any_path_gives_a_group_or_a_fault(path in "(/|job|@base64|[a-zU_%=0-9é]){0,30}") {
        if let Ok(group) = Group::from_path(&format!("/metrics/job{path}")) {
            prop_assert!(group.app_name().as_str().starts_with("pushgateway: job="));
        }
    }
}
