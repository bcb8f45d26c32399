#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

#[test]
fn names_of_all_kinds_are_found() {
    let mut params = CertificateParams::new(vec!["prometheus.example.org".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    let names = [
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
        SanType::URI("spiffe://example.org/prometheus".try_into().unwrap()),
        SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
    ];
    params.subject_alt_names.extend(names);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let expected = [
        "prometheus.example.org",
        "10.0.0.1",
        "2001:db8::1",
        "spiffe://example.org/prometheus",
        "ops@example.org",
    ];
    assert_eq!(subject_alt_names(certificate.der()).unwrap(), expected);
    let der = certificate.der();
    for end in 0..der.len() {
        assert!(subject_alt_names(&der[..end]).is_none(), "truncated to {end} bytes");
    }
}

#[test]
fn a_certificate_without_names_has_none() {
    let params = CertificateParams::new(Vec::<String>::new()).unwrap();
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(subject_alt_names(certificate.der()), Some(Vec::new()));
}
