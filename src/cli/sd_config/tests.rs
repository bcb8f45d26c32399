use super::*;

fn server(transport: Transport) -> HttpServer {
    HttpServer {
        place: "h:6555".to_owned(),
        transport,
    }
}

#[test]
fn the_configuration_names_the_list_of_targets() {
    let text = scrape_config(&server(Transport::Http), &HttpAccess::default(), "it's \"a\" job", false);
    assert_eq!(
        text,
        "# A target for each app of the proxy, and the proxy itself (http_sd_configs).\nscrape_configs:\n  - job_name: \"it's \\\"a\\\" job\"\n    \
         # The labels of the apps stay as they are.\n    honor_labels: true\n    http_sd_configs:\n      - url: \"http://h:6555/sd\"\n"
    );
    let text = scrape_config(&server(Transport::Https), &HttpAccess::default(), "j", true);
    assert!(
        text.contains("each proxy of the bridge") && text.contains("    scheme: https\n"),
        "{text}"
    );
    assert!(text.ends_with("      - url: \"https://h:6555/sd\"\n"), "{text}");
}
