//! The targets file of a bridge, which other programs may have written.

use exporter_proxy::bridge::check_targets;

/// Checks that what a bridge takes over is written and read again without a change, and that an alias is not lost.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(targets) = check_targets(text) else { return };
    let again = check_targets(&targets.text).expect("what the bridge writes can be read");
    assert_eq!(again.text, targets.text);
    assert!(again.faults.is_empty(), "{:?}", again.faults);
}
