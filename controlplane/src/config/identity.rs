//! Identity: the files of `[tls]` as what the data plane shakes hands with.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use dataplane::session::tls::Identity;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, InconsistentKeys, RootCertStore};

use super::load::Loaded;
use crate::error::Error;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
/// Bytes of a PEM file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The identity that the files of `loaded` hold, `None` without any, and why clients will refuse
/// it, if they will.
///
/// Errors: a file that cannot be used, with its key and the mend.
pub fn identity(loaded: &Loaded) -> Result<Option<(Identity, Option<String>)>, Error> {
    let section = &loaded.settings.tls;
    let (certificate, key) = match (&section.certificate, &section.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return demanded(loaded).map(|()| None),
        (Some(_), None) => return Err(alone(loaded, CERTIFICATE, KEY)),
        (None, Some(_)) => return Err(alone(loaded, KEY, CERTIFICATE)),
    };
    let chain = pem(loaded, CERTIFICATE, certificate, |text| {
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()
    })?;
    if chain.is_empty() {
        let what = format!("{} holds no certificate", certificate.display());
        return Err(loaded.misfit(CERTIFICATE, what, "name a PEM file with one".to_owned()));
    }
    let signing = pem(loaded, KEY, key, |text| match PrivateKeyDer::from_pem_slice(text) {
        Err(pem::Error::NoItemsFound) => Ok(None),
        other => other.map(Some),
    })?;
    let Some(signing) = signing else {
        let what = format!("{} holds no key that is not encrypted", key.display());
        return Err(loaded.misfit(KEY, what, "name a PEM file with one".to_owned()));
    };
    let doubt = doubt(&chain).map(|doubt| format!("{}: {doubt}", certificate.display()));
    let identity = Identity::new(chain, signing);
    identity.map(|identity| Some((identity, doubt))).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => loaded.misfit(
            KEY,
            format!("{} is not the key of {}", key.display(), certificate.display()),
            "name the key that the certificate was made with".to_owned(),
        ),
        rustls::Error::InvalidCertificate(reason) => loaded.misfit(
            CERTIFICATE,
            format!("{} is no certificate: {reason:?}", certificate.display()),
            "name a PEM file with one of X.509 version 3".to_owned(),
        ),
        other => loaded.misfit(
            KEY,
            format!("{} cannot be used: {other}", key.display()),
            "use a key of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more".to_owned(),
        ),
    })
}

/// A listener inside TLS that was asked for needs a certificate.
fn demanded(loaded: &Loaded) -> Result<(), Error> {
    for listener in ["rtmps", "https"] {
        let enabled = format!("listeners.{listener}.enabled");
        if loaded.is_set(&enabled) && loaded.settings.listeners.tls_wanted(listener) {
            let what = "there is no certificate".to_owned();
            return Err(loaded.misfit(&enabled, what, format!("set {CERTIFICATE} and {KEY}")));
        }
    }
    Ok(())
}

fn alone(loaded: &Loaded, set: &str, missing: &str) -> Error {
    loaded.misfit(set, format!("{missing} is missing"), format!("set {missing} too"))
}

/// What `read` finds in a PEM file.
fn pem<T>(
    loaded: &Loaded,
    setting: &str,
    path: &Path,
    read: impl Fn(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, Error> {
    let failed = |error: &std::io::Error| {
        let mend = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "allow this user to read it",
            _ => "check the path",
        };
        let what = format!("cannot read {}: {}", path.display(), crate::error::reason(error));
        loaded.misfit(setting, what, mend.to_owned())
    };
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > FILE_BYTES_MAX {
        let what = format!("{size} bytes of {} are no certificate or key", path.display());
        return Err(loaded.misfit(setting, what, "name another file".to_owned()));
    }
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    read(&text).map_err(|error| {
        let what = format!("{} is not PEM: {error}", path.display());
        loaded.misfit(setting, what, "name a PEM file".to_owned())
    })
}

/// What clients will object to, if the time of the certificate has not come or is over.
fn doubt(chain: &[CertificateDer<'static>]) -> Option<&'static str> {
    let (leaf, between) = chain.split_first()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // Whoever signed it: its times are looked at before anybody is trusted.
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let now = UnixTime::since_unix_epoch(now);
    match verifier.verify_server_cert(leaf, between, &name, &[], now) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("the certificate is expired, clients will refuse it; renew it and send SIGHUP"),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("the certificate is not valid yet, clients will refuse it; check the clock"),
        _ => None,
    }
}
