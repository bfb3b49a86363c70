//! `[auth.jwt]`: whose tokens let in.

use std::path::PathBuf;
use std::time::Duration;

use dataplane::ids::Secret;

use super::document::Datum;
use super::field::{Bounds, Field, quoted};
use super::key::{Key, Section};
use super::load::Loaded;
use crate::auth::{Issuer, KeySet, SECRET_BYTES_MIN, Source, TOKEN_KEYS_MAX, VerifyingKey};
use crate::error::{Error, reason};
use crate::outbound::Address;

/// Bytes of a file of keys at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `[auth.jwt]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSection {
    /// What tokens must name as their issuer, if anything.
    pub issuer: String,
    /// Whom tokens must be for, if anybody.
    pub audience: Vec<String>,
    /// By how much the issuer's clock may differ from ours.
    pub leeway: Duration,
    /// Who was let in is sent away when the token ends.
    pub enforce: bool,
    /// Where keys are fetched.
    pub jwks_url: Option<Address>,
    /// They are fetched again after this.
    pub jwks_ttl: Duration,
    /// An unknown key has them fetched once in this time at most.
    pub jwks_retry: Duration,
    /// Keys that cannot be fetched again serve for no longer than this.
    pub jwks_stale: Duration,
    /// Where keys lie.
    pub jwks_file: Option<PathBuf>,
    /// What lies there.
    pub file_keys: KeySet,
    /// Secrets.
    pub keys: Secrets,
}

/// Secrets that sign tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(Option<String>, Secret)>);

impl Default for JwtSection {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(5),
            enforce: false,
            jwks_url: None,
            jwks_ttl: Duration::from_secs(300),
            jwks_retry: Duration::from_secs(10),
            jwks_stale: Duration::from_secs(86_400),
            jwks_file: None,
            file_keys: KeySet::default(),
            keys: Secrets::default(),
        }
    }
}

impl Secrets {
    /// The keys of them; `None` if one is too short, or two cannot be told apart.
    fn set(&self) -> Option<KeySet> {
        let key = |(kid, secret): &(Option<String>, Secret)| {
            VerifyingKey::secret(kid.clone(), secret.0.as_bytes())
        };
        KeySet::new(self.0.iter().map(key).collect::<Option<_>>()?)
    }
}

impl JwtSection {
    /// Whose tokens are taken.
    pub(super) fn issuer(&self) -> Issuer {
        let source = self.jwks_url.clone().map(|address| Source {
            address,
            ttl: self.jwks_ttl,
            retry: self.jwks_retry,
            stale: self.jwks_stale,
        });
        Issuer {
            issuer: Some(self.issuer.clone()).filter(|issuer| !issuer.is_empty()),
            audience: self.audience.clone(),
            leeway: self.leeway.as_secs(),
            enforce: self.enforce,
            // What makes no set was refused when it was read.
            keys: self.keys.set().unwrap_or_default(),
            file: self.file_keys.clone(),
            source,
        }
    }

    /// True if there is a key, or a place where one may be.
    pub(super) fn has_keys(&self) -> bool {
        self.jwks_url.is_some() || self.jwks_file.is_some() || !self.keys.0.is_empty()
    }
}

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new("issuer", "What tokens must name as their issuer (iss); \"\" for anything.", |s| {
        &mut s.auth.jwt.issuer
    })
    .now(),
    Key::new(
        "audience",
        "Whom tokens must be for (aud): one of these. A token that is for somebody else is \
         refused, also where this says nobody.",
        |s| &mut s.auth.jwt.audience,
    )
    .now(),
    Key::new(
        "leeway_ms",
        "By how much the issuer's clock may differ from ours, in whole seconds; a token is good \
         for so much longer.",
        |s| &mut s.auth.jwt.leeway,
    )
    .range(0, 600_000)
    .millis()
    .now(),
    Key::new(
        "enforce",
        "Whether who was let in is sent away when the token ends (exp). Without, it is the time to \
         come in, and whoever is in stays.",
        |s| &mut s.auth.jwt.enforce,
    )
    .now(),
    Key::new(
        "jwks_url",
        "Where the issuer shows its keys, a JSON Web Key Set: RSA from 2048 bits on (RS256) and \
         P-256 (ES256). Secrets that are shown there are not taken. Without TLS whoever is on the \
         way can give other keys, which is warned of unless the host is localhost or a private \
         address.",
        |s| &mut s.auth.jwt.jwks_url,
    )
    .now(),
    Key::new("jwks_ttl_ms", "The keys are fetched again after this.", |s| &mut s.auth.jwt.jwks_ttl)
        .range(1_000, 24 * HOUR)
        .millis()
        .now(),
    Key::new(
        "jwks_retry_ms",
        "A token whose key is unknown has them fetched at once, but no more than once in this \
         time; so has a fetch that failed.",
        |s| &mut s.auth.jwt.jwks_retry,
    )
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "jwks_stale_ms",
        "Keys that cannot be fetched again serve for no longer than this.",
        |s| &mut s.auth.jwt.jwks_stale,
    )
    .range(1_000, 30 * 24 * HOUR)
    .millis()
    .now(),
    Key::new(
        "jwks_file",
        "A JSON Web Key Set in a file, which may hold secrets, too (kty \"oct\"). It is read again \
         at each reload.",
        |s| &mut s.auth.jwt.jwks_file,
    )
    .now(),
    Key::new(
        "keys",
        "Secrets that sign tokens (HS256). In the file: [[auth.jwt.keys]] with secret (32 bytes at \
         least) and, if tokens name their key, kid.",
        |s| &mut s.auth.jwt.keys,
    )
    .now()
    .secret(),
];

pub(super) fn section() -> Section {
    Section::new("auth.jwt", "JSON Web Tokens, for mode \"jwt\".", KEYS)
}

impl Field for Secrets {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[auth.jwt.keys]] with a secret of at least {SECRET_BYTES_MIN} bytes and a kid \
             of its own, which one of them need not have, at most {TOKEN_KEYS_MAX}"
        )
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let secrets = Self(items.iter().map(secret).collect::<Option<_>>()?);
        secrets.set().map(|_| *self = secrets)
    }
    fn render(&self) -> String {
        let table = |(kid, secret): &(Option<String>, Secret)| {
            let kid =
                kid.as_ref().map(|kid| format!("kid = {}, ", quoted(kid))).unwrap_or_default();
            format!("{{ {kid}secret = {} }}", quoted(&secret.0))
        };
        format!("[{}]", self.0.iter().map(table).collect::<Vec<_>>().join(", "))
    }
}

fn secret(datum: &Datum) -> Option<(Option<String>, Secret)> {
    let Datum::Table(fields) = datum else { return None };
    let (mut kid, mut secret) = (None, None);
    for (name, value) in fields {
        let Datum::Text(text) = value else { return None };
        match name.as_str() {
            "kid" => kid = Some(text.clone()),
            "secret" => secret = Some(Secret(text.clone())),
            _ => return None,
        }
    }
    Some((kid, secret?))
}

/// Reads the keys of the file.
///
/// Errors: it cannot be read, or is no key set.
pub(super) fn read_file(loaded: &mut Loaded) -> Result<(), Error> {
    let Some(path) = &loaded.settings.auth.jwt.jwks_file else { return Ok(()) };
    let read = || -> Result<KeySet, String> {
        let large = |bytes: u64| format!("{bytes} bytes are more than {FILE_BYTES_MAX}");
        let bytes = std::fs::metadata(path).map_err(|error| reason(&error))?.len();
        let json = match bytes {
            0..=FILE_BYTES_MAX => std::fs::read(path).map_err(|error| reason(&error))?,
            bytes => return Err(large(bytes)),
        };
        KeySet::read(&json, true).map_err(str::to_owned)
    };
    match read() {
        Ok(keys) => {
            loaded.settings.auth.jwt.file_keys = keys;
            Ok(())
        }
        Err(why) => {
            let what = format!("{}: {why}", path.display());
            let mend = "mend the file, or name another".to_owned();
            Err(loaded.misfit("auth.jwt.jwks_file", what, mend))
        }
    }
}

/// Warns of keys that are fetched where somebody on the way may give others, and of those in a file
/// that are not used.
pub(super) fn doubt(loaded: &mut Loaded) {
    if let Some(doubt) = loaded.settings.auth.jwt.file_keys.doubt() {
        loaded.warnings.push(format!("auth.jwt.jwks_file: {doubt}"));
    }
    let url = loaded.settings.auth.jwt.jwks_url.as_ref();
    if let Some(url) = url.filter(|url| !url.is_tls() && !url.is_near()) {
        loaded.warnings.push(format!(
            "auth.jwt.jwks_url fetches the keys of tokens from {url} without TLS, so that whoever \
             is on the way can let in anybody; write https://, or a private address"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn read(key: &str, value: &str) -> Result<Loaded, String> {
        let name = format!("GRANDSTAND_AUTH__JWT__{key}");
        load(None, [(name, value.to_owned())]).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_are_long_enough_and_told_apart() {
        let secret = "x".repeat(32);
        let table = |kid: &str| format!("{{ kid = '{kid}', secret = '{secret}' }}");
        let good = format!("[{}, {}, {{ secret = '{secret}' }}]", table("a"), table("b"));
        let loaded = read("KEYS", &good).unwrap();
        let jwt = &loaded.settings.auth.jwt;
        assert_eq!((jwt.issuer().keys.len(), jwt.has_keys()), (3, true));
        let mut again = Secrets::default();
        let datum = super::super::document::parse_variable(&jwt.keys.render());
        again.read(&datum, &Bounds { min: 0, max: 0, unit: super::super::Unit::One }).unwrap();
        assert_eq!(again, jwt.keys);
        for wrong in [
            format!("[{}, {}]", table("a"), table("a")),
            format!("[{}]", table("")),
            format!("[{{ secret = '{secret}' }}, {{ secret = '{secret}' }}]"),
            format!("[{{ secret = '{}' }}]", &secret[1..]),
            format!("[{{ secret = '{secret}', alg = 'HS256' }}]"),
            "[{ kid = 'a' }]".to_owned(),
        ] {
            let error = read("KEYS", &wrong).unwrap_err();
            assert!(error.contains("auth.jwt.keys: expected tables"), "{error}");
            assert!(!error.contains("xxxx"), "{error}");
        }
    }

    #[test]
    fn keys_that_travel_far_without_tls_are_warned_of() {
        let warnings = |url: &str| read("JWKS_URL", &format!("'{url}'")).unwrap().warnings;
        for safe in [
            "https://login.example/jwks",
            "http://localhost:8080/jwks",
            "http://127.0.0.1/jwks",
            "http://10.1.2.3/jwks",
            "http://[::1]:8080/jwks",
            "http://[fd00::1]/jwks",
        ] {
            assert_eq!(warnings(safe), [""; 0], "{safe}");
        }
        for far in [
            "http://login.example/jwks?secret=hunter2",
            "http://192.0.2.1/jwks",
            "http://[2001:db8::1]/jwks",
            "http://localhost.example/jwks",
        ] {
            let [warning] = &*warnings(far) else { panic!("{far}") };
            assert!(warning.contains("auth.jwt.jwks_url") && warning.contains("https"), "{far}");
            assert!(!warning.contains("hunter2"), "{warning}");
        }
    }

    #[test]
    fn a_file_of_keys_is_read_or_named() {
        let dir = std::env::temp_dir().join(format!("grandstand-jwks-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("jwks.json");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read("JWKS_FILE", path.to_str().unwrap())
        };
        let k = "A".repeat(43);
        let loaded = of(&format!(r#"{{"keys":[{{"kty":"oct","k":"{k}"}}]}}"#)).unwrap();
        assert_eq!(loaded.settings.auth.jwt.issuer().file.len(), 1);
        let error = of("{}").unwrap_err();
        assert!(error.contains("auth.jwt.jwks_file") && error.contains("jwks.json: "), "{error}");
        let error = of(&" ".repeat(2 << 20)).unwrap_err();
        assert!(error.contains("2097152 bytes are more than 1048576"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
        let error = read("JWKS_FILE", path.to_str().unwrap()).unwrap_err();
        assert!(error.contains("no such file"), "{error}");
    }
}
