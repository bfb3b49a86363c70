//! Credentials: what this node shows to an application in `Authorization`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The value of `Authorization`, or none. Never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(Option<HeaderValue>);

impl Credentials {
    /// `Basic`, of a user without a colon and a password.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Option<Self> {
        let pair = format!("{user}:{password}");
        (!user.contains(':')).then(|| Self::of(&format!("Basic {}", STANDARD.encode(pair))))?
    }

    /// `Bearer`, of a token.
    #[must_use]
    pub fn bearer(token: &str) -> Option<Self> {
        let sound = !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic());
        sound.then(|| Self::of(&format!("Bearer {token}")))?
    }

    /// The value as it is; an empty one is none.
    #[must_use]
    pub fn custom(value: &str) -> Option<Self> {
        if value.is_empty() { Some(Self(None)) } else { Self::of(value) }
    }

    /// The header's value, marked as one that is not to be shown or compressed.
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    fn of(text: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "(secret)" } else { "(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_header_and_none_can_break_out_of_it() {
        let shown = |credentials: Option<Credentials>| {
            let credentials = credentials?;
            credentials.header().map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            shown(Credentials::basic("Aladdin", "open sesame")).as_deref(),
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        assert_eq!(shown(Credentials::bearer("abc")).as_deref(), Some("Bearer abc"));
        assert_eq!(shown(Credentials::custom("Key k1")).as_deref(), Some("Key k1"));
        assert_eq!(Credentials::custom(""), Some(Credentials::default()));
        assert_eq!(Credentials::basic("a:b", "c"), None);
        for bad in ["a\r\nx: y", "a\nb", "a\0"] {
            assert_eq!(Credentials::bearer(bad), None);
            assert_eq!(Credentials::custom(bad), None);
        }
        let debug = format!("{:?}", Credentials::bearer("hunter2"));
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
