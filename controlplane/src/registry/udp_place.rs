//! The addresses of pushes in datagrams.
//!
//! ```text
//!   udp://HOST:PORT[?pkt_size=1316&ttl=N&interface=NAME&localaddr=ADDRESS]
//!   rtp://HOST:PORT[?...]
//! ```
//!
//! `HOST` is a name, an address or a group of multicast; `rtp` puts a header of RTP before the
//! packets. The options are named as ffmpeg names them.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::control::UdpPeer;

use super::fault::Fault;

/// Bytes of the name of an interface at most (IFNAMSIZ).
const INTERFACE_BYTES_MAX: usize = 15;
/// Routers that a datagram to a group may pass, unless the address says so: as ffmpeg has it.
const TTL: u8 = 16;
/// Seven packets: what a datagram carries. With the header of RTP it is said in two ways.
const PACKET_BYTES: [&str; 2] = ["1316", "1328"];
/// Bytes of a host's name at most (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Where datagrams are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpPlace {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How they are sent.
    pub peer: UdpPeer,
}

/// True if an address is of this kind.
pub(super) fn is_udp(url: &str) -> bool {
    let scheme = url.trim().split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("udp") || scheme.eq_ignore_ascii_case("rtp")
}

/// Reads the address of a push.
///
/// Errors: an address, or an option, that means nothing.
pub(super) fn parse(url: &str) -> Result<UdpPlace, Fault> {
    let (scheme, rest) = url.trim().split_once("://").unwrap_or_default();
    let rest = rest.split('#').next().unwrap_or_default();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
    let host = host.strip_prefix('@').unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = |host: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_letter)
    };
    let is_host = match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) => {
            ip.is_ipv6() == bare.is_some()
                && !ip.is_unspecified()
                && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
        }
        Err(_) => bare.is_none() && is_name(host),
    };
    let port = port.parse::<u16>().ok().filter(|&port| port > 0);
    let Some(port) = port.filter(|_| is_host) else {
        let message = format!(
            "{place:?} is no host and port; write {scheme}://239.1.2.3:5000 for a group, \
             {scheme}://probe.example:5000 for a host"
        );
        return Err(invalid(message));
    };
    let mut peer = UdpPeer {
        is_rtp: scheme.eq_ignore_ascii_case("rtp"),
        ttl: TTL,
        interface: None,
        local: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        read(pair, &mut peer)?;
    }
    let host = bare.unwrap_or(host).to_owned();
    let is_other = |ip: IpAddr| peer.local.is_some_and(|local| local.is_ipv4() != ip.is_ipv4());
    if host.parse().is_ok_and(is_other) {
        return Err(invalid("localaddr is of the family of the host that it sends to"));
    }
    Ok(UdpPlace { host, port, peer })
}

fn read(pair: &str, peer: &mut UdpPeer) -> Result<(), Fault> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    match name {
        "pkt_size" if PACKET_BYTES[..=usize::from(peer.is_rtp)].contains(&value) => {}
        "pkt_size" => {
            let message = format!("pkt_size is 1316, seven packets a datagram, and not {value:?}");
            return Err(invalid(message));
        }
        "ttl" => {
            let wrong = || invalid(format!("ttl is from 0 to 255, and not {value:?}"));
            peer.ttl = value.parse().map_err(|_| wrong())?;
        }
        "interface" if (1..=INTERFACE_BYTES_MAX).contains(&value.len()) => {
            peer.interface = Some(value.into());
        }
        "interface" => return Err(invalid(format!("{value:?} is no name of an interface"))),
        "localaddr" => {
            let wrong = || invalid(format!("localaddr is an address of this host, not {value:?}"));
            peer.local = Some(value.parse().map_err(|_| wrong())?);
        }
        other => {
            let known = "pkt_size, ttl, interface, localaddr";
            return Err(invalid(format!("there is no option {other:?}; there are {known}")));
        }
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("invalid_push_url", "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_where_and_how() {
        let plain = UdpPeer { is_rtp: false, ttl: TTL, interface: None, local: None };
        let rtp = UdpPeer { is_rtp: true, ..plain.clone() };
        let all = UdpPeer {
            is_rtp: true,
            ttl: 3,
            interface: Some("eth1".into()),
            local: Some("192.0.2.1".parse().unwrap()),
        };
        for (url, host, port, peer) in [
            ("udp://239.1.2.3:5000", "239.1.2.3", 5_000, plain.clone()),
            (" UDP://@239.1.2.3:5000/?pkt_size=1316", "239.1.2.3", 5_000, plain.clone()),
            ("udp://[ff3e::1]:9#x", "ff3e::1", 9, plain),
            ("rtp://probe-1.example:5004?pkt_size=1328", "probe-1.example", 5_004, rtp),
            ("rtp://h:1?ttl=3&interface=eth1&localaddr=192.0.2.1&pkt_size=1316", "h", 1, all),
        ] {
            assert!(is_udp(url), "{url}");
            let expected = UdpPlace { host: host.to_owned(), port, peer };
            assert_eq!(parse(url), Ok(expected), "{url}");
        }
        assert!(!is_udp("srt://h:1") && !is_udp("udp"));
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_mend() {
        for (url, says) in [
            ("udp://", "no host and port"),
            ("udp://:5000", "no host and port"),
            ("udp://h", "no host and port"),
            ("udp://h:0", "no host and port"),
            ("udp://h:1/x", "no host and port"),
            ("udp://[h]:1", "no host and port"),
            ("udp://[192.0.2.1]:1", "no host and port"),
            ("udp://ff3e::1:5000", "no host and port"),
            ("udp://0.0.0.0:5000", "no host and port"),
            ("udp://255.255.255.255:5000", "no host and port"),
            ("udp://h:1?pkt_size=1472", "pkt_size is 1316"),
            ("udp://h:1?pkt_size=1328", "pkt_size is 1316"),
            ("udp://h:1?ttl=256", "from 0 to 255"),
            ("udp://h:1?interface=", "no name of an interface"),
            ("udp://h:1?localaddr=h", "an address of this host"),
            ("udp://239.1.2.3:1?localaddr=::1", "the family of the host"),
            ("rtp://user@h:1", "write rtp://239.1.2.3:5000"),
            ("udp://h:1?fifo_size=1", "there are pkt_size"),
        ] {
            let fault = parse(url).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_push_url", "url"), "{url}");
            assert!(fault.message.contains(says), "{url}: {}", fault.message);
        }
    }
}
