use super::*;

#[test]
fn only_a_query_without_self_metrics_is_about_one_app() {
    for (query, app) in [
        ("app=a&own=false", Some("a")),
        ("own=false&app=team%2Da%2Fb+c", Some("team-a/b c")),
        ("app=a&own=false&peek=true", Some("a")),
        ("app=&own=false", Some("")),
        ("", None),
        ("app=a", None),
        ("app=a&own=true", None),
        ("own=false", None),
        ("app=a&app=a&own=false", None),
        ("app=a&%61pp=b&own=false", None),
        ("app=a&own=false&own=true", None),
        ("app=a&own=false&only=own", None),
    ] {
        assert_eq!(only_app(query).as_deref(), app, "{query}");
    }
}
