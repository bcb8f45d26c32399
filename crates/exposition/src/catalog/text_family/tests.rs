use super::*;

#[test]
fn a_stored_family_comes_back_as_it_was() {
    let suffixes = || std::iter::once(Suffix::Bare).chain(Suffix::NAMED);
    for (kind, role_kind) in MetricType::ALL
        .into_iter()
        .flat_map(|kind| MetricType::ALL.map(|role| (kind, role)))
    {
        for (suffix, bits) in suffixes().flat_map(|suffix| (0_u32..16).map(move |bits| (suffix, bits))) {
            let text = TextFamily {
                family: u32::MAX - bits,
                suffix,
                names: suffix.as_flag() | if bits % 2 == 0 { FamilyFlags::BARE } else { FamilyFlags::INFO },
                kind,
                role: OpenMetricsRole {
                    kind: role_kind,
                    primary: bits & 1 > 0,
                },
                valid: bits & 2 > 0,
                quoted: bits & 4 > 0,
                has_unit: bits & 8 > 0,
                other_records: bits & 3 > 0,
            };
            assert_eq!(StoredTextFamily::from(text).get(), text);
        }
    }
}
