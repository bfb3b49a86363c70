//! Token: the secret of the API, in a file that only its owner reads, or a credential that the
//! service manager passes on.
//!
//! Spec: systemd.exec(5), `LoadCredential=` and `CREDENTIALS_DIRECTORY`.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use crate::error::Error;

const FILE: &str = "api-token";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Bytes of a token file at most, so that a wrong file is not read whole.
const FILE_BYTES_MAX: u64 = 1_024;
/// Letters of a token at least.
const LETTERS_MIN: usize = 16;

/// The secret that a request must show.
///
/// Never shown by `Debug`.
#[derive(Clone)]
pub struct Token {
    secret: String,
    path: PathBuf,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads the credential `api-token`, if there is one in `credentials`; else the token of the
    /// data directory, or makes it, 0600. The data directory is made in any case, 0700.
    pub fn open(dir: &Path, credentials: Option<&Path>) -> Result<Self, Error> {
        let mend = "name another directory with data.dir";
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|e| Error::file("make the data directory", dir, &e, mend))?;
        if let Some(credential) = credentials.map(Self::file_in).filter(|path| path.exists()) {
            return Self::credential(credential);
        }
        let path = Self::file_in(dir);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        match options.open(&path) {
            Ok(file) => Self::make(file, path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Self::read(path),
            Err(e) => Err(Error::file("write the token", &path, &e, mend)),
        }
    }

    /// Where the token of a data directory is.
    #[must_use]
    pub fn file_in(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if `shown` is the token; the time taken does not tell how much of it is right.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.secret.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    fn make(mut file: File, path: PathBuf) -> Result<Self, Error> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| Error::System {
            what: "cannot make the token of the API",
            reason: error.to_string(),
            mend: "the system must give random bytes",
        })?;
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let written = writeln!(file, "{secret}").and_then(|()| file.sync_all());
        written.map_err(|e| {
            // A half-written token would be taken for the whole one at the next start.
            let _ = std::fs::remove_file(&path);
            Error::file("write the token", &path, &e, "make room on its disk")
        })?;
        Ok(Self { secret, path })
    }

    fn read(path: PathBuf) -> Result<Self, Error> {
        let mend = "remove it for a new one";
        let read = File::open(&path).and_then(|file| {
            // Somebody may have copied it with wider rights.
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            word_in(file)
        });
        let word = read.map_err(|e| Error::file("read the token", &path, &e, mend))?;
        Self::of_word(word, path, mend)
    }

    /// Its rights are the service manager's affair.
    fn credential(path: PathBuf) -> Result<Self, Error> {
        let mend = "LoadCredential= of the service's unit names its source";
        let word = File::open(&path).and_then(word_in);
        let word = word.map_err(|e| Error::file("read the token", &path, &e, mend))?;
        Self::of_word(word, path, mend)
    }

    fn of_word(word: Option<String>, path: PathBuf, mend: &str) -> Result<Self, Error> {
        match word.filter(|word| word.len() >= LETTERS_MIN) {
            Some(secret) => Ok(Self { secret, path }),
            None => Err(Error::File {
                op: "use the token",
                reason: format!("it is not one word of at least {LETTERS_MIN} letters"),
                path,
                mend: mend.to_owned(),
            }),
        }
    }
}

/// The word that a token's file holds; `None` if it is not one word that fits a header.
pub(crate) fn word_in(file: File) -> io::Result<Option<String>> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    let word = text.trim();
    let is_sound = !word.is_empty() && word.bytes().all(|c| c.is_ascii_graphic());
    Ok(is_sound.then(|| word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("grandstand-token-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name).join("data"))
        }
        fn mode(&self, file: &str) -> u32 {
            std::fs::metadata(self.0.join(file)).unwrap().permissions().mode() & 0o777
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[test]
    fn the_first_start_makes_it_and_the_second_reads_it() {
        let dir = Dir::new("made");
        let first = Token::open(&dir.0, None).unwrap();
        assert_eq!((dir.mode(""), dir.mode(FILE)), (0o700, 0o600));
        let second = Token::open(&dir.0, None).unwrap();
        assert!(second.matches(&first.secret));
        assert!(!second.matches("") && !second.matches(&first.secret[1..]));
        assert!(!format!("{second:?}").contains(&first.secret));
    }

    #[test]
    fn wide_rights_are_narrowed() {
        let dir = Dir::new("wide");
        Token::open(&dir.0, None).unwrap();
        let wide = Permissions::from_mode(0o644);
        std::fs::set_permissions(dir.0.join(FILE), wide).unwrap();
        Token::open(&dir.0, None).unwrap();
        assert_eq!(dir.mode(FILE), 0o600);
    }

    #[test]
    fn a_credential_comes_before_the_file_and_is_left_as_it_is() {
        let (dir, credentials) = (Dir::new("data"), Dir::new("credentials"));
        Token::open(&credentials.0, None).unwrap();
        let path = credentials.0.join(FILE);
        std::fs::write(&path, "a-word-of-the-operator\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
        let token = Token::open(&dir.0, Some(&credentials.0)).unwrap();
        assert!(token.matches("a-word-of-the-operator") && token.path() == path);
        assert_eq!((dir.mode(""), credentials.mode(FILE)), (0o700, 0o440));
        assert!(!dir.0.join(FILE).exists(), "nothing is made");
        let other = Token::open(&dir.0, Some(&dir.0.join("none"))).unwrap();
        assert_eq!(other.path(), dir.0.join(FILE), "no credential of that name");
        std::fs::write(&path, "short\n").unwrap();
        let error = Token::open(&dir.0, Some(&credentials.0)).unwrap_err().to_string();
        assert!(error.ends_with("LoadCredential= of the service's unit names its source"));
    }

    #[test]
    fn a_short_token_is_refused_with_its_mend() {
        let dir = Dir::new("short");
        Token::open(&dir.0, None).unwrap();
        std::fs::write(dir.0.join(FILE), "abc\n").unwrap();
        let error = Token::open(&dir.0, None).unwrap_err().to_string();
        assert!(error.ends_with(
            "data/api-token: it is not one word of at least 16 letters; remove it for a new one"
        ));
    }
}
