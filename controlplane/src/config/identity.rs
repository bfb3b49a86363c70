//! Identity: the files of `[tls]` as what the data plane shakes hands with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dataplane::session::tls::{Certified, Identity};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};

use super::load::Loaded;
use super::tls::{NamedCertificate, TlsSection};
use crate::error::Error;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const ALSO: &str = "tls.also";
/// Bytes of a PEM file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// So long before its end a certificate is to be renewed.
const RENEWAL: Duration = Duration::from_secs(7 * 86_400);

/// The identity that the files of `loaded` hold, `None` without any, and why clients will refuse
/// one of its certificates, if they will.
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
    let (first, mut doubt) = Files { certificate, key, keys: [CERTIFICATE, KEY] }.read(loaded)?;
    let mut named = Vec::new();
    for also in &section.also {
        let NamedCertificate { names, certificate, key } = also;
        let (certified, more) = Files { certificate, key, keys: [ALSO, ALSO] }.read(loaded)?;
        let other = names.iter().find(|name| !is_for(&certified, name));
        let other = other.map(|name| format!("{} is not for {name}", certificate.display()));
        doubt = doubt.or(more).or(other);
        named.extend(names.iter().map(|name| (name.clone(), Arc::clone(&certified))));
    }
    let identity = Identity::by_name(first, named).map_err(|error| Error::System {
        what: "cannot serve inside TLS",
        reason: error.to_string(),
        mend: "the system must give random bytes",
    })?;
    Ok(Some((identity, doubt)))
}

/// The files of `section`, each certificate before its key.
pub fn certificate_files(section: &TlsSection) -> impl Iterator<Item = &Path> {
    let first = [&section.certificate, &section.key].into_iter().flatten();
    let also = section.also.iter().flat_map(|also| [&also.certificate, &also.key]);
    first.chain(also).map(PathBuf::as_path)
}

/// A certificate and its key, and the keys of the configuration that name them.
struct Files<'a> {
    certificate: &'a Path,
    key: &'a Path,
    keys: [&'static str; 2],
}

impl Files<'_> {
    /// What they hold, and why clients will refuse it.
    fn read(&self, loaded: &Loaded) -> Result<(Certified, Option<String>), Error> {
        let Self { certificate, key, keys: [of_certificate, of_key] } = *self;
        let chain = pem(loaded, of_certificate, certificate, |text| {
            CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()
        })?;
        if chain.is_empty() {
            let what = format!("{} holds no certificate", certificate.display());
            return Err(loaded.misfit(of_certificate, what, "name a PEM file with one".to_owned()));
        }
        let signing = pem(loaded, of_key, key, |text| match PrivateKeyDer::from_pem_slice(text) {
            Err(pem::Error::NoItemsFound) => Ok(None),
            other => other.map(Some),
        })?;
        let Some(signing) = signing else {
            let what = format!("{} holds no key that is not encrypted", key.display());
            return Err(loaded.misfit(of_key, what, "name a PEM file with one".to_owned()));
        };
        let doubt = doubt(&chain).map(|doubt| format!("{}: {doubt}", certificate.display()));
        let certified = Identity::certify(chain, signing);
        certified.map(|certified| (certified, doubt)).map_err(|error| self.misfit(loaded, &error))
    }

    fn misfit(&self, loaded: &Loaded, error: &rustls::Error) -> Error {
        let Self { certificate, key, keys: [of_certificate, of_key] } = *self;
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => loaded.misfit(
                of_key,
                format!("{} is not the key of {}", key.display(), certificate.display()),
                "name the key that the certificate was made with".to_owned(),
            ),
            rustls::Error::InvalidCertificate(reason) => loaded.misfit(
                of_certificate,
                format!("{} is no certificate: {reason:?}", certificate.display()),
                "name a PEM file with one of X.509 version 3".to_owned(),
            ),
            other => loaded.misfit(
                of_key,
                format!("{} cannot be used: {other}", key.display()),
                "use a key of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
                    .to_owned(),
            ),
        }
    }
}

/// True if clients that ask for `name` will take the certificate; `*.` stands for some label.
fn is_for(certified: &Certified, name: &str) -> bool {
    let asked = name.strip_prefix("*.").map(|parent| format!("a.{parent}"));
    let asked = asked.unwrap_or_else(|| name.to_owned());
    let certificate = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    let (Ok(certificate), Ok(name)) = (certificate, ServerName::try_from(asked)) else {
        return false;
    };
    verify_server_name(&certificate, &name).is_ok()
}

/// A listener inside TLS that was asked for needs a certificate.
fn demanded(loaded: &Loaded) -> Result<(), Error> {
    for listener in ["rtmps", "https", "control_tls"] {
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
    let judged =
        |at| verifier.verify_server_cert(leaf, between, &name, &[], UnixTime::since_unix_epoch(at));
    if is_over(&judged(now)) {
        return Some("the certificate is expired, clients will refuse it; renew it");
    }
    match judged(now) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("the certificate is not valid yet, clients will refuse it; check the clock"),
        _ if is_over(&judged(now + RENEWAL)) => {
            Some("the certificate expires within a week, then clients will refuse it; renew it")
        }
        _ => None,
    }
}

fn is_over<T>(judged: &Result<T, rustls::Error>) -> bool {
    matches!(
        judged,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ))
    )
}
