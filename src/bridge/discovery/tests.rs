#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::bridge::alias_table::AliasEntry;
use crate::model::Timestamp;
use crate::peer::{Alias, PublicKey};

const BASE: Base<'_> = Base {
    address: "bridge:30000",
    prefix: "",
    scheme: None,
};

#[test]
fn a_target_for_the_proxy_and_one_for_each_app() {
    let mut listed = AliasListing {
        entry: AliasEntry {
            alias: Alias::new("my host").unwrap(),
            key: PublicKey::new([0; 32]),
            hostname: "h".into(),
            service: "s".into(),
            transport: Transport::Quic,
            link: None,
            renewed: Instant::now(),
        },
        registered: Timestamp::default(),
        expires: Timestamp::default(),
        link: None,
        apps: (
            None,
            names(br#"{"time":"x","apps":[{"name":"a/b","bytes":1},{"name":""},{"name":"c"}]}"#).unwrap(),
        ),
        bridge: None,
    };
    let requests = |with_apps| -> Vec<(String, Value)> {
        let groups = groups(&listed, &BASE, with_apps);
        assert!(groups.iter().all(|group| group["targets"] == json!(["bridge:30000"])));
        let request = |group: &Value| {
            let labels = &group["labels"];
            (
                labels["__metrics_path__"].as_str().unwrap().to_owned(),
                labels["__param_app"].clone(),
            )
        };
        groups.iter().map(request).collect()
    };
    let path = "/scrape/my host/metrics".to_owned();
    let [proxy, first, second] = [Value::Null, "a/b".into(), "c".into()].map(|app| (path.clone(), app));
    assert_eq!(requests(true), [proxy.clone(), first, second]);
    assert_eq!(requests(false), [proxy]);
    assert_eq!(groups(&listed, &BASE, true)[1]["labels"]["__param_own"], "false");
    assert_eq!(groups(&listed, &BASE, true)[0]["labels"]["__param_only"], "own");
    assert_eq!(groups(&listed, &BASE, false)[0]["labels"]["__param_only"], Value::Null);
    let labels = &groups(&listed, &BASE, true)[1]["labels"];
    assert_eq!(
        (labels["alias"].as_str(), labels["app"].as_str(), labels["instance"].as_str()),
        (Some("my host"), Some("a/b"), Some("my host"))
    );
    let prefixed = Base {
        prefix: "/p",
        scheme: Some("https"),
        ..BASE
    };
    let labels = &groups(&listed, &prefixed, true)[0]["labels"];
    let (path, scheme) = (labels["__metrics_path__"].as_str(), labels["__scheme__"].as_str());
    assert_eq!((path, scheme), (Some("/p/scrape/my host/metrics"), Some("https")));
    assert_eq!(names(b"nonsense"), None);
    listed.entry.transport = Transport::Hyperdht;
    let whole = groups(&listed, &BASE, true);
    assert_eq!((whole.len(), &whole[0]["labels"]["__param_only"]), (1, &Value::Null));
}
