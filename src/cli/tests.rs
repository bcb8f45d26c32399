use super::*;

#[test]
fn a_cause_is_told_once() {
    #[derive(Debug, thiserror::Error)]
    enum Refused {
        #[error("not a file of groups: {0}")]
        Repeats(#[from] std::fmt::Error),
        #[error("cannot read")]
        Names(#[source] std::fmt::Error),
    }
    let cause = std::fmt::Error.to_string();
    let repeats = anyhow::Error::new(Refused::Repeats(std::fmt::Error)).context("groups.bin");
    assert_eq!(with_causes(&repeats), format!("groups.bin: not a file of groups: {cause}"));
    let names = anyhow::Error::new(Refused::Names(std::fmt::Error));
    assert_eq!(with_causes(&names), format!("cannot read: {cause}"));
}
