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
/// Authorities that were asked ever, among whose files is looked at most.
const AUTHORITIES_MAX: usize = 64;
/// What a person can do about a file that cannot be written.
const MEND: &str = "make room on the disk of data.dir, or let this user write there";

/// What a name of an authority is shown with.
#[derive(Clone, Debug)]
pub struct Answer {
    /// A certificate of its own, or a placeholder; `None` if what there is beside covers the name.
    pub certified: Option<Certified>,
    /// Why clients will refuse it, if they will, or why it is not the name's own.
    pub doubt: Option<String>,
    /// Its time, if it is no placeholder.
    pub validity: Option<Validity>,
}

impl Answer {
    fn of(domain: &str, kept: Kept, broken: Option<String>, now: SystemTime) -> Self {
        let Kept { certified, validity } = kept;
        let doubt = || validity.doubt_of_renewed(now).map(|doubt| format!("{domain}: {doubt}"));
        let doubt = broken.or_else(doubt);
        Self { certified: Some(certified), doubt, validity: Some(validity) }
    }
}

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

    /// What a name is shown with, the first good one of: its certificate; whatever there is
    /// beside, if that `covers` the name; what it is shown until now, `in_force`; what another
    /// authority gave. Without any it is its certificate that is over, or a placeholder.
    #[must_use]
    pub fn shown(
        &self,
        domain: &str,
        in_force: Option<&Certified>,
        covers: impl FnOnce() -> bool,
    ) -> Answer {
        let now = SystemTime::now();
        let is_good = |kept: &Kept| kept.validity.holds(now);
        let (own, broken) = match self.kept(domain) {
            Ok(own) => (own, None),
            Err(what) => (None, Some(format!("{what}; a new certificate is asked for"))),
        };
        let own = match own {
            Some(own) if is_good(&own) => return Answer::of(domain, own, None, now),
            other => other,
        };
        if covers() {
            return Answer { certified: None, doubt: broken, validity: None };
        }
        let shown = in_force.and_then(|one| Kept::of_shown(one, domain)).filter(is_good);
        let others = || self.elsewhere(domain).into_iter().filter(is_good);
        let other = || others().max_by_key(|kept| kept.validity.not_after);
        if let Some(kept) = shown.or_else(other).or(own) {
            return Answer::of(domain, kept, broken, now);
        }
        let missing = || format!("{domain}: no certificate yet; it is asked for");
        let doubt =
            broken.unwrap_or_else(missing) + ", and clients refuse the placeholder until then";
        Answer { certified: placeholder(domain), doubt: Some(doubt), validity: None }
    }

    /// What other authorities gave a name.
    fn elsewhere(&self, domain: &str) -> Vec<Kept> {
        let folders = self.dir.parent().and_then(|above| std::fs::read_dir(above).ok());
        let folders = folders.into_iter().flatten().take(AUTHORITIES_MAX).flatten();
        let others = folders.map(|folder| Self { dir: folder.path() });
        others.filter(|other| other != self).filter_map(|other| other.kept(domain).ok()?).collect()
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

    /// A key and its certificate of `edge.example`, which ends in that year.
    fn pem(year: i32) -> String {
        let mut params = rcgen::CertificateParams::new(["edge.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        key.serialize_pem() + &params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_placeholder_is_shown_only_where_there_is_nothing_better() {
        const NAME: &str = "edge.example";
        let data = std::env::temp_dir().join(format!("grandstand-answer-{}", std::process::id()));
        let of = |url: &str| Vault::of(&data, &Address::parse(url).unwrap());
        let (vault, other) = (of("https://new.example/dir"), of("https://old.example/dir"));
        let end = |answer: &Answer| answer.validity.map(|validity| validity.not_after);
        let [over, soon, later] = [2002, 3000, 3001].map(|year| {
            let kept = Kept::of_pem(&pem(year), NAME).unwrap();
            (kept.certified, kept.validity.not_after)
        });

        let placeholder = vault.shown(NAME, None, || false);
        assert!(placeholder.certified.is_some() && placeholder.validity.is_none());
        assert!(placeholder.doubt.unwrap().contains("clients refuse the placeholder"));
        let covered = vault.shown(NAME, None, || true);
        assert!(covered.certified.is_none() && covered.doubt.is_none(), "{covered:?}");
        // A placeholder in force is nothing to keep, nor is what is over or of another name.
        let nothing = [placeholder.certified.unwrap(), over.0];
        for one in &nothing {
            assert!(vault.shown(NAME, Some(one), || false).validity.is_none());
        }
        assert!(vault.shown("a.example", Some(&soon.0), || false).validity.is_none());
        let kept = vault.shown(NAME, Some(&soon.0), || false);
        assert_eq!((end(&kept), kept.doubt), (Some(soon.1), None));

        // What the authority before gave is better than nothing.
        other.keep(NAME, &pem(3001)).unwrap();
        let kept = vault.shown(NAME, None, || false);
        assert_eq!((end(&kept), kept.doubt), (Some(later.1), None));
        assert!(vault.shown(NAME, None, || true).certified.is_none());

        // A file that cannot be read for once takes nothing out of force, and is told.
        vault.keep(NAME, "half a file").unwrap();
        let kept = vault.shown(NAME, Some(&soon.0), || false);
        assert_eq!(end(&kept), Some(soon.1));
        assert!(kept.doubt.unwrap().contains("edge.example.pem: there is no certificate in it"));

        // One of its own that is over gives way to a good one, and stays before a placeholder.
        vault.keep(NAME, &pem(2002)).unwrap();
        assert_eq!(end(&vault.shown(NAME, None, || false)), Some(later.1));
        assert!(vault.shown(NAME, None, || true).certified.is_none());
        std::fs::remove_file(other.certificate(NAME)).unwrap();
        let kept = vault.shown(NAME, None, || false);
        assert_eq!(end(&kept), Some(over.1));
        assert!(kept.doubt.unwrap().contains("is expired"));
        vault.keep(NAME, &pem(3000)).unwrap();
        assert_eq!(end(&vault.shown(NAME, Some(&later.0), || true)), Some(soon.1));
        std::fs::remove_dir_all(&data).unwrap();
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
        let Answer { doubt, validity, .. } = vault.shown("edge.example", None, || true);
        assert!(doubt.is_none() && validity.is_some(), "{doubt:?}");
        assert!(!half.exists());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        std::fs::write(&path, "no certificate").unwrap();
        let error = vault.kept("edge.example").unwrap_err();
        assert!(error.ends_with("edge.example.pem: there is no certificate in it"), "{error}");
        for (name, word) in [("edge.example", "is no certificate in it"), ("a.example", "yet")] {
            let Answer { doubt, validity, .. } = vault.shown(name, None, || false);
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
