use super::*;

#[test]
fn a_noisy_subject_is_limited_and_the_rest_is_counted() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    let admitted = (0..100).filter(|_| throttle.admit("noisy", start).is_some()).count();
    assert_eq!(admitted, 5);
    assert_eq!(throttle.admit("quiet", start), Some(0));
    assert_eq!(throttle.admit("noisy", start + WINDOW), Some(95));
    assert_eq!(throttle.admit("noisy", start + WINDOW), Some(0));
}

#[test]
fn too_many_subjects_share_one_window() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    let admitted = (0..2 * MAX_SUBJECTS)
        .filter(|n| throttle.admit(&n.to_string(), start).is_some())
        .count();
    assert_eq!(admitted, MAX_SUBJECTS + LINES as usize);
    let tracked = throttle.subjects.lock().map(|subjects| subjects.windows.len()).unwrap_or(0);
    assert_eq!(tracked, MAX_SUBJECTS + 1);
    assert_eq!(throttle.admit("later", start + WINDOW), Some(0));
}
