#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[tokio::test]
async fn a_change_is_reported_once_it_has_stood_for_a_look() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| directory.path().join(name));
    fs::write(&files[0], "1").unwrap();
    let mut watch = FileWatch::default();
    watch.mark_read(files.to_vec()).await;
    assert!(!watch.has_changed(files.to_vec()).await);
    // One that was not there counts, and so do permissions.
    fs::write(&files[1], "1").unwrap();
    assert_eq!(
        [watch.has_changed(files.to_vec()).await, watch.has_changed(files.to_vec()).await],
        [false, true]
    );
    assert!(!watch.has_changed(files.to_vec()).await);
    fs::set_permissions(&files[0], std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    assert!(!watch.has_changed(files.to_vec()).await);
    fs::remove_file(&files[1]).unwrap();
    assert!(!watch.has_changed(files.to_vec()).await, "it has changed again since");
    assert!(watch.has_changed(files.to_vec()).await);
}

#[tokio::test]
async fn a_file_that_joins_is_read_unless_it_was_read_with_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two, three] = ["1", "2", "3"].map(|name| directory.path().join(name));
    let mut watch = FileWatch::default();
    watch.mark_read(vec![one.clone()]).await;
    let more = vec![one.clone(), two.clone()];
    assert_eq!(
        [watch.has_changed(more.clone()).await, watch.has_changed(more).await],
        [false, true]
    );
    let most = vec![one.clone(), two, three];
    watch.mark_read(most.clone()).await;
    assert!(!watch.has_changed(most).await);
    // Fewer files are no change of those that are left.
    assert!(!watch.has_changed(vec![one]).await);
    assert_eq!(watch.read.len(), 1);
}
