//! Base: where a coordinator is, below which its control WebSockets are.
//!
//! Shape: `ws://`, `wss://`, `http://` or `https://`, a host, perhaps a port and the path of a
//! proxy; no query.

use crate::coordinator::wire::Role;
use crate::outbound::Address;

/// The address of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(Address);

impl Base {
    /// Parses an address; `None` if it is none of a WebSocket.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => "http",
            "wss" | "https" => "https",
            _ => return None,
        };
        let bare = !rest.contains('?');
        Address::parse(&format!("{scheme}://{}", rest.trim_end_matches('/')))
            .filter(|_| bare)
            .map(Self)
    }

    /// Where one of that role connects to.
    #[must_use]
    pub fn of(&self, role: Role) -> Address {
        let base = self.0.to_string();
        let whole = format!("{}{}", base.trim_end_matches('/'), role.path());
        Address::parse(&whole).expect("a path makes it no longer than an address may be")
    }

    /// True if nobody outside is on the way, or it is inside TLS.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.is_tls() || self.0.is_near()
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let scheme = if self.0.is_tls() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}", rest.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_websocket_with_the_path_of_a_proxy() {
        for (text, shown, address) in [
            ("ws://c.example", "ws://c.example", "http://c.example/ws/control/rtmp"),
            ("wss://[::1]:8/", "wss://[::1]:8", "https://[::1]:8/ws/control/rtmp"),
            (
                "HTTP://c.example:80/a/b/",
                "ws://c.example:80/a/b",
                "http://c.example:80/a/b/ws/control/rtmp",
            ),
            ("https://c.example//", "wss://c.example", "https://c.example/ws/control/rtmp"),
        ] {
            let base = Base::parse(text).unwrap();
            assert_eq!(base.to_string(), shown);
            assert_eq!(base.of(Role::Rtmp).to_string(), address);
            assert_eq!(Base::parse(shown), Some(base));
        }
        let long = format!("ws://c.example/{}", "x".repeat(2_048));
        for none in ["", "ws://", "c.example", "rtmp://c.example", "ws://u:p@c.example", &long] {
            assert_eq!(Base::parse(none), None, "{none}");
        }
        assert_eq!(Base::parse("ws://c.example/?token=1"), None, "a query would be lost");
        let private = ["wss://c.example", "ws://127.0.0.1:8090", "ws://10.0.0.7"];
        assert!(private.iter().all(|text| Base::parse(text).unwrap().is_private()));
        assert!(!Base::parse("ws://c.example").unwrap().is_private());
    }
}
