use super::*;

#[test]
fn a_thing_has_one_trouble_at_a_time() {
    let notes = Notes::default();
    notes.set("b", "one");
    notes.set("a", "two");
    notes.set("b", "three");
    assert_eq!(notes.lines(), ["a: two", "b: three"]);
    notes.clear("b");
    notes.clear("c");
    assert_eq!(notes.lines(), ["a: two"]);
}
