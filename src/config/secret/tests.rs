#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn parameters_that_look_like_secrets_are_masked() {
    for (url, shown) in [
        ("http://h/m?token=abc", "http://h/m?token=MASKED"),
        (
            "http://h/m?format=prometheus&Access_Token=a%26b&x=1",
            "http://h/m?format=prometheus&Access_Token=MASKED&x=1",
        ),
        (
            "https://h:1/?api%5Fkey=1&apikey=2&sig=3&target=t",
            "https://h:1/?api%5Fkey=MASKED&apikey=MASKED&sig=MASKED&target=t",
        ),
        ("http://h/?token", "http://h/?token"),
        ("http://h/?token=", "http://h/?token="),
        ("http://h/token=1", "http://h/token=1"),
        ("http://h/?module=http_2xx&signal=9", "http://h/?module=http_2xx&signal=9"),
    ] {
        assert_eq!(masked_url(&url.parse().unwrap()), shown);
    }
}

#[test]
fn a_secret_is_used_but_never_printed() {
    let secret = Secret::new("hunter2");
    assert_eq!(
        format!("{secret} {secret:?} {:#?}", Some(&secret)),
        "MASKED MASKED Some(\n    MASKED,\n)"
    );
    assert_eq!(secret.expose(), "hunter2");
}
