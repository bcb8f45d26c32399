//! Which app each endpoint is, and when it is its turn. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::settings::{Endpoint, Settings};
use crate::model::{AppName, MAX_APP_NAME_BYTES};

/// Intervals without a good poll after which data is stale, where the configuration does not say.
const STALE_INTERVALS: u32 = 3;

/// An endpoint with all that its task needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) app: AppName,
    /// `external_poll: HOST:PORT`.
    pub(super) source: Arc<str>,
    pub(super) endpoint: Endpoint,
    pub(super) stale_after: Duration,
    pub(super) max_body_bytes: usize,
    pub(super) allow_invalid_certs: bool,
}

/// A target and its place among all of them, a fraction of the interval from 0 to below 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) target: Target,
    pub(super) place: f64,
}

/// Gives every endpoint a name that no other endpoint has, and a place of its own within the interval.
pub(super) fn plan(settings: &Settings) -> Vec<Planned> {
    let count = u32::try_from(settings.endpoints.len()).unwrap_or(u32::MAX);
    let names = names(&settings.endpoints);
    let planned = settings.endpoints.iter().zip(names).zip(0_u32..);
    planned
        .map(|((endpoint, app), index)| Planned {
            target: target(settings, endpoint, app),
            place: f64::from(index) / f64::from(count),
        })
        .collect()
}

fn target(settings: &Settings, endpoint: &Endpoint, app: AppName) -> Target {
    Target {
        app,
        source: source(endpoint.url()).into(),
        stale_after: settings.stale_after.unwrap_or(endpoint.interval * STALE_INTERVALS),
        max_body_bytes: settings.max_body_bytes,
        allow_invalid_certs: settings.allow_invalid_certs,
        endpoint: endpoint.clone(),
    }
}

/// What `/apps` shows as the source, and the name of the app where nothing more is needed to tell it from others.
fn source(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("external_poll: {host}:{port}")
}

/// The texts from which an endpoint's name is taken: each is the one before with something added.
fn candidates(endpoint: &Endpoint) -> [String; 4] {
    let url = endpoint.url();
    let source = source(url);
    let path = format!("{source}{}", url.path());
    let query = url.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let scheme = format!("{query} ({})", url.scheme());
    [source, path, query, scheme]
}

/// A name for each endpoint, all of them different.
fn names(endpoints: &[Endpoint]) -> Vec<AppName> {
    let mut levels: Vec<Option<usize>> = endpoints.iter().map(|e| e.name.is_none().then_some(0)).collect();
    let candidates: Vec<_> = endpoints.iter().map(candidates).collect();
    let text = |at: usize, level: Option<usize>| match (level, &endpoints[at].name) {
        (Some(level), _) => candidates[at][level].clone(),
        (None, name) => name.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    // Whoever shares a name gets a longer one, all of those who share it alike, as often as there is something to add.
    for _ in 1..candidates.first().map_or(1, |c| c.len()) {
        let texts: Vec<_> = levels.iter().enumerate().map(|(at, &level)| text(at, level)).collect();
        let mut count: HashMap<&str, usize> = HashMap::new();
        for text in &texts {
            *count.entry(text).or_default() += 1;
        }
        for (level, text) in levels.iter_mut().zip(&texts) {
            if let Some(level) = level.as_mut().filter(|_| count[text.as_str()] > 1) {
                *level += 1;
            }
        }
    }
    let mut taken = HashSet::new();
    levels.iter().enumerate().map(|(at, &level)| unique(&text(at, level), &mut taken)).collect()
}

/// `text` as a name, with a number where it is taken already: what was cut short or named twice is still told apart.
fn unique(text: &str, taken: &mut HashSet<AppName>) -> AppName {
    let numbered = |n: u32| {
        let tail = if n == 1 { String::new() } else { format!(" #{n}") };
        let room = MAX_APP_NAME_BYTES - tail.len();
        let name = format!("{}{tail}", &text[..text.floor_char_boundary(room)]);
        AppName::new(&name).expect("a URL has no control characters and the length was just seen to")
    };
    let name = (1..).map(numbered).find(|name| !taken.contains(name)).expect("there are more numbers than endpoints");
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(url, Duration::from_secs(5), Duration::from_secs(2)).unwrap()
    }

    fn named(urls: &[&str]) -> Vec<String> {
        let endpoints: Vec<_> = urls.iter().map(|url| endpoint(url)).collect();
        names(&endpoints).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn host_and_port_are_enough_where_they_are_alone() {
        assert_eq!(
            named(&["http://127.0.0.1:1025/1025.html", "https://a", "http://a", "http://[::1]:9100/metrics"]),
            ["external_poll: 127.0.0.1:1025", "external_poll: a:443", "external_poll: a:80", "external_poll: [::1]:9100"]
        );
    }

    #[test]
    fn who_shares_host_and_port_shows_its_path() {
        assert_eq!(
            named(&["http://a:1/x", "http://a:1/y", "http://b:1"]),
            ["external_poll: a:1/x", "external_poll: a:1/y", "external_poll: b:1"]
        );
    }

    #[test]
    fn who_shares_the_path_too_shows_its_query_or_its_scheme_or_a_number() {
        assert_eq!(
            named(&["http://a:1/p?m=1", "http://a:1/p?m=2", "http://b:443/", "https://b/", "http://c:1/", "http://c:1/"]),
            [
                "external_poll: a:1/p?m=1",
                "external_poll: a:1/p?m=2",
                "external_poll: b:443/ (http)",
                "external_poll: b:443/ (https)",
                "external_poll: c:1/ (http)",
                "external_poll: c:1/ (http) #2"
            ]
        );
    }

    #[test]
    fn a_given_name_stands_and_never_takes_anothers_place() {
        let mut endpoints = vec![endpoint("http://a:1/x"), endpoint("http://a:1/y"), endpoint("http://b:1/z")];
        endpoints[0].name = Some(AppName::new("mine").unwrap());
        endpoints[2].name = Some(AppName::new("external_poll: a:1").unwrap());
        let names: Vec<_> = names(&endpoints).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["mine", "external_poll: a:1/y", "external_poll: a:1"]);
    }

    #[test]
    fn stale_after_three_intervals_unless_told_otherwise() {
        let mut settings = Settings {
            endpoints: vec![endpoint("http://a:1"), endpoint("http://b:1")],
            allow_invalid_certs: false,
            stale_after: None,
            max_body_bytes: 1 << 20,
        };
        let planned = plan(&settings);
        assert_eq!(planned[0].target.stale_after, Duration::from_secs(15));
        assert_eq!(planned.iter().map(|p| p.place).collect::<Vec<_>>(), [0.0, 0.5]);
        settings.stale_after = Some(Duration::from_secs(7));
        assert_eq!(plan(&settings)[1].target.stale_after, Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn no_two_endpoints_ever_share_a_name(parts in prop::collection::vec(("[ab]", 1_u16..3, "(/[xyé]{0,200}){0,3}", prop::option::of("[kl]=[01]")), 1..12)) {
            let endpoints: Vec<_> = parts.iter().map(|(host, port, path, query)| {
                let query = query.as_ref().map_or(String::new(), |query| format!("?{query}"));
                endpoint(&format!("http://{host}:{port}{path}{query}"))
            }).collect();
            let names = names(&endpoints);
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), endpoints.len());
        }
    }
}
