//! Secrets in the text of settings.

use super::*;

#[test]
fn secrets_are_nowhere_to_be_read() {
    let text = r#"[poll_external]
        poll_other_scrape_endpoints = true
        other_scrape_endpoints = [ "http://me:hunter2@h:1/", { url = "http://h:2", basic_auth = { username = "u", password = "hunter2" } } ]"#;
    let settings = sound(text);
    let source = ConfigOrigin {
        file: None,
        variables: Vec::new(),
    };
    let loaded = Loaded { settings, source };
    let printed = format!("{loaded} {loaded:?} {loaded:#?}");
    assert!(printed.contains("MASKED") && !printed.contains("hunter2"), "{printed}");
    for broken in [
        text.replace("http://me", "ftp://me"),
        text.replace("http://me", "me"),
        text.replace("h:1/", "h:99999/"),
        text.replace("\"hunter2\"", "[\"hunter2\"]"),
        text.replace("username = \"u\"", "username = 1"),
        text.replace("u\", password", "u\", password_file = \"/f\", password"),
        text.replace("basic_auth = {", "basic_auth = { pasword = \"hunter2\","),
        text.replace("\"hunter2\"", "\"hunter2"),
    ] {
        let printed = faults(&broken).join("\n");
        assert!(!printed.is_empty() && !printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_token_in_a_url_is_shown_nowhere() {
    let polls = |urls: &str| format!("[poll_external]\npoll_other_scrape_endpoints = true\nother_scrape_endpoints = [{urls}]\n");
    // The name includes the query only if two endpoints differ in nothing else.
    let settings = sound(&polls("\"http://h:1/m?token=hunter2&x=1\", \"http://h:1/m?token=hunter2&x=2\""));
    let names: Vec<_> = settings.polls.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(
        names,
        ["external_poll: h:1/m?token=MASKED&x=1", "external_poll: h:1/m?token=MASKED&x=2"]
    );
    assert_eq!(
        settings.polls.endpoints[0].url.query(),
        Some("token=hunter2&x=1"),
        "what is asked has it"
    );
    let source = ConfigOrigin {
        file: None,
        variables: Vec::new(),
    };
    let shown = Loaded { settings, source }.to_string();
    assert!(shown.contains("token=MASKED") && !shown.contains("hunter2"), "{shown}");
    // Where only the token differs, names are asked for.
    for urls in [
        "\"http://h:1/m?token=hunter2\", \"http://h:1/m?token=hunter3\"",
        "\"ftp://h:1/m?token=hunter2\"",
        "\"http://h:x/m?token=hunter2\"",
    ] {
        let told = parse(&polls(urls), "c.toml", &Environment::default()).unwrap_err().to_string();
        assert!(!told.contains("hunter"), "{told}");
    }
}
