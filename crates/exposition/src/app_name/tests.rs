use super::*;

#[test]
fn names_are_bounded_and_printable() {
    assert!(AppName::new("a b/ö").is_ok());
    assert_eq!(AppName::new(""), Err(AppNameError::Empty));
    assert!(AppName::new(&"x".repeat(255)).is_ok());
    assert_eq!(AppName::new(&"x".repeat(256)), Err(AppNameError::TooLong(256)));
    assert_eq!(AppName::new("ab\n"), Err(AppNameError::Control(10, 2)));
    assert_eq!(AppName::new("\u{85}"), Err(AppNameError::Control(0x85, 0)));
}
