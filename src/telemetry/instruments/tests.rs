use super::*;

#[test]
fn labelled_samples_are_sorted_and_escaped() {
    let counters: PerLabel<Counter, 2> = PerLabel::new(["source", "reason"]);
    counters.with(["b", "x"]).inc();
    counters.with(["a", "q\"\\\n"]).add(2);
    let mut out = String::new();
    counters.write(&mut out, "m_total", "");
    assert_eq!(
        out,
        "m_total{source=\"a\",reason=\"q\\\"\\\\\\n\"} 2\nm_total{source=\"b\",reason=\"x\"} 1\n"
    );
}

#[test]
fn invented_label_values_end_up_in_one_place() {
    let counters: PerLabel<Counter, 1> = PerLabel::new(["source"]);
    for n in 0..MAX_LABEL_SETS + 5 {
        counters.with([&n.to_string()]).inc();
    }
    assert_eq!(counters.with([OVERFLOW]).get(), 5);
}

#[test]
fn a_histogram_is_cumulative() {
    let latency = Latency::default();
    latency.observe(Duration::from_millis(3));
    latency.observe(Duration::from_secs(60));
    let mut out = String::new();
    latency.write(&mut out, "m", "");
    assert!(out.contains("m_bucket{le=\"0.005\"} 1\n"), "{out}");
    assert!(
        out.contains("m_bucket{le=\"10.0\"} 1\nm_bucket{le=\"+Inf\"} 2\nm_sum 60.003\nm_count 2\n"),
        "{out}"
    );
}
