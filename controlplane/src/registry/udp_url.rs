//! The addresses of inputs that come in datagrams.
//!
//! ```text
//!   udp://[SENDER@]ADDRESS:PORT[?interface=NAME&timeout_sec=N&buffer_bytes=N]
//!   rtp://..                    means the same: whether there is a header of RTP shows by itself
//! ```
//!
//! `ADDRESS` is a group of multicast or one of this host; without it every address of the host is
//! meant. A group with a sender is joined for that one alone. `params` of the input are options
//! like those of the query, and go before them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dataplane::control::UdpInput;
use dataplane::session::mpegts::TransportTerms;

use super::fault::Fault;
use super::input::Input;

/// Bytes of datagrams that wait in the kernel, unless the address says otherwise: the kernel's
/// memory, taken while they wait.
const BUFFER_BYTES: u32 = 2 << 20;
/// What an address may say.
pub(crate) const BUFFER_BYTES_MIN: u32 = 256 << 10;
const BUFFER_BYTES_MAX: u32 = 64 << 20;
/// Seconds without a datagram at most.
const TIMEOUT_SEC_MAX: u32 = 86_400;
/// Bytes of the name of an interface at most (IFNAMSIZ).
const INTERFACE_BYTES_MAX: usize = 15;

/// What of the query and the parameters is understood.
#[derive(Default)]
struct Options<'a> {
    interface: Option<&'a str>,
    timeout_sec: Option<u32>,
    buffer_bytes: Option<u32>,
}

/// Where the datagrams of an input with an address of `udp://` come from.
///
/// Errors: an address, or an option, that means nothing.
pub(super) fn parse(input: &Input) -> Result<UdpInput, Fault> {
    let (_, rest) = input.url.trim().split_once("://").unwrap_or_default();
    let rest = rest.split('#').next().unwrap_or_default();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let place = place.strip_suffix('/').unwrap_or(place);
    let (sender, place) = place.rsplit_once('@').unwrap_or(("", place));
    let addr = address(place)?;
    let source = match sender {
        "" => None,
        sender => Some(ip(sender)?),
    };
    let options = options(input, query)?;
    let is_group = addr.ip().is_multicast();
    if is_group && source.is_some_and(|source| source.is_ipv4() != addr.is_ipv4()) {
        return Err(invalid("a sender has an address of its group's family"));
    }
    if !is_group && options.interface.is_some() {
        let message = "an interface is for groups of multicast; write an address of it before the \
                       port instead";
        return Err(invalid(message));
    }
    let timeout_sec = options.timeout_sec.unwrap_or(input.net.timeout_sec);
    let timeout_sec = bounded("timeout_sec", timeout_sec, 0, TIMEOUT_SEC_MAX)?;
    let buffer_bytes = options.buffer_bytes.unwrap_or(BUFFER_BYTES);
    Ok(UdpInput {
        addr,
        source,
        interface: options.interface.map(Arc::from),
        timeout: (timeout_sec > 0).then(|| Duration::from_secs(timeout_sec.into())),
        receive_buffer_bytes: bounded(
            "buffer_bytes",
            buffer_bytes,
            BUFFER_BYTES_MIN,
            BUFFER_BYTES_MAX,
        )?,
        transport: TransportTerms::default(),
    })
}

fn address(place: &str) -> Result<SocketAddr, Fault> {
    let every = format!("[::]{place}");
    let place = if place.starts_with(':') { every.as_str() } else { place };
    let addr = place.parse::<SocketAddr>().ok().filter(|addr| addr.port() > 0);
    addr.ok_or_else(|| {
        let message = format!(
            "{place:?} is no address and port; write udp://239.1.2.3:5000 for a group, \
             udp://0.0.0.0:5000 for what is sent to this host"
        );
        invalid(message)
    })
}

fn ip(text: &str) -> Result<IpAddr, Fault> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let wrong = || invalid(format!("{text:?} before the @ is no address of a sender"));
    bare.parse().map_err(|_| wrong())
}

fn options<'a>(input: &'a Input, query: &'a str) -> Result<Options<'a>, Fault> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let params = input.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut options = Options::default();
    for (name, value) in pairs.chain(params) {
        let number = || {
            let wrong = || invalid(format!("{name} is a whole number, and not {value:?}"));
            value.parse::<u32>().map_err(|_| wrong())
        };
        match name {
            "interface" if (1..=INTERFACE_BYTES_MAX).contains(&value.len()) => {
                options.interface = Some(value);
            }
            "interface" => return Err(invalid(format!("{value:?} is no name of an interface"))),
            "timeout_sec" => options.timeout_sec = Some(number()?),
            "buffer_bytes" => options.buffer_bytes = Some(number()?),
            other => {
                let known = "interface, timeout_sec, buffer_bytes";
                return Err(invalid(format!("there is no option {other:?}; there are {known}")));
            }
        }
    }
    Ok(options)
}

fn bounded(name: &str, value: u32, min: u32, max: u32) -> Result<u32, Fault> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(invalid(format!("{name} is {value}; it is from {min} to {max}")))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("invalid_input_url", "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(url: &str) -> Input {
        Input { url: url.to_owned(), ..Input::default() }
    }

    #[test]
    fn groups_senders_and_addresses_are_told_apart() {
        let sender: IpAddr = "192.0.2.7".parse().unwrap();
        let sender_v6: IpAddr = "2001:db8::7".parse().unwrap();
        for (url, addr, source) in [
            ("udp://239.1.2.3:5000", "239.1.2.3:5000", None),
            ("udp://@239.1.2.3:5000/", "239.1.2.3:5000", None),
            ("rtp://239.1.2.3:5004", "239.1.2.3:5004", None),
            ("UDP://192.0.2.7@232.1.2.3:5000", "232.1.2.3:5000", Some(sender)),
            ("udp://[2001:db8::7]@[ff3e::1]:5000", "[ff3e::1]:5000", Some(sender_v6)),
            ("udp://0.0.0.0:5000", "0.0.0.0:5000", None),
            ("udp://:5000", "[::]:5000", None),
            ("udp://@:5000#x", "[::]:5000", None),
            ("udp://192.0.2.7@:5000", "[::]:5000", Some(sender)),
        ] {
            let parsed = parse(&input(url)).unwrap();
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!((parsed.addr, parsed.source), (addr, source), "{url}");
            assert_eq!((parsed.timeout, parsed.receive_buffer_bytes), (None, BUFFER_BYTES));
        }
    }

    #[test]
    fn options_come_from_the_query_and_from_the_input() {
        let url = "udp://239.1.2.3:5000?interface=eth0&timeout_sec=3&buffer_bytes=262144";
        let mut asked = input(url);
        asked.net.timeout_sec = 9;
        let parsed = parse(&asked).unwrap();
        assert_eq!(parsed.interface.as_deref(), Some("eth0"));
        assert_eq!(parsed.timeout, Some(Duration::from_secs(3)));
        assert_eq!(parsed.receive_buffer_bytes, 262_144);
        let mut asked = input("udp://239.1.2.3:5000");
        asked.net.timeout_sec = 9;
        asked.params.insert("interface".to_owned(), "lo".to_owned());
        let parsed = parse(&asked).unwrap();
        assert_eq!(parsed.timeout, Some(Duration::from_secs(9)));
        assert_eq!(parsed.interface.as_deref(), Some("lo"));
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_mend() {
        for (url, says) in [
            ("udp://h:5000", "is no address and port"),
            ("udp://239.1.2.3", "is no address and port"),
            ("udp://239.1.2.3:0", "is no address and port"),
            ("udp://239.1.2.3:5000/x", "is no address and port"),
            ("udp://h@239.1.2.3:5000", "no address of a sender"),
            ("udp://[2001:db8::7]@239.1.2.3:5000", "its group's family"),
            ("udp://0.0.0.0:5000?interface=lo", "for groups of multicast"),
            ("udp://239.1.2.3:5000?interface=", "no name of an interface"),
            ("udp://239.1.2.3:5000?interface=0123456789abcdef", "no name of an interface"),
            ("udp://239.1.2.3:5000?timeout_sec=x", "a whole number"),
            ("udp://239.1.2.3:5000?timeout_sec=86401", "from 0 to 86400"),
            ("udp://239.1.2.3:5000?buffer_bytes=1", "from 262144 to 67108864"),
            ("udp://239.1.2.3:5000?fifo_size=1", "there are interface, timeout_sec"),
        ] {
            let fault = parse(&input(url)).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_input_url", "url"), "{url}");
            assert!(fault.message.contains(says), "{url}: {}", fault.message);
        }
    }
}
