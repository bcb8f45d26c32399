#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use serde_json::json;

fn rendered(connections: &[(&str, &str, &[&str], &[&str])], cutoff: usize) -> String {
    let peers: Vec<_> = connections
        .iter()
        .map(|(peer, agent, protocols, streams)| {
            let streams: Vec<_> = streams.iter().map(|protocol| json!({"Protocol": protocol})).collect();
            json!({"Addr": "/ip4/9.9.9.9", "Peer": peer, "Streams": streams, "Identify": {"AgentVersion": agent, "Protocols": protocols}})
        })
        .collect();
    render(&swarm_peers(json!({"Peers": peers}).to_string().as_bytes()).unwrap(), cutoff)
}

#[test]
fn peers_count_once_and_streams_by_connection() {
    let text = rendered(
        &[
            ("A", "kubo", &["/a", "/b", "/a"], &["/a"]),
            ("A", "kubo", &["/a", "/b"], &["/a", "/b"]),
            ("B", "lotus", &["/a"], &[]),
            ("C", "", &[], &[]),
        ],
        1,
    );
    for line in [
        "plugin_metric_export_peers_by_agent_version{agent_version=\"kubo\"} 1",
        "plugin_metric_export_peers_by_agent_version{agent_version=\"others\"} 1",
        "plugin_metric_export_peers_supported_protocols{protocol=\"/a\"} 2",
        "plugin_metric_export_peers_supported_protocols{protocol=\"/b\"} 1",
        "plugin_metric_export_open_streams{protocol=\"/a\",direction=\"unknown\"} 2",
        "plugin_metric_export_open_streams{protocol=\"/b\",direction=\"unknown\"} 1",
        "plugin_metric_export_wiretap_peers 3",
        "plugin_metric_export_wiretap_connections 4",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
    assert!(!text.contains("9.9.9.9"));
    assert!(
        rendered(&[], 20).contains("agent_version=\"others\"} 0\n"),
        "others is always there"
    );
}

#[test]
fn strangers_texts_are_escaped_cut_and_bounded() {
    let long = "x".repeat(10_000);
    let text = rendered(
        &[("A", "a\"b\\c\nd\r", &[&long], &["others"]), ("B", "others", &["others"], &[])],
        20,
    );
    assert!(text.contains("{agent_version=\"a\\\"b\\\\c\u{fffd}d\u{fffd}\"} 1\n"), "{text}");
    assert!(text.contains(&format!("{{protocol=\"{}\"}} 1\n", &long[..MAX_LABEL_BYTES])));
    assert_eq!(text.matches("agent_version=\"others\"").count(), 1);
    let many: Vec<String> = (0..2 * MAX_PROTOCOLS).map(|n| format!("/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = rendered(&[("A", "a", &many, &many)], 20);
    assert!(text.lines().count() < 2 * MAX_PROTOCOLS + 30);
    assert!(text.contains(&format!("supported_protocols{{protocol=\"others\"}} {MAX_PROTOCOLS}\n")));
}
