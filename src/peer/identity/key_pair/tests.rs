#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// RFC 8032, 7.1, test 1.
#[test]
fn a_seed_gives_its_key() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse().unwrap();
    let identity = Identity::from_seed(&seed).unwrap();
    let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(write_hex(identity.public_key().as_bytes()), expected);
    assert_eq!(key_of(&identity.certified().cert[0]), Some(identity.public_key()));
    assert_ne!(identity.derive("a"), identity.derive("b"));
    assert!(!format!("{identity:?} {seed:?}").contains("9d61"));
}

#[test]
fn a_file_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/p2p.key");
    let made = Identity::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Identity::load_or_create(&path).unwrap().public_key(), made.public_key());
    let message = Identity::create(&path).unwrap_err().to_string();
    assert!(message.contains("p2p.key: File exists"), "{message}");
    for mode in [0o601, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let message = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(message.contains("p2p.key: mode 06"), "{message}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(Identity::load(&path).unwrap().public_key(), made.public_key());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "no key").unwrap();
    let message = Identity::load_or_create(&path).unwrap_err().to_string();
    assert!(message.ends_with("64 of hexadecimal"), "{message}");
}

#[test]
fn a_key_file_has_its_name_only_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let (path, text) = (folder.path().join("p2p.key"), "1".repeat(64));
    // Its name is taken in between.
    fs::write(&path, &text).unwrap();
    for write in [
        |path: &Path| write_unnamed(&parent(path), path, "new"),
        |path: &Path| write_named(path, "new"),
    ] {
        assert_eq!(write(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read_to_string(&path).unwrap(), names()), (text.clone(), 1));
    }
    // Where there are no files without a name, it is written under its name.
    let unsupported = write_unnamed(Path::new("/proc"), &path, "new").unwrap_err();
    assert!(has_no_unnamed_files(&unsupported), "{unsupported:?}");
    fs::remove_file(&path).unwrap();
    write_named(&path, &text).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((fs::read_to_string(&path).unwrap(), names()), (text, 1));
}

#[test]
fn a_fifo_is_no_key_file_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p2p.key");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let message = Identity::load_or_create(&path).unwrap_err().to_string();
    assert!(message.ends_with("p2p.key: it is a FIFO and no regular file"), "{message}");
}

#[test]
fn the_usual_place_follows_the_environment() {
    let place = |pairs: &'static [(&str, &str)]| {
        let variable = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        default_key_file("p2p.key", variable).map(|path| path.display().to_string())
    };
    assert_eq!(place(&[]), None);
    assert_eq!(
        place(&[("HOME", "/h"), ("XDG_STATE_HOME", "")]).unwrap(),
        "/h/.local/state/exporter-proxy/p2p.key"
    );
    assert_eq!(
        place(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]).unwrap(),
        "/x/exporter-proxy/p2p.key"
    );
    assert_eq!(place(&[("HOME", "/h"), ("STATE_DIRECTORY", "/s:/t")]).unwrap(), "/s/p2p.key");
}
