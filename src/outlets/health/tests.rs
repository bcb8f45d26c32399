use super::*;

#[test]
fn each_part_has_one_word() {
    let readiness = Readiness::default();
    assert_eq!(readiness.obstacles(), None);
    readiness.obstruct("disk", "full".into());
    readiness.obstruct("disk", "still full".into());
    readiness.obstruct("program", "stopping".into());
    assert_eq!(readiness.obstacles().as_deref(), Some("disk: still full\nprogram: stopping\n"));
    readiness.clear("disk");
    assert_eq!(readiness.obstacles().as_deref(), Some("program: stopping\n"));
}
