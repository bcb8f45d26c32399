//! The rules, by example.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;

use super::{Catalog, Duplicates, Rules, Selection, alone};
use crate::exposition::negotiate::Escaping;
use crate::exposition::render::Variant;
use crate::exposition::{Exposition, Kind};
use crate::model::{AppName, LabelPair, Syntax};

const TEXT: Variant = Variant {
    syntax: Syntax::Text,
    escaping: Escaping::Underscores,
};
const UTF8: Variant = Variant {
    syntax: Syntax::Text,
    escaping: Escaping::AllowUtf8,
};
const OPENMETRICS: Variant = Variant {
    syntax: Syntax::OpenMetrics,
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
    let changes = catalog.replace(&AppName::new(app).unwrap(), &labels, read(text, syntax));
    changes.clashes.iter().map(ToString::to_string).collect()
}

fn shown(catalog: &mut Catalog, variant: Variant) -> String {
    with_own(catalog, variant, None)
}

fn with_own(catalog: &mut Catalog, variant: Variant, own: Option<&str>) -> String {
    let (exposed, finished) = catalog.plan(variant, Selection::Everything).render();
    catalog.install(variant, finished);
    let own = own.map(|own| read(own, Syntax::Text));
    String::from_utf8(exposed.body(own.as_ref()).into_parts().concat()).unwrap()
}

fn of_app(catalog: &mut Catalog, app: &str) -> String {
    let (exposed, _) = catalog.plan(TEXT, Selection::App(app)).render();
    String::from_utf8(exposed.body(None).into_parts().concat()).unwrap()
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
fn the_longest_standing_type_stands() {
    let mut catalog = new();
    push(&mut catalog, "old", "# TYPE x gauge\nx{i=\"1\"} 1\n");
    let clashes = push(&mut catalog, "new", "# TYPE x counter\nx{i=\"2\"} 2\n");
    assert_eq!(
        clashes,
        ["family x goes out as gauge, which it is in app \"old\", and not as counter"]
    );
    assert_eq!(shown(&mut catalog, TEXT), "# TYPE x gauge\nx{i=\"1\"} 1\nx{i=\"2\"} 2\n");
    let clashes = push(
        &mut catalog,
        "odd",
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n",
    );
    assert_eq!(clashes, ["family x is left out: it is a gauge in app \"old\" and a histogram here"]);
    assert_eq!(shown(&mut catalog, TEXT), "# TYPE x gauge\nx{i=\"1\"} 1\nx{i=\"2\"} 2\n");
    let changes = catalog.remove("old");
    assert_eq!(changes.affected.len(), 2);
    assert!(catalog.clashes("new").is_empty());
    assert_eq!(shown(&mut catalog, TEXT), "# TYPE x counter\nx{i=\"2\"} 2\n");
    catalog.remove("new");
    assert_eq!(
        shown(&mut catalog, TEXT),
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n"
    );
}

#[test]
fn a_family_owns_all_its_sample_names() {
    let mut catalog = new();
    let histogram = "# TYPE foo histogram\nfoo_bucket{le=\"+Inf\"} 1\nfoo_sum 1\nfoo_count 1\n";
    push(&mut catalog, "a", histogram);
    let clashes = push(&mut catalog, "b", "# TYPE foo_count gauge\nfoo_count 7\nmine 1\n");
    assert_eq!(
        clashes,
        ["family foo_count is left out: its sample names belong to family foo of app \"a\""]
    );
    assert_eq!(shown(&mut catalog, TEXT), format!("{histogram}mine 1\n"));
    assert_eq!(catalog.remove("a").affected, [AppName::new("b").unwrap()]);
    assert_eq!(shown(&mut catalog, TEXT), "# TYPE foo_count gauge\nfoo_count 7\nmine 1\n");
    let clashes = push(&mut catalog, "a", histogram);
    assert_eq!(
        clashes,
        ["family foo is left out: its sample names belong to family foo_count of app \"b\""]
    );
}

#[test]
fn an_update_of_another_shape_is_a_latecomer() {
    let mut catalog = new();
    push(&mut catalog, "a", "# TYPE x gauge\nx{i=\"1\"} 1\n");
    push(&mut catalog, "b", "# TYPE x gauge\nx{i=\"2\"} 1\n");
    let clashes = push(&mut catalog, "a", "# TYPE x summary\nx_sum 1\nx_count 1\n");
    assert_eq!(clashes, ["family x is left out: it is a gauge in app \"b\" and a summary here"]);
    assert_eq!(shown(&mut catalog, TEXT), "# TYPE x gauge\nx{i=\"2\"} 1\n");
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
fn the_telling_label_takes_a_free_name() {
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
    assert_eq!(of_app(&mut catalog, "nobody"), "");
    let a = Arc::clone(catalog.exposition("a").unwrap());
    assert_eq!(
        alone(&a, OPENMETRICS).body(None).into_parts().concat(),
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
fn a_push_can_be_checked_before_it_is_taken() {
    let mut catalog = new();
    push(
        &mut catalog,
        "a",
        "# TYPE x gauge\nx 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
    );
    let refused = |catalog: &Catalog, app: &str, text: &str| catalog.check_push(app, &read(text, Syntax::Text)).len();
    assert_eq!(refused(&catalog, "b", "# TYPE x counter\nx 1\n"), 1);
    assert_eq!(refused(&catalog, "b", "# TYPE x summary\nx_sum 1\n"), 1);
    assert_eq!(refused(&catalog, "b", "h_count 1\n"), 1);
    assert_eq!(
        refused(&catalog, "b", "# TYPE x gauge\nx 1\nx_y 2\n"),
        0,
        "the same series twice is no fault"
    );
    assert_eq!(refused(&catalog, "b", "x 1\n"), 0, "no type contradicts nothing");
    assert_eq!(
        refused(&catalog, "a", "# TYPE x summary\nx_sum 1\nh_count 1\n"),
        0,
        "what is one's own may change"
    );
    push(&mut catalog, "b", "# TYPE x gauge\nx{i=\"2\"} 1\n");
    assert_eq!(refused(&catalog, "a", "# TYPE x summary\nx_sum 1\n"), 1, "but not against others");
    assert_eq!(refused(&catalog, "a", "# TYPE x gauge\nx 2\n"), 0);
    assert_eq!(shown(&mut catalog, TEXT).matches("x_sum").count(), 0, "nothing was taken");
}

#[test]
fn nothing_changes_when_nothing_changes() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    shown(&mut catalog, TEXT);
    push(&mut catalog, "a", "x 1\n");
    assert_eq!(catalog.plan(TEXT, Selection::Everything).pending(), 0);
    assert_eq!(
        catalog.plan(UTF8, Selection::Everything).pending(),
        0,
        "names that need no escaping look the same"
    );
    assert_eq!(
        catalog.plan(OPENMETRICS, Selection::Everything).pending(),
        1,
        "nobody has asked for it"
    );
}

#[test]
fn what_was_rendered_for_an_older_state_is_not_kept() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    let (exposed, finished) = catalog.plan(TEXT, Selection::Everything).render();
    push(&mut catalog, "a", "x 2\n");
    catalog.install(TEXT, finished);
    assert_eq!(exposed.body(None).into_parts().concat(), b"x 1\n");
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

/// Who decides on each family, against a look at all who have it.
fn decided_rightly(catalog: &mut Catalog) {
    catalog.find_helpers();
    for (_, entry) in catalog.entries.iter() {
        let eldest = entry.iter().min_by_key(|(_, it)| it.since).map(|(app, _)| app);
        assert_eq!(Some(entry.senior), eldest);
        let keeping = || entry.iter().filter(|(_, it)| entry.keeps(it));
        let typed = keeping().filter(|(_, it)| it.part.kind != Kind::Unknown);
        let typer = typed.min_by_key(|(_, it)| it.since);
        assert_eq!(entry.typer, typer.map(|(app, _)| app));
        assert_eq!(entry.kind, typer.map_or(Kind::Unknown, |(_, it)| it.part.kind));
        let helping = keeping().filter(|(app, it)| catalog.apps[*app].help(it.part.family).is_some());
        assert_eq!(
            entry.helper,
            helping.min_by_key(|(app, _)| &catalog.apps[*app].name).map(|(app, _)| app)
        );
        let role = entry.get(entry.senior).unwrap().part.role;
        let odd = entry.iter().filter(|(_, it)| entry.is_odd(it, role)).count();
        assert!(entry.shared().is_none_or(|shared| shared.odd as usize == odd));
    }
}

#[test]
fn whoever_leaves_the_right_one_follows() {
    const APPS: usize = 600;
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
            push(
                &mut catalog,
                &format!("app{app:03}"),
                &text(app, if mixture == 1 { 2 } else { app * mixture }),
            );
        }
        decided_rightly(&mut catalog);
        for turn in 0..APPS {
            // The eldest and the first by name, or anybody.
            let app = if turn % 3 < 2 { turn } else { turn * 7_919 % APPS };
            match turn % 5 {
                0 => push(&mut catalog, &format!("app{app:03}"), &text(app, turn * mixture / 5)),
                _ => catalog
                    .remove(&format!("app{app:03}"))
                    .clashes
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            decided_rightly(&mut catalog);
        }
        let left: Vec<_> = catalog.names.keys().cloned().collect();
        left.iter().for_each(|app| drop(catalog.remove(app.as_str())));
        assert_eq!(catalog.entries.iter().count(), 0);
    }
}

#[test]
fn what_was_rendered_by_other_rules_is_not_kept() {
    let mut catalog = new();
    push(&mut catalog, "a", "x 1\n");
    let version = catalog.version("a");
    let (_, finished) = catalog.plan(TEXT, Selection::Everything).render();
    catalog.start_over(Rules::new(Some("job"), Duplicates::Label, &[]));
    push(&mut catalog, "a", "x 1\n");
    catalog.install(TEXT, finished);
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
