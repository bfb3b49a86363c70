//! Credential: how this node proves itself to the application, in one header.
//!
//! Errors: what is missing, or cannot stand in a header; said when the configuration is read.

use dataplane::ids::Secret;
use http::HeaderValue;

use crate::outbound::{Address, Credentials};

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
    /// Where; `None` if it is not asked.
    pub url: Option<Address>,
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
        let (part, value) = match self.scheme {
            Scheme::None => return Ok(None),
            Scheme::Basic => {
                required("user", &self.user)?;
                ("user", Credentials::basic(&self.user, &self.password.0))
            }
            Scheme::Bearer => {
                required("token", &self.token.0)?;
                ("token", Credentials::bearer(&self.token.0))
            }
            Scheme::Custom => {
                required("custom", &self.custom.0)?;
                ("custom", Credentials::custom(&self.custom.0))
            }
        };
        let what = "it has letters that it may not have in a header";
        let value = value.ok_or(Unusable { part, what })?;
        Ok(value.header().cloned())
    }
}

fn required(part: &'static str, text: &str) -> Result<(), Unusable> {
    if text.is_empty() { Err(Unusable { part, what: "it is needed, and empty" }) } else { Ok(()) }
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
