use super::*;

#[test]
fn a_proof_holds_for_its_claim_alone() {
    let input = ProofInput {
        alias: "a",
        service: "bc",
        hostname: "d",
        proxy: PublicKey::new([1; 32]),
        bridge: PublicKey::new([2; 32]),
    };
    let (secret, keying_material) = (SharedSecret::new([3; 32]), [4; 32]);
    let proof = input.prove(&secret, &keying_material);
    assert!(input.verify(&secret, &keying_material, &proof));
    assert!(!input.verify(&SharedSecret::new([5; 32]), &keying_material, &proof));
    assert!(!input.verify(&secret, &[5; 32], &proof), "a replay on another connection");
    assert!(!input.verify(&secret, &keying_material, &proof[..31]));
    assert!(!input.verify(&secret, &keying_material, &[]));
    let moved = [
        ProofInput {
            alias: "ab",
            service: "c",
            ..input
        },
        ProofInput { hostname: "e", ..input },
        ProofInput {
            proxy: input.bridge,
            bridge: input.proxy,
            ..input
        },
    ];
    assert!(moved.iter().all(|other| !other.verify(&secret, &keying_material, &proof)));
}
