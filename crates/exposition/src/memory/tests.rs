use super::*;

#[test]
fn bytes_count_until_their_last_slice_goes() {
    let meter = MemoryMeter::default();
    let whole = meter.hold(Bytes::from_static(b"abcdef"));
    let part = whole.slice(2..4);
    drop(whole);
    assert_eq!((meter.held(), &*part), (6 + OVERHEAD, &b"cd"[..]));
    drop(part);
    assert_eq!(meter.held(), 0);
    assert!(meter.hold(Bytes::new()).is_empty() && meter.held() == 0);
}
