//! Unit tests of `targets_file.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::peer::PublicKey;
use proptest::prelude::*;

fn entry(alias: &str, hostname: &str, service: &str) -> AliasEntry {
    AliasEntry {
        alias: Alias::new(alias).unwrap(),
        key: PublicKey::new([0; 32]),
        hostname: hostname.into(),
        service: service.into(),
        transport: Transport::Quic,
        link: None,
        renewed: Instant::now(),
    }
}

#[test]
fn the_format_is_the_originals() {
    let text = render([entry("a", "h:1", "s"), entry("b", "", "")].iter());
    let key = "y".repeat(52);
    assert_eq!(
        text,
        format!(
            "[\n {{\n  \"labels\": {{\n   \"job\": \"aliases\"\n  }},\n  \"targets\": [\n   \"a:{key}:h-1:s\",\n   \"b:{key}:-:-\"\n  ]\n }}\n]"
        )
    );
    assert!(render(std::iter::empty()).contains("\"targets\": []"));
}

#[test]
fn an_invalid_target_is_reported_and_skipped() {
    let key = "y".repeat(52);
    let text = format!(
        "[{{\"labels\":{{\"job\":\"aliases\"}},\"targets\":[\"a:b:{key}:h:s\",\"c:{key}:h:s\",\"d:x:h:s\",\"e\"]}},{{\"targets\":[\":{key}:h:s\"]}}]"
    );
    let (entries, faults) = parse(&text, Instant::now()).unwrap();
    assert_eq!(entries.iter().map(|e| e.alias.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults[0].contains("must not contain ':'"), "{faults:?}");
    assert!(parse("{", Instant::now()).is_err());
}

#[test]
fn the_file_is_replaced_whole_and_readable_by_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prometheus/targets.json");
    assert_eq!(load(&path).unwrap(), None);
    assert!(!store(&path, "one").unwrap());
    let before = fs::File::open(&path).unwrap();
    assert!(!store(&path, "two").unwrap());
    assert_eq!(load(&path).unwrap().as_deref(), Some("two"));
    assert_eq!(
        io::read_to_string(before).unwrap(),
        "one",
        "a reader that has it open reads on in the old one"
    );
    assert_eq!(mode(&path), MODE);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_mode_of_a_file_that_is_there_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("targets.json");
    for wanted in [0o600, 0o640, 0o664] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
        assert!(!store(&path, "new").unwrap());
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (wanted, "new"));
    }
}

#[test]
fn links_that_lie_in_wait_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (directory.path().join("targets.json"), directory.path().join("secret"));
    fs::write(&elsewhere, "secret").unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["targets.json.new", ".targets.json.new"] {
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(name)).unwrap();
    }
    store(&path, "targets").unwrap();
    assert_eq!(
        (mode(&elsewhere), fs::read_to_string(&elsewhere).unwrap().as_str()),
        (0o600, "secret")
    );
    let link = temporary(&path).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    assert_eq!(write_new(&link, "x", MODE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_ne!(temporary(&path).unwrap(), link);
}

#[test]
fn what_is_no_file_is_refused_and_blocks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("targets.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("a FIFO"));
    assert!(in_place(&path, "x").unwrap_err().to_string().contains("a FIFO"));
}

#[test]
fn in_place_the_new_text_stands_alone_and_a_full_disk_is_no_reason_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("targets.json");
    fs::write(&path, "").unwrap();
    for text in ["old", "a longer text", "short", "", "again"] {
        in_place(&path, text).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    for errno in [nix::errno::Errno::ENOSPC, nix::errno::Errno::EDQUOT, nix::errno::Errno::EIO] {
        assert!(!must_stay_in_place(&errno.into()), "{errno}");
    }
    for errno in [nix::errno::Errno::EBUSY, nix::errno::Errno::EROFS, nix::errno::Errno::EACCES] {
        assert!(must_stay_in_place(&errno.into()), "{errno}");
    }
}

#[test]
fn what_a_crash_left_behind_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("targets.json");
    let stay = [
        "targets.json",
        ".targets.json.new",
        ".targets.json.0123.new",
        ".other.json.0123456789abcdef.new",
        ".targets.json.0123456789abcdeg.new",
    ];
    for name in stay {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    fs::write(temporary(&path).unwrap(), "x").unwrap();
    remove_leftovers(&path);
    let mut left: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = stay.map(str::to_owned);
    expected.sort();
    assert_eq!(left, expected);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(alias in "[a-zA-Z0-9 ._-]{1,20}[a-z]", hostname in "\\PC{0,20}", service in "\\PC{0,20}", key: [u8; 32]) {
        let mut written = entry(&alias, &hostname, &service);
        written.key = PublicKey::new(key);
        let text = render([written.clone()].iter());
        let (entries, faults) = parse(&text, written.renewed).unwrap();
        prop_assert!(faults.is_empty());
        prop_assert_eq!(render(entries.iter()), text);
        prop_assert_eq!((&entries[0].alias, entries[0].key), (&written.alias, written.key));
    }

    #[test]
    fn no_text_panics(text in "\\PC*", target in "\\PC{0,80}|[a-z:]{50,80}") {
        let _ = parse(&text, Instant::now());
        let _ = read(&target, Instant::now());
    }
}
