#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn resident_pages() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn pages_between_what_is_kept_are_given_back() {
    const BLOCK: usize = 64 * 1024;
    const BLOCKS: usize = 4_096;
    let mut blocks: Vec<_> = (0..BLOCKS).map(|_| Some(vec![1_u8; BLOCK])).collect();
    // Every eighth stays, so nothing is free at the end of the heap.
    for (at, block) in blocks.iter_mut().enumerate() {
        if at % 8 != 7 {
            *block = None;
        }
    }
    let before = resident_pages();
    trim();
    // Half of what was freed: other tests run beside this one.
    let freed_pages = BLOCKS * 7 / 8 * BLOCK / 4_096 / 2;
    assert!(
        before - resident_pages() > freed_pages,
        "of {before} pages {} are left",
        resident_pages()
    );
    assert!(blocks.iter().flatten().all(|block| block.iter().all(|byte| *byte == 1)));
}
