#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn a_folder_belongs_to_one_process_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let disk = Disk::take(&path).unwrap();
    assert!(matches!(Disk::take(&path), Err(OpenError::InUse(..))));
    drop(disk);
    Disk::take(&path).unwrap();
}

#[test]
fn the_process_that_uses_a_directory_is_named() {
    let root = tempfile::tempdir().unwrap();
    let _disk = Disk::take(root.path()).unwrap();
    let told = Disk::take(root.path()).err().unwrap().to_string();
    let place = root.path().display();
    assert!(
        told.starts_with(&format!("{place} is in use")) && told.contains(&format!("process {}", std::process::id())),
        "{told}"
    );
}

#[test]
fn a_directory_that_others_can_write_and_a_lock_that_is_no_file_are_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("store");
    for mode in [0o777, 0o1777, 0o702] {
        let _ = std::fs::create_dir(&path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = Disk::take(&path).err().unwrap().to_string();
        assert!(told.contains(&format!("mode {mode:04o}")) && told.contains("store.path"), "{told}");
        assert!(!path.join(LOCK).exists(), "nothing was made");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o775)).unwrap();
    nix::unistd::mkfifo(&path.join(LOCK), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let told = Disk::take(&path).err().unwrap().to_string();
    assert!(told.contains("store/lock: it is a FIFO and no regular file"), "{told}");
    std::fs::remove_file(path.join(LOCK)).unwrap();
    std::os::unix::fs::symlink(root.path().join("elsewhere"), path.join(LOCK)).unwrap();
    assert!(Disk::take(&path).is_err());
    assert!(!root.path().join("elsewhere").exists(), "a link is not followed");
    std::fs::remove_file(path.join(LOCK)).unwrap();
    Disk::take(&path).unwrap();
}

#[test]
fn what_cannot_be_a_folder_is_named_with_one_reason() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = anyhow::Error::new(Disk::take(&path).err().unwrap());
    // With all causes, as the program says it at its end.
    let told = format!("{error:#}");
    assert!(told.contains(&path.display().to_string()) && told.contains("store.path"), "{told}");
    assert_eq!(told.matches("File exists").count(), 1, "{told}");
}

#[test]
fn files_grow_at_the_end_whatever_was_cut() {
    let root = tempfile::tempdir().unwrap();
    let disk = Disk::take(root.path()).unwrap();
    assert_eq!(disk.read("x").unwrap(), None);
    let mut file = disk.create("x").unwrap();
    file.append(b"abcdef").unwrap();
    file.truncate(3).unwrap();
    file.append(b"x").unwrap();
    file.sync().unwrap();
    disk.rename("x", "y").unwrap();
    disk.open("y").unwrap().append(b"z").unwrap();
    disk.sync().unwrap();
    assert_eq!(disk.read("y").unwrap().unwrap(), b"abcxz");
    let mut names = disk.names().unwrap();
    names.sort();
    assert_eq!(names, ["lock", "y"]);
    std::fs::create_dir(root.path().join("d")).unwrap();
    assert!(disk.read("d").is_err());
}
