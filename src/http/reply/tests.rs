use http_body_util::BodyExt as _;

use super::*;

async fn body(answer: Response<Body>) -> String {
    let bytes = answer.into_body().collect().await.expect("a body in memory").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn no_answer_has_a_character_that_a_terminal_interprets() {
    let name = "a\u{1b}]0;x\u{7}\r\u{9b}2J\u{202e}b";
    let escaped = "a\\u{1b}]0;x\\u{7}\\u{d}\\u{9b}2J\\u{202e}b";
    assert_eq!(body(text(StatusCode::OK, name)).await, format!("{escaped}\n"));
    assert_eq!(escape(name), escaped);
    let value = serde_json::json!({ "name": name });
    let shown = body(json(StatusCode::OK, &value)).await;
    assert!(!shown.contains(is_hidden), "{shown}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
}
