#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::{Event, EventId, LabelSet, Timestamp};

fn events(ids: std::ops::Range<u64>, label_bytes: usize) -> Vec<Arc<StoredEvent>> {
    let event = |id: u64| {
        let labels = LabelSet::new(vec![("n".into(), id.to_string()), ("x".into(), "y".repeat(label_bytes))]).unwrap();
        let at = Timestamp::from_millis(i64::try_from(id).unwrap());
        Arc::new(StoredEvent {
            id: EventId(id),
            event: Event { labels, value: 1.0 },
            at,
            stamp: at,
        })
    };
    ids.map(event).collect()
}

fn text(chunks: &[Arc<Chunk>]) -> String {
    let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text().concat()).collect();
    String::from_utf8(text).unwrap()
}

#[test]
fn scrapes_share_the_blocks_in_which_they_have_the_same_events() {
    let blocks = Blocks::default();
    let render = |ids| blocks.render("e", events(ids, 1), None, ContentEncoding::Identity);
    let (one, other) = (render(1..200), render(70..250));
    // The head, then the blocks of 0 to 63, 64 to 127, 128 to 191 and 192 to 255.
    assert_eq!((one.len(), other.len()), (5, 4));
    let shared = one.iter().filter(|chunk| other.iter().any(|other| Arc::ptr_eq(chunk, other)));
    assert_eq!(
        shared.map(|chunk| text(std::slice::from_ref(chunk))).collect::<String>(),
        text(&one[3..4])
    );
    assert!(one.iter().zip(render(1..200)).skip(1).all(|(one, again)| Arc::ptr_eq(one, &again)));
    let whole = text(&one);
    assert!(
        whole.starts_with("# HELP e ") && whole.ends_with("e{n=\"199\",x=\"y\"} 1\n"),
        "{whole}"
    );
    assert_eq!(whole.lines().count(), 2 + 199);
}

#[test]
fn times_are_written_as_the_format_has_them() {
    let blocks = Blocks::default();
    for (syntax, stamp) in [(Syntax::Text, "1007"), (Syntax::OpenMetrics, "1.007")] {
        let chunks = blocks.render("e", events(1_007..1_008, 1), Some(syntax), ContentEncoding::Identity);
        assert!(text(&chunks).ends_with(&format!("}} 1 {stamp}\n")), "{}", text(&chunks));
    }
}

#[test]
fn what_is_kept_is_bounded_and_what_is_used_stays() {
    let blocks = Blocks::default();
    let often = blocks.render("e", events(0..10, 1), None, ContentEncoding::Gzip);
    assert!(often[1].level().is_some());
    for start in (64..20_000).step_by(64) {
        blocks.render("e", events(start..start + 64, 4_000), None, ContentEncoding::Identity);
        let again = blocks.render("e", events(0..10, 1), None, ContentEncoding::Gzip);
        assert!(Arc::ptr_eq(&often[1], &again[1]));
    }
    let cache = blocks.cache();
    let kept: u64 = cache.young.values().chain(cache.old.values()).map(|chunk| chunk.len()).sum();
    assert!(kept <= 3 * GENERATION_BYTES, "{kept}");
}
