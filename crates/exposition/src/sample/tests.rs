use super::*;

fn labels(of: &Labels<'_>) -> Vec<(String, String, bool)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of.clone()
        .map(|label| (text(label.name), text(label.value), label.quoted))
        .collect()
}

#[test]
fn a_line_falls_into_its_parts() {
    let sample = split(b"foo_bucket{a=\"}\\\"{\", le = \"1\" ,} 5 12.5 # {id=\"x\"} 0.5 7");
    assert_eq!((sample.name, sample.quoted, sample.value), (&b"foo_bucket"[..], false, &b"5"[..]));
    assert_eq!(
        labels(&sample.labels),
        [("a".into(), "}\\\"{".into(), false), ("le".into(), "1".into(), false)]
    );
    assert_eq!(sample.timestamp, Some(&b"12.5"[..]));
    let exemplar = sample.exemplar.expect("the line has one");
    assert_eq!(labels(&exemplar.labels), [("id".into(), "x".into(), false)]);
    assert_eq!((exemplar.value, exemplar.timestamp), (&b"0.5"[..], Some(&b"7"[..])));
}

#[test]
fn bare_and_quoted_names() {
    let bare = split(b"foo 1");
    assert_eq!(
        (bare.name, bare.labels.text(), bare.value, bare.timestamp),
        (&b"foo"[..], &b""[..], &b"1"[..], None)
    );
    let quoted = split(b"{ \"a.b\", \"c d\"=\"e\"}1");
    assert_eq!((quoted.name, quoted.quoted, quoted.value), (&b"a.b"[..], true, &b"1"[..]));
    assert_eq!(labels(&quoted.labels), [("c d".into(), "e".into(), true)]);
}

#[test]
fn identity_knows_no_order_and_no_empty_values() {
    let a = split(b"foo{a=\"1\",b=\"2\",c=\"\"} 1");
    let b = split(b"{\"foo\", \"b\"=\"2\" , a=\"1\",} 2 5");
    let c = split(b"foo{a=\"2\",b=\"1\"} 1");
    assert_eq!(a.hash(), b.hash());
    assert!(a.same_series(&b) && b.same_series(&a));
    assert_ne!(a.hash(), c.hash());
    assert!(!a.same_series(&c));
    let more = split(b"foo{a=\"1\",b=\"2\",app=\"x\"} 1");
    assert_eq!(a.hash().wrapping_add(crate::hash::label_hash(b"app", b"x")), more.hash());
}

#[test]
fn a_line_with_a_broken_exemplar_still_tells_its_series() {
    for exemplar in ["{", "{a=", "{a=\"", "{a=\"b", "{a=\"\\", "{\"", "{a=\"b\"", "{a=\"b\"}", "x", ""] {
        let line = format!("foo{{a=\"1\"}} 5 # {exemplar}");
        let sample = split(line.as_bytes());
        assert_eq!((sample.name, sample.value), (&b"foo"[..], &b"5"[..]), "{line}");
        if let Some(exemplar) = sample.exemplar {
            assert!(exemplar.labels.count() <= 1, "{line}");
        }
    }
}

#[test]
fn escapes_count_as_one_character() {
    assert_eq!(unescaped_chars("a\\\\\\n\\\"ö".as_bytes()), 5);
}
