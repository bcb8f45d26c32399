#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use chrono::TimeDelta;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_796_000_000 + seconds, 0).unwrap()
}

fn messages(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    replay(path, |line| {
        found.push(String::from_utf8(line.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    found
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_recording_is_continued_and_replayed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.jsonl.gz");
    for part in 0..3 {
        let mut recorder = Recorder::open(&path, None, at(part)).unwrap();
        recorder.push(format!("{{\"n\":{part}}}").as_bytes(), at(part)).unwrap();
        recorder.flush(at(part)).unwrap();
    }
    assert_eq!(messages(&path), ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let plain = directory.path().join("plain.jsonl");
    fs::write(&plain, "{\"a\":1}\r\n\n{\"b\":2}").unwrap();
    assert_eq!(messages(&plain), ["{\"a\":1}", "{\"b\":2}"]);
}

#[test]
fn a_full_file_is_renamed_after_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.jsonl.gz");
    let mut recorder = Recorder::open(&path, Some(Rotation::Size(1)), at(0)).unwrap();
    for n in 0..4 {
        recorder.push(format!("{n}").as_bytes(), at(0)).unwrap();
        recorder.flush(at(0)).unwrap();
    }
    let began = at(0).format("%Y%m%dT%H%M%SZ");
    let expected = [
        format!("trace-{began}-2.jsonl.gz"),
        format!("trace-{began}-3.jsonl.gz"),
        format!("trace-{began}.jsonl.gz"),
        "trace.jsonl.gz".to_owned(),
    ];
    assert_eq!(names(directory.path()), expected);
    assert_eq!(messages(&directory.path().join(&expected[2])), ["0"]);
    assert_eq!(messages(&path), ["3"]);
}

#[test]
fn an_hour_ends_with_the_clock_and_not_after_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace");
    let start = at(0).with_minute(59).unwrap();
    let mut recorder = Recorder::open(&path, Some(Rotation::Hour), start).unwrap();
    for minutes in [0, 0, 2, 30] {
        let now = start + TimeDelta::minutes(minutes);
        recorder.push(b"x", now).unwrap();
        recorder.flush(now).unwrap();
    }
    assert_eq!(names(directory.path()).len(), 2);
    assert_eq!(messages(&path).len(), 2);
}

#[test]
fn a_killed_recording_is_replayed_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.gz");
    let mut recorder = Recorder::open(&path, None, at(0)).unwrap();
    for n in 0..2 {
        recorder.push(format!("{n}").as_bytes(), at(0)).unwrap();
        recorder.flush(at(0)).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let mut seen = 0;
    let error = replay(&path, |_| {
        seen += 1;
        Ok(())
    });
    assert!(seen >= 1);
    assert!(
        error.unwrap_err().to_string().contains("truncated"),
        "the file is named as truncated"
    );
    assert!(replay(&directory.path().join("missing"), |_| Ok(())).is_err());
}

#[test]
fn a_killed_recording_is_continued_after_its_last_complete_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.gz");
    let record = |n: i64| {
        let mut recorder = Recorder::open(&path, None, at(n)).unwrap();
        recorder.push(format!("{n}").as_bytes(), at(n)).unwrap();
        recorder.flush(at(n)).unwrap();
    };
    record(0);
    let one = fs::read(&path).unwrap();
    // Cut off anywhere, in the header of a member or its trailer.
    for cut in 1..one.len() {
        fs::write(&path, [&one, &one[..cut]].concat()).unwrap();
        record(1);
        assert_eq!(messages(&path), ["0", "1"], "cut after {cut} bytes");
    }
}

#[test]
fn a_file_that_is_no_recording_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let mut corrupt = Vec::new();
    let mut compressor = Compressor::default();
    compressor.member(b"1", &mut corrupt);
    corrupt[12] ^= 0x55;
    for bytes in [b"my notes".to_vec(), corrupt] {
        fs::write(&path, &bytes).unwrap();
        let error = format!("{:#}", Recorder::open(&path, None, at(0)).unwrap_err());
        assert!(error.contains("notes.txt") && error.contains("name another file"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn rotations_are_sizes_or_hours() {
    assert_eq!("hour".parse(), Ok(Rotation::Hour));
    assert_eq!("10MiB".parse(), Ok(Rotation::Size(10 << 20)));
    for text in ["", "0", "day", "-1"] {
        assert!(text.parse::<Rotation>().is_err(), "{text}");
    }
}
