#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::bridge::alias_list::tests::{listed, written};

fn base(prefix: &str, scheme: Option<&'static str>) -> Base {
    Base {
        address: "bridge:30000".into(),
        prefix: prefix.into(),
        scheme,
    }
}

/// The targets of aliases, which are the same in pieces of any length.
fn targets_of(list: &[AliasListing], base: impl Fn() -> Base, with_apps: bool) -> Vec<Value> {
    let written = |bytes| written(TargetList::new(list.to_vec(), base(), with_apps), bytes);
    let whole = written(usize::MAX);
    assert_eq!([written(1), written(300)], [whole.as_str(), &whole]);
    let targets: Vec<Value> = serde_json::from_str(&whole).unwrap();
    // As a tree of objects is written.
    assert_eq!(whole, format!("{}\n", Value::Array(targets.clone())));
    targets
}

#[test]
fn a_target_for_the_proxy_and_one_for_each_app() {
    let mut listed = listed("my host", "h");
    listed.apps.1 = names(br#"{"time":"x","apps":[{"name":"a/b","bytes":1},{"name":""},{"name":"c"}]}"#).unwrap();
    let usual = || base("", None);
    let groups = |listed: &AliasListing, with_apps| targets_of(std::slice::from_ref(listed), usual, with_apps);
    let requests = |with_apps| -> Vec<(String, Value)> {
        let groups = groups(&listed, with_apps);
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
    assert_eq!(groups(&listed, true)[1]["labels"]["__param_own"], "false");
    assert_eq!(groups(&listed, true)[0]["labels"]["__param_only"], "own");
    assert_eq!(groups(&listed, false)[0]["labels"]["__param_only"], Value::Null);
    let labels = &groups(&listed, true)[1]["labels"];
    assert_eq!(
        (labels["alias"].as_str(), labels["app"].as_str(), labels["instance"].as_str()),
        (Some("my host"), Some("a/b"), Some("my host"))
    );
    let prefixed = || base("/p", Some("https"));
    let labels = &targets_of(std::slice::from_ref(&listed), prefixed, true)[0]["labels"];
    let (path, scheme) = (labels["__metrics_path__"].as_str(), labels["__scheme__"].as_str());
    assert_eq!((path, scheme), (Some("/p/scrape/my host/metrics"), Some("https")));
    assert_eq!(names(b"nonsense"), None);
    let two = [listed.clone(), listed.clone()];
    assert_eq!((targets_of(&[], usual, true).len(), targets_of(&two, usual, true).len()), (0, 6));
    listed.entry.transport = Transport::Hyperdht;
    let whole = groups(&listed, true);
    assert_eq!((whole.len(), &whole[0]["labels"]["__param_only"]), (1, &Value::Null));
}

#[test]
fn a_list_of_apps_comes_back_from_another_bridge() {
    let found: Vec<String> = ["a \"b\"", "c/d"].map(String::from).into();
    let apps = found.iter().map(|name| ListedApp { name: name.into() }).collect();
    let text = serde_json::to_string(&AppList { apps }).unwrap();
    assert_eq!(names(text.as_bytes()).as_deref(), Some(&found[..]));
}
