//! Unit tests of `scraper_links.rs`.

use super::*;

#[test]
fn one_key_leaves_links_to_others() {
    let links = ScraperLinks::default();
    let key = |n: u8| PublicKey::new([n; 32]);
    let permits: Vec<_> = (0..100).filter_map(|_| links.admit(key(1))).collect();
    assert_eq!(permits.len(), MAX_LINKS_OF_KEY);
    let others: Vec<_> = (2..102).filter_map(|n| links.admit(key(n))).collect();
    assert_eq!(others.len(), MAX_LINKS - MAX_LINKS_OF_KEY);
    drop(permits);
    assert!(links.admit(key(1)).is_some());
    drop(others);
    assert!(links.0.lock().is_ok_and(|links| links.is_empty()));
}
