#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn open_to_group() -> UnixAccess {
    UnixAccess {
        user: None,
        group: None,
        mode: 0o660,
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn the_mode_is_as_configured_and_the_file_goes_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    for wanted in [0o600, 0o660, 0o666, 0o777] {
        let access = UnixAccess {
            mode: wanted,
            ..open_to_group()
        };
        let (listener, file) = bind(&path, &access).await.unwrap();
        assert_eq!(mode(&path), wanted);
        UnixStream::connect(&path).await.unwrap();
        drop((listener, file));
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_new_file_gives_nobody_anything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = UnixSocket::new_stream().unwrap();
    fchmod(&socket, Mode::empty()).unwrap();
    socket.bind(&path).unwrap();
    assert_eq!(mode(&path), 0);
    assert_eq!(
        UnixStream::connect(&path).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_listener, _file) = bind(&path, &open_to_group()).await.unwrap();
    let before = identity(&path);
    assert!(matches!(bind(&path, &open_to_group()).await, Err(BindErrorKind::Live)));
    assert_eq!(identity(&path), before);
}

#[tokio::test]
async fn what_is_no_socket_is_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    fs::write(&path, "data").unwrap();
    assert!(matches!(bind(&path, &open_to_group()).await, Err(BindErrorKind::NoSocket)));
    let link = folder.path().join("link");
    unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(bind(&link, &open_to_group()).await, Err(BindErrorKind::NoSocket)));
    assert!(matches!(bind(folder.path(), &open_to_group()).await, Err(BindErrorKind::NoSocket)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    assert!(link.is_symlink());
}

#[tokio::test]
async fn a_file_that_took_our_place_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (listener, file) = bind(&path, &open_to_group()).await.unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    drop((listener, file));
    assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
}

#[tokio::test]
async fn a_missing_folder_user_or_group_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = bind(&folder.path().join("no/s"), &open_to_group()).await.unwrap_err();
    assert!(refused.to_string().ends_with("no does not exist"), "{refused}");
    let access = UnixAccess {
        user: Some("no-such-user".into()),
        ..open_to_group()
    };
    let refused = bind(&folder.path().join("s"), &access).await.unwrap_err();
    assert_eq!(refused.to_string(), "unknown user `no-such-user`");
    let access = UnixAccess {
        group: Some("no-such-group".into()),
        ..open_to_group()
    };
    let refused = bind(&folder.path().join("s"), &access).await.unwrap_err();
    assert_eq!(refused.to_string(), "unknown group `no-such-group`");
    assert!(!folder.path().join("s").exists());
}

#[tokio::test]
async fn owners_are_known_by_name_and_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let me = fs::metadata(folder.path()).unwrap();
    let access = UnixAccess {
        user: Some(me.uid().to_string()),
        group: Some(me.gid().to_string()),
        mode: 0o600,
    };
    let _bound = bind(&path, &access).await.unwrap();
    let made = fs::symlink_metadata(&path).unwrap();
    assert_eq!((made.uid(), made.gid()), (me.uid(), me.gid()));
    assert_eq!(
        owner(&UnixAccess {
            user: Some("root".into()),
            ..access
        })
        .unwrap()
        .0,
        Some(0)
    );
}
