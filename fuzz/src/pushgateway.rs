//! Persistence files of Pushgateway, its paths, and its responses to an import.

use exporter_proxy::wire::pushgateway::{Group, SavedGroups, groups_of_scrape};

/// Separator of the two responses in the input.
const CUT: &[u8] = b"----";

/// Checks that any file is read or refused in work bounded by its length, that the path of each group gives the group, and that a group has no
/// bytes that its file does not have.
pub fn check(input: &[u8]) {
    if let Ok(groups) = SavedGroups::new(input) {
        let (mut count, mut bytes) = (0, 0);
        for group in groups {
            count += 1;
            let Ok(saved) = group else { break };
            bytes += saved.families.len();
            round_trip(&saved.group);
        }
        assert!(count <= input.len() + 1 && bytes <= input.len());
    }
    if let Some(at) = input.windows(CUT.len()).position(|window| window == CUT) {
        let _ = groups_of_scrape(&input[..at], &input[at + CUT.len()..]);
    }
    if let Ok(path) = std::str::from_utf8(input)
        && let Ok(group) = Group::from_path(path)
    {
        round_trip(&group);
    }
}

fn round_trip(group: &Group) {
    let name = group.app_name();
    assert!(name.as_str().starts_with("pushgateway: job="));
    // Files may have labels that no path can have.
    if let Ok(again) = Group::from_path(&group.path()) {
        assert_eq!((again.app_name(), &again), (name, group));
    }
}
