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

use crate::authorities::{self, Authorities};

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
        Ok(match self {
            Self::Authorities(ca) => vouched(Arc::new(Authorities::of(roots(ca.as_deref())?))),
            Self::Exactly(path) => client(Believed::Exactly(certificates(path)?.swap_remove(0))),
            Self::Anybody => anybody(),
        })
    }
}

/// A client that believes whoever the authorities vouch for, as soon as there are any.
pub(crate) fn vouched(authorities: Arc<Authorities>) -> Arc<ClientConfig> {
    client(Believed::Vouched(authorities))
}

/// A client that believes anybody.
pub(crate) fn anybody() -> Arc<ClientConfig> {
    client(Believed::Anybody)
}

fn client(believed: Believed) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions");
    let verifier = Arc::new(Verifier { believed, provider });
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Arc::new(config.with_no_client_auth())
}

/// The system's authorities and those of the file `ca`.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, Trouble> {
    let mut roots = authorities::read();
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

/// Believes who holds the key of a certificate that is believed.
#[derive(Debug)]
struct Verifier {
    believed: Believed,
    provider: Arc<CryptoProvider>,
}

/// Which certificates are.
#[derive(Debug)]
enum Believed {
    /// Those that the authorities vouch for, by name and date.
    Vouched(Arc<Authorities>),
    /// One.
    Exactly(CertificateDer<'static>),
    /// Any.
    Anybody,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let untrusted = |why| Err(Error::InvalidCertificate(why));
        match &self.believed {
            Believed::Vouched(authorities) => match authorities.verifier() {
                Some(verifier) => verifier.verify_server_cert(shown, between, name, ocsp, now),
                None => untrusted(CertificateError::UnknownIssuer),
            },
            Believed::Exactly(known) if known != shown => {
                untrusted(CertificateError::ApplicationVerificationFailure)
            }
            Believed::Exactly(_) | Believed::Anybody => Ok(ServerCertVerified::assertion()),
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
