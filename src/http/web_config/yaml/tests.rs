#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

/// The scalars of a list.
fn scalars(text: &str) -> Vec<String> {
    let document = Document::parse(text).unwrap();
    let Value::Sequence(items) = &document.node(document.root.unwrap()).value else {
        panic!("{text} is no list");
    };
    items
        .iter()
        .map(|id| format!("{:?}", document.node(*id).scalar().unwrap()))
        .collect()
}

#[test]
fn plain_scalars_have_the_types_of_yaml_1_1() {
    let text = "[~, yes, Off, 1_000, 0x10, 010, -5, 1.5, 1e3, a, '1', \"no\", !!str 1, 1.2.3, -a, 99999999999999999999]";
    let expected = [
        "Null",
        "Bool(true)",
        "Bool(false)",
        "Integer(1000)",
        "Integer(16)",
        "Integer(8)",
        "Integer(-5)",
        "Float(1.5)",
        "Float(1000.0)",
        "Text(\"a\")",
        "Text(\"1\")",
        "Text(\"no\")",
        "Text(\"1\")",
        "Text(\"1.2.3\")",
        "Text(\"-a\")",
        "Float(1e20)",
    ];
    assert_eq!(scalars(text), expected);
}

#[test]
fn nested_aliases_cost_one_node_each() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..100 {
        let alias = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", ")));
    }
    let document = Document::parse(&text).unwrap();
    assert!(document.nodes.len() < 1_000, "{}", document.nodes.len());
}

#[test]
fn only_the_first_document_is_read() {
    let document = Document::parse("a: 1\n---\n{ not closed").unwrap();
    assert!(document.ignored.is_some());
    assert!(Document::parse("%YAML 1.2\n---\na: 1\n").is_err());
    assert!(Document::parse("").unwrap().root.is_none());
}
