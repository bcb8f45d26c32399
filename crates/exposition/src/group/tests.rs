#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Bounds, GroupLabels, Timestamps, as_text, copy_family};
use crate::app_name::AppName;
use crate::catalog::{Catalog, Rules, Selection, Update};
use crate::index::Exposition;
use crate::negotiate::Escaping;
use crate::render::OutputFormat;
use crate::syntax::Syntax;

fn parse(text: &str) -> Exposition {
    Exposition::parse(Bytes::copy_from_slice(text.as_bytes()), Syntax::Text)
}

fn grouped(text: &str, labels: &[(&str, &str)], timestamps: Timestamps) -> String {
    let labels = GroupLabels::new(labels.iter().copied());
    let (text, mut out) = (parse(text), Vec::new());
    text.families()
        .iter()
        .for_each(|family| labels.write_family(&text, family, timestamps, Bounds::AsWritten, &mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn labels_of_the_group_replace_those_of_samples() {
    let text = "# HELP a Some \\\\ help.\n# TYPE a counter\na{job=\"own\",b=\"1\"} 1 5\na 2\n";
    assert_eq!(
        grouped(text, &[("job", "x"), ("instance", "i\"\n")], Timestamps::Keep),
        "# HELP a Some \\\\ help.\n# TYPE a counter\na{b=\"1\",job=\"x\",instance=\"i\\\"\\n\"} 1 5\na{job=\"x\",instance=\"i\\\"\\n\"} 2\n"
    );
}

#[test]
fn a_sample_without_an_instance_gets_an_empty_one() {
    let text = "a 1\na{instance=\"mine\"} 2\n";
    let expected = "a{job=\"x\",instance=\"\"} 1\na{instance=\"mine\",job=\"x\"} 2\n";
    assert_eq!(grouped(text, &[("job", "x")], Timestamps::Keep), expected);
}

#[test]
fn timestamps_are_stripped_on_demand() {
    assert_eq!(
        grouped("a 1 5\n", &[("job", "x")], Timestamps::Strip),
        "a{job=\"x\",instance=\"\"} 1\n"
    );
}

#[test]
fn names_in_utf8_stay_quoted() {
    let text = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c d\"=\"1\"} 1\n";
    let expected = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c d\"=\"1\",job=\"x\",\"é\"=\"2\",instance=\"\"} 1\n";
    assert_eq!(grouped(text, &[("job", "x"), ("é", "2")], Timestamps::Keep), expected);
}

#[test]
fn openmetrics_keeps_its_exemplars_and_units() {
    let text = "# HELP a_seconds Help.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{b=\"1\"} 1 2.5 # {t=\"1\"} 1 3\na_seconds_created{b=\"1\"} 1\n# EOF\n";
    let text = Exposition::parse(Bytes::from_static(text.as_bytes()), Syntax::OpenMetrics);
    let mut out = Vec::new();
    GroupLabels::new([("job", "x")]).write_family(&text, &text.families()[0], Timestamps::Keep, Bounds::AsWritten, &mut out);
    let expected = "# HELP a_seconds Help.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total{b=\"1\",job=\"x\",instance=\"\"} 1 2.5 # {t=\"1\"} 1 3\na_seconds_created{b=\"1\",job=\"x\",instance=\"\"} 1\n";
    assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
    out.extend_from_slice(b"# EOF\n");
    let again = Exposition::parse(Bytes::from(out), Syntax::OpenMetrics);
    assert!(again.faults().is_empty());
    let mut copy = Vec::new();
    copy_family(&again, &again.families()[0], &mut copy);
    assert_eq!(String::from_utf8(copy).unwrap(), expected);
}

#[test]
fn the_empty_instance_stands_also_where_names_are_escaped() {
    let text = Arc::new(parse("{\"a.b\",\"c.d\"=\"1\",instance=\"\",c_d=\"\"} 1\n"));
    let mut catalog = Catalog::new(Rules::default());
    let app = AppName::new("x").unwrap();
    catalog.update(Update::new(catalog.rules(), &app, &Arc::default(), text));
    let format = OutputFormat {
        syntax: Syntax::Text,
        escaping: Escaping::Underscores,
        protobuf: false,
    };
    let chunks = catalog.plan(format, Selection::Everything).render().chunks().to_vec();
    let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text().concat()).collect();
    assert_eq!(String::from_utf8(text).unwrap(), "a_b{c_d=\"1\",instance=\"\"} 1\n");
}

#[test]
fn bounds_are_respelled_on_demand() {
    let text =
        parse("# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"1000000.0\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n");
    let mut out = Vec::new();
    let labels = GroupLabels::new([("instance", "1.0")]);
    labels.write_family(&text, &text.families()[0], Timestamps::Keep, Bounds::Go, &mut out);
    let text = String::from_utf8(out).unwrap();
    for line in ["{le=\"1\",instance=\"1.0\"}", "{le=\"1e+06\",", "{le=\"+Inf\","] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_copy_has_the_samples_of_all_runs() {
    let text = parse("# TYPE a counter\na{n=\"1\"} 1\nb 2\na{n=\"2\"} 3\n");
    let mut out = Vec::new();
    copy_family(&text, &text.families()[0], &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "# TYPE a counter\na{n=\"1\"} 1\na{n=\"2\"} 3\n");
}

#[test]
fn openmetrics_becomes_text_of_the_same_series() {
    let text = "# TYPE a counter\n# UNIT a\na_total 1 2.5 # {t=\"1\"} 1\na_created 1\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
    let text = Arc::new(Exposition::parse(Bytes::from_static(text.as_bytes()), Syntax::OpenMetrics));
    let text = String::from_utf8(as_text(&text)).unwrap();
    assert!(text.contains("# TYPE a_total counter\na_total 1 2500\n"), "{text}");
    assert!(text.contains("a_created 1\n") && text.contains("i_info{v=\"1\"} 1\n"), "{text}");
    assert!(parse(&text).faults().is_empty(), "{text}");
}

proptest! {
    #[test]
    fn a_group_of_any_valid_text_is_valid(text in "(# (TYPE|HELP) a (counter|gauge)\n)?([ab](_sum)?(\\{[cj]=\"[x\\\\n]{0,2}\"\\})? [0-9](\n|\n\n| 5\n)){0,6}", job in ".{0,8}") {
        let text = parse(&text);
        prop_assume!(text.faults().is_empty());
        let labels = GroupLabels::new([("z", job.as_str()), ("instance", "")]);
        let mut out = Vec::new();
        text.families().iter().for_each(|family| labels.write_family(&text, family, Timestamps::Keep, Bounds::AsWritten, &mut out));
        let grouped = Exposition::parse(Bytes::from(out), Syntax::Text);
        prop_assert!(grouped.faults().is_empty(), "{:?}", grouped.body());
        prop_assert_eq!(grouped.series(), text.series());
        // Once more changes nothing.
        let mut again = Vec::new();
        grouped.families().iter().for_each(|family| labels.write_family(&grouped, family, Timestamps::Keep, Bounds::AsWritten, &mut again));
        prop_assert_eq!(grouped.body(), &again);
    }
}
