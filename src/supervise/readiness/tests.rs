use super::*;

#[test]
fn each_part_has_one_reason_and_reports_of_changes_are_exact() {
    let readiness = Readiness::default();
    assert_eq!(readiness.obstacles(), None);
    assert!(readiness.obstruct("disk", "full".into()));
    assert!(readiness.obstruct("disk", "still full".into()));
    assert!(!readiness.obstruct("disk", "still full".into()));
    assert!(readiness.obstruct("program", "stopping".into()));
    assert_eq!(readiness.obstacles().as_deref(), Some("disk: still full\nprogram: stopping\n"));
    assert!(readiness.clear("disk"));
    assert!(!readiness.clear("disk"));
    assert_eq!(readiness.obstacles().as_deref(), Some("program: stopping\n"));
}
