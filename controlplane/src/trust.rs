//! Trust: whom a command of ours believes that it speaks with inside TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// What went wrong, and what to do about it.
pub(crate) type Trouble = (String, &'static str);

const CA_MEND: &str = "--ca takes a file of certificates in PEM";

/// Who is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Whoever the system's authorities vouch for, or those of a PEM file.
    Authorities(Option<PathBuf>),
    /// Who shows the first certificate of a PEM file, whatever its name and dates.
    Exactly(PathBuf),
    /// Anybody.
    Anybody,
}

impl Trust {
    /// A client that believes so.
    ///
    /// Errors: a file that cannot be used, or no authority at all.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, Trouble> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let known = match self {
            Self::Authorities(ca) => {
                let config = config.with_root_certificates(roots(ca.as_deref())?);
                return Ok(Arc::new(config.with_no_client_auth()));
            }
            Self::Exactly(path) => certificates(path)?.into_iter().next(),
            Self::Anybody => None,
        };
        let verifier = Arc::new(Known { certificate: known, provider });
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

impl Trust {
    /// The same; one that believes nobody where it cannot be had, which is said once.
    pub(crate) fn client_or_nobody(&self) -> Arc<ClientConfig> {
        self.client().unwrap_or_else(|(what, mend)| {
            tracing::error!(%what, mend, "no server that is connected to is believed");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has the default versions");
            let nobody = config.with_root_certificates(RootCertStore::empty());
            Arc::new(nobody.with_no_client_auth())
        })
    }
}

/// The system's authorities and those of the file `ca`.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, Trouble> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(path, &error))?;
        }
    }
    match roots.is_empty() {
        true => Err((
            "this system trusts no certificate at all".to_owned(),
            "install ca-certificates or name one with --ca",
        )),
        false => Ok(roots),
    }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unusable(path, &error))?;
    match certificates.is_empty() {
        true => Err(unusable(path, &"there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn unusable(path: &Path, what: &dyn std::fmt::Display) -> Trouble {
    (format!("cannot use {}: {what}", path.display()), CA_MEND)
}

/// Believes who holds the key of one certificate, or of any.
#[derive(Debug)]
struct Known {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificate {
            Some(known) if known != shown => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
