#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;
use crate::store::{MonotonicTime, Text};

proptest! {
    #[test]
    fn applications_are_read_as_they_were_written(
        order in 0..u64::MAX, first_seen: i64, updated: i64, age: u64, written: i64, name in "[a-zö /]{1,20}", text: String, openmetrics: bool,
        native: bool, labelled in proptest::collection::btree_set(".{0,9}", 0..4), format in proptest::sample::select(&FORMATS[..]),
        expire_after: Option<u32>,
    ) {
        let syntax = if openmetrics { Syntax::OpenMetrics } else { Syntax::Text };
        let origin = Origin { source: "tcp 1.2.3.4:5".into(), format };
        let labelled: Vec<FamilyKey> = labelled.iter().map(|key| key.as_bytes().into()).collect();
        let (mut text, mut body, mut records) = (Text::Raw(Bytes::copy_from_slice(text.as_bytes()), syntax), text, Bytes::new());
        if native && openmetrics {
            // A family with a native histogram: the no-op span.
            let family = *b"\x0d\x0a\x01h\x18\x04\x22\x06\x3a\x04\x62\x02\x08\x00";
            let decoded = crate::exposition::protobuf::decode(&family, 1_000).unwrap();
            records = decoded.records.clone();
            body = String::from_utf8(decoded.text.to_vec()).unwrap();
            text = Text::Read(Arc::new(crate::exposition::Exposition::parse(decoded.text, syntax).with_records(decoded.records)));
            prop_assert!(!records.is_empty());
        }
        let body = Bytes::from(body);
        let app = App {
            name: AppName::new(&name).unwrap(),
            order,
            changed: 0,
            origin: origin.clone(),
            text,
            labels: [].into(),
            first_seen: Timestamp::from_millis(first_seen),
            updated: Some(Timestamp::from_millis(updated)),
            refreshed: MonotonicTime::default(),
        rate: crate::store::UpdateRate::default(),
            fault: None,
            conflicts: Arc::default(),
            duplicates: 0,
            outdated: false,
            withdrawn: false,
            expires: true,
            expire_after: expire_after.map(|millis| Duration::from_millis(millis.into())),
        };
        let position = SavedPosition { order, first_seen: app.first_seen, labelled: labelled.clone() };
        let age = Age { then: Duration::from_millis(age), written: Timestamp::from_millis(written) };
        let said = SavedUpdate { origin, at: Timestamp::from_millis(updated), age, expire_after: app.expire_after, syntax, body, records };
        let bytes = [encode(&app, &labelled, age), super::body(&app).to_vec()].concat();
        prop_assert_eq!(decode(&bytes), Some(Record::App(app.name.clone(), position.clone(), Box::new(said))));
        let polled = App { expires: false, ..app };
        let bytes = [encode(&polled, &labelled, age), super::body(&polled).to_vec()].concat();
        prop_assert_eq!(decode(&bytes), Some(Record::Place(polled.name, position)));
        prop_assert_eq!(decode(&encode_gone(order)), Some(Record::Gone(order)));
        prop_assert_eq!(decode(&encode_clock(written)), Some(Record::Clock(written)));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(prop_oneof![0u8..7, any::<u8>()], 0..40)) {
        let _ = decode(&bytes);
    }
}
