use proptest::prelude::*;

use super::{EngineHosts, EngineUrl, EngineUrlError};

fn read(text: &str) -> EngineUrl {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn each_form_has_its_hosts_and_defaults() {
    let plain = read("redis://engine.example");
    assert_eq!(plain.to_string(), "redis://engine.example:6379");
    assert!(!plain.tls);
    let full = read("rediss://proxy%40site@[::1]:7000/3");
    assert!(full.tls);
    assert_eq!((full.user.as_deref(), full.database), (Some("proxy@site"), 3));
    assert_eq!(full.to_string(), "rediss://proxy%40site@[::1]:7000/3");
    let sentinels = read("redis-sentinel://a,b:5000/mymaster/1");
    let EngineHosts::Sentinels { sentinels: hosts, primary } = &sentinels.hosts else {
        panic!("{sentinels:?}")
    };
    assert_eq!(
        (hosts[0].port, hosts[1].port, &**primary, sentinels.database),
        (26379, 5000, "mymaster", 1)
    );
}

#[test]
fn each_fault_has_its_reason() {
    for (text, why) in [
        ("http://engine", EngineUrlError::Form),
        ("engine:6379", EngineUrlError::Form),
        ("redis://engine?db=1", EngineUrlError::Form),
        ("redis://:secret@engine", EngineUrlError::Password),
        ("redis://user:secret@engine", EngineUrlError::Password),
        ("redis://", EngineUrlError::Host),
        ("redis://[engine]", EngineUrlError::Host),
        ("redis://engine:0", EngineUrlError::Port),
        ("redis://engine:port", EngineUrlError::Port),
        ("redis://@engine", EngineUrlError::User),
        ("redis://engine/x", EngineUrlError::Database),
        ("redis-sentinel://engine", EngineUrlError::Primary),
    ] {
        assert_eq!(text.parse::<EngineUrl>(), Err(why), "{text}");
    }
    let many = format!("redis-sentinel://{}/x", vec!["a"; 33].join(","));
    assert_eq!(many.parse::<EngineUrl>(), Err(EngineUrlError::Sentinels));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_shown_is_read_again(text in "(rediss?(-sentinel)?://)?\\PC{0,40}") {
        if let Ok(url) = text.parse::<EngineUrl>() {
            prop_assert_eq!(read(&url.to_string()), url);
        }
    }
}
