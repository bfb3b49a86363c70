//! Address: the URL of an application, checked once.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// Bytes of an address at most.
const BYTES_MAX: usize = 2_048;

/// An absolute `http` or `https` URL without credentials in it.
///
/// Its query may hold a secret of the application, so that `Debug` and `Display` leave it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// Parses a URL; `None` if it is not one that can be asked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // `Uri` cuts a fragment off without a word.
        let whole = text.len() <= BYTES_MAX && !text.contains('#');
        Self::of(&text.parse().ok().filter(|_| whole)?)
    }

    /// The address of a URL that was parsed elsewhere; `None` if it cannot be asked.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = !authority.as_str().contains('@') && !authority.host().is_empty();
        // A port that is there but not a number would be taken for none.
        let rest = authority.as_str().strip_prefix(authority.host())?;
        let port = rest.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
        (known && bare && port).then(|| Self(uri.clone()))
    }

    /// The URL as it is sent.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// The URL with its query.
    #[must_use]
    pub fn with_query(&self) -> String {
        self.0.to_string()
    }

    /// True if it is asked inside TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// True if the host is this machine, or a private address: nobody outside is on the way.
    ///
    /// Of a name nobody knows where it leads, except of `localhost`.
    #[must_use]
    pub fn is_near(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>().map(|addr| addr.to_canonical()) {
            Ok(IpAddr::V4(addr)) => addr.is_loopback() || addr.is_private() || addr.is_link_local(),
            Ok(IpAddr::V6(addr)) => {
                addr.is_loopback() || addr.is_unique_local() || addr.is_unicast_link_local()
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Where a `Location` of an answer leads; `None` if that is another origin or no URL.
    ///
    /// Headers of a call carry keys and credentials: no answer can have them sent to a stranger.
    #[must_use]
    pub fn follow(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let (scheme, authority) = (self.0.scheme_str()?, self.0.authority()?);
            return Self::parse(&format!("{scheme}://{authority}{location}"));
        }
        Self::parse(location).filter(|next| next.origin() == self.origin())
    }

    fn origin(&self) -> (Option<&str>, Option<String>, u16) {
        let default = if self.is_tls() { 443 } else { 80 };
        let host = self.0.host().map(str::to_ascii_lowercase);
        (self.0.scheme_str(), host, self.0.port_u16().unwrap_or(default))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "{scheme}://{authority}{}", self.0.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_absolute_url_without_credentials() {
        for good in [
            "http://127.0.0.1:3000/verify",
            "https://api.example",
            "http://[::1]:80/a?token=x",
            "HTTP://api.example/%20",
        ] {
            assert!(Address::parse(good).is_some(), "{good}");
        }
        let long = format!("http://x/{}", "a".repeat(BYTES_MAX));
        for bad in [
            "",
            "/verify",
            "api.example/verify",
            "ftp://api.example/",
            "http://",
            "http://:80/",
            "http://user:pw@api.example/",
            "http://api.example:port/",
            "http://api.example:/",
            "http://api.example:0/",
            "http://api.example:99999/",
            "http://api.example/#part",
            "http://api.example/a b",
            "http://api.example/\r\nx: y",
            &long,
        ] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_query_is_never_shown() {
        let address = Address::parse("https://api.example:444/verify?secret=hunter2").unwrap();
        assert_eq!(format!("{address} {address:?}").matches("hunter2").count(), 0);
        assert_eq!(address.to_string(), "https://api.example:444/verify");
        assert_eq!(address.with_query(), "https://api.example:444/verify?secret=hunter2");
    }

    #[test]
    fn redirects_stay_within_the_origin() {
        let address = Address::parse("http://api.example/verify").unwrap();
        let follow = |location: &str| address.follow(location).map(|next| next.to_string());
        assert_eq!(follow("/v2/verify").as_deref(), Some("http://api.example/v2/verify"));
        assert_eq!(follow("http://API.example:80/x").as_deref(), Some("http://API.example:80/x"));
        for elsewhere in [
            "https://api.example/verify",
            "http://api.example:81/",
            "http://evil.example/",
            "//evil.example/",
            "verify",
            "",
        ] {
            assert_eq!(follow(elsewhere), None, "{elsewhere}");
        }
    }
}
