#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;

use std::collections::BTreeMap;

use super::fake::{EXPIRY, FakeBridge};
use super::*;

/// The records of an engine. Its time moves by a millisecond with each write.
#[derive(Default)]
struct Records {
    all: BTreeMap<AppName, IncomingClaim>,
    changed: Vec<AppName>,
    millis: u64,
}

impl Records {
    /// Writes what a bridge has to write.
    fn write(&mut self, bridge: &FakeBridge) {
        for claim in bridge.shared.take(100) {
            match self.put(&claim) {
                Some(order) => bridge.shared.written(&claim, order),
                None => bridge.shared.superseded(&claim),
            }
        }
    }

    /// Writes a record, if it replaces what is there.
    fn put(&mut self, claim: &OutgoingClaim) -> Option<ClaimOrder> {
        let there = self.all.get(&claim.name).map(|there| there.order);
        if claim.replaces.is_some() && there != claim.replaces {
            return None;
        }
        self.millis += 1;
        let order = ClaimOrder {
            millis: self.millis,
            sequence: 0,
        };
        let incoming = IncomingClaim {
            name: claim.name.clone(),
            order,
            age_when_written: claim.age,
            age: claim.age,
            record: claim.record.clone(),
        };
        self.all.insert(claim.name.clone(), incoming);
        self.changed.push(claim.name.clone());
        Some(order)
    }

    /// Exchanges all changes between bridges, until there are none.
    fn exchange(&mut self, bridges: &[&FakeBridge]) {
        loop {
            bridges.iter().for_each(|bridge| self.write(bridge));
            if self.changed.is_empty() {
                return;
            }
            for name in std::mem::take(&mut self.changed) {
                for bridge in bridges {
                    bridge.shared.apply(&self.all[&name], true);
                }
            }
        }
    }

    /// A bridge that reads all records, as one that has just started.
    fn load(&self, bridge: &FakeBridge) {
        let there = self.all.values().filter(|claim| claim.record.is_some());
        let there = there.map(|claim| (claim.name.clone(), claim.order)).collect();
        self.all.values().for_each(|claim| {
            bridge.shared.apply(claim, false);
        });
        bridge.shared.reconcile(&there);
    }
}

fn know_each_other(bridges: &[&FakeBridge]) {
    for bridge in bridges {
        bridge.shared.set_members(bridges.iter().map(|other| other.member()));
    }
}

fn two(policy: AliasPolicy) -> (FakeBridge, FakeBridge, Records) {
    let (one, two) = (FakeBridge::new("one", policy), FakeBridge::new("two", policy));
    know_each_other(&[&one, &two]);
    (one, two, Records::default())
}

fn held(key: u8, way: &str) -> Option<(u8, String)> {
    Some((key, way.to_owned()))
}

#[test]
fn each_bridge_lists_the_aliases_of_all_and_knows_the_way() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    two.register("b", 2).unwrap();
    records.exchange(&[&one, &two]);
    for bridge in [&one, &two] {
        assert_eq!(bridge.targets(), ["a", "b"]);
        assert_eq!(bridge.shared.aliases(), 2);
    }
    assert_eq!((one.holder("a"), one.holder("b")), (held(1, "here"), held(2, "bridge two")));
    assert_eq!((two.holder("a"), two.holder("b")), (held(1, "bridge one"), held(2, "here")));
    // A third one reads them when it starts.
    let three = FakeBridge::new("three", AliasPolicy::Replace);
    know_each_other(&[&one, &two, &three]);
    records.load(&three);
    assert_eq!(three.holder("a"), held(1, "bridge one"));
    assert_eq!(three.shared.pending(), 0);
    // Nothing is left of it at the others when it writes nothing.
    assert_eq!(three.moves(), [""; 0]);
}

#[test]
fn the_last_registration_at_any_bridge_holds_an_alias_and_the_earlier_one_gets_it_back() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    two.register("a", 2).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(2, "bridge two"), held(2, "here")));
    assert_eq!((one.moves(), two.moves()), (vec!["a: 1 to 2".to_owned()], vec![]));
    assert_eq!(one.telemetry.bridge_takeovers_total.get(), 1);
    // Its bridge ends: the proxy of the other one is still there.
    one.shared.set_members([one.member()]);
    assert_eq!(one.holder("a"), held(1, "here"));
    assert_eq!(one.moves(), ["a: back to 1"]);
    one.shared.set_members([one.member(), two.member()]);
    assert_eq!(
        (one.holder("a"), one.moves()),
        (held(2, "bridge two"), vec!["a: 1 to 2".to_owned()])
    );
    // A registration that does not change the key counts as well.
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(1, "here"), held(1, "bridge one")));
    assert_eq!(two.moves(), ["a: 2 to 1"]);
}

#[test]
fn with_the_policy_first_a_key_keeps_its_alias_at_all_bridges() {
    let (one, two, mut records) = two(AliasPolicy::First);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!(two.register("a", 2), Err(1));
    // Its own proxy may come to the other bridge.
    two.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(1, "here"), held(1, "here")));
    // Even when no bridge reaches it.
    one.shared.set_members([one.member()]);
    assert_eq!(one.register("a", 3), Err(1));
}

#[test]
fn of_two_bridges_that_take_an_alias_at_the_same_time_the_first_in_the_engine_keeps_it() {
    for first_is_one in [true, false] {
        let (one, two, mut records) = two(AliasPolicy::First);
        one.register("a", 1).unwrap();
        two.register("a", 2).unwrap();
        let (first, second) = if first_is_one { (&one, &two) } else { (&two, &one) };
        records.write(first);
        records.exchange(&[second, first]);
        let winner = if first_is_one { 1 } else { 2 };
        assert_eq!(first.holder("a"), held(winner, "here"));
        assert_eq!(second.holder("a").map(|(key, _)| key), Some(winner));
        assert_eq!((first.moves().len(), second.moves().len()), (0, 1));
        // The record of the other one is gone.
        let left = records.all.values().filter(|claim| claim.record.is_some()).count();
        assert_eq!(left, 1);
        assert_eq!(second.register("a", 9), Err(winner));
    }
}

#[test]
fn a_proxy_with_links_to_several_bridges_stays_through_the_end_of_one() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    let three = FakeBridge::new("three", AliasPolicy::Replace);
    know_each_other(&[&one, &two, &three]);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two, &three]);
    two.register("a", 1).unwrap();
    records.exchange(&[&one, &two, &three]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(1, "here"), held(1, "here")));
    assert_eq!(three.holder("a"), held(1, "bridge two"));
    three.shared.set_members([one.member(), three.member()]);
    assert_eq!(three.holder("a"), held(1, "bridge one"));
    assert!(one.moves().is_empty() && two.moves().is_empty() && three.moves().is_empty());
}

#[test]
fn an_alias_that_is_forgotten_at_one_bridge_is_forgotten_at_all() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    one.register("b", 2).unwrap();
    records.exchange(&[&one, &two]);
    assert!(two.forget("a") && !two.forget("unknown"));
    records.exchange(&[&one, &two]);
    assert_eq!((one.targets(), two.targets()), (vec!["b".to_owned()], vec!["b".to_owned()]));
    assert!(one.forget("b"));
    records.exchange(&[&one, &two]);
    assert_eq!((one.targets().len(), two.targets().len()), (0, 0));
    // It may come again.
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!(two.holder("a"), held(1, "bridge one"));
}

#[test]
fn an_alias_expires_by_its_age_wherever_it_was_registered() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    let name = records.all.keys().next().unwrap().clone();
    let aged = |age: Duration| IncomingClaim {
        age,
        ..records.all[&name].clone()
    };
    two.shared.apply(&aged(EXPIRY - Duration::from_secs(60)), true);
    assert_eq!(two.holder("a"), held(1, "bridge one"));
    assert_eq!(two.shared.apply(&aged(EXPIRY), true), ClaimRead::Applied, "it is removed");
    assert_eq!((two.holder("a"), one.holder("a")), (None, held(1, "here")));
}

#[test]
fn the_records_of_a_bridge_that_has_ended_go_when_its_proxies_register_elsewhere() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register_unlinked("a", 1).unwrap();
    one.register_unlinked("old name", 2).unwrap();
    records.exchange(&[&one, &two]);
    two.shared.set_members([two.member()]);
    assert_eq!(two.holder("a"), held(1, "nowhere"));
    two.register("a", 1).unwrap();
    two.register("new name", 2).unwrap();
    records.exchange(&[&two]);
    assert_eq!(
        (two.holder("a"), two.targets()),
        (held(1, "here"), vec!["a".to_owned(), "new name".to_owned()])
    );
    let left = records.all.values().filter(|claim| claim.record.is_some()).count();
    assert_eq!(left, 2);
}

#[test]
fn a_proxy_that_takes_another_alias_at_another_bridge_loses_the_earlier_one() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register_unlinked("old name", 1).unwrap();
    records.exchange(&[&one, &two]);
    two.register("new name", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!(
        (one.targets(), two.targets()),
        (vec!["new name".to_owned()], vec!["new name".to_owned()])
    );
}

#[test]
fn an_engine_that_lost_its_data_gets_the_records_back() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    two.register("b", 2).unwrap();
    records.exchange(&[&one, &two]);
    let millis = records.millis;
    records = Records {
        millis,
        ..Records::default()
    };
    for bridge in [&one, &two] {
        records.load(bridge);
        assert_eq!(bridge.targets(), ["a", "b"], "a bridge goes on with what it has");
    }
    records.exchange(&[&one, &two]);
    assert_eq!(records.all.len(), 2);
    // A record that this bridge wrote and no longer has goes.
    let three = FakeBridge::new("one", AliasPolicy::Replace);
    records.load(&three);
    records.exchange(&[&three]);
    assert_eq!(records.all.values().filter(|claim| claim.record.is_some()).count(), 1);
}

#[test]
fn a_claim_that_was_taken_and_not_written_is_written_after_the_next_comparison() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    two.register("b", 2).unwrap();
    records.exchange(&[&one, &two]);
    records.load(&one);
    assert_eq!(one.shared.pending(), 0, "the engine has all of it");
    // The same proxy again: the engine has an earlier record of its claim, with the order that this bridge knows.
    one.register("a", 1).unwrap();
    assert_eq!(one.shared.take(100).len(), 1);
    records.load(&one);
    assert_eq!(one.shared.pending(), 1);
    records.exchange(&[&one, &two]);
    // The removal of another bridge's record.
    assert!(one.forget("b"));
    assert_eq!(one.shared.take(100).len(), 1);
    records.load(&one);
    assert_eq!(one.shared.pending(), 1);
    records.exchange(&[&one, &two]);
    assert_eq!((one.targets(), two.targets()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    records.load(&one);
    assert_eq!(one.shared.pending(), 0, "each is written once");
}

#[test]
fn a_removal_by_another_bridge_does_not_undo_a_registration_that_was_being_written() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert!(two.forget("a"));
    records.write(&two);
    one.register("a", 1).unwrap();
    assert_eq!(one.shared.take(100).len(), 1);
    records.load(&one);
    assert_eq!(one.targets(), ["a"]);
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(1, "here"), held(1, "bridge one")));
}

/// The stage that the removal of another bridge's alias had reached when the connection was lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reached {
    Nothing,
    TheConnection,
    TheEngine,
}

/// In paused time, in which a registration and its record have the same moment.
#[tokio::test(start_paused = true)]
async fn a_removal_that_is_repeated_does_not_undo_a_later_registration() {
    for reached in [Reached::Nothing, Reached::TheConnection, Reached::TheEngine] {
        for key in [1, 2] {
            let (one, two, mut records) = two(AliasPolicy::Replace);
            one.register("a", 1).unwrap();
            records.exchange(&[&one, &two]);
            assert!(two.forget("a"));
            let taken = match reached {
                Reached::Nothing => Vec::new(),
                Reached::TheConnection | Reached::TheEngine => two.shared.take(100),
            };
            if reached == Reached::TheEngine {
                assert!(records.put(&taken[0]).is_some());
                records.exchange(&[&one]);
                assert_eq!(one.holder("a"), None, "it has learned of the removal");
            }
            tokio::time::advance(Duration::from_millis(1)).await;
            one.register("a", key).unwrap();
            records.exchange(&[&one]);
            records.load(&two);
            records.exchange(&[&one, &two]);
            let holders = (one.holder("a"), two.holder("a"));
            assert_eq!(holders, (held(key, "here"), held(key, "bridge one")), "{reached:?}, key {key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_comes_after_a_later_registration_does_not_undo_it() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert!(two.forget("a"));
    // Neither bridge has read what the other one does.
    tokio::time::advance(Duration::from_millis(1)).await;
    one.register("a", 1).unwrap();
    records.write(&one);
    records.write(&two);
    assert_eq!((two.holder("a"), two.shared.pending()), (None, 0));
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (held(1, "here"), held(1, "bridge one")));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_read_while_a_registration_is_written_counts_if_it_is_later() {
    for is_later in [false, true] {
        let (one, two, mut records) = two(AliasPolicy::Replace);
        one.register("a", 1).unwrap();
        records.exchange(&[&one, &two]);
        let name = records.all.keys().next().unwrap().clone();
        tokio::time::advance(Duration::from_millis(1)).await;
        if !is_later {
            assert!(two.forget("a"));
            records.write(&two);
        }
        one.register("a", 1).unwrap();
        let taken = one.shared.take(100);
        let mut written = None;
        if is_later {
            written = records.put(&taken[0]);
            two.shared.apply(&records.all[&name], true);
            assert!(two.forget("a"));
            records.write(&two);
        }
        assert_eq!(one.shared.apply(&records.all[&name], true), ClaimRead::Skipped);
        let order = written.or_else(|| records.put(&taken[0])).unwrap();
        one.shared.written(&taken[0], order);
        records.exchange(&[&one, &two]);
        let expected = if is_later {
            (None, None)
        } else {
            (held(1, "here"), held(1, "bridge one"))
        };
        assert_eq!((one.holder("a"), two.holder("a")), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_counts_while_the_record_is_only_written_again() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    let name = records.all.keys().next().unwrap().clone();
    // One reads an engine without its record, and writes it again. The removal is earlier in the engine.
    let there = std::mem::take(&mut records.all);
    records.load(&one);
    let taken = one.shared.take(100);
    records.all = there;
    assert!(two.forget("a"));
    records.write(&two);
    assert_eq!(one.shared.apply(&records.all[&name], true), ClaimRead::Applied);
    let order = records.put(&taken[0]).unwrap();
    one.shared.written(&taken[0], order);
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (None, None));
    assert!(records.all.values().all(|claim| claim.record.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_removal_reaches_a_record_that_was_only_written_again() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    assert!(two.forget("a"));
    // The engine loses its data, and the first bridge writes its record again.
    records.all.clear();
    records.load(&one);
    records.write(&two);
    assert_eq!(two.shared.pending(), 0, "there is nothing to remove yet");
    records.exchange(&[&one, &two]);
    assert_eq!((one.holder("a"), two.holder("a")), (None, None));
    assert!(records.all.values().all(|claim| claim.record.is_none()));
}

#[test]
fn records_that_no_bridge_writes_change_nothing() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("a", 1).unwrap();
    records.exchange(&[&one, &two]);
    let record = records.all.values().next().unwrap().clone();
    let garbage = IncomingClaim {
        record: Some(Bytes::from_static(b"garbage")),
        ..record.clone()
    };
    assert_eq!(two.shared.apply(&garbage, true), ClaimRead::Refused);
    // A record under the name of another bridge.
    let moved = IncomingClaim {
        name: AppName::new("three/x").unwrap(),
        ..record
    };
    assert_eq!(two.shared.apply(&moved, true), ClaimRead::Refused);
    assert_eq!(two.holder("a"), held(1, "bridge one"));
}

#[test]
fn a_proxy_that_is_gone_is_counted_by_its_bridge_and_by_the_others_once_that_has_ended() {
    let (one, two, mut records) = two(AliasPolicy::Replace);
    one.register("dialed", 1).unwrap();
    one.register_unlinked("gone", 2).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!((one.disconnected(), two.disconnected()), (1, 0));
    know_each_other(&[&two]);
    assert_eq!(two.disconnected(), 1);
    // It comes back, to the other bridge.
    two.register("gone", 2).unwrap();
    records.exchange(&[&one, &two]);
    assert_eq!((one.disconnected(), two.disconnected()), (0, 0));
    know_each_other(&[&one, &two]);
    assert_eq!((one.disconnected(), two.disconnected()), (0, 0));
}
