//! The addresses of SRT peers that the node connects to.
//!
//! ```text
//!   srt://HOST:PORT[?streamid=..&passphrase=..&pbkeylen=16|24|32&latency=MS&..]
//! ```
//!
//! Options have the names that srt-live-transmit and ffmpeg give them, times are milliseconds. A
//! stream id may be written as it is, `#!::` included, or with percent signs. `params` of an input
//! are options like those of the query, and go before them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use codecs::http1::percent_decode;
use codecs::srt::{KeyLength, Passphrase, STREAM_ID_BYTES_MAX};
use dataplane::config::UrlDialect;
use dataplane::control::SrtPeer;
use dataplane::ids::Secret;
use dataplane::session::mpegts::TransportTerms;
use dataplane::session::srt::shown;

use super::fault::Fault;
use super::passphrases::MASK;

/// Milliseconds that a lost packet may be waited for at most.
const LATENCY_MS_MAX: u32 = 60_000;
/// Milliseconds that a handshake may take.
const CONNECT_MS_MIN: u32 = 100;
const CONNECT_MS_MAX: u32 = 60_000;
/// And those that it may take where nothing is said.
const CONNECT_MS: u32 = 3_000;
/// Bytes of a host's name at most (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// The bytes of media in one packet, which players of a stream share.
const PACKET_BYTES: &str = "1316";
/// What a stream id may begin with, instead of a name.
const VERBS: [&str; 4] = ["publish:", "read:", "request:", "play:"];
const KNOWN: &str = "mode, streamid, passphrase, pbkeylen, latency, rcvlatency, peerlatency, \
                     conntimeo, adapter (localaddr), localport, transtype";

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The node calls.
    Caller,
    /// The peer calls.
    Listener,
    /// Both call.
    Rendezvous,
}

/// Where an SRT peer is, and what is agreed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtPlace {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The rest.
    pub peer: SrtPeer,
}

/// What of the query and the parameters is understood.
#[derive(Default)]
struct Options {
    mode: Option<Mode>,
    stream_id: String,
    passphrase: Option<Passphrase>,
    key_length: Option<KeyLength>,
    latency: Option<Duration>,
    receive_latency: Option<Duration>,
    peer_latency: Option<Duration>,
    connect_timeout: Option<Duration>,
    local_addr: Option<IpAddr>,
    local_port: u16,
}

/// Where the peer of an address of `srt://` is.
///
/// Errors: an address, or an option, that means nothing.
pub(super) fn parse(url: &str, params: &BTreeMap<String, String>) -> Result<SrtPlace, Fault> {
    let (place, query) = split(url);
    let (host, port) = host_of(place)?;
    let options = Options::read(query, params)?;
    if options.mode == Some(Mode::Listener) {
        let message = "with mode=listener the peer calls, at listeners.srt; leave the host out, or \
                       the mode";
        return Err(invalid(message));
    }
    let rendezvous = options.mode == Some(Mode::Rendezvous);
    let local = options.local(&host, rendezvous.then_some(port))?;
    let peer = SrtPeer {
        rendezvous,
        stream_id: Secret(options.stream_id),
        passphrase: options.passphrase,
        key_length: options.key_length.unwrap_or(KeyLength::Aes128),
        latency: options.receive_latency.or(options.latency),
        peer_latency: options.peer_latency.or(options.latency),
        connect_timeout: options
            .connect_timeout
            .unwrap_or_else(|| Duration::from_millis(CONNECT_MS.into())),
        local,
        transport: TransportTerms::default(),
    };
    Ok(SrtPlace { host, port, peer })
}

/// Who calls whom, as far as an address says it.
pub(super) fn mode(url: &str) -> Option<Mode> {
    pairs(split(url).1).find(|&(name, _)| name == "mode").and_then(|(_, value)| mode_of(value))
}

/// An address as it may be shown: without its passphrase, and what of its stream id may be a
/// secret.
pub(crate) fn masked(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => format!("{name}={}", masked_escaped(name, value)),
        None => pair.to_owned(),
    });
    format!("{place}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// The value of an option of a query as it may be shown; nothing of one that nobody can read.
fn masked_escaped(name: &str, value: &str) -> String {
    let Ok(plain) = percent_decode(value) else { return MASK.to_owned() };
    let masked = masked_option(name, &plain);
    match masked == plain {
        true => value.to_owned(),
        false => masked.replace('%', "%25").replace('&', "%26"),
    }
}

/// The value of one option, which is not escaped, as it may be shown.
pub(crate) fn masked_option(name: &str, value: &str) -> String {
    match name {
        "passphrase" if !value.is_empty() => MASK.to_owned(),
        "streamid" | "srt_streamid" => masked_id(value),
        _ => value.to_owned(),
    }
}

/// A stream id as it may be shown. How the peer names its streams nobody knows here: what stands
/// last in a name may be a key, as in an address of RTMP.
fn masked_id(id: &str) -> String {
    if id.is_empty() || id.starts_with("#!::") {
        return shown(Some(id.as_bytes()), UrlDialect::ChannelKey);
    }
    let verb = VERBS.into_iter().find(|verb| id.starts_with(verb)).unwrap_or_default();
    let name = &id[verb.len()..];
    // Behind these come users, passwords and keys, or anything.
    let plain = name.split([':', '?', '%', ',', '=']).next().unwrap_or_default();
    let folder = plain.rfind('/').map_or("", |at| &plain[..=at]);
    let folder = shown(Some(folder.as_bytes()), UrlDialect::Name);
    let last = if name.is_empty() { "" } else { MASK };
    format!("{verb}{folder}{last}")
}

/// True for an address whose secrets these are.
pub(crate) fn is_srt(url: &str) -> bool {
    url.trim().split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("srt"))
}

/// What lies before and behind the question mark; a stream id begins with a `#`, so that there are
/// no fragments.
fn split(url: &str) -> (&str, &str) {
    let (_, rest) = url.trim().split_once("://").unwrap_or_default();
    rest.split_once('?').unwrap_or((rest, ""))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn host_of(place: &str) -> Result<(String, u16), Fault> {
    let place = place.strip_suffix('/').unwrap_or(place);
    let wrong =
        || invalid("it is srt://HOST:PORT?OPTIONS, as srt://origin.example:9000?streamid=live/cam");
    let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let bare = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) if v6.parse::<IpAddr>().is_ok() => v6,
        Some(_) => return Err(wrong()),
        None => host,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = bare.len() <= HOST_BYTES_MAX && !bare.is_empty() && bare.bytes().all(is_plain);
    if is_name || bare.parse::<IpAddr>().is_ok() {
        return Ok((bare.to_owned(), port));
    }
    Err(wrong())
}

fn mode_of(word: &str) -> Option<Mode> {
    match word {
        "caller" | "client" => Some(Mode::Caller),
        "listener" | "server" => Some(Mode::Listener),
        "rendezvous" => Some(Mode::Rendezvous),
        _ => None,
    }
}

impl Options {
    fn read(query: &str, params: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let mut options = Self::default();
        let params = params.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in pairs(query) {
            let value = percent_decode(value);
            let wrong = |_| invalid(format!("{name} has a % without two hexadecimal digits"));
            options.set(name, &value.map_err(wrong)?)?;
        }
        for (name, value) in params {
            options.set(name, &value)?;
        }
        Ok(options)
    }

    /// No error repeats what may be a secret.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "mode" => {
                let wrong =
                    || invalid("mode is caller or rendezvous, or listener where the peer calls");
                self.mode = Some(mode_of(value).ok_or_else(wrong)?);
            }
            "streamid" | "srt_streamid" if value.len() <= STREAM_ID_BYTES_MAX => {
                value.clone_into(&mut self.stream_id);
            }
            "streamid" | "srt_streamid" => {
                let message = format!("a stream id has {STREAM_ID_BYTES_MAX} bytes at most");
                return Err(invalid(message));
            }
            "passphrase" if value.is_empty() => self.passphrase = None,
            "passphrase" => {
                let wrong = |_| invalid("a passphrase has 10 to 80 bytes");
                self.passphrase = Some(Passphrase::new(value.as_bytes()).map_err(wrong)?);
            }
            "pbkeylen" => {
                self.key_length = match value.parse().map(KeyLength::from_bytes) {
                    Ok(Some(length)) => Some(length),
                    _ if value == "0" => None,
                    _ => return Err(invalid("pbkeylen is 16, 24 or 32")),
                };
            }
            "latency" => self.latency = Some(latency(name, value)?),
            "rcvlatency" | "recvlatency" => self.receive_latency = Some(latency(name, value)?),
            "peerlatency" => self.peer_latency = Some(latency(name, value)?),
            "conntimeo" | "connect_timeout" => {
                let timeout = millis(name, value, CONNECT_MS_MIN, CONNECT_MS_MAX)?;
                self.connect_timeout = Some(timeout);
            }
            "adapter" | "localaddr" => {
                let wrong = |_| invalid(format!("{name} is an address of this host"));
                self.local_addr = Some(value.parse().map_err(wrong)?);
            }
            "localport" | "port" => {
                let wrong = |_| invalid(format!("{name} is a port, from 0 to 65535"));
                self.local_port = value.parse().map_err(wrong)?;
            }
            "transtype" if value == "live" => {}
            "pkt_size" | "payload_size" | "payloadsize" if value == PACKET_BYTES => {}
            other => {
                let message = format!("there is no option {other:?} of that; there are {KNOWN}");
                return Err(invalid(message));
            }
        }
        Ok(())
    }

    /// Where the peer is called from; two callers meet at the same `port` if nothing is said.
    fn local(&self, host: &str, port: Option<u16>) -> Result<Option<SocketAddr>, Fault> {
        let local_port = match (self.local_port, port) {
            (0, Some(port)) => port,
            (said, _) => said,
        };
        if self.local_addr.is_none() && local_port == 0 {
            return Ok(None);
        }
        let local = self.local_addr.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let other = |ip: IpAddr| ip.is_ipv4() != local.is_ipv4() && !local.is_unspecified();
        if host.parse().is_ok_and(other) {
            return Err(invalid("the local address is of the peer's family"));
        }
        Ok(Some(SocketAddr::new(local, local_port)))
    }
}

fn latency(name: &str, value: &str) -> Result<Duration, Fault> {
    millis(name, value, 0, LATENCY_MS_MAX)
}

fn millis(name: &str, value: &str, min: u32, max: u32) -> Result<Duration, Fault> {
    let in_range = value.parse::<u32>().ok().filter(|millis| (min..=max).contains(millis));
    let wrong = || {
        let message = format!(
            "{name} is milliseconds from {min} to {max}; ffmpeg counts its latency in microseconds"
        );
        invalid(message)
    };
    Ok(Duration::from_millis(in_range.ok_or_else(wrong)?.into()))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("invalid_srt_url", "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(url: &str) -> Result<SrtPlace, Fault> {
        parse(url, &BTreeMap::new())
    }

    #[test]
    fn options_have_the_names_of_every_tool() {
        let place = plain("srt://origin.example:9000").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("origin.example", 9000));
        assert_eq!((place.peer.latency, place.peer.peer_latency, place.peer.local), {
            (None, None, None)
        });
        let url = "SRT://[2001:db8::7]:9000/?mode=caller&streamid=#!::r=live/cam,m=request&\
                   passphrase=correct%20horse&pbkeylen=32&latency=200&peerlatency=300&\
                   conntimeo=5000&transtype=live&pkt_size=1316&localport=7000&adapter=::1";
        let SrtPlace { host, port, peer } = plain(url).unwrap();
        assert_eq!((host.as_str(), port), ("2001:db8::7", 9000));
        assert_eq!(peer.stream_id.0, "#!::r=live/cam,m=request");
        assert_eq!(peer.passphrase.unwrap().as_bytes(), b"correct horse");
        assert_eq!(peer.key_length, KeyLength::Aes256);
        assert_eq!(peer.latency, Some(Duration::from_millis(200)));
        assert_eq!(peer.peer_latency, Some(Duration::from_millis(300)));
        assert_eq!(peer.connect_timeout, Duration::from_secs(5));
        assert_eq!(peer.local, Some("[::1]:7000".parse().unwrap()));
        let met = plain("srt://192.0.2.1:9000?mode=rendezvous").unwrap();
        assert!(met.peer.rendezvous, "both call");
        assert_eq!(met.peer.local, Some("0.0.0.0:9000".parse().unwrap()));
        let escaped = plain("srt://h:1?streamid=%23!::r%3Dcam%2Cm%3Drequest%26x").unwrap();
        assert_eq!(escaped.peer.stream_id.0, "#!::r=cam,m=request&x");
        let params = [("rcvlatency", "70"), ("streamid", "50%#&?")];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = parse("srt://h:1?latency=200&streamid=x", &params.into()).unwrap();
        assert_eq!(place.peer.latency, Some(Duration::from_millis(70)));
        assert_eq!(place.peer.peer_latency, Some(Duration::from_millis(200)));
        assert_eq!(place.peer.stream_id.0, "50%#&?", "parameters are not escaped");
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_mend() {
        for (url, says) in [
            ("srt://h", "srt://HOST:PORT"),
            ("srt://h:0", "srt://HOST:PORT"),
            ("srt://:9000", "srt://HOST:PORT"),
            ("srt://h:1/live", "srt://HOST:PORT"),
            ("srt://user@h:1", "srt://HOST:PORT"),
            ("srt://[h]:1", "srt://HOST:PORT"),
            ("srt://h:1?mode=listener", "leave the host out"),
            ("srt://h:1?mode=tree", "mode is caller"),
            ("srt://h:1?passphrase=short", "10 to 80 bytes"),
            ("srt://h:1?pbkeylen=17", "16, 24 or 32"),
            ("srt://h:1?latency=200000", "microseconds"),
            ("srt://h:1?conntimeo=1", "from 100 to 60000"),
            ("srt://h:1?transtype=file", "no option \"transtype\""),
            ("srt://h:1?pkt_size=188", "no option \"pkt_size\""),
            ("srt://h:1?passfrase=secret", "no option \"passfrase\""),
            ("srt://h:1?streamid=%2", "hexadecimal"),
            ("srt://127.0.0.1:1?adapter=::1", "the peer's family"),
            ("srt://h:1?localport=x", "a port"),
        ] {
            let fault = plain(url).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_srt_url", "url"), "{url}");
            assert!(fault.message.contains(says), "{url}: {}", fault.message);
            assert!(!fault.message.contains("secret"), "{}", fault.message);
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("srt://h:1", "srt://h:1"),
            ("srt://h:1?latency=9", "srt://h:1?latency=9"),
            ("srt://h:1?passphrase=hunter2hunter2&x", "srt://h:1?passphrase=***&x"),
            ("srt://h:1?streamid=", "srt://h:1?streamid="),
            ("srt://h:1?streamid=hunter2", "srt://h:1?streamid=***"),
            ("srt://h:1?streamid=live/hunter2", "srt://h:1?streamid=live/***"),
            ("srt://h:1?streamid=publish:a/live/hunter2", "srt://h:1?streamid=publish:a/live/***"),
            ("srt://h:1?streamid=read:cam:u:hunter2", "srt://h:1?streamid=read:***"),
            ("srt://h:1?streamid=read:a/b:u:hun/ter2", "srt://h:1?streamid=read:a/***"),
            ("srt://h:1?streamid=a%26b/hunter2?x=y/z", "srt://h:1?streamid=a%26b/***"),
            ("srt://h:1?streamid=#!::r=live/hunter2,m=publish", {
                "srt://h:1?streamid=#!::r=live/***,m=publish"
            }),
            ("srt://h:1?streamid=srt://h/hunter2", "srt://h:1?streamid=***"),
            ("srt://h:1?streamid=live/hunter2%", "srt://h:1?streamid=***"),
            (
                "srt://h:1?streamid=%23!::r%3Dcam%2Cs%3Dhunter2&latency=9",
                "srt://h:1?streamid=#!::r=cam,s=***&latency=9",
            ),
        ] {
            assert_eq!(masked(url), shown);
            assert_eq!(masked(shown), shown, "it stays as it is");
        }
    }

    #[test]
    fn a_parameter_is_shown_without_its_secrets_whatever_its_percent_signs_say() {
        for (name, value, shown) in [
            ("streamid", "#!::r=cam,s=pa%ss", "#!::r=cam,s=***"),
            ("streamid", "#!::r=cam,s=%00%ff", "#!::r=cam,s=***"),
            ("srt_streamid", "live/hun%ter2", "live/***"),
            ("streamid", "#!::r=c%am,s=hunter2", "#!::r=c%***"),
            ("passphrase", "%hunter2hunter2", MASK),
            ("latency", "9", "9"),
        ] {
            assert_eq!(masked_option(name, value), shown);
            assert_eq!(masked_option(name, shown), shown, "it stays as it is");
        }
    }
}
