//! Kubo's list of peers, with untrusted texts.

use std::collections::HashSet;

use exporter_proxy::wire::kubo::swarm_peers;

/// Checks that every peer is listed once, that counts are consistent, and that whitespace around the response does not matter.
pub fn check(input: &[u8]) {
    let padded = [b" \n", input, b"\r\n\t"].concat();
    let Ok(swarm) = swarm_peers(input) else {
        assert!(swarm_peers(&padded).is_err());
        return;
    };
    let ids: HashSet<_> = swarm.peers.iter().map(|peer| &peer.id).collect();
    assert_eq!(ids.len(), swarm.peers.len());
    assert!(swarm.peers.len() <= swarm.connections);
    assert!(swarm.peers.iter().map(|peer| peer.connected.len()).sum::<usize>() <= swarm.connections);
    assert!(swarm.peers.iter().all(|peer| peer.agent.as_deref() != Some("")));
    assert!(swarm.streams.values().all(|&open| open > 0));
    let again = swarm_peers(&padded).expect("whitespace around JSON does not matter");
    assert_eq!(
        (again.connections, &again.peers, &again.streams),
        (swarm.connections, &swarm.peers, &swarm.streams)
    );
}
