//! `X-Forwarded-For`: for whom a reverse proxy asks.
//!
//! Spec: none; RFC 7239 section 1 tells of the practice. Each proxy adds, behind what was there,
//! the address that connected to it. What was there may be a lie, so the list is read from its end
//! for as long as those who speak are believed.
//! Limits: [`HOPS_MAX`]. Not here: `Forwarded` (RFC 7239): a proxy that writes the one and passes
//! the other on would let its clients say who they are.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Proxies in a row that are believed at most.
pub const HOPS_MAX: usize = 16;

/// The client of a request that a believed proxy sent with these values of the field: the last
/// address of the list that is not of a believed proxy itself. `None` if the proxy tells of nobody.
pub fn forwarded_for<'a>(
    lists: impl DoubleEndedIterator<Item = &'a [u8]>,
    is_believed: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut client = None;
    let text = |list| core::str::from_utf8(list).unwrap_or_default();
    let lists = lists.map(text).rev();
    for entry in lists.flat_map(|list| list.rsplit(',')).take(HOPS_MAX) {
        // Behind what cannot be read nobody is known.
        let Some(address) = address_of(entry.trim()) else { break };
        client = Some(address);
        if !is_believed(address) {
            break;
        }
    }
    client
}

/// An address, which some proxies give with its port, or IPv6 in brackets.
fn address_of(entry: &str) -> Option<IpAddr> {
    let plain = || entry.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = plain().or_else(with_port).or_else(in_brackets)?.to_canonical();
    (address != IpAddr::V4(Ipv4Addr::UNSPECIFIED)).then_some(address)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::http1::{RequestLimits, parse_request};

    fn client(fields: &str) -> Option<String> {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (request, _) = parse_request(text.as_bytes(), &RequestLimits::default()).unwrap()?;
        let proxies = |addr: IpAddr| format!("{addr}").starts_with("10.");
        forwarded_for(request.values("x-forwarded-for"), proxies).map(|client| format!("{client}"))
    }

    #[test]
    fn the_last_stranger_is_the_client() {
        for (fields, wanted) in [
            ("", None),
            ("X-Forwarded-For: 192.0.2.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 192.0.2.1, 10.0.0.2,10.0.0.3\r\n", Some("192.0.2.1")),
            // What stands before a stranger, he may have written himself.
            ("X-Forwarded-For: 127.0.0.1, 192.0.2.1, 10.0.0.2\r\n", Some("192.0.2.1")),
            ("x-forwarded-for: 127.0.0.1\r\nX-FORWARDED-FOR: 192.0.2.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 192.0.2.1:4711\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 2001:db8::1\r\n", Some("2001:db8::1")),
            ("X-Forwarded-For: [2001:db8::1]\r\n", Some("2001:db8::1")),
            ("X-Forwarded-For: [2001:db8::1]:4711\r\n", Some("2001:db8::1")),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", Some("192.0.2.1")),
            // Every hop is one of ours.
            ("X-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n", Some("10.0.0.2")),
            ("X-Forwarded-For: unknown, 10.0.0.3\r\n", Some("10.0.0.3")),
            ("X-Forwarded-For: 192.0.2.1, unknown\r\n", None),
            ("X-Forwarded-For: 192.0.2.1,\r\n", None),
            ("X-Forwarded-For: localhost\r\n", None),
            ("X-Forwarded-For: 0.0.0.0\r\n", None),
            ("Forwarded: for=192.0.2.1\r\n", None),
        ] {
            assert_eq!(client(fields).as_deref(), wanted, "{fields}");
        }
    }

    #[test]
    fn a_chain_without_end_is_followed_for_a_while() {
        let hops = "10.0.0.1, ".repeat(HOPS_MAX);
        let fields = format!("X-Forwarded-For: 192.0.2.1, {}10.0.0.9\r\n", hops);
        assert_eq!(client(&fields).as_deref(), Some("10.0.0.1"));
    }
}
