use super::*;

#[test]
fn the_newest_timestamp_is_found_in_both_units() {
    let newest = |text: &'static str, syntax| Exposition::parse(text.into(), syntax).newest_timestamp();
    assert_eq!(newest("a 1 1395066363000\nb 1\nc 2 -5\n", Syntax::Text), Some(1_395_066_363_000));
    assert_eq!(newest("a 1 1520879607.789\n# EOF\n", Syntax::OpenMetrics), Some(1_520_879_607_789));
    assert_eq!(newest("a 1\n", Syntax::Text), None);
}

#[test]
fn samples_go_on_from_each_place() {
    let text = "# TYPE a counter\na{l=\"1\"} 1\na{l=\"2\"} 2\nb 5\na{l=\"3\"} 3\nb{l=\"1\"} 6\na{l=\"4\"} 4\na{l=\"5\"} 5\n";
    let text = Exposition::parse(text.into(), Syntax::Text);
    let values = |samples: Samples<'_>| samples.map(|sample| sample.value.to_vec()).collect::<Vec<_>>();
    for family in text.families() {
        let (mut samples, all) = (text.samples(family), values(text.samples(family)));
        for begun in 0..=all.len() {
            assert_eq!(values(text.samples_from(family, samples.position())), all[begun..], "after {begun}");
            samples.next();
        }
    }
    // That of another family is one that this family does not have.
    let [a, b] = text.families() else { panic!("two families") };
    let place = text.samples(a).position();
    assert!(text.samples_from(b, place).count() <= 2);
}
