use super::*;

fn ids(count: u32) -> Vec<AppId> {
    (0..count).map(Id::nth).collect()
}

fn rebalance(list: &mut SegmentList, ids: &[AppId], bytes: &[usize]) {
    list.rebalance(|from, to| {
        let all = ids.iter().copied().zip(bytes.iter().copied());
        all.filter(|(id, bytes)| *id >= from && to.is_none_or(|to| *id < to) && *bytes > 0)
            .collect()
    });
}

#[test]
fn segments_split_when_large_and_merge_when_small() {
    let ids = ids(100);
    let mut list = SegmentList::new();
    rebalance(&mut list, &ids, &[10_000; 100]);
    assert_eq!(list.segments().count(), 8, "13 apps of 10 kB fit into 128 kB");
    assert!(list.segments().all(|(.., segment)| segment.bytes <= TARGET_SEGMENT_BYTES));
    list.invalidate_all();
    rebalance(&mut list, &ids, &[100; 100]);
    assert_eq!(list.segments().count(), 1);
}

#[test]
fn invalidating_an_app_replaces_one_cache() {
    let ids = ids(100);
    let mut list = SegmentList::new();
    rebalance(&mut list, &ids, &[10_000; 100]);
    let before: Vec<_> = list.segments().map(|(.., segment)| Arc::clone(segment.cache())).collect();
    list.invalidate(ids[50]);
    let changed = list
        .segments()
        .zip(&before)
        .filter(|((.., now), before)| !Arc::ptr_eq(now.cache(), before));
    assert_eq!(changed.count(), 1);
}

#[test]
fn a_large_app_keeps_a_segment_to_itself() {
    let ids = ids(3);
    let mut list = SegmentList::new();
    rebalance(&mut list, &ids, &[50_000, 3_000_000, 50_000]);
    assert_eq!(
        list.segments().map(|(start, ..)| start).collect::<Vec<_>>(),
        [Id::FIRST, ids[1], ids[2]]
    );
}
