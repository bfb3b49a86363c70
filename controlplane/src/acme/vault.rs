//! Vault: the account, the certificates and their keys, in files that only their owner reads.
//!
//! ```text
//!   <data.dir>/acme/<authority>/account.json     the key of the account
//!                               tries.json       when orders were begun, by name
//!                               <name>.pem       a key, its certificate, those above it
//! ```
//!
//! A file is whole or not there: it is written beside and renamed. Everything here waits for the
//! disk, so that the control thread asks it when certificates are read, and never otherwise.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dataplane::session::tls::Certified;
use sha2::{Digest, Sha256};

use super::challenge::placeholder;
use super::kept::Kept;
use crate::config::Validity;
use crate::error::Error;
use crate::outbound::Address;

/// Below the data directory.
const FOLDER: &str = "acme";
const ACCOUNT: &str = "account.json";
const TRIES: &str = "tries.json";
/// Bytes of a file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a person can do about a file that cannot be written.
const MEND: &str = "make room on the disk of data.dir, or let this user write there";

/// The files of one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    dir: PathBuf,
}

impl Vault {
    /// Those of the authority behind `directory`, below the data directory.
    #[must_use]
    pub fn of(data: &Path, directory: &Address) -> Self {
        let text = directory.with_query();
        let digest = Sha256::digest(&text);
        let host = directory.uri().host().unwrap_or_default();
        let letter = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
        let host: String = host.chars().map(letter).collect();
        // Two directories of one host are two authorities.
        let folder =
            format!("{host}-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        Self { dir: data.join(FOLDER).join(folder) }
    }

    /// Where the certificate of a name is.
    #[must_use]
    pub fn certificate(&self, domain: &str) -> PathBuf {
        self.dir.join(format!("{domain}.pem"))
    }

    /// The certificate of a name, `None` before the first one.
    ///
    /// Errors: a file that is no use, with its path.
    pub fn kept(&self, domain: &str) -> Result<Option<Kept>, String> {
        let path = self.certificate(domain);
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        match read(&path) {
            Ok(None) => Ok(None),
            Ok(Some(pem)) => Kept::of_pem(&pem, domain).map(Some).map_err(|what| told(&what)),
            Err(error) => Err(told(&crate::error::reason(&error))),
        }
    }

    /// What a name is shown with: its certificate, or a placeholder; why clients will refuse that,
    /// and its time if it has one. `None` if the name is none.
    #[must_use]
    pub fn shown(&self, domain: &str) -> Option<(Certified, Option<String>, Option<Validity>)> {
        let doubt = match self.kept(domain) {
            Ok(Some(Kept { certified, validity })) => {
                let doubt = validity.doubt(SystemTime::now());
                let doubt = doubt.map(|doubt| format!("{domain}: {doubt}"));
                return Some((certified, doubt, Some(validity)));
            }
            Ok(None) => format!(
                "{domain}: no certificate yet, clients refuse the placeholder; it is asked for"
            ),
            Err(what) => format!("{what}: clients refuse the placeholder; a new one is asked for"),
        };
        placeholder(domain).map(|certified| (certified, Some(doubt), None))
    }

    /// Keeps the certificate of a name in the place of the one before.
    pub(super) fn keep(&self, domain: &str, pem: &str) -> Result<(), Error> {
        self.write(&self.certificate(domain), pem)
    }

    /// The account, if there is one.
    pub(super) fn account(&self) -> Result<Option<String>, Error> {
        self.read(ACCOUNT)
    }

    /// Keeps the account.
    pub(super) fn keep_account(&self, json: &str) -> Result<(), Error> {
        self.write(&self.dir.join(ACCOUNT), json)
    }

    /// Forgets the account, which the authority knows no more.
    pub(super) fn forget_account(&self) -> Result<(), Error> {
        let path = self.dir.join(ACCOUNT);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file("remove", &path, &error, MEND))
            }
            _ => Ok(()),
        }
    }

    /// When orders were begun.
    pub(super) fn tries(&self) -> Result<Option<String>, Error> {
        self.read(TRIES)
    }

    /// Keeps when orders were begun.
    pub(super) fn keep_tries(&self, json: &str) -> Result<(), Error> {
        self.write(&self.dir.join(TRIES), json)
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.dir.join(name);
        read(&path).map_err(|error| Error::file("read", &path, &error, "remove it for a new one"))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        let written = self.replace(path, text);
        written.map_err(|error| Error::file("write", path, &error, MEND))
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        // What a crash left may have other rights.
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(&self.dir)?.sync_all()
    }
}

/// The text of a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_whole_and_their_owners_alone() {
        let data = std::env::temp_dir().join(format!("grandstand-vault-{}", std::process::id()));
        let directory = Address::parse("https://ca.example:14000/dir").unwrap();
        let vault = Vault::of(&data, &directory);
        assert!(vault.kept("edge.example").unwrap().is_none());
        assert_eq!(vault.account().unwrap(), None);
        vault.forget_account().unwrap();
        vault.keep_account("{}").unwrap();
        assert_eq!(vault.account().unwrap().as_deref(), Some("{}"));
        vault.forget_account().unwrap();
        assert_eq!(vault.account().unwrap(), None);

        // A crash left half a file that everybody can read.
        let path = vault.certificate("edge.example");
        let half = path.with_extension("pem.new");
        std::fs::write(&half, "half").unwrap();
        std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o666)).unwrap();
        let made = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        vault.keep("edge.example", &pem).unwrap();
        assert!(vault.kept("edge.example").unwrap().is_some());
        let (_, doubt, validity) = vault.shown("edge.example").unwrap();
        assert!(doubt.is_none() && validity.is_some(), "{doubt:?}");
        assert!(!half.exists());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        std::fs::write(&path, "no certificate").unwrap();
        let error = vault.kept("edge.example").unwrap_err();
        assert!(error.ends_with("edge.example.pem: there is no certificate in it"), "{error}");
        for (name, word) in [("edge.example", "is no certificate in it"), ("a.example", "yet")] {
            let (_, doubt, validity) = vault.shown(name).unwrap();
            assert!(doubt.unwrap().contains(word) && validity.is_none(), "{name}");
        }

        let staging = Address::parse("https://ca.example:14000/staging").unwrap();
        let other = Vault::of(&data, &staging);
        assert_ne!(other, vault);
        assert!(other.kept("edge.example").unwrap().is_none());
        std::fs::remove_dir_all(&data).unwrap();
        // Where a file stands in the way of the folder, nothing can be kept.
        std::fs::write(&data, "a file").unwrap();
        let error = vault.keep_tries("{}").unwrap_err().to_string();
        assert!(error.contains("tries.json") && error.contains("; "), "{error}");
        std::fs::remove_file(&data).unwrap();
    }
}
