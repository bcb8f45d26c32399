//! `[exporter]`: the process, and where it is scraped.

use std::num::NonZeroUsize;

use super::address::HostPort;
use super::reader::Section;
use super::value_types::{ADDRESS, IntegerRange, ListOf};

/// The port on which the original is scraped.
const SCRAPE_PORT: u16 = 6555;
/// More threads than any machine has cores for would only cost memory.
const MAX_THREADS: usize = 1_024;
/// Connections of one receiver at once; as many as the original allows, a file descriptor each.
const MAX_CONCURRENT: usize = 65_534;

/// Number of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One for each core (the key left out).
    PerCore,
    /// Everything on the thread that starts the program (0).
    Current,
    /// A pool of that many.
    Pool(NonZeroUsize),
}

/// `[exporter]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterConfig {
    /// `worker_threads`.
    pub threads: Threads,
    /// `concurrent_requests`: concurrent connections of each listener; at least 1.
    pub concurrent_requests: usize,
    /// `scrape_expose_endpoint`: where HTTP is served; at least one address, none twice.
    pub scrape_addresses: Vec<HostPort>,
}

impl ExporterConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let threads = t.restart_only("worker_threads").optional(IntegerRange(0..=MAX_THREADS));
        let concurrent_requests = t.restart_only("concurrent_requests").or(2_048, IntegerRange(1..=MAX_CONCURRENT));
        let addresses = ListOf {
            item: ADDRESS,
            expected: "an address such as \"0.0.0.0:6555\", or a list of them",
            or_single: true,
        };
        let default = vec![HostPort::new("0.0.0.0", SCRAPE_PORT)];
        let scrape_addresses = t.restart_only("scrape_expose_endpoint").or(default, addresses);
        t.require(&["scrape_expose_endpoint"], !scrape_addresses.is_empty(), || {
            "\"scrape_expose_endpoint\" is empty; name at least one address".to_owned()
        });
        if let Some((a, b)) = first_collision(&scrape_addresses) {
            t.require(&["scrape_expose_endpoint"], false, || {
                format!("{a} and {b} conflict: both cannot be bound")
            });
        }
        Self {
            threads: threads.map_or(Threads::PerCore, |n| NonZeroUsize::new(n).map_or(Threads::Current, Threads::Pool)),
            concurrent_requests,
            scrape_addresses,
        }
    }
}

fn first_collision(addresses: &[HostPort]) -> Option<(&HostPort, &HostPort)> {
    let pairs = addresses
        .iter()
        .enumerate()
        .flat_map(|(i, a)| addresses[..i].iter().map(move |b| (b, a)));
    pairs.into_iter().find(|(a, b)| a.collides_with(b))
}
