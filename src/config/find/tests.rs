#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn paths(named: Option<&str>, pairs: &[(&str, &str)]) -> Vec<String> {
    let environment = Environment::from_pairs(pairs.iter().copied());
    let found = candidates(named.map(Path::new), &environment);
    found.iter().map(|c| c.path.display().to_string()).collect()
}

#[test]
fn the_command_line_beats_the_environment_beats_the_usual_places() {
    let pairs = [(CONFIG_VARIABLE, "/env.toml")];
    assert_eq!(paths(Some("/a.toml"), &pairs), ["/a.toml"]);
    assert_eq!(paths(None, &pairs), ["/env.toml"]);
    assert_eq!(paths(None, &[(CONFIG_VARIABLE, "")]), USUAL_PLACES);
    assert_eq!(paths(None, &[]), USUAL_PLACES);
}

#[test]
fn a_named_file_must_be_there_and_readable() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let message = read(Some(&missing), &Environment::default()).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("{}: cannot read it (named by --config): No such file", missing.display())),
        "{message}"
    );
    let named = Environment::from_pairs([(CONFIG_VARIABLE, folder.path())]);
    let message = read(None, &named).unwrap_err().to_string();
    assert!(message.contains("cannot read it (named by EXPORTER_PROXY_CONFIG)"), "{message}");
}

#[test]
fn the_file_of_the_configuration_in_force_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let message = read_again(&file).unwrap_err().to_string();
    assert!(
        message.contains("config.toml: cannot read it (the configuration in force was read from it): No such file"),
        "{message}"
    );
    std::fs::write(&file, "a = 1").unwrap();
    assert_eq!(read_again(&file).unwrap(), Some((file, "a = 1".to_owned())));
}

#[test]
fn a_fifo_is_no_configuration_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
    assert!(
        message.ends_with("cannot read it (named by --config): it is a FIFO and no regular file"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_no_text_is_told_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, b"[http]\n# \xc3\xb6 \xff\n").unwrap();
    let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
    assert!(message.ends_with("c.toml:2:5: not valid UTF-8 from here on"), "{message}");
    std::fs::write(&path, vec![b'#'; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1]).unwrap();
    let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
    assert!(message.ends_with("c.toml: larger than the maximum of 2097152 bytes"), "{message}");
}
