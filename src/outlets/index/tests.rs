use super::*;

#[test]
fn names_cannot_break_out_of_the_page() {
    assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    assert_eq!(link("GET /apps"), "<a href=\"apps\"><code>GET /apps</code></a>");
    assert_eq!(link("GET /apps/NAME"), "<code>GET /apps/NAME</code>");
}
