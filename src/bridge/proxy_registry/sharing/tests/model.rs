//! Two bridges under random faults of their connections: they end with the same holder, and the last registration is not undone.

use proptest::prelude::*;

use super::*;

const ALIAS: &str = "a";

/// The time between two steps in milliseconds. The engine's time has as many places for records in between.
const STEP: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Register {
        bridge: usize,
        key: u8,
    },
    Forget {
        bridge: usize,
    },
    /// The bridge takes what it has to write.
    Take {
        bridge: usize,
    },
    /// The engine has it.
    Put {
        bridge: usize,
    },
    /// The bridge knows that.
    Reply {
        bridge: usize,
    },
    /// The bridge reads what has changed.
    Read {
        bridge: usize,
    },
    /// Its connection is lost, with what was under way, and it connects again.
    Fail {
        bridge: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bridge = || 0..2usize;
    let step = prop_oneof![
        3 => (bridge(), 1..3u8).prop_map(|(bridge, key)| Step::Register { bridge, key }),
        2 => bridge().prop_map(|bridge| Step::Forget { bridge }),
        4 => bridge().prop_map(|bridge| Step::Take { bridge }),
        4 => bridge().prop_map(|bridge| Step::Put { bridge }),
        3 => bridge().prop_map(|bridge| Step::Reply { bridge }),
        4 => bridge().prop_map(|bridge| Step::Read { bridge }),
        1 => bridge().prop_map(|bridge| Step::Fail { bridge }),
    ];
    prop::collection::vec(step, 1..40)
}

/// A record that a bridge has taken to write it.
struct Taken {
    claim: OutgoingClaim,
    /// True once the engine has replied.
    is_put: bool,
    /// The engine's reply: the order of the record, unless it replaces nothing.
    order: Option<ClaimOrder>,
}

struct World {
    bridges: [FakeBridge; 2],
    records: Records,
    /// The number of changes that each bridge has read.
    read: [usize; 2],
    taken: [Vec<Taken>; 2],
    steps: u64,
    /// The bridge and the key of the last request, if it was a registration.
    registered: Option<(usize, u8)>,
}

impl World {
    fn new() -> Self {
        let (one, two, records) = two(AliasPolicy::Replace);
        Self {
            bridges: [one, two],
            records,
            read: [0; 2],
            taken: [Vec::new(), Vec::new()],
            steps: 0,
            registered: None,
        }
    }

    async fn take(&mut self, step: Step) {
        tokio::time::advance(Duration::from_millis(STEP)).await;
        self.steps += 1;
        // No two records have the same place within a second, so that no two registrations have the same order.
        self.records.millis = STEP * self.steps + self.records.millis % STEP;
        match step {
            Step::Register { bridge, key } => {
                self.bridges[bridge].register(ALIAS, key).unwrap();
                self.registered = Some((bridge, key));
            }
            Step::Forget { bridge } => {
                if self.bridges[bridge].forget(ALIAS) {
                    self.registered = None;
                }
            }
            Step::Take { bridge } if self.taken[bridge].is_empty() => {
                let claims = self.bridges[bridge].shared.take(100).into_iter();
                let taken = claims.map(|claim| Taken {
                    claim,
                    is_put: false,
                    order: None,
                });
                self.taken[bridge] = taken.collect();
            }
            Step::Take { .. } => {}
            Step::Put { bridge } => {
                for taken in self.taken[bridge].iter_mut().filter(|taken| !taken.is_put) {
                    (taken.is_put, taken.order) = (true, self.records.put(&taken.claim));
                }
            }
            Step::Reply { bridge } => {
                let shared = &self.bridges[bridge].shared;
                for Taken { claim, order, .. } in self.taken[bridge].extract_if(.., |taken| taken.is_put) {
                    match order {
                        Some(order) => shared.written(&claim, order),
                        None => shared.superseded(&claim),
                    }
                }
            }
            Step::Read { bridge } => {
                for name in &self.records.changed[self.read[bridge]..] {
                    self.bridges[bridge].shared.apply(&self.records.all[name], true);
                }
                self.read[bridge] = self.records.changed.len();
            }
            Step::Fail { bridge } => {
                self.taken[bridge].clear();
                self.read[bridge] = self.records.changed.len();
                self.records.load(&self.bridges[bridge]);
            }
        }
    }

    /// All that is under way arrives.
    async fn finish(&mut self) {
        for bridge in [0, 1, 0, 1, 0, 1, 0, 1] {
            for step in [
                Step::Put { bridge },
                Step::Reply { bridge },
                Step::Take { bridge },
                Step::Put { bridge },
                Step::Reply { bridge },
                Step::Read { bridge },
            ] {
                self.take(step).await;
            }
        }
        let is_quiet = |bridge: usize| self.bridges[bridge].shared.pending() == 0 && self.read[bridge] == self.records.changed.len();
        assert!(is_quiet(0) && is_quiet(1), "the bridges do not settle");
    }

    fn check(&self) {
        let holder = |bridge: &FakeBridge| bridge.holder(ALIAS).map(|(key, _)| key);
        assert_eq!(holder(&self.bridges[0]), holder(&self.bridges[1]), "the bridges differ");
        let now = Instant::now();
        for (at, id) in ["one", "two"].into_iter().enumerate() {
            let state = self.bridges[at].registry.lock();
            let key = state.aliases.get(ALIAS, now).map(|entry| entry.key);
            if let Some((_, last)) = self.registered.filter(|(bridge, _)| *bridge == at) {
                assert_eq!(key, Some(PublicKey::new([last; 32])), "the last registration was undone");
            }
            let name = record_name(id, &Alias::new(ALIAS).unwrap()).unwrap();
            let is_written = self.records.all.get(&name).is_some_and(|record| record.record.is_some());
            assert_eq!(is_written, key.is_some(), "the record of bridge {id}");
        }
    }
}

proptest! {
    #[test]
    fn bridges_agree_and_no_registration_is_undone(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.take(step).await;
            }
            world.finish().await;
            world.check();
        });
    }
}
