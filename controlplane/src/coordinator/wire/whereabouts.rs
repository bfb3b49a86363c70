//! Whereabouts: where a streaming server is found, as it tells in the headers of its connection.
//!
//! Shape: `x-external-ip: ADDRESS`, `x-custom-port: PORT`, `x-ssl-use: true`; each may be missing.

use std::net::{IpAddr, SocketAddr};

use dataplane::ids::Secret;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::role::Role;

const IP: HeaderName = HeaderName::from_static("x-external-ip");
const PORT: HeaderName = HeaderName::from_static("x-custom-port");
const SSL: HeaderName = HeaderName::from_static("x-ssl-use");

/// Where encoders pull from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// That is inside TLS.
    pub ssl: bool,
}

impl Whereabouts {
    /// What the headers of a connection from `peer` say, and else what is usual for `role`. What is
    /// no address or port is as if it were missing.
    #[must_use]
    pub fn read(role: Role, headers: &HeaderMap, peer: IpAddr) -> Self {
        let text = |name: &HeaderName| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
        };
        let ip = text(&IP).and_then(|text| text.parse::<IpAddr>().ok());
        let port = text(&PORT).and_then(|text| text.parse().ok()).filter(|&port| port > 0);
        Self {
            ip: ip.unwrap_or(peer).to_canonical(),
            port: port.unwrap_or(role.default_port()),
            ssl: text(&SSL).is_some_and(|text| text.eq_ignore_ascii_case("true")),
        }
    }

    /// The headers that say so.
    #[must_use]
    pub fn headers(self) -> HeaderMap {
        let value = |text: String| HeaderValue::from_str(&text).expect("addresses are plain text");
        let mut headers = HeaderMap::from_iter([
            (IP, value(self.ip.to_string())),
            (PORT, value(self.port.to_string())),
        ]);
        if self.ssl {
            headers.insert(SSL, HeaderValue::from_static("true"));
        }
        headers
    }

    /// Takes the address out of what [`Self::headers`] made: whoever reads them takes the one that
    /// the connection comes from.
    pub fn leave_ip(headers: &mut HeaderMap) {
        headers.remove(IP);
    }

    /// Where `role` gives `channel` to whoever shows `key`; an address of IPv6 is in brackets.
    #[must_use]
    pub fn uri(self, role: Role, channel: &str, key: &str) -> Secret {
        let scheme = match (role, self.ssl) {
            (Role::Rtmp, false) => "rtmp",
            (Role::Rtmp, true) => "rtmps",
            (_, false) => "ws",
            (_, true) => "wss",
        };
        let at = SocketAddr::new(self.ip, self.port);
        Secret(format!("{scheme}://{at}/{channel}/{key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_server_is_where_it_says_and_else_where_it_comes_from() {
        let peer: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        for (role, list, uri) in [
            (Role::Rtmp, &[][..], "rtmp://192.0.2.7:1935/c/k"),
            (Role::Wss, &[("x-ssl-use", "TRUE")], "wss://192.0.2.7:80/c/k"),
            (
                Role::Rtmp,
                &[
                    ("x-external-ip", "2001:db8::1"),
                    ("x-custom-port", "443"),
                    ("x-ssl-use", "true"),
                ],
                "rtmps://[2001:db8::1]:443/c/k",
            ),
            // Names of hosts were promised and never worked.
            (
                Role::Wss,
                &[("x-external-ip", "edge.example"), ("x-custom-port", "0"), ("x-ssl-use", "1")],
                "ws://192.0.2.7:80/c/k",
            ),
            (Role::Rtmp, &[("x-custom-port", "70000")], "rtmp://192.0.2.7:1935/c/k"),
        ] {
            let at = Whereabouts::read(role, &headers(list), peer);
            assert_eq!(at.uri(role, "c", "k").0, uri);
            assert_eq!(Whereabouts::read(role, &at.headers(), "::1".parse().unwrap()), at);
        }
    }
}
