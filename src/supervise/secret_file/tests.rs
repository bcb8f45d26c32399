#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn file(content: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, content).unwrap();
    (directory, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn each_rule_refuses_exactly_its_modes() {
    let (_directory, path) = file(b"  word\n");
    // Modes that the owner cannot read would fail for another reason.
    for mode in (0o400..=0o777).filter(|mode| mode & 0o400 != 0) {
        set_mode(&path, mode);
        let taken = |rule| match read(&path, rule) {
            Ok(text) => text == "word",
            Err(SecretFileError::KeyExposed(found) | SecretFileError::Exposed(found)) => {
                assert_eq!(found, mode);
                false
            }
            Err(other) => panic!("{mode:04o}: {other}"),
        };
        assert_eq!(taken(FileRule::Key), mode & 0o020 == 0 && mode & 0o007 == 0, "{mode:04o}");
        assert_eq!(taken(FileRule::secret(true)), mode & 0o006 == 0, "{mode:04o}");
        assert!(taken(FileRule::secret(false)), "{mode:04o}");
        assert_eq!(exposed(&path).is_some(), mode & 0o006 != 0, "{mode:04o}");
    }
}

#[test]
fn a_refusal_names_the_mode_and_the_remedy() {
    let (_directory, path) = file(b"word");
    set_mode(&path, 0o644);
    let message = |rule| read(&path, rule).unwrap_err().to_string();
    assert!(message(FileRule::Key).contains("mode 0644") && message(FileRule::Key).contains("chmod 600"));
    assert!(message(FileRule::Strict).contains("mode 0644") && message(FileRule::Strict).contains("secrets.strict"));
    let warning = exposed(&path).unwrap();
    assert!(
        warning.contains(&path.display().to_string()) && warning.contains("(mode 0644)"),
        "{warning}"
    );
}

#[test]
fn what_is_no_secret_is_refused() {
    let (directory, path) = file(&[0xff, b'a']);
    assert!(matches!(read(&path, FileRule::Lenient), Err(SecretFileError::NotUtf8)));
    fs::write(&path, vec![b'a'; 64 << 10]).unwrap();
    assert_eq!(read(&path, FileRule::Lenient).unwrap().len(), 64 << 10);
    fs::write(&path, vec![b'a'; (64 << 10) + 1]).unwrap();
    assert!(matches!(read(&path, FileRule::Lenient), Err(SecretFileError::TooLong)));
    assert!(matches!(read(directory.path(), FileRule::Lenient), Err(SecretFileError::Io(_))));
    let missing = directory.path().join("missing");
    assert!(matches!(read(&missing, FileRule::Lenient), Err(SecretFileError::Io(_))));
    assert_eq!(exposed(&missing), None);
}
