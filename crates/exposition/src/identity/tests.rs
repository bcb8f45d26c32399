use super::*;
use proptest::prelude::*;

/// The definition, by comparing each label with all others.
fn by_pairs(labels: &[(Vec<u8>, Label<'_>)], at: usize) -> bool {
    let (name, label) = &labels[at];
    let same = |(_, (other, _)): &(usize, &(Vec<u8>, Label<'_>))| other == name;
    let mut others = labels.iter().enumerate().filter(same);
    if label.value.is_empty() {
        !others.any(|(other, (_, it))| other < at || !it.value.is_empty())
    } else {
        !others.any(|(other, (_, it))| other < at && !it.value.is_empty())
    }
}

fn extra(name: &str) -> ExtraLabel {
    ExtraLabel::new(name, "value")
}

proptest! {
    #[test]
    fn of_labels_with_one_escaped_name_one_stands(
        written in prop::collection::vec((prop::sample::select(vec!["a.b", "a_b", "a-b", "k", "k.", "k_", "\u{e4}.b", "long.name"]), any::<bool>()), 0..12),
        with_extra in any::<bool>(),
    ) {
        let text: Vec<String> = written.iter().map(|(name, has_value)| format!("\"{name}\"=\"{}\"", if *has_value { "x" } else { "" })).collect();
        let text = text.join(",");
        // Names as written differ in a sample.
        let mut seen = Vec::new();
        prop_assume!(written.iter().all(|(name, _)| !seen.contains(name) && { seen.push(name); true }));
        let labels = Labels::new(text.as_bytes());
        let all: Vec<_> = labels.clone().map(|label| (escape::escaped_label_name(label.name).into_owned(), label)).collect();
        let stand: Vec<_> = (0..all.len()).filter(|at| by_pairs(&all, *at)).map(|at| all[at].clone()).collect();
        let owned = |(name, label): (Cow<'_, [u8]>, Label<'_>)| (name.into_owned(), label.value.to_vec(), label.name.to_vec());
        let of = |wanted: &dyn Fn(&Label<'_>) -> bool| -> Vec<_> {
            stand.iter().filter(|(_, label)| wanted(label)).map(|(name, label)| (name.clone(), label.value.to_vec(), label.name.to_vec())).collect()
        };
        prop_assert_eq!(legacy_labels(&labels, true).map(owned).collect::<Vec<_>>(), of(&|label| !label.value.is_empty()));
        let extra_labels = if with_extra { vec![extra("a_b"), extra("k.")] } else { Vec::new() };
        let is_exposed = |label: &Label<'_>| label.value.is_empty() && !extra_labels.iter().any(|extra| extra.has_name_of(label));
        let expected = [of(&|label| !label.value.is_empty()), of(&is_exposed)].concat();
        prop_assert_eq!(exposed_labels(&labels, &extra_labels).into_iter().map(owned).collect::<Vec<_>>(), expected);
        let as_written = labels.clone().filter(|label| !label.value.is_empty()).map(|label| label.name);
        prop_assert!(legacy_labels(&labels, false).map(|(_, label)| label.name).eq(as_written));
    }
}

#[test]
fn a_sample_with_very_many_labels_keeps_the_first_of_each_name() {
    let text: Vec<String> = (0..256)
        .map(|n| format!("\"l{}{}{n}\"=\"x\"", n % 7, if n % 2 == 0 { "." } else { "_" }))
        .collect();
    let text = format!("{},\"l0_0\"=\"last\"", text.join(","));
    let labels = Labels::new(text.as_bytes());
    assert_eq!(legacy_labels(&labels, true).count(), 256);
    assert!(legacy_labels(&labels, true).all(|(_, label)| label.value == b"x"));
}
