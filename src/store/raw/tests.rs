use super::*;
use proptest::prelude::*;

fn naive(bodies: &[Bytes]) -> Vec<u8> {
    let mut all = Vec::new();
    for body in bodies.iter().filter(|body| !body.is_empty()) {
        all.extend_from_slice(body);
        if !body.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    all
}

#[test]
fn a_missing_newline_is_added_even_behind_a_large_body() {
    let large = Bytes::from(vec![b'x'; SMALL]);
    let bodies = [Bytes::from_static(b"a 1"), large, Bytes::from_static(b"b 2\n"), Bytes::new()];
    assert_eq!(concatenate(&bodies).concat(), naive(&bodies));
}

proptest! {
    #[test]
    fn nothing_is_lost_or_reordered(sizes in proptest::collection::vec((0usize..3 * SMALL, any::<bool>()), 0..20)) {
        let bodies: Vec<Bytes> = sizes.iter().enumerate().map(|(n, &(size, newline))| {
            let mut body = vec![b'a' + u8::try_from(n).unwrap_or(0); size];
            if newline { body.push(b'\n'); }
            body.into()
        }).collect();
        prop_assert_eq!(concatenate(&bodies).concat(), naive(&bodies));
    }
}
