//! The part that all verifiers of certificates have in common: the signatures of the handshake.

/// The methods of a verifier of rustls that check signatures by these algorithms. Where the condition behind `unless` is true, certificates
/// are not checked at all, and neither are signatures.
macro_rules! verify_signatures {
    ($self:ident => $algorithms:expr $(, unless $unchecked:expr)?) => {
        fn verify_tls12_signature(
            &$self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $(if $unchecked {
                return Ok(rustls::client::danger::HandshakeSignatureValid::assertion());
            })?
            rustls::crypto::verify_tls12_signature(message, certificate, signed, &$algorithms)
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $(if $unchecked {
                return Ok(rustls::client::danger::HandshakeSignatureValid::assertion());
            })?
            rustls::crypto::verify_tls13_signature(message, certificate, signed, &$algorithms)
        }

        fn supported_verify_schemes(&$self) -> Vec<rustls::SignatureScheme> {
            $algorithms.supported_schemes()
        }
    };
}

pub(crate) use verify_signatures;
