use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn scraped(agent: &str, now: Instant) -> Scraped<'_> {
    Scraped {
        agent,
        request: "/metrics",
        format: Format::Text004,
        encoding: ContentEncoding::Gzip,
        bytes: Some(7),
        began: now,
        now,
    }
}

const CLIENT: Client = Client::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

#[test]
fn scrapes_of_one_client_are_counted_together() {
    let (recent, start) = (RecentScrapers::default(), Instant::now());
    recent.record(CLIENT, scraped("Prometheus/3.5.0", start));
    recent.record(CLIENT, scraped("curl/8", start));
    recent.record(CLIENT, scraped("Prometheus/3.5.0", start + Duration::from_secs(15)));
    let list: Vec<_> = recent.list().into_iter().map(|one| (one.agent, one.count, one.interval)).collect();
    let expected = [
        ("Prometheus/3.5.0".into(), 2, Some(Duration::from_secs(15))),
        ("curl/8".into(), 1, None),
    ];
    assert_eq!(list, expected);
}

#[test]
fn invented_names_do_not_hide_a_regular_scraper() {
    let (recent, start) = (RecentScrapers::default(), Instant::now());
    recent.record(CLIENT, scraped("Prometheus/3.5.0", start));
    recent.record(CLIENT, scraped("Prometheus/3.5.0", start));
    for number in 1..3 * MAX_SCRAPERS as u64 {
        recent.record(CLIENT, scraped(&format!("agent {number}"), start + Duration::from_secs(number)));
    }
    let list = recent.list();
    assert_eq!(list.len(), MAX_SCRAPERS);
    assert!(list.iter().any(|one| &*one.agent == "Prometheus/3.5.0"));
}
