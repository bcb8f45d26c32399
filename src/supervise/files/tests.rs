#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use nix::sys::stat::Mode;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn what_is_no_regular_file_is_named_and_blocks_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    assert_eq!(open_regular(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    assert_eq!(open_regular(&path).unwrap_err().to_string(), "it is a FIFO and no regular file");
    assert!(open_regular(root.path()).unwrap_err().to_string().contains("a directory"));
    assert!(open_regular(Path::new("/dev/null")).unwrap_err().to_string().contains("a device"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    assert_eq!(io::read_to_string(open_regular(&path).unwrap()).unwrap(), "x");
    std::os::unix::fs::symlink(&path, root.path().join("link")).unwrap();
    assert!(open_regular(&root.path().join("link")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_and_its_holder_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("key");
    fs::write(&path, "").unwrap();
    let held = FileLock::take(File::open(&path).unwrap()).unwrap();
    let file = File::open(&path).unwrap();
    let mut told = Vec::new();
    let began = Instant::now();
    let wait = Duration::from_secs(15);
    let refused = FileLock::take_within(&file, wait, |why| told.push(why.to_string()))
        .await
        .unwrap_err();
    assert!(began.elapsed() >= wait);
    let expected = format!("it is in use by process {}", std::process::id());
    assert_eq!((refused.to_string(), told), (expected.clone(), vec![expected]));
    let release = async {
        sleep(wait / 2).await;
        drop(held);
    };
    let (taken, ()) = tokio::join!(FileLock::take_within(&file, wait, |_| {}), release);
    assert!(taken.is_ok());
    drop(taken);
    assert!(FileLock::take(file).is_ok());
}

#[test]
fn the_holder_is_read_from_the_systems_list() {
    let locks = "1: POSIX  ADVISORY  WRITE 11 fd:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 22 00:2a:77 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 33 fd:01:77 0 EOF\n3: FLOCK  ADVISORY  WRITE 44 fd:01:77 0 EOF\nnonsense\n";
    assert_eq!(find_holder(locks, "fd:01", 77), Some(44));
    assert_eq!(find_holder(locks, "99:99", 77), Some(22));
    assert_eq!(find_holder(locks, "fd:01", 78), None);
}

#[test]
fn directories_are_made_with_their_mode_and_kept_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("a/b/c");
    create_directory(&deep, 0o700).unwrap();
    assert_eq!(fs::metadata(root.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o755)).unwrap();
    create_directory(&deep, 0o700).unwrap();
    assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o755);
    fs::write(root.path().join("file"), "").unwrap();
    assert!(create_directory(&root.path().join("file"), 0o700).is_err());
    assert_eq!(parent(Path::new("x")), Path::new("."));
}

#[test]
fn a_private_directory_is_one_that_no_other_user_can_write_to_or_rename() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("own");
    let set_mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    create_private_directory(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    create_private_directory(&path).unwrap();
    let refusal = |path: &Path| create_private_directory(path).unwrap_err().to_string();
    for mode in [0o755, 0o770, 0o701, 0o1700] {
        set_mode(&path, mode);
        assert!(refusal(&path).contains(&format!("has mode {mode:04o}")), "{}", refusal(&path));
    }
    set_mode(&path, 0o700);
    set_mode(above.path(), 0o777);
    assert!(refusal(&path).contains("no sticky bit"), "{}", refusal(&path));
    set_mode(above.path(), 0o1777);
    create_private_directory(&path).unwrap();
    // The name of a symbolic link could be made to stand for another directory later.
    let link = above.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(refusal(&link).contains("is no directory"), "{}", refusal(&link));
    assert!(create_private_directory(&above.path().join("a/b")).is_err());
}
