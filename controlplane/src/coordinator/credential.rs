//! Credential: how this node proves itself to the application, in one header.
//!
//! Errors: what is missing, or cannot stand in a header; said when the configuration is read.

use dataplane::ids::Secret;
use http::{HeaderValue, Uri};

/// How a request proves where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    #[default]
    None,
    /// `Basic base64(user:password)`
    Basic,
    /// `Bearer token`
    Bearer,
    /// A header of the application's own.
    Custom,
}

/// A scheme, and the parts of all of them; those of the scheme count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// The scheme.
    pub scheme: Scheme,
    /// The user of Basic.
    pub user: String,
    /// The password of Basic.
    pub password: Secret,
    /// The token of Bearer.
    pub token: Secret,
    /// The whole header of Custom.
    pub custom: Secret,
}

/// Where the application is asked or told something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://` or `https://`; `None` if it is not asked.
    pub url: Option<Uri>,
    /// What the request proves itself with.
    pub credential: Credential,
}

/// Why a credential cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The part, as its key ends.
    pub part: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Credential {
    /// The header `Authorization`, which is never shown in logs.
    ///
    /// Errors: a part that the scheme needs is empty, or cannot stand in a header.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, Unusable> {
        let (part, text) = match self.scheme {
            Scheme::None => return Ok(None),
            Scheme::Basic => {
                required("user", &self.user)?;
                if self.user.contains(':') {
                    return Err(Unusable { part: "user", what: "a user of Basic has no colon" });
                }
                ("password", basic(&self.user, &self.password.0))
            }
            Scheme::Bearer => {
                required("token", &self.token.0)?;
                ("token", format!("Bearer {}", self.token.0))
            }
            Scheme::Custom => {
                required("custom", &self.custom.0)?;
                ("custom", self.custom.0.clone())
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Unusable { part, what: "it has letters that no header may have" })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn required(part: &'static str, text: &str) -> Result<(), Unusable> {
    if text.is_empty() { Err(Unusable { part, what: "it is needed, and empty" }) } else { Ok(()) }
}

/// The header of Basic.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// Spec: RFC 4648 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            let index = (bits >> (18 - 6 * letter) & 63) as usize;
            text.push(if letter > group.len() { '=' } else { char::from(LETTERS[index]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(scheme: Scheme) -> Credential {
        Credential {
            scheme,
            user: "app".to_owned(),
            password: Secret("pass:word".to_owned()),
            token: Secret("t0ken".to_owned()),
            custom: Secret("Signature keyId=\"1\"".to_owned()),
        }
    }

    #[test]
    fn base64_is_that_of_the_specification() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn each_scheme_has_its_header() {
        for (scheme, header) in [
            (Scheme::None, None),
            (Scheme::Basic, Some("Basic YXBwOnBhc3M6d29yZA==")),
            (Scheme::Bearer, Some("Bearer t0ken")),
            (Scheme::Custom, Some("Signature keyId=\"1\"")),
        ] {
            let value = credential(scheme).authorization().unwrap();
            assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), header);
            assert!(value.is_none_or(|value| value.is_sensitive()));
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let part = |credential: Credential| credential.authorization().unwrap_err().part;
        let none = Credential::default();
        assert_eq!(part(Credential { scheme: Scheme::Basic, ..none.clone() }), "user");
        assert_eq!(part(Credential { scheme: Scheme::Bearer, ..none.clone() }), "token");
        assert_eq!(part(Credential { scheme: Scheme::Custom, ..none }), "custom");
        let line = Secret("a\r\nx-evil: 1".to_owned());
        assert_eq!(part(Credential { token: line, ..credential(Scheme::Bearer) }), "token");
        let user = "a:b".to_owned();
        assert_eq!(part(Credential { user, ..credential(Scheme::Basic) }), "user");
    }

    #[test]
    fn nothing_secret_is_shown() {
        for scheme in [Scheme::None, Scheme::Basic, Scheme::Bearer, Scheme::Custom] {
            let credential = credential(scheme);
            let shown = format!("{credential:?} {:?}", credential.authorization());
            for secret in ["pass:word", "t0ken", "Signature", "YXBwOn"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}
