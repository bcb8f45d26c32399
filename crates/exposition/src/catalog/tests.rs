//! The rules, by example.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Catalog, Duplicates, RenderedSegments, Rules, Selection, Update, render_single};
use crate::app_name::{AppName, LabelPair};
use crate::index::Exposition;
use crate::negotiate::Escaping;
use crate::render::OutputFormat;
use crate::syntax::Syntax;

const TEXT: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::Underscores,
};
const UTF8: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::AllowUtf8,
};
const OPENMETRICS: OutputFormat = OutputFormat {
    syntax: Syntax::OpenMetrics,
    protobuf: false,
    escaping: Escaping::Underscores,
};

fn new() -> Catalog {
    Catalog::new(Rules::new(None, Duplicates::Label, &["exporter_proxy_", "events_to_metrics"]))
}

fn read(text: &str, syntax: Syntax) -> Arc<Exposition> {
    Arc::new(Exposition::parse(Bytes::copy_from_slice(text.as_bytes()), syntax))
}

fn push(catalog: &mut Catalog, app: &str, text: &str) -> Vec<String> {
    push_labelled(catalog, app, text, Syntax::Text, &[])
}

fn push_openmetrics(catalog: &mut Catalog, app: &str, text: &str) -> Vec<String> {
    push_labelled(catalog, app, text, Syntax::OpenMetrics, &[])
}

fn push_labelled(catalog: &mut Catalog, app: &str, text: &str, syntax: Syntax, labels: &[(&str, &str)]) -> Vec<String> {
    let labels: Arc<[LabelPair]> = labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let body = Bytes::copy_from_slice(text.as_bytes());
    let exposition = match catalog.app(app) {
        Some((_, before)) => Exposition::parse_update(body, syntax, &before.exposition),
        None => Exposition::parse(body, syntax),
    };
    let update = Update::new(catalog.rules(), &AppName::new(app).unwrap(), &labels, Arc::new(exposition));
    let outcome = catalog.update(update);
    catalog.check_invariants();
    outcome.conflicts.listed.iter().map(ToString::to_string).collect()
}

fn remove(catalog: &mut Catalog, app: &str) {
    catalog.remove(app);
    catalog.check_invariants();
}

fn shown(catalog: &mut Catalog, variant: OutputFormat) -> String {
    with_own(catalog, variant, None)
}

fn with_own(catalog: &mut Catalog, variant: OutputFormat, own: Option<&str>) -> String {
    let exposed = catalog.plan(variant, Selection::Everything).render();
    let own = own.map(|own| read(own, Syntax::Text));
    String::from_utf8(text_of(&exposed, own.as_ref())).unwrap()
}

/// The text of a response with its tail.
fn text_of(exposed: &RenderedSegments, own: Option<&Arc<Exposition>>) -> Vec<u8> {
    let chunks = exposed.chunks().iter().cloned().chain(exposed.tail(own));
    chunks.flat_map(|chunk| chunk.text().concat()).collect()
}

fn of_app(catalog: &mut Catalog, app: &str) -> String {
    let exposed = catalog.plan(TEXT, Selection::App(app)).render();
    String::from_utf8(text_of(&exposed, None)).unwrap()
}

#[test]
fn families_are_merged_with_one_header() {
    let mut catalog = new();
    assert!(push(&mut catalog, "b", "# HELP up From b.\n# TYPE up gauge\nup{i=\"1\"} 1\n").is_empty());
    assert!(push(&mut catalog, "a", "# HELP up From a.\n# TYPE up gauge\nup{i=\"2\"} 0\nother 3\n").is_empty());
    let merged = "other 3\n# HELP up From a.\n# TYPE up gauge\nup{i=\"1\"} 1\nup{i=\"2\"} 0\n";
    assert_eq!(shown(&mut catalog, TEXT), merged);
    catalog.remove("a");
    assert_eq!(shown(&mut catalog, TEXT), "# HELP up From b.\n# TYPE up gauge\nup{i=\"1\"} 1\n");
}

#[test]
fn counter_gauge_and_untyped_keep_the_type_that_has_been_there_longest() {
    let mut catalog = new();
    push(&mut catalog, "none", "x{i=\"0\"} 1\n");
    push(&mut catalog, "old", "# TYPE x gauge\nx{i=\"1\"} 1\n");
    assert!(
        catalog.conflicts("none", 9).is_empty(),
        "an app that states no type contradicts none"
    );
    let conflicts = push(&mut catalog, "new", "# TYPE x counter\nx{i=\"2\"} 2\n");
    assert_eq!(conflicts, ["family x is exposed as gauge, its type in app \"old\", not as counter"]);
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# TYPE x gauge\nx{i=\"0\"} 1\nx{i=\"1\"} 1\nx{i=\"2\"} 2\n"
    );
    remove(&mut catalog, "old");
    assert!(catalog.conflicts("new", 9).is_empty());
    assert!(shown(&mut catalog, TEXT).starts_with("# TYPE x counter\n"));
}

/// A family of 60 kB.
fn large(kind: &str, instance: &str, help: &str) -> String {
    let padding = "x".repeat(200);
    let mut text = format!("# HELP x {help}\n# TYPE x {kind}\n");
    for n in 0..90 {
        let labels = format!("instance=\"{instance}\",n=\"{n}\",padding=\"{padding}\"");
        let sample = match kind {
            "histogram" => format!("x_bucket{{{labels},le=\"+Inf\"}} 1"),
            _ => format!("x{{{labels},quantile=\"0.5\"}} 1"),
        };
        text.push_str(&format!("{sample}\nx_sum{{{labels}}} 2\nx_count{{{labels}}} 1\n"));
    }
    text
}

/// Checks that responses are what they are without any rendered segment; returns the one in the text format.
fn shown_as_rendered_again(catalog: &mut Catalog) -> String {
    for variant in OutputFormat::ALL {
        let bytes = |catalog: &mut Catalog| text_of(&catalog.plan(variant, Selection::Everything).render(), None);
        let kept = bytes(catalog);
        drop(catalog.evict(variant));
        assert!(kept == bytes(catalog), "an outdated segment in {variant:?}");
    }
    shown(catalog, TEXT)
}

#[test]
fn a_large_family_in_conflict_has_one_header_wherever_its_first_samples_are() {
    let mut catalog = new();
    // The order of names is not that of the apps in the response.
    for app in (0..10).rev() {
        push(
            &mut catalog,
            &format!("app-{app}"),
            &large("histogram", &format!("{app}"), "Latency."),
        );
    }
    let steps = [
        (3, "summary", "Latency."),
        // An app of an earlier segment comes to be the first with samples of the name, and leaves.
        (7, "summary", "Latency."),
        (7, "histogram", "Latency."),
        (7, "summary", "Latency."),
        // The owner of the HELP stands behind the header.
        (3, "summary", "Another one."),
        (3, "histogram", "Latency."),
        (7, "histogram", "Latency."),
    ];
    shown_as_rendered_again(&mut catalog);
    for (step, (app, kind, help)) in steps.into_iter().enumerate() {
        push(&mut catalog, &format!("app-{app}"), &large(kind, &format!("{app}"), help));
        let text = shown_as_rendered_again(&mut catalog);
        assert_eq!(text.matches("# HELP x ").count(), 1, "step {step}");
        let openmetrics = shown(&mut catalog, OPENMETRICS);
        assert_eq!(openmetrics.matches("# TYPE x ").count(), 1, "step {step}");
        assert_eq!(text.contains("# HELP x Another one.\n"), step == 4, "step {step}");
    }
}

#[test]
fn messages_of_a_large_family_follow_the_families_of_its_sample_names() {
    let padding = "x".repeat(200);
    let count = |more: &str| format!("# TYPE x_count gauge\nx_count{{instance=\"a\",n=\"1\",padding=\"{padding}\"}} 5\n{more}");
    for duplicates in [Duplicates::Latest, Duplicates::Label] {
        let mut catalog = Catalog::new(Rules::new(None, duplicates, &[]));
        push(&mut catalog, "b", &large("histogram", "b", "Latency."));
        let steps = [
            ("a", large("histogram", "a", "Latency.")),
            ("k", count("")),
            ("a", large("histogram", "a", "Latency.")),
            // Newer than that of the histogram.
            ("k", count("")),
            // It takes the name of the disambiguating label.
            ("k", count("x_count{app=\"z\"} 1\n")),
            ("k", count("")),
            ("k", "y 1\n".to_owned()),
        ];
        for (app, text) in steps {
            push(&mut catalog, app, &text);
            shown_as_rendered_again(&mut catalog);
        }
    }
}

#[test]
fn in_a_conflict_the_help_is_that_of_an_app_with_samples_of_the_name() {
    let summary = |instance: &str, has_quantiles: bool| {
        let help = format!("# HELP x Of {instance}.\n# TYPE x summary\n");
        let quantile = if has_quantiles {
            format!("x{{i=\"{instance}\",quantile=\"0.5\"}} 1\n")
        } else {
            String::new()
        };
        format!("{help}{quantile}x_sum{{i=\"{instance}\"}} 2\nx_count{{i=\"{instance}\"}} 1\n")
    };
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# HELP x Of a.\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 2\nx_count 1\n",
    );
    push(&mut catalog, "b", &summary("b", false));
    push(&mut catalog, "c", &summary("c", true));
    for (has_quantiles, help) in [(false, "Of c."), (true, "Of b."), (false, "Of c.")] {
        push(&mut catalog, "b", &summary("b", has_quantiles));
        let text = shown(&mut catalog, TEXT);
        assert!(text.contains(&format!("# HELP x {help}\n")), "{text}");
    }
}

#[test]
fn a_family_of_several_shapes_is_untyped_until_they_agree() {
    let mut catalog = new();
    let summary = |i: &str| {
        format!("# HELP x Of x.\n# TYPE x summary\nx{{i=\"{i}\",quantile=\"0.5\"}} 1\nx_sum{{i=\"{i}\"}} 1\nx_count{{i=\"{i}\"}} 5\n")
    };
    let histogram = |i: &str| {
        format!("# HELP x Of x.\n# TYPE x histogram\nx_bucket{{i=\"{i}\",le=\"+Inf\"}} 5\nx_sum{{i=\"{i}\"}} 1\nx_count{{i=\"{i}\"}} 5\n")
    };
    push(&mut catalog, "a", &summary("a"));
    push(&mut catalog, "b", &summary("b"));
    let conflicts = push(&mut catalog, "a", &histogram("a"));
    assert_eq!(conflicts, ["family x is exposed untyped: histogram here, summary in app \"b\""]);
    let theirs = catalog.conflicts("b", 9).listed;
    assert_eq!(
        theirs[0].to_string(),
        "family x is exposed untyped: summary here, histogram in app \"a\""
    );
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# HELP x Of x.\nx{i=\"b\",quantile=\"0.5\"} 1\n# HELP x_sum Of x.\nx_sum{i=\"a\"} 1\nx_sum{i=\"b\"} 1\n\
         # HELP x_count Of x.\nx_count{i=\"a\"} 5\nx_count{i=\"b\"} 5\n# HELP x_bucket Of x.\nx_bucket{i=\"a\",le=\"+Inf\"} 5\n"
    );
    assert!(shown(&mut catalog, OPENMETRICS).contains("# TYPE x_count unknown\nx_count{i=\"a\"} 5\nx_count{i=\"b\"} 5\n"));
    assert!(push(&mut catalog, "b", &histogram("b")).is_empty());
    assert!(catalog.conflicts("a", 9).is_empty());
    let text = shown(&mut catalog, TEXT);
    assert!(
        text.starts_with("# HELP x Of x.\n# TYPE x histogram\nx_bucket{i=\"a\",le=\"+Inf\"} 5\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn sample_names_of_one_app_beside_a_histogram_of_another() {
    let mut catalog = new();
    let histogram = "# TYPE foo histogram\nfoo_bucket{le=\"+Inf\"} 1\nfoo_sum 1\nfoo_count 1\n";
    push(&mut catalog, "a", histogram);
    let conflicts = push(&mut catalog, "b", "# TYPE foo_count gauge\nfoo_count{i=\"b\"} 7\nmine 1\n");
    assert_eq!(
        conflicts,
        ["family foo_count is exposed untyped: its names overlap with family foo of app \"a\""]
    );
    assert_eq!(
        catalog.conflicts("a", 9).listed[0].to_string(),
        "family foo is exposed untyped: its names overlap with family foo_count of app \"b\""
    );
    assert_eq!(
        shown(&mut catalog, TEXT),
        "mine 1\nfoo_count 1\nfoo_count{i=\"b\"} 7\nfoo_bucket{le=\"+Inf\"} 1\nfoo_sum 1\n"
    );
    remove(&mut catalog, "a");
    assert_eq!(shown(&mut catalog, TEXT), "mine 1\n# TYPE foo_count gauge\nfoo_count{i=\"b\"} 7\n");
    push(&mut catalog, "a", histogram);
    remove(&mut catalog, "b");
    assert_eq!(shown(&mut catalog, TEXT), histogram);
    assert!(catalog.conflicts("a", 9).is_empty());
}

#[test]
fn the_same_series_of_a_typed_and_an_untyped_page_get_the_label() {
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# TYPE d histogram\nd_bucket{le=\"+Inf\"} 3\nd_sum 1\nd_count 3\n",
    );
    push(&mut catalog, "b", "d_bucket{le=\"+Inf\"} 4\nd_sum 2\nd_count{i=\"b\"} 4\n");
    let text = shown(&mut catalog, TEXT);
    for line in [
        "d_bucket{le=\"+Inf\",app=\"a\"} 3\n",
        "d_bucket{le=\"+Inf\",app=\"b\"} 4\n",
        "d_sum{app=\"a\"} 1\n",
        "d_sum{app=\"b\"} 2\n",
        "d_count{app=\"a\"} 3\n",
        "d_count{i=\"b\"} 4\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!((catalog.duplicate_series("a"), catalog.duplicate_series("b")), (2, 2));
}

#[test]
fn exemplars_and_units_are_left_out_of_a_conflict_and_come_back() {
    let mut catalog = new();
    let counter = "# TYPE c_seconds counter\n# UNIT c_seconds seconds\nc_seconds_total{i=\"1\"} 1 # {t=\"1\"} 0.5\n# EOF\n";
    push_openmetrics(&mut catalog, "a", counter);
    assert_eq!(shown(&mut catalog, OPENMETRICS), counter);
    push(
        &mut catalog,
        "b",
        "# TYPE c_seconds_total summary\nc_seconds_total_sum 1\nc_seconds_total_count 1\n",
    );
    let text = shown(&mut catalog, OPENMETRICS);
    assert!(
        text.contains("# TYPE c_seconds_total unknown\nc_seconds_total{i=\"1\"} 1\n"),
        "{text}"
    );
    assert!(!text.contains("UNIT") && !text.contains("# {"), "{text}");
    assert_eq!(catalog.conflicts("a", 9).exemplars, 1);
    remove(&mut catalog, "b");
    assert_eq!(shown(&mut catalog, OPENMETRICS), counter);
    assert_eq!(catalog.conflicts("a", 9).exemplars, 0);
}

#[test]
fn a_label_that_came_in_a_conflict_stays_with_the_family() {
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n",
    );
    push(&mut catalog, "b", "x_count 7\n");
    remove(&mut catalog, "b");
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# TYPE x histogram\nx_bucket{le=\"+Inf\",app=\"a\"} 1\nx_sum{app=\"a\"} 1\nx_count{app=\"a\"} 1\n"
    );
    let labelled: Vec<_> = catalog.labelled("a");
    assert_eq!(labelled, [Arc::from(&b"x"[..])]);
}

#[test]
fn equal_series_are_told_apart_until_forgotten() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\ny 1\n");
    push(&mut catalog, "b", "x 2\nz 1\n");
    assert_eq!(shown(&mut catalog, TEXT), "y 1\nz 1\nx{app=\"a\"} 1\nx{app=\"b\"} 2\n");
    assert_eq!((catalog.duplicate_series("a"), catalog.duplicate_series("b")), (1, 1));
    catalog.remove("b");
    assert_eq!(shown(&mut catalog, TEXT), "y 1\nx{app=\"a\"} 1\n");
    assert_eq!(catalog.duplicate_series("a"), 0);
    push(&mut catalog, "a", "y 1\n");
    push(&mut catalog, "a", "x 3\ny 1\n");
    assert_eq!(
        shown(&mut catalog, TEXT),
        "x{app=\"a\"} 3\ny 1\n",
        "the family has been away, the label has not"
    );
    catalog.remove("a");
    push(&mut catalog, "a", "x 4\n");
    assert_eq!(shown(&mut catalog, TEXT), "x 4\n");
}

#[test]
fn a_series_without_labels_counts() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\nx{i=\"1\"} 1\n");
    push(&mut catalog, "b", "x 1\n");
    push(&mut catalog, "a", "x{i=\"1\"} 1\n");
    assert_eq!(catalog.duplicate_series("b"), 0);
}

#[test]
fn the_disambiguating_label_takes_a_free_name() {
    let mut catalog = new();
    push(&mut catalog, "a", "x{app=\"inner\"} 1\nx 1\n");
    push(&mut catalog, "b", "x{app=\"inner\"} 2\n");
    let text = "x{app=\"inner\",exporter_app=\"a\"} 1\nx{exporter_app=\"a\"} 1\nx{app=\"inner\",exporter_app=\"b\"} 2\n";
    assert_eq!(shown(&mut catalog, TEXT), text);
}

#[test]
fn histograms_are_told_apart_whole() {
    let mut catalog = new();
    for (app, le) in [("a", "1"), ("b", "2")] {
        push(
            &mut catalog,
            app,
            &format!("# TYPE h histogram\nh_bucket{{le=\"{le}\"}} 1\nh_bucket{{le=\"+Inf\"}} 1\nh_sum 1\nh_count 1\n"),
        );
    }
    let text = shown(&mut catalog, OPENMETRICS);
    assert!(text.starts_with("# TYPE h histogram\nh_bucket{le=\"1.0\",app=\"a\"} 1\n"), "{text}");
    assert_eq!(text.matches("app=\"b\"").count(), 4, "{text}");
}

#[test]
fn the_newest_may_win_instead() {
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Latest, &[]));
    push(&mut catalog, "a", "x 1\nx{i=\"1\"} 1\n");
    push(&mut catalog, "b", "x 2\n");
    assert_eq!(shown(&mut catalog, TEXT), "x{i=\"1\"} 1\nx 2\n");
    push(&mut catalog, "a", "x 1\nx{i=\"1\"} 1\n");
    assert_eq!(shown(&mut catalog, TEXT), "x 1\nx{i=\"1\"} 1\n");
    catalog.remove("a");
    assert_eq!(shown(&mut catalog, TEXT), "x 2\n");
}

#[test]
fn labels_are_added_where_they_lack() {
    let mut catalog = Catalog::new(Rules::new(Some("source"), Duplicates::Label, &[]));
    push_labelled(
        &mut catalog,
        "a\"",
        "x 1\nx{source=\"mine\"} 2\nx{source=\"\",i=\"1\"} 3\n",
        Syntax::Text,
        &[("zone", "q\n")],
    );
    let text = "x{zone=\"q\\n\",source=\"a\\\"\"} 1\nx{source=\"mine\",zone=\"q\\n\"} 2\nx{i=\"1\",zone=\"q\\n\",source=\"a\\\"\"} 3\n";
    assert_eq!(shown(&mut catalog, TEXT), text);
}

#[test]
fn openmetrics_becomes_text() {
    let mut catalog = new();
    let text = "# HELP c a \\\"quote\\\"\n# TYPE c counter\nc_total 1 12.5 # {t=\"1\"} 0.5\nc_created 10 12.5\n\
                # TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\n\
                # TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gsum 2\ng_gcount 1\n# TYPE u_seconds unknown\n# UNIT u_seconds seconds\nu_seconds 1\n# EOF\n";
    assert!(push_openmetrics(&mut catalog, "a", text).is_empty());
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# HELP c_total a \"quote\"\n# TYPE c_total counter\nc_total 1 12500\n# HELP c_created a \"quote\"\n# TYPE c_created gauge\nc_created 10 12500\n\
         # TYPE i_info gauge\ni_info{v=\"1\"} 1\n# TYPE s gauge\ns{s=\"on\"} 1\n# TYPE g_bucket gauge\ng_bucket{le=\"+Inf\"} 1\n\
         # TYPE g_gcount gauge\ng_gcount 1\n# TYPE g_gsum gauge\ng_gsum 2\nu_seconds 1\n"
    );
    assert_eq!(shown(&mut catalog, OPENMETRICS), text, "and comes out as it came in");
}

#[test]
fn text_becomes_openmetrics() {
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# TYPE c_total counter\nc_total{ a=\"1\" , }  1 1500\n# TYPE d counter\nd 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\n",
    );
    assert_eq!(
        shown(&mut catalog, OPENMETRICS),
        "# TYPE c counter\nc_total{a=\"1\"} 1 1.5\n# TYPE d unknown\nd 1\n# TYPE h_bucket unknown\nh_bucket{le=\"1\"} 1\n# TYPE h_sum unknown\nh_sum 1\n# EOF\n"
    );
    push(&mut catalog, "b", "# TYPE c gauge\nc 1\n");
    assert!(
        shown(&mut catalog, OPENMETRICS).starts_with("# TYPE c_total unknown\n"),
        "the gauge c needs the name"
    );
    catalog.remove("b");
    assert!(shown(&mut catalog, OPENMETRICS).starts_with("# TYPE c counter\n"));
}

#[test]
fn a_gauge_histogram_claims_its_counts() {
    let mut catalog = new();
    push_openmetrics(&mut catalog, "b", "# TYPE g_gcount info\ng_gcount_info{v=\"1\"} 1\n# EOF\n");
    assert!(shown(&mut catalog, OPENMETRICS).starts_with("# TYPE g_gcount info\n"));
    push_openmetrics(&mut catalog, "a", "# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\n# EOF\n");
    let text = shown(&mut catalog, OPENMETRICS);
    assert!(
        text.contains("# TYPE g_gcount_info gauge\n") && text.contains("# TYPE g gaugehistogram\n"),
        "{text}"
    );
    catalog.remove("a");
    assert!(
        shown(&mut catalog, OPENMETRICS).starts_with("# TYPE g_gcount info\n"),
        "the name is free again"
    );
}

#[test]
fn a_unit_of_another_application_comes_and_goes() {
    let mut catalog = new();
    push_openmetrics(&mut catalog, "a", "x_seconds{i=\"1\"} 1\n# EOF\n");
    let version = catalog.version("a");
    push_openmetrics(&mut catalog, "b", "# UNIT x_seconds seconds\nx_seconds{i=\"2\"} 1\n# EOF\n");
    assert!(catalog.version("a") > version && shown(&mut catalog, OPENMETRICS).contains("# UNIT"));
    let version = catalog.version("a");
    catalog.remove("b");
    assert!(catalog.version("a") > version && !shown(&mut catalog, OPENMETRICS).contains("# UNIT"));
}

#[test]
fn creation_times_of_both_worlds_meet() {
    let mut catalog = new();
    push_openmetrics(
        &mut catalog,
        "a",
        "# TYPE c counter\nc_total{i=\"1\"} 1\nc_created{i=\"1\"} 5\n# EOF\n",
    );
    push(
        &mut catalog,
        "b",
        "# TYPE c_total counter\nc_total{i=\"2\"} 1\n# TYPE c_created gauge\nc_created{i=\"2\"} 5\n",
    );
    let text = "# TYPE c_total counter\nc_total{i=\"1\"} 1\nc_total{i=\"2\"} 1\n# TYPE c_created gauge\nc_created{i=\"1\"} 5\nc_created{i=\"2\"} 5\n";
    assert_eq!(shown(&mut catalog, TEXT), text);
    assert!(shown(&mut catalog, OPENMETRICS).starts_with("# TYPE c_total unknown\nc_total{i=\"1\"} 1\n"));
}

#[test]
fn names_that_escaping_makes_one_are_one_family() {
    let mut catalog = new();
    push(&mut catalog, "a", "# TYPE \"a.b\" gauge\n{\"a.b\",\"x.y\"=\"1\"} 1\n");
    push(&mut catalog, "b", "# TYPE a_b gauge\na_b{x_y=\"1\"} 2\n");
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# TYPE a_b gauge\na_b{x_y=\"1\",app=\"a\"} 1\na_b{x_y=\"1\",app=\"b\"} 2\n"
    );
    let utf8 = "# TYPE \"a.b\" gauge\n{\"a.b\",\"x.y\"=\"1\",app=\"a\"} 1\n# TYPE a_b gauge\na_b{x_y=\"1\",app=\"b\"} 2\n";
    assert_eq!(shown(&mut catalog, UTF8), utf8);
}

#[test]
fn answers_can_be_about_one_application() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\nmine 1\n");
    push(&mut catalog, "b", "# HELP x Of b.\nx 2\n");
    push(&mut catalog, "c", "x{i=\"1\"} 3\nexporter_proxy_apps 7\n");
    assert_eq!(of_app(&mut catalog, "a"), "# HELP x Of b.\nx{app=\"a\"} 1\nmine 1\n");
    assert_eq!(
        of_app(&mut catalog, "c"),
        "# HELP x Of b.\nx{i=\"1\"} 3\nexporter_proxy_apps{exporter_app=\"c\"} 7\n"
    );
    assert_eq!(of_app(&mut catalog, "absent"), "");
    let a = Arc::clone(catalog.exposition("a").unwrap());
    assert_eq!(
        text_of(&render_single(&a, OPENMETRICS), None),
        b"# TYPE x unknown\nx 1\n# TYPE mine unknown\nmine 1\n# EOF\n"
    );
}

#[test]
fn copies_of_the_proxys_own_families_join_them() {
    let mut catalog = new();
    let own = "# HELP exporter_proxy_apps Applications.\n# TYPE exporter_proxy_apps gauge\nexporter_proxy_apps 2\n";
    let inner =
        "# HELP exporter_proxy_apps Other words.\n# TYPE exporter_proxy_apps counter\nexporter_proxy_apps 5\nexporter_proxy_x 1\nown 1\n";
    push(&mut catalog, "inner", inner);
    let both = format!("own 1\n{own}exporter_proxy_apps{{exporter_app=\"inner\"}} 5\n");
    let text = with_own(&mut catalog, TEXT, Some(own));
    assert!(
        text.starts_with("own 1\nexporter_proxy_x{exporter_app=\"inner\"} 1\n") && text.ends_with(&both["own 1\n".len()..]),
        "{text}"
    );
    assert!(
        shown(&mut catalog, TEXT).contains("exporter_proxy_apps{exporter_app=\"inner\"} 5\n"),
        "without the proxy's own they are still shown"
    );
    assert!(with_own(&mut catalog, OPENMETRICS, Some(own)).ends_with("# EOF\n"));
}

#[test]
fn nothing_is_rendered_again_when_nothing_changes() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    let mut chunk = |variant| Arc::clone(&catalog.plan(variant, Selection::Everything).render().chunks()[0]);
    let first = chunk(TEXT);
    assert!(Arc::ptr_eq(&chunk(TEXT), &first));
    assert!(Arc::ptr_eq(&chunk(UTF8), &first), "names that need no escaping look the same");
    assert!(!Arc::ptr_eq(&chunk(OPENMETRICS), &first));
    push(&mut catalog, "a", "x 1\n");
    assert!(Arc::ptr_eq(&catalog.plan(TEXT, Selection::Everything).render().chunks()[0], &first));
    push(&mut catalog, "a", "x 2\n");
    assert!(!Arc::ptr_eq(
        &catalog.plan(TEXT, Selection::Everything).render().chunks()[0],
        &first
    ));
}

#[test]
fn an_app_without_families_of_its_own_leaves_the_segments_of_such_families() {
    let mut catalog = new();
    push(&mut catalog, "a", "own 1\n");
    push(&mut catalog, "b", "x 1\n");
    push(&mut catalog, "c", "x{i=\"c\"} 1\n");
    let mut private = || Arc::clone(&catalog.plan(TEXT, Selection::Everything).render().chunks()[0]);
    let first = private();
    assert_eq!(first.text().concat(), b"own 1\n");
    // Of other series, then of the same.
    push(&mut catalog, "c", "x{i=\"d\"} 1\n");
    push(&mut catalog, "c", "x{i=\"d\"} 2\n");
    assert!(Arc::ptr_eq(&catalog.plan(TEXT, Selection::Everything).render().chunks()[0], &first));
    assert_eq!(shown(&mut catalog, TEXT), "own 1\nx 1\nx{i=\"d\"} 2\n");
}

#[test]
fn an_update_of_unchanged_series_keeps_the_families() {
    let mut catalog = new();
    push(&mut catalog, "a", "own 1\n# TYPE x gauge\nx{i=\"a\"} 1\n");
    push(&mut catalog, "b", "x{i=\"b\"} 1\n");
    let families = |catalog: &Catalog| std::ptr::from_ref(&catalog.app("a").unwrap().1.families[0]);
    let before = families(&catalog);
    push(&mut catalog, "a", "own 23\n# TYPE x gauge\nx{i=\"a\"} 4567\n");
    assert_eq!(families(&catalog), before);
    assert_eq!(shown(&mut catalog, TEXT), "own 23\n# TYPE x gauge\nx{i=\"a\"} 4567\nx{i=\"b\"} 1\n");
    push_labelled(
        &mut catalog,
        "a",
        "own 2\n# TYPE x gauge\nx{i=\"a\"} 4\n",
        Syntax::Text,
        &[("zone", "z")],
    );
    assert_ne!(families(&catalog), before, "other labels of the source are other series");
}

#[test]
fn a_plan_shows_the_moment_that_it_was_made() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    push(&mut catalog, "b", "x{i=\"b\"} 1\n");
    let plan = catalog.plan(TEXT, Selection::Everything);
    push(&mut catalog, "a", "x 2\n");
    remove(&mut catalog, "b");
    assert_eq!(text_of(&plan.render(), None), b"x 1\nx{i=\"b\"} 1\n");
    assert_eq!(shown(&mut catalog, TEXT), "x 2\n");
}

#[test]
fn a_version_tells_what_concerns_an_application() {
    let mut catalog = new();
    assert_eq!(catalog.version("a"), 0);
    push(&mut catalog, "a", "# TYPE x gauge\nx{i=\"1\"} 1\nmine 1\n");
    push(&mut catalog, "b", "# TYPE x gauge\nx{i=\"2\"} 1\nother 1\n");
    let version = catalog.version("a");
    push(&mut catalog, "a", "# TYPE x gauge\nx{i=\"1\"} 1\nmine 1\n");
    push(&mut catalog, "b", "# TYPE x gauge\nx{i=\"2\"} 2\nanother 1\n");
    push(&mut catalog, "c", "# TYPE x gauge\nx{i=\"3\"} 2\n");
    catalog.remove("c");
    assert_eq!(catalog.version("a"), version, "nothing of this concerns it");
    push(&mut catalog, "b", "# TYPE x gauge\nx{i=\"1\"} 2\n");
    assert!(catalog.version("a") > version, "its series are labelled now");
    let version = catalog.version("a");
    push(&mut catalog, "b", "# HELP x Of b.\n# TYPE x gauge\nx{i=\"1\"} 2\n");
    assert!(catalog.version("a") > version, "its family has another header");
}

#[test]
fn types_and_help_are_right_whichever_app_leaves() {
    const APPS: usize = 200;
    const TEXTS: [&str; 6] = [
        "x{app=\"N\"} 1\n",
        "# TYPE x gauge\nx{app=\"N\"} 1\n",
        "# HELP x Of N.\n# TYPE x gauge\nx{app=\"N\"} 1\n",
        "# HELP x Of N.\nx{app=\"N\"} 1\n",
        "# TYPE x counter\nx{app=\"N\"} 1\n",
        "# TYPE x summary\nx_sum{app=\"N\"} 1\nx_count{app=\"N\"} 1\n",
    ];
    let text = |app: usize, which: usize| TEXTS[which % TEXTS.len()].replace('N', &app.to_string());
    let mut catalog = new();
    // First all of one kind, as the instances of a program are, then a mixture.
    for mixture in [1, 7] {
        for app in 0..APPS {
            let which = if mixture == 1 { 2 } else { app * mixture };
            push(&mut catalog, &format!("app{app:03}"), &text(app, which));
        }
        for context in 0..APPS {
            // The oldest and the first by name, or any.
            let app = if context % 3 < 2 { context } else { context * 7_919 % APPS };
            let name = format!("app{app:03}");
            if context % 5 == 0 {
                push(&mut catalog, &name, &text(app, context * mixture / 5));
            } else {
                remove(&mut catalog, &name);
            }
            help_is_right(&catalog);
        }
        for app in 0..APPS {
            remove(&mut catalog, &format!("app{app:03}"));
        }
        assert_eq!((catalog.families.len(), catalog.apps.slots.len()), (0, 0));
    }
}

/// The HELP of each shared family, against a look at all contributions.
fn help_is_right(catalog: &Catalog) {
    for shared in catalog.families.iter().filter_map(|(_, entry)| entry.shared()) {
        let apps = &catalog.apps.slots;
        let helping = shared
            .contributions
            .iter()
            .filter(|(app, it)| shared.shows(it) && apps[*app].help(it.text().family).is_some());
        let first = helping.min_by_key(|(app, _)| apps[*app].name.clone()).map(|(app, _)| app);
        assert_eq!(catalog.help_owner(shared), first);
    }
}

#[test]
fn what_was_rendered_by_other_rules_is_not_kept() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    let version = catalog.version("a");
    shown(&mut catalog, TEXT);
    catalog = catalog.start_over(Rules::new(Some("job"), Duplicates::Label, &[]));
    push(&mut catalog, "a", "x 1\n");
    assert_eq!(shown(&mut catalog, TEXT), "x{job=\"a\"} 1\n");
    assert!(catalog.version("a") > version);
}

#[test]
fn a_label_that_makes_two_series_one_leaves_the_first() {
    let mut catalog = Catalog::new(Rules::new(Some("job"), Duplicates::Label, &[]));
    push(&mut catalog, "a", "x 1\nx{job=\"a\"} 2\nx{job=\"b\"} 3\n");
    assert_eq!(shown(&mut catalog, TEXT), "x{job=\"a\"} 1\nx{job=\"b\"} 3\n");
    let histogram = |labels: &str, bound: &str| {
        format!("h_bucket{{{labels}le=\"{bound}\"}} 1\nh_bucket{{{labels}le=\"+Inf\"}} 1\nh_sum{{{labels}}} 1\nh_count{{{labels}}} 1\n")
    };
    push(
        &mut catalog,
        "a",
        &format!("# TYPE h histogram\n{}{}", histogram("", "1"), histogram("job=\"a\",", "2")),
    );
    let text = shown(&mut catalog, OPENMETRICS);
    assert!(
        text.contains("h_bucket{le=\"1.0\",job=\"a\"}") && !text.contains("2.0"),
        "groups stay whole: {text}"
    );
}

#[test]
fn several_times_of_a_series_all_stand_in_order() {
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# TYPE cpu gauge\ncpu{c=\"a\"} 3 3000\ncpu{c=\"b\"} 1 1000\ncpu{c=\"a\"} 1 1000\ncpu{c=\"a\"} 2 2000\ncpu{c=\"b\"} 2\n",
    );
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# TYPE cpu gauge\ncpu{c=\"a\"} 1 1000\ncpu{c=\"a\"} 2 2000\ncpu{c=\"a\"} 3 3000\ncpu{c=\"b\"} 1 1000\ncpu{c=\"b\"} 2\n"
    );
    assert_eq!(
        shown(&mut catalog, OPENMETRICS),
        "# TYPE cpu gauge\ncpu{c=\"a\"} 1 1\ncpu{c=\"a\"} 2 2\ncpu{c=\"a\"} 3 3\ncpu{c=\"b\"} 1 1\n# EOF\n",
        "a sample without time cannot stand beside one with a time"
    );
    push(&mut catalog, "b", "# TYPE cpu gauge\ncpu{c=\"a\"} 9 1000\n");
    assert!(
        shown(&mut catalog, TEXT).contains("cpu{c=\"a\",app=\"a\"} 2 2000\n"),
        "two apps have the series"
    );
}

#[test]
fn several_times_of_a_histogram_stand_group_by_group() {
    let mut catalog = new();
    let point = |time: u32| {
        format!("h_bucket{{le=\"1\"}} 1 {time}000\nh_bucket{{le=\"+Inf\"}} 2 {time}000\nh_sum 3 {time}000\nh_count 2 {time}000\n")
    };
    push(&mut catalog, "a", &format!("# TYPE h histogram\n{}{}", point(1), point(2)));
    let text = shown(&mut catalog, OPENMETRICS);
    assert_eq!(
        text,
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 1\nh_bucket{le=\"+Inf\"} 2 1\nh_sum 3 1\nh_count 2 1\n\
         h_bucket{le=\"1.0\"} 1 2\nh_bucket{le=\"+Inf\"} 2 2\nh_sum 3 2\nh_count 2 2\n# EOF\n"
    );
    // Not group by group: under OpenMetrics each sample name is a family of its own.
    push(&mut catalog, "a", &format!("# TYPE h histogram\n{}{}", point(2), point(1)));
    let text = shown(&mut catalog, OPENMETRICS);
    assert!(text.contains("# TYPE h_count unknown\nh_count 2 1\nh_count 2 2\n"), "{text}");
}

#[test]
fn reserved_labels_pass_in_every_format() {
    let mut catalog = new();
    push(&mut catalog, "a", "foo{__tenant__=\"a\",x=\"1\"} 1\n");
    assert_eq!(shown(&mut catalog, TEXT), "foo{__tenant__=\"a\",x=\"1\"} 1\n");
    assert_eq!(
        shown(&mut catalog, OPENMETRICS),
        "# TYPE foo unknown\nfoo{__tenant__=\"a\",x=\"1\"} 1\n# EOF\n"
    );
}

/// Texts that contradict each other in every way that there is.
const CONTRARY: [(&str, Syntax); 14] = [
    ("", Syntax::Text),
    (
        "# HELP x H\n# TYPE x histogram\nx_bucket{i=\"N\",le=\"+Inf\"} 1\nx_sum{i=\"N\"} 1\nx_count{i=\"N\"} 1\n",
        Syntax::Text,
    ),
    ("# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n", Syntax::Text),
    (
        "# HELP x S\n# TYPE x summary\nx{i=\"N\",quantile=\"0.5\"} 1\nx_sum{i=\"N\"} 1\nx_count{i=\"N\"} 1\ny 1\n",
        Syntax::Text,
    ),
    (
        "# TYPE x summary\nx_sum 1\nx_count 1\n# TYPE x_bucket histogram\nx_bucket_bucket{le=\"+Inf\"} 1\nx_bucket_sum 1\nx_bucket_count 1\n",
        Syntax::Text,
    ),
    ("# TYPE x gauge\nx 1\nx{i=\"N\"} 2\n", Syntax::Text),
    ("# HELP x C\n# TYPE x counter\nx{i=\"N\"} 1\nx_total 1\n", Syntax::Text),
    (
        "x_bucket{i=\"N\",le=\"+Inf\"} 1\nx_sum{i=\"N\"} 1\nx_count{i=\"N\"} 1\n",
        Syntax::Text,
    ),
    ("# TYPE x_count gauge\nx_count 1\nx_sum{app=\"inner\"} 1\n", Syntax::Text),
    (
        "# TYPE x_count histogram\nx_count_bucket{le=\"+Inf\"} 1\nx_count_sum 1\nx_count_count 1\ny 1\n",
        Syntax::Text,
    ),
    (
        "# TYPE \"x.y\" histogram\n{\"x.y_bucket\",le=\"+Inf\"} 1\n{\"x.y_sum\"} 1\n{\"x.y_count\"} 1\nx_y_count 1\n",
        Syntax::Text,
    ),
    (
        "# TYPE x counter\n# UNIT x x\nx_total{i=\"N\"} 1 # {t=\"1\"} 1\nx_created{i=\"N\"} 1\n# TYPE y info\ny_info 1\n# EOF\n",
        Syntax::OpenMetrics,
    ),
    (
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\nx_created 1\n# EOF\n",
        Syntax::OpenMetrics,
    ),
    (
        "# TYPE x gaugehistogram\nx_bucket{le=\"+Inf\"} 1\nx_gsum 1\nx_gcount 1\n# TYPE x_count stateset\nx_count{x_count=\"a\"} 1\n# EOF\n",
        Syntax::OpenMetrics,
    ),
];

proptest! {
    // Each case has up to 40 steps, and each step looks at all tables.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever apps hand in, in whatever order: the tables agree with each other, and a snapshot stays as it was.
    #[test]
    fn the_tables_agree_after_every_step(latest: bool, steps in proptest::collection::vec((0_usize..6, 0..CONTRARY.len() + 1, any::<bool>(), any::<bool>()), 1..40)) {
        let duplicates = if latest { Duplicates::Latest } else { Duplicates::Label };
        let mut catalog = Catalog::new(Rules::new(None, duplicates, &[]));
        for (app, which, look, other_values) in steps {
            let name = format!("app{app}");
            let (snapshot, before) = (catalog.clone(), look.then(|| shown(&mut catalog.clone(), OPENMETRICS)));
            match CONTRARY.get(which) {
                Some((text, syntax)) => {
                    let text = text.replace('N', &app.to_string());
                    drop(push_labelled(&mut catalog, &name, &text, *syntax, &[]));
                    if other_values {
                        // An update of unchanged series, compared with the text before rather than parsed.
                        drop(push_labelled(&mut catalog, &name, &text.replace(" 1\n", " 23\n"), *syntax, &[]));
                    }
                }
                None => remove(&mut catalog, &name),
            }
            if let Some(before) = before {
                let mut snapshot = snapshot;
                snapshot.check_invariants();
                prop_assert_eq!(shown(&mut snapshot, OPENMETRICS), before);
                let built = shown(&mut catalog, TEXT);
                drop(catalog.evict(TEXT));
                prop_assert_eq!(shown(&mut catalog, TEXT), built, "a segment was not invalidated");
            }
        }
    }
}

#[test]
fn series_that_come_and_go_cost_more_than_other_values() {
    const SERIES: usize = 4_000;
    let mut catalog = new();
    let text = |turn: &str, value: u32| -> String { (0..SERIES).map(|n| format!("a{{turn=\"{turn}\",n=\"{n}\"}} {value}\n")).collect() };
    push(&mut catalog, "other", "a 1\n");
    push(&mut catalog, "app", &text("first", 1));
    let cost = |catalog: &Catalog, text: &str| {
        let labels: Arc<[LabelPair]> = Arc::new([]);
        let update = Update::new(catalog.rules(), &AppName::new("app").unwrap(), &labels, read(text, Syntax::Text));
        catalog.cost(&update)
    };
    let (values, series) = (cost(&catalog, &text("first", 2)), cost(&catalog, &text("second", 1)));
    assert!(values < 200, "comparing lines is cheap: {values}");
    assert!(series > 1_000, "series are hashed and indexed: {series}");
    assert_eq!(cost(&catalog, &text("first", 1)), 1, "nothing changes");
    push(&mut catalog, "alone", &text("first", 1).replace("a{", "b{"));
    assert!(
        catalog.cost_of_removal("alone") < catalog.cost_of_removal("app"),
        "private series are not indexed"
    );
    assert!(catalog.cost_of_removal("app") >= 1_000);
    let cost = |name: &str, text: &str| {
        let labels: Arc<[LabelPair]> = Arc::new([]);
        let update = Update::new(catalog.rules(), &AppName::new(name).unwrap(), &labels, read(text, Syntax::Text));
        catalog.cost(&update)
    };
    assert!(cost("new", "b 1\n") >= 1_000, "a private family of many series comes to be shared");
    assert!(
        cost("new", "# TYPE a histogram\na_count 1\n") >= 1_000,
        "a shared family of many series comes into conflict"
    );
    assert!(cost("new", "c 1\n") < 10);
}

#[test]
fn long_lines_and_names_to_escape_cost_more_than_short_ones() {
    let mut catalog = new();
    push(&mut catalog, "other", "a 1\n");
    let lines = |turn: &str, labels: usize, quote: &str| -> String {
        let labels: String = (0..labels).map(|n| format!(",{quote}label_{n}{quote}=\"value\"")).collect();
        (0..200).map(|n| format!("a{{turn=\"{turn}\",n=\"{n}\"{labels}}} 1\n")).collect()
    };
    let cost = |catalog: &Catalog, app: &str, text: &str| {
        let labels: Arc<[LabelPair]> = Arc::new([]);
        let update = Update::new(catalog.rules(), &AppName::new(app).unwrap(), &labels, read(text, Syntax::Text));
        catalog.cost(&update)
    };
    let of = |catalog: &Catalog, app: &str| {
        let [short, plain, long, quoted] =
            [(2, ""), (6, ""), (250, ""), (250, "\"")].map(|(labels, quote)| cost(catalog, app, &lines("2", labels, quote)));
        assert!(short < 150 && plain < 150, "{short}, {plain}");
        assert!(long > 4 * short && quoted > 4 * long, "{short}, {long}, {quoted}");
    };
    of(&catalog, "new");
    // And in place of a text with the same families.
    push(&mut catalog, "app", &lines("1", 2, ""));
    of(&catalog, "app");
}

#[test]
fn a_sample_without_time_in_a_group_with_times_is_not_left_out() {
    let mut catalog = new();
    let text = "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 1\ns_sum 3 1000\ns_count 2 1000\n";
    push(&mut catalog, "app", text);
    assert_eq!(
        shown(&mut catalog, OPENMETRICS),
        "# TYPE s unknown\ns{quantile=\"0.5\"} 1\n# TYPE s_sum unknown\ns_sum 3 1\n# TYPE s_count unknown\ns_count 2 1\n# EOF\n"
    );
}
