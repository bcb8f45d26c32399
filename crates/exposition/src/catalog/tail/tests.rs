#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::negotiate::Escaping;
use crate::render::Chunk;

const TEXT: OutputFormat = OutputFormat {
    syntax: Syntax::Text,
    protobuf: false,
    escaping: Escaping::Underscores,
};

fn parsed(text: &str) -> Arc<Exposition> {
    Arc::new(Exposition::parse(text.to_owned().into(), Syntax::Text))
}

fn reserved(name: &str, text: &str) -> Arc<ReservedFamilies> {
    let exposition = parsed(text);
    let families = (0..).take(exposition.families().len()).collect();
    Arc::new(ReservedFamilies {
        name: AppName::new(name).unwrap(),
        exposition,
        extra_labels: Arc::new([ExtraLabel::new("exporter_app", name)]),
        families,
    })
}

fn chunks(tails: &Tails, own: &str, apps: &[Arc<ReservedFamilies>]) -> Vec<Arc<Chunk>> {
    tails.plan(Some(&parsed(own)), apps, TEXT).render().chunks().to_vec()
}

fn text(chunks: &[Arc<Chunk>]) -> String {
    let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text().concat()).collect();
    String::from_utf8(text).unwrap()
}

/// The lines, sorted: families may stand in another order where they came at another time.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_is_kept_is_merged_as_if_it_were_merged_now() {
    let kept = Tails::default();
    let (one, other) = (reserved("one", "# TYPE p gauge\np{a=\"1\"} 1\n"), reserved("other", "p 2\nq 3\n"));
    let changed = reserved("one", "# TYPE p gauge\np{a=\"2\"} 4\n");
    let steps: [(&str, Vec<_>); 5] = [
        ("# TYPE p gauge\np 0\n", vec![one.clone()]),
        ("# TYPE p gauge\np 5\n", vec![one.clone(), other.clone()]),
        ("# TYPE p gauge\np 6\nr 1\n", vec![changed.clone(), other.clone()]),
        ("# TYPE p gauge\np 7\n", vec![changed]),
        ("# TYPE p gauge\np 8\n", vec![one, other]),
    ];
    for (own, apps) in steps {
        let (kept, fresh) = (text(&chunks(&kept, own, &apps)), text(&chunks(&Tails::default(), own, &apps)));
        assert_eq!(lines(&kept), lines(&fresh), "{own}");
        assert_eq!(kept.matches("# TYPE p gauge\n").count(), 1, "{kept}");
    }
}

#[test]
fn a_response_renders_what_the_proxy_itself_has_and_not_what_chained_proxies_have() {
    let large: String = (0..20_000)
        .map(|n| format!("p{{n=\"{n}\",padding=\"{}\"}} 1\n", "x".repeat(50)))
        .collect();
    let tails = Tails::default();
    let apps = [reserved("one", &large), reserved("other", &large)];
    let before = chunks(&tails, "p 0\nq 0\n", &apps);
    let after = chunks(&tails, "p 1\nq 1\n", &apps);
    let shared: u64 = after
        .iter()
        .filter(|chunk| before.iter().any(|other| Arc::ptr_eq(chunk, other)))
        .map(|chunk| chunk.len())
        .sum();
    let all: u64 = after.iter().map(|chunk| chunk.len()).sum();
    assert!(shared * 10 > all * 9, "{shared} of {all} bytes are shared");
    assert!(text(&after).lines().any(|line| line == "q 1"));
}
