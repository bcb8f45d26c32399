//! Replicas under random faults: no acknowledged event is lost, and none is received twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::Lease;

const SCRAPERS: [&str; 2] = ["a", "b"];

/// The end of a scrape.
#[derive(Debug, Clone, Copy)]
enum End {
    Arrives,
    Fails,
    StaysOpen,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Post {
        node: usize,
        series: u8,
    },
    /// A client repeats a request at another replica.
    PostTwice {
        nodes: (usize, usize),
        series: u8,
    },
    Scrape {
        node: usize,
        scraper: usize,
        end: End,
    },
    Arrive {
        node: usize,
    },
    Kill {
        node: usize,
    },
    Cut {
        node: usize,
    },
    Back {
        node: usize,
    },
    Save,
    Lose,
    Older,
    Quiet,
    /// Time passes, with a scrape right after the pause.
    Wait {
        node: usize,
        scraper: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..3usize;
    let end = prop_oneof![Just(End::Arrives), Just(End::Fails), Just(End::StaysOpen)];
    let step = prop_oneof![
        6 => (node(), 0..3u8).prop_map(|(node, series)| Step::Post { node, series }),
        2 => (node(), node(), 0..3u8).prop_map(|(one, two, series)| Step::PostTwice { nodes: (one, two), series }),
        8 => (node(), 0..2usize, end).prop_map(|(node, scraper, end)| Step::Scrape { node, scraper, end }),
        2 => node().prop_map(|node| Step::Arrive { node }),
        2 => node().prop_map(|node| Step::Kill { node }),
        2 => node().prop_map(|node| Step::Cut { node }),
        4 => node().prop_map(|node| Step::Back { node }),
        1 => Just(Step::Save),
        1 => Just(Step::Lose),
        1 => Just(Step::Older),
        2 => Just(Step::Quiet),
        3 => (node(), 0..2usize).prop_map(|(node, scraper)| Step::Wait { node, scraper }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A response that a scraper has, or will have, received.
struct Open {
    node: usize,
    scraper: usize,
    lease: Lease,
    values: Vec<f64>,
}

struct World {
    engine: FakeEngine,
    nodes: [Node; 3],
    /// Responses on their way.
    open: Vec<Open>,
    saved: Option<Data>,
    posted: u32,
    /// The number of times that each scraper has received each event.
    received: BTreeMap<(usize, u32), u32>,
    /// Replicas that may know of a delivery of which the engine does not, and are away.
    owing: [bool; 3],
}

impl World {
    async fn new() -> Self {
        let engine = FakeEngine::default();
        let nodes = cluster(&engine, &declared(&SCRAPERS)).await;
        Self {
            engine,
            nodes,
            open: Vec::new(),
            saved: None,
            posted: 0,
            received: BTreeMap::new(),
            owing: [false; 3],
        }
    }

    async fn post(&mut self, nodes: &[usize], series: u8, key: bool) {
        let up: Vec<_> = nodes.iter().filter(|node| self.nodes[**node].running.is_some()).collect();
        if up.is_empty() {
            return;
        }
        self.posted += 1;
        let key = key.then(|| format!("key {}", self.posted));
        for node in up {
            let posted = self.nodes[*node]
                .post(self.posted.into(), &format!("s{series}"), key.as_deref())
                .await;
            posted.unwrap();
        }
    }

    async fn scrape(&mut self, node: usize, scraper: usize, end: End) {
        if self.nodes[node].running.is_none() {
            return;
        }
        let scrape = self.nodes[node].scrape(SCRAPERS[scraper]).await;
        let values = values(&scrape);
        let Some(lease) = scrape.lease else {
            assert!(values.is_empty());
            return;
        };
        let open = Open {
            node,
            scraper,
            lease,
            values,
        };
        match end {
            End::Arrives => self.arrived(open),
            End::Fails => drop(open.lease),
            End::StaysOpen => self.open.push(open),
        }
    }

    fn arrived(&mut self, open: Open) {
        for value in &open.values {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values are small numbers")]
            let posted = *value as u32;
            *self.received.entry((open.scraper, posted)).or_default() += 1;
        }
        open.lease.ack();
    }

    fn arrive_at(&mut self, node: usize) {
        let (here, elsewhere) = std::mem::take(&mut self.open).into_iter().partition(|open| open.node == node);
        self.open = elsewhere;
        let here: Vec<Open> = here;
        here.into_iter().for_each(|open| self.arrived(open));
    }

    async fn kill(&mut self, node: usize) {
        if self.nodes[node].running.is_none() {
            return;
        }
        self.owing[node] |= self.nodes[node].owes();
        // The clients notice that their responses end.
        self.open.retain(|open| open.node != node);
        self.nodes[node].kill().await;
    }

    async fn back(&mut self, node: usize) {
        if self.nodes[node].running.is_none() {
            self.nodes[node].start();
        }
        if !self.nodes[node].is_connected() {
            self.nodes[node].connect().await;
        }
        self.owing[node] = false;
    }

    /// The engine dies, and comes back with other data.
    async fn replace(&mut self, data: Data) {
        let connected: Vec<_> = (0..3).filter(|node| self.nodes[*node].is_connected()).collect();
        for node in &connected {
            self.nodes[*node].cut().await;
        }
        restore(&self.engine, data);
        // What they know of deliveries may be lost.
        (0..3)
            .filter(|node| !connected.contains(node))
            .for_each(|node| self.owing[node] = true);
        for node in connected {
            self.nodes[node].connect().await;
        }
    }

    /// Time passes, with a scrape while replicas still wait to write what the pause has held back.
    async fn wait(&mut self, node: usize, scraper: usize) {
        self.pause().await;
        self.scrape(node, scraper, End::Arrives).await;
        quiet(&self.nodes).await;
        pass(&self.engine, LONG);
    }

    /// The pause after a loss passes. Replicas that know of a delivery are back by then: what happens otherwise is in docs/cluster.md.
    async fn pause(&mut self) {
        for node in 0..3 {
            self.arrive_at(node);
            let owes = match self.nodes[node].running {
                Some(_) => !self.nodes[node].is_connected() && (self.owing[node] || self.nodes[node].owes()),
                None => self.owing[node],
            };
            if owes {
                self.back(node).await;
            }
        }
        quiet(&self.nodes).await;
        pass(&self.engine, HOLD);
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Post { node, series } => self.post(&[node], series, false).await,
            Step::PostTwice { nodes: (one, two), series } => self.post(&[one, two], series, true).await,
            Step::Scrape { node, scraper, end } => self.scrape(node, scraper, end).await,
            Step::Arrive { node } => self.arrive_at(node),
            Step::Kill { node } => self.kill(node).await,
            Step::Cut { node } if self.nodes[node].is_connected() => self.nodes[node].cut().await,
            Step::Cut { .. } => {}
            Step::Back { node } => self.back(node).await,
            Step::Save => self.saved = Some(self.engine.data.lock().unwrap().clone()),
            Step::Lose => self.replace(Data::default()).await,
            Step::Older => {
                if let Some(data) = self.saved.clone() {
                    self.replace(data).await;
                }
            }
            Step::Quiet => quiet(&self.nodes).await,
            Step::Wait { node, scraper } => self.wait(node, scraper).await,
        }
    }

    /// All are back, and each scraper takes what is left.
    async fn finish(&mut self) {
        for node in 0..3 {
            self.back(node).await;
        }
        let mut idle = 0;
        while idle < 3 {
            self.wait(idle % self.nodes.len(), idle % SCRAPERS.len()).await;
            let before = self.received.clone();
            for node in 0..3 {
                for scraper in 0..SCRAPERS.len() {
                    self.scrape(node, scraper, End::Arrives).await;
                    quiet(&self.nodes).await;
                }
            }
            idle = if self.received == before { idle + 1 } else { 0 };
        }
        for posted in 1..=self.posted {
            for (scraper, name) in SCRAPERS.iter().enumerate() {
                let times = self.received.get(&(scraper, posted)).copied().unwrap_or_default();
                assert_eq!(times, 1, "scraper {name} has received event {posted} {times} times");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_time: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_event_is_lost_or_received_twice(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
            }
            world.finish().await;
        });
    }
}
