//! Kubo's list of peers, in which strangers say what they are.

use std::collections::HashSet;

use exporter_proxy::wire::kubo::swarm_peers;

/// Whatever a node answers, every peer is there once, no connection is invented, and blanks around the answer change nothing.
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
    let again = swarm_peers(&padded).expect("blanks around JSON mean nothing");
    assert_eq!(
        (again.connections, &again.peers, &again.streams),
        (swarm.connections, &swarm.peers, &swarm.streams)
    );
}
