//! Files of `tests/fixtures/config`, good and bad.

use super::*;

#[test]
fn good_fixtures_have_no_fault() {
    for (path, text) in fixtures("good") {
        let read = parse(&text, &path.display().to_string(), &nothing());
        assert!(read.is_ok(), "{}", read.map(|_| ()).unwrap_err());
    }
}

/// The comments of each bad fixture (`# expect: LINE:COLUMN: TEXT`) list exactly its faults.
#[test]
fn bad_fixtures_have_exactly_their_faults() {
    for (path, text) in fixtures("bad") {
        let mut expected: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_once("# expect: "))
            .map(|(_, e)| e.to_owned())
            .collect();
        let mut found: Vec<String> = faults(&text).iter().map(|fault| fault.replacen("c.toml:", "", 1)).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "in {}", path.display());
    }
}

#[test]
fn every_key_of_the_originals_file_is_taken_as_it_was_meant() {
    let (_, text) = fixtures("good")
        .into_iter()
        .find(|(path, _)| path.ends_with("original.toml"))
        .unwrap();
    let settings = sound(&text);
    assert_eq!(settings.exporter.threads, Threads::Current);
    assert_eq!(settings.receiver.limits.format, FormatChoice::Json);
    let path = settings.receiver.unix.unwrap().path;
    assert_eq!(path, UnixSocketPath::Exactly(USUAL_UNIX_SOCKET.into()));
    let names: Vec<String> = settings.polls.endpoints.iter().map(|e| e.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "external_poll: 127.0.0.1:1025",
            "external_poll: 127.0.0.1:1026",
            "external_poll: 127.0.0.1:1027"
        ]
    );
    let first = &settings.polls.endpoints[0];
    assert_eq!(
        (first.interval.as_secs(), first.timeout.as_secs(), first.stale_after.as_secs()),
        (5, 2, 15)
    );
    assert!(settings.polls.allow_invalid_certs);
}
