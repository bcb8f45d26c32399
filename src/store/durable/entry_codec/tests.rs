#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;

fn entries() -> impl Strategy<Value = JournalEntry> {
    let name = "[a-z0-9 ö:/]{1,30}";
    let time = || any::<i64>().prop_map(Timestamp::from_millis);
    let labels = proptest::collection::btree_map("[a-z]{1,5}", ".{1,9}", 0..4);
    let event =
        (any::<u64>(), time(), time(), -1e9..1e9, labels, proptest::option::of(name)).prop_map(|(id, at, stamp, value, labels, key)| {
            let labels = LabelSet::new(labels.into_iter().collect()).unwrap();
            let (id, event) = (EventId(id), Event { labels, value });
            let key = key.map(|key| IdempotencyKey::new(&key).unwrap());
            JournalEntry::Event {
                record: Arc::new(StoredEvent { id, event, at, stamp }),
                key,
            }
        });
    prop_oneof![
        (any::<u64>(), time()).prop_map(|(first, freed_stamp)| JournalEntry::Start { first, freed_stamp }),
        event,
        (name, any::<u64>(), any::<u64>(), time()).prop_map(|(key, id, fingerprint, at)| JournalEntry::Key {
            key: IdempotencyKey::new(&key).unwrap(),
            used: UsedKey {
                id: EventId(id),
                fingerprint,
                at
            },
        }),
        (name, any::<u64>(), proptest::collection::vec(any::<u64>(), 0..5)).prop_map(|(name, next, heads)| JournalEntry::Cursor {
            scraper: ScraperId::new(&name).unwrap(),
            next,
            heads,
        }),
        name.prop_map(|name| JournalEntry::Forgotten {
            scraper: ScraperId::new(&name).unwrap()
        }),
        name.prop_map(|name| JournalEntry::Regular {
            scraper: ScraperId::new(&name).unwrap()
        }),
        (name, any::<u64>()).prop_map(|(name, events)| JournalEntry::Lost {
            scraper: ScraperId::new(&name).unwrap(),
            events
        }),
        any::<u64>().prop_map(|from| JournalEntry::Unclaimed { from }),
        any::<[u8; 16]>().prop_map(|own| JournalEntry::Origin {
            own: OriginId::from_bytes(own)
        }),
        (any::<[u8; 16]>(), any::<u64>()).prop_map(|(origin, number)| JournalEntry::Shared {
            record: Arc::new(StoredEvent {
                id: EventId(number / 2),
                event: Event {
                    labels: LabelSet::new(Vec::new()).unwrap(),
                    value: 1.0
                },
                at: Timestamp::from_millis(1),
                stamp: Timestamp::from_millis(2),
            }),
            key: None,
            source: Source {
                origin: OriginId::from_bytes(origin),
                number
            },
        }),
        any::<u64>().prop_map(|id| JournalEntry::Void { id }),
        (name, any::<Vec<u8>>()).prop_map(|(name, state)| JournalEntry::SharedCursor {
            scraper: ScraperId::new(&name).unwrap(),
            state
        }),
    ]
}

proptest! {
    #[test]
    fn entries_are_read_as_they_were_written(entries in proptest::collection::vec(entries(), 0..6)) {
        let mut out = Vec::new();
        entries.iter().for_each(|entry| encode(&mut out, entry));
        prop_assert_eq!(decode(&out), Some(entries));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
        if let Some(entries) = decode(&bytes) {
            let mut out = Vec::new();
            entries.iter().for_each(|entry| encode(&mut out, entry));
            prop_assert_eq!(decode(&out).map(|again| format!("{again:?}")), Some(format!("{entries:?}")));
        }
    }
}
