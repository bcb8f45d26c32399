use super::*;

#[test]
fn the_first_batch_is_written_at_once_and_later_ones_are_spread() {
    let start = Instant::now();
    let mut times = Times::new(start);
    let mut written = Vec::new();
    for _ in 0..6 {
        written.push((times.earliest - start).as_secs_f64());
        times.written(times.earliest, times.earliest);
    }
    assert_eq!(
        written,
        [0.0, 0.5, 1.5, 3.5, 7.5, 11.5],
        "a life of three seconds has three of them"
    );
}

#[test]
fn a_slow_disk_has_a_pause_after_each_writing() {
    let start = Instant::now();
    let mut times = Times::new(start);
    times.written(start, start + Duration::from_secs(9));
    assert_eq!(times.earliest, start + Duration::from_secs(9) + APPS_PAUSE);
}
