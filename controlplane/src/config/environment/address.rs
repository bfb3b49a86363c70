//! Address: the port of one variable and the address of another, put together.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::super::document::Datum;
use super::super::settings::Settings;

/// The listeners that an address to bind to is for, by their sections.
pub(super) const LISTENERS: [&str; 6] = [
    "listeners.control",
    "listeners.control_tls",
    "listeners.rtmp",
    "listeners.http",
    "listeners.rtmps",
    "listeners.https",
];

/// The address to bind to; an empty one, or `*`, is every interface.
pub(super) fn parse_bind(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner.unwrap_or(text) {
        "*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        text => text.parse().ok(),
    }
}

/// Where the listener of `section` shall be.
///
/// A port without an address is bound to every interface, as the family does, unless the listener's
/// own key says where; an address without a port keeps the ports.
pub(super) fn place(
    section: &str,
    settings: &Settings,
    configured: bool,
    bind: Option<IpAddr>,
    port: Option<u16>,
) -> Datum {
    let listeners = &settings.listeners;
    let now: &[SocketAddr] = match section {
        "listeners.control" => std::slice::from_ref(&listeners.control.addr),
        "listeners.control_tls" => std::slice::from_ref(&listeners.control_tls.addr),
        "listeners.rtmp" => &listeners.rtmp.addr,
        "listeners.http" => &listeners.http.addr,
        "listeners.rtmps" => &listeners.rtmps.addr,
        _ => &listeners.https.addr,
    };
    let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let moved = |addr: &SocketAddr| {
        let ip = bind.unwrap_or(if configured { addr.ip() } else { everywhere });
        SocketAddr::new(ip, port.unwrap_or_else(|| addr.port()))
    };
    let mut addrs: Vec<_> = now.iter().map(moved).collect();
    addrs.dedup();
    match addrs.as_slice() {
        [one] => Datum::Text(one.to_string()),
        many => Datum::List(many.iter().map(|addr| Datum::Text(addr.to_string())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_everything() {
        for (text, ip) in [
            ("127.0.0.1", Some("127.0.0.1")),
            (" ::1 ", Some("::1")),
            ("[::1]", Some("::1")),
            ("*", Some("::")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("localhost", None),
            ("[::1", None),
            ("127.0.0.1:80", None),
        ] {
            assert_eq!(parse_bind(text), ip.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_port_alone_opens_every_interface_unless_the_file_says_where() {
        let settings = Settings::default();
        let bind = "192.0.2.1".parse().ok();
        for (configured, bind, port, addr) in [
            (false, None, Some(80), "[::]:80"),
            (true, None, Some(80), "127.0.0.1:80"),
            (false, bind, Some(80), "192.0.2.1:80"),
            (true, bind, None, "192.0.2.1:8090"),
        ] {
            let placed = place("listeners.control", &settings, configured, bind, port);
            assert_eq!(placed, Datum::Text(addr.to_owned()));
        }
    }
}
