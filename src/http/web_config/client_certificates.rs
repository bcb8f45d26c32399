//! Client certificates: which are asked for, verified and allowed.

use std::sync::Arc;

use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};

use super::subject_alt_names::subject_alt_names;
use crate::http::tls_signatures::verify_signatures;

/// `client_auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthType {
    /// No certificate is asked for.
    None,
    /// One is asked for and not verified.
    Request,
    /// One is required and not verified.
    RequireAny,
    /// One that is given is verified.
    VerifyIfGiven,
    /// One is required and verified.
    RequireAndVerify,
}

impl AuthType {
    pub(super) const NAMES: [&'static str; 6] = [
        "NoClientCert",
        "RequestClientCert",
        "RequireClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            // The older name of the same.
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => return None,
        })
    }

    const fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// The policy for client certificates.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    auth: AuthType,
    /// The CAs; none where certificates are not verified, or where there is no CA, so that none is accepted.
    trusted: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of `client_ca`. A self-signed one of `openssl req -x509` is marked as a CA, which a client's must not be, but
    /// listing that very certificate shows the intent.
    listed: Vec<CertificateDer<'static>>,
    /// `client_allowed_sans`; one of them must be in the certificate.
    allowed_sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertificates {
    /// The policy, and a warning if no certificate can be accepted.
    ///
    /// # Errors
    ///
    /// The reason if the CAs cannot be used.
    pub(super) fn new(auth: AuthType, ca: Option<&[u8]>, allowed_sans: Option<Vec<String>>) -> Result<(Self, Option<String>), String> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut policy = Self {
            auth,
            trusted: None,
            listed: Vec::new(),
            allowed_sans,
            algorithms,
        };
        if !auth.verifies() {
            return Ok((policy, None));
        }
        // Without client_ca Go takes the CAs of the system. What is no certificate is skipped, as there.
        policy.listed = match ca {
            Some(pem) => CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect(),
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(policy.listed.iter().cloned());
        if added == 0 {
            let source = if ca.is_some() {
                "client_ca has"
            } else {
                "client_ca is not set, and the system has"
            };
            return Ok((
                policy,
                Some(format!("{source} no CA certificate, so every client certificate is refused")),
            ));
        }
        let trusted = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        policy.trusted = Some(trusted.map_err(|why| format!("client_ca cannot be used: {why}"))?);
        let warning = ca
            .is_none()
            .then(|| "client_ca is not set, so a client certificate of any CA of the system is accepted; set client_ca_file".to_owned());
        Ok((policy, warning))
    }

    /// Returns true if certificates are verified.
    pub(super) const fn verifies(&self) -> bool {
        self.auth.verifies()
    }

    /// The verifier for rustls; none where no certificate is asked for.
    pub(super) fn verifier(self) -> Option<Arc<dyn ClientCertVerifier>> {
        (self.auth != AuthType::None).then(|| Arc::new(self) as Arc<dyn ClientCertVerifier>)
    }

    fn verify_issuer(&self, certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        if !self.auth.verifies() {
            return Ok(());
        }
        let trusted = self.trusted.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        match trusted.verify_client_cert(certificate, intermediates, now) {
            // Wrong dates and signatures have error kinds of their own; this one is about the permitted uses of a certificate.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.listed.contains(certificate) => Ok(()),
            verified => verified.map(|_| ()),
        }
    }

    fn verify_names(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_sans else { return Ok(()) };
        let names = subject_alt_names(certificate).ok_or(CertificateError::BadEncoding)?;
        match names.iter().any(|name| allowed.contains(name)) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        // A client without a certificate has none of the allowed names.
        matches!(self.auth, AuthType::RequireAny | AuthType::RequireAndVerify) || self.allowed_sans.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trusted.as_ref().map_or(&[], |trusted| trusted.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify_issuer(certificate, intermediates, now)?;
        self.verify_names(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures!(self => self.algorithms);
}
