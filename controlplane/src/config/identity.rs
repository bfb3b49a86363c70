//! Identity: the files of `[tls]` as what the data plane shakes hands with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use dataplane::session::tls::{Certified, Identity};
use rustls::InconsistentKeys;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::load::Loaded;
use super::tls::{NamedCertificate, TlsSection};
use super::validity::Validity;
use crate::acme::{Answer, Vault};
use crate::error::Error;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const ALSO: &str = "tls.also";
const CA: &str = "acme.ca";
/// Bytes of a PEM file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What the certificate for everybody else is called among the dates.
const FOR_ALL: &str = "default";

/// What the listeners inside TLS prove themselves with.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The certificates and their keys.
    pub identity: Identity,
    /// Why clients will refuse one of the certificates, if they will.
    pub doubt: Option<String>,
    /// The time of each certificate, by the first of its names: the earliest to end of that name.
    pub times: CertificateTimes,
}

/// The times of certificates, by their names in the configuration.
pub type CertificateTimes = BTreeMap<String, Validity>;

/// What the files of `loaded` hold, and those that an authority's certificates are kept in below
/// the data directory `data`; `None` without any. Names that have no such file yet keep what
/// they are shown by the identity `in_force`.
///
/// Errors: a file that cannot be used, with its key and the mend.
pub fn identity(
    loaded: &Loaded,
    data: &Path,
    in_force: Option<&Identity>,
) -> Result<Option<Proof>, Error> {
    let section = &loaded.settings.tls;
    let mut shown = Shown::default();
    let first = match (&section.certificate, &section.key) {
        (Some(certificate), Some(key)) => {
            let files = Files { certificate, key, keys: [CERTIFICATE, KEY] };
            Some(shown.take(FOR_ALL, files.read(loaded)?))
        }
        (None, None) => None,
        (Some(_), None) => return Err(alone(loaded, CERTIFICATE, KEY)),
        (None, Some(_)) => return Err(alone(loaded, KEY, CERTIFICATE)),
    };
    let mut also = Vec::new();
    if first.is_some() || loaded.settings.acme.authority().is_some() {
        shown.also(loaded, &mut also)?;
    }
    let beside = Beside { first: first.as_ref(), also: &also, in_force };
    let mut named = shown.of_authority(loaded, data, &beside)?;
    named.append(&mut also);
    let Some(first) = first.or_else(|| named.first().map(|(_, one)| Arc::clone(one))) else {
        return demanded(loaded).map(|()| None);
    };
    let Shown { doubt, times } = shown;
    let identity = Identity::by_name(first, named).map_err(|error| Error::System {
        what: "cannot serve inside TLS",
        reason: error.to_string(),
        mend: "the system must give random bytes",
    })?;
    Ok(Some(Proof { identity, doubt, times }))
}

/// Certificates by the names that they are for.
type Named = Vec<(String, Certified)>;

/// What there is beside the certificates of an authority.
struct Beside<'a> {
    first: Option<&'a Certified>,
    also: &'a Named,
    in_force: Option<&'a Identity>,
}

impl Beside<'_> {
    /// True if whoever asks for `name` is shown a good certificate of it, though an authority gave
    /// none.
    fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let found = |wanted: &dyn Fn(&str) -> bool| {
            self.also.iter().find(|(of, _)| wanted(&of.to_ascii_lowercase())).map(|(_, one)| one)
        };
        let exact = found(&|of| of == name);
        let below = || found(&|of| of.strip_prefix("*.") == Some(parent));
        let shown = exact.or_else(below).or(self.first);
        shown.is_some_and(|one| {
            let validity = one.cert.first().and_then(|leaf| Validity::of(leaf));
            validity.is_some_and(|validity| validity.holds(SystemTime::now())) && is_for(one, name)
        })
    }
}

/// What was read until now.
#[derive(Default)]
struct Shown {
    /// The first doubt.
    doubt: Option<String>,
    times: CertificateTimes,
}

impl Shown {
    /// Notes what is known of a certificate; the earliest end of a name counts.
    fn take(&mut self, name: &str, read: Read) -> Certified {
        let Read { certified, doubt, validity } = read;
        self.note(name, doubt, validity);
        certified
    }

    fn note(&mut self, name: &str, doubt: Option<String>, validity: Option<Validity>) {
        if let Some(validity) = validity {
            let time = self.times.entry(name.to_owned()).or_insert(validity);
            if validity.not_after < time.not_after {
                *time = validity;
            }
        }
        self.doubt = self.doubt.take().or(doubt);
    }

    /// Takes the files of further names.
    fn also(&mut self, loaded: &Loaded, named: &mut Named) -> Result<(), Error> {
        for also in &loaded.settings.tls.also {
            let NamedCertificate { names, certificate, key } = also;
            let read = Files { certificate, key, keys: [ALSO, ALSO] }.read(loaded)?;
            let certified = self.take(names.first().map_or(FOR_ALL, String::as_str), read);
            let other = names.iter().find(|name| !is_for(&certified, name));
            let other = other.map(|name| format!("{} is not for {name}", certificate.display()));
            self.doubt = self.doubt.take().or(other);
            named.extend(names.iter().map(|name| (name.clone(), Arc::clone(&certified))));
        }
        Ok(())
    }

    /// Takes what an authority gave. A name without that stays with what it is shown already, and
    /// has a placeholder if that is nothing.
    fn of_authority(
        &mut self,
        loaded: &Loaded,
        data: &Path,
        beside: &Beside<'_>,
    ) -> Result<Named, Error> {
        let section = &loaded.settings.acme;
        let mut named = Named::new();
        let Some(directory) = section.authority() else { return Ok(named) };
        if let Some(ca) = &section.ca {
            read_chain(loaded, CA, ca)?;
        }
        let vault = Vault::of(data, directory);
        for name in &section.domains.0 {
            let in_force = beside.in_force.map(|identity| identity.certificate(name));
            let answer = vault.shown(name, in_force, || beside.covers(name));
            let Answer { certified, doubt, validity } = answer;
            self.note(name, doubt, validity);
            named.extend(certified.map(|certified| (name.clone(), certified)));
        }
        Ok(named)
    }
}

/// The files of `section`, each certificate before its key.
pub fn certificate_files(section: &TlsSection) -> impl Iterator<Item = &Path> {
    let first = [&section.certificate, &section.key].into_iter().flatten();
    let also = section.also.iter().flat_map(|also| [&also.certificate, &also.key]);
    first.chain(also).map(PathBuf::as_path)
}

/// What files hold.
struct Read {
    certified: Certified,
    /// Why clients will refuse it.
    doubt: Option<String>,
    /// Its time, if it can be read.
    validity: Option<Validity>,
}

/// A certificate and its key, and the keys of the configuration that name them.
struct Files<'a> {
    certificate: &'a Path,
    key: &'a Path,
    keys: [&'static str; 2],
}

impl Files<'_> {
    fn read(&self, loaded: &Loaded) -> Result<Read, Error> {
        let Self { certificate, key, keys: [of_certificate, of_key] } = *self;
        let chain = read_chain(loaded, of_certificate, certificate)?;
        let signing = pem(loaded, of_key, key, |text| match PrivateKeyDer::from_pem_slice(text) {
            Err(pem::Error::NoItemsFound) => Ok(None),
            other => other.map(Some),
        })?;
        let Some(signing) = signing else {
            let what = format!("{} holds no key that is not encrypted", key.display());
            return Err(loaded.misfit(of_key, what, "name a PEM file with one".to_owned()));
        };
        let validity = Validity::of(&chain[0]);
        let doubt = validity.and_then(|validity| validity.doubt(SystemTime::now()));
        let doubt = doubt.map(|doubt| format!("{}: {doubt}", certificate.display()));
        let certified = Identity::certify(chain, signing);
        let certified = certified.map_err(|error| self.misfit(loaded, &error))?;
        Ok(Read { certified, doubt, validity })
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

/// The certificates of a PEM file, at least one.
fn read_chain(
    loaded: &Loaded,
    setting: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = pem(loaded, setting, path, |text| {
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()
    })?;
    if chain.is_empty() {
        let what = format!("{} holds no certificate", path.display());
        return Err(loaded.misfit(setting, what, "name a PEM file with one".to_owned()));
    }
    Ok(chain)
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
            return Err(loaded.misfit(
                &enabled,
                what,
                format!("set {CERTIFICATE} and {KEY}, or acme.domains"),
            ));
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
