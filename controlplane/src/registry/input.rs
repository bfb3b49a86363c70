//! Input: where a stream's media comes from, by the scheme of its URL.
//!
//! ```text
//!   publish://                     an encoder publishes, by any protocol
//!   rtmp://0.0.0.0/.., srt://[::]  the same, by that protocol alone; so are an empty host and a
//!                                  loopback address: nobody pulls from there
//!   srt://HOST:PORT                the node calls that peer and plays from it; mode=caller or
//!                                  mode=rendezvous says so of a peer on this host
//!   rtmp://HOST/APP/NAME, rtmps:.. the node connects to that server and plays from it
//!   udp://239.1.2.3:5000, rtp://.. datagrams that are sent to us, which the node listens for
//!   anything else                  a pull, which is refused until there are such pulls
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use dataplane::control::{Protocol, UdpInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::{Fault, few, short};
use super::mpegts::Mpegts;
use super::rtmp_url::{self, RtmpPlace};
use super::srt_url::{self, Mode, SrtPlace};
use super::{udp_place, udp_url};

/// Inputs of a stream at most.
pub(super) const INPUTS_MAX: usize = 16;
/// Bytes of a URL at most.
pub(super) const URL_BYTES_MAX: usize = 2_048;
/// Headers or parameters of an input at most.
pub(super) const PAIRS_MAX: usize = 32;
/// Bytes of a header's or a parameter's name and value at most.
pub(super) const PAIR_BYTES_MAX: usize = 1_024;
/// Packet ids of an input at most.
pub(super) const PIDS_MAX: usize = 64;
/// The greatest packet id of MPEG-TS.
const PID_MAX: u16 = 0x1fff;

/// One input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    /// The address; its scheme decides the protocol: `publish://` for an encoder that publishes.
    #[schema(max_length = 2048)]
    pub url: String,
    /// 0 is the best; the inputs of a stream count up from there in their order.
    pub priority: u32,
    /// Headers of the requests of a pull, at most 32.
    pub headers: BTreeMap<String, String>,
    /// What is added to the query of a pull, at most 32.
    pub params: BTreeMap<String, String>,
    /// The programme of a multiplex, 0 for all.
    pub program: u16,
    /// The packet ids that are taken, empty for all.
    #[schema(max_items = 64)]
    pub pids: Vec<u16>,
    /// How the network is used.
    pub net: Net,
}

/// How an input uses the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Net {
    /// Seconds to connect, 0 for the protocol's own: of a pull by RTMP until the server plays, at
    /// most 60, and 10 of its own.
    pub timeout_sec: u32,
    /// Certificates are not checked: whoever answers is believed to be the server of `rtmps://`.
    pub insecure_tls: bool,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An encoder publishes to us, by any protocol.
    Publish,
    /// An encoder publishes to us by RTMP.
    PublishRtmp,
    /// An encoder publishes to us by SRT.
    PublishSrt,
    /// Somebody sends datagrams, and the node listens for them.
    Udp,
    /// The node calls a peer of SRT.
    PullSrt,
    /// The node plays from a server of RTMP.
    PullRtmp,
}

/// A peer that a stream is pulled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPlace {
    /// A peer of SRT.
    Srt(SrtPlace),
    /// A server of RTMP.
    Rtmp(RtmpPlace),
}

impl PullPlace {
    const fn kind(&self) -> Kind {
        match self {
            Self::Srt(_) => Kind::PullSrt,
            Self::Rtmp(_) => Kind::PullRtmp,
        }
    }
}

impl Kind {
    /// True if a publisher that speaks `protocol` is this input.
    #[must_use]
    pub const fn takes(self, protocol: Protocol) -> bool {
        match self {
            Self::Publish => protocol.asks_to_publish(),
            Self::PublishRtmp => matches!(protocol, Protocol::Rtmp),
            Self::PublishSrt => matches!(protocol, Protocol::Srt),
            Self::Udp => matches!(protocol, Protocol::Udp),
            // Nobody else may be it, whatever he speaks.
            Self::PullSrt | Self::PullRtmp => false,
        }
    }

    /// True if there is a protocol by which somebody can be this input.
    #[must_use]
    pub fn is_heard(self) -> bool {
        matches!(self, Self::PullSrt | Self::PullRtmp)
            || Protocol::ALL.into_iter().any(|protocol| self.takes(protocol))
    }
}

impl Input {
    /// What the input is, for the stream `code`; `None` for a template, which has many.
    ///
    /// Errors: an address that means nothing, or something that is not to be had.
    pub fn kind(&self, code: Option<&str>) -> Result<Kind, Fault> {
        let url = self.url.trim();
        short("url", url, URL_BYTES_MAX)?;
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(Fault::new(
                "invalid_input_url",
                "url",
                "it has no scheme; write publish:// for a stream that an encoder publishes",
            ));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "publish" => return Ok(Kind::Publish),
            "rtmp" | "rtmps" if !listens(authority) => {
                return rtmp_url::parse(url, &self.params, &self.net).map(|_| Kind::PullRtmp);
            }
            "rtmp" | "rtmps" => Kind::PublishRtmp,
            "srt" if !listens_for_srt(url, authority) => {
                return srt_url::parse(url, &self.params).map(|_| Kind::PullSrt);
            }
            "srt" => Kind::PublishSrt,
            "udp" | "rtp" => return udp_url::parse(self).map(|_| Kind::Udp),
            "copy" => return Err(copy(rest, code)),
            "mixer" => return Err(mixer(rest, code)),
            "rtsp" | "rtsps" | "http" | "https" | "file" => return Err(pull(scheme)),
            other => {
                let message = format!("there is no input of scheme {other:?}; write publish://");
                return Err(Fault::new("unknown_input_scheme", "url", message));
            }
        };
        named(path, code)?;
        Ok(kind)
    }

    /// What it is if an encoder publishes, whatever name its address says, or if the node fetches
    /// it.
    pub(super) fn listens(&self) -> Option<Kind> {
        if let Some(place) = self.pulled(None) {
            return Some(place.kind());
        }
        let address = self.url.trim();
        let end = address.find("://").map(|at| at + 3)?;
        let host = address.get(end..)?.find(['/', '?', '#']);
        let bare = host.map_or(address, |at| &address[..end + at]);
        Self { url: bare.to_owned(), ..Self::default() }.kind(None).ok()
    }

    /// Where the node fetches the stream by itself, if it does, and what is chosen of it.
    #[must_use]
    pub fn fetched(&self, mpegts: Option<Mpegts>) -> Option<UdpInput> {
        let is_udp = self.kind(None) == Ok(Kind::Udp);
        let place = is_udp.then(|| udp_url::parse(self).ok()).flatten()?;
        Some(UdpInput { transport: mpegts.unwrap_or_default().terms(Some(self)), ..place })
    }

    /// The peer of SRT that the node calls for it, if it does, and what is chosen of its stream.
    #[must_use]
    pub(super) fn srt(&self, mpegts: Option<Mpegts>) -> Option<SrtPlace> {
        let calls = srt_url::is_srt(&self.url) && self.kind(None) == Ok(Kind::PullSrt);
        let mut place = calls.then(|| srt_url::parse(&self.url, &self.params).ok()).flatten()?;
        place.peer.transport = mpegts.unwrap_or_default().terms(Some(self));
        Some(place)
    }

    /// The server of RTMP that the node plays it from, if it does.
    fn rtmp(&self) -> Option<RtmpPlace> {
        let pulls = rtmp_url::is_pull(&self.url);
        pulls.then(|| rtmp_url::parse(&self.url, &self.params, &self.net).ok()).flatten()
    }

    /// The peer that the node connects to for it, if it does.
    #[must_use]
    pub fn pulled(&self, mpegts: Option<Mpegts>) -> Option<PullPlace> {
        let srt = self.srt(mpegts).map(PullPlace::Srt);
        srt.or_else(|| self.rtmp().map(PullPlace::Rtmp))
    }

    /// The address of a peer as it may be shown.
    #[must_use]
    pub(super) fn masked(&self) -> String {
        let url = self.url.trim();
        if rtmp_url::is_pull(url) { rtmp_url::masked(url) } else { srt_url::masked(url) }
    }

    /// The address as it may be shown: without what encoders say behind it, which may be a key.
    #[must_use]
    pub fn shown(&self) -> String {
        let url = self.url.trim();
        if udp_place::is_udp(url) {
            return url.to_owned();
        }
        if rtmp_url::is_pull(url) {
            return rtmp_url::masked(url);
        }
        url.split(['?', '#']).next().unwrap_or_default().to_owned()
    }

    /// True if a stream can come by it to this node today.
    pub(super) fn is_open(&self) -> bool {
        self.listens().is_some_and(Kind::is_heard)
    }

    fn check(&self) -> Result<(), Fault> {
        for (field, pairs) in [("headers", &self.headers), ("params", &self.params)] {
            if pairs.len() > PAIRS_MAX {
                return Err(Fault::new("too_many", field, format!("at most {PAIRS_MAX} fit")));
            }
            for (name, value) in pairs {
                short(field, name, PAIR_BYTES_MAX)?;
                short(field, value, PAIR_BYTES_MAX)?;
                if name.is_empty()
                    || name.contains(char::is_control)
                    || value.contains(['\r', '\n'])
                {
                    let message = format!("{name:?} is no name and value of one line");
                    return Err(Fault::new("invalid_value", field, message));
                }
            }
        }
        few("pids", &self.pids, PIDS_MAX)?;
        match self.pids.iter().find(|&&pid| pid > PID_MAX) {
            Some(pid) => {
                let message = format!("{pid} is no packet id; they go up to {PID_MAX}");
                Err(Fault::new("invalid_value", "pids", message))
            }
            None => Ok(()),
        }
    }
}

/// Checks all inputs of the stream `code`, or of a template.
pub(super) fn check(inputs: &[Input], code: Option<&str>) -> Result<(), Fault> {
    few("inputs", inputs, INPUTS_MAX)?;
    for (index, input) in inputs.iter().enumerate() {
        let at = format!("inputs[{index}]");
        if input.priority as usize != index {
            return Err(Fault::new(
                "invalid_input_priority",
                format!("{at}.priority"),
                format!("priorities count 0, 1, 2.. in the order of the list; here it is {index}"),
            ));
        }
        let same = |other: &Input| other.url.trim() == input.url.trim();
        if inputs[..index].iter().any(same) {
            let message = "another input has this address; remove one";
            return Err(Fault::new("duplicate_input", format!("{at}.url"), message));
        }
        input.check().and_then(|()| input.kind(code).map(drop)).map_err(|f| f.within(&at))?;
    }
    Ok(())
}

/// True if the host is empty, unspecified or a loopback address; names are not looked up.
pub(super) fn listens(authority: &str) -> bool {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        // An address of IPv6 without brackets has no port.
        None if host.parse::<Ipv6Addr>().is_ok() => host,
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    let local = |ip: IpAddr| ip.to_canonical().is_unspecified() || ip.to_canonical().is_loopback();
    host.is_empty() || host.parse().is_ok_and(local)
}

/// True if a peer of SRT calls the node: its host is empty or ours, unless the mode says who calls.
fn listens_for_srt(url: &str, authority: &str) -> bool {
    let calls = matches!(srt_url::mode(url), Some(Mode::Caller | Mode::Rendezvous));
    listens(authority) && !calls
}

/// Checks that a listening address names nothing but the stream itself.
fn named(path: &str, code: Option<&str>) -> Result<(), Fault> {
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let name = match path.strip_prefix("live") {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => path,
    };
    if name.is_empty() || code == Some(name) {
        return Ok(());
    }
    let what = match code {
        Some(code) => format!("encoders publish this stream as {code}, not as {name}"),
        None => format!("encoders publish under the names of their streams, not as {name}"),
    };
    Err(Fault::new("input_key_mismatch", "url", format!("{what}; write publish://")))
}

fn pull(scheme: &str) -> Fault {
    Fault::new(
        "input_not_supported",
        "url",
        format!(
            "pulling from {scheme}:// is not to be had yet; write publish:// and let an encoder \
             publish, or rtmp://HOST/APP/NAME, srt://HOST:PORT or udp:// for what the node is to \
             fetch"
        ),
    )
}

fn copy(upstream: &str, code: Option<&str>) -> Fault {
    let legal = dataplane::ids::StreamName::parse(upstream).is_some() && !upstream.contains('/');
    if !legal {
        return Fault::new("invalid_copy_url", "url", "it is copy://CODE, of one segment");
    }
    if code == Some(upstream) {
        return Fault::new("invalid_copy_shape", "url", "a stream cannot copy itself");
    }
    pull("copy")
}

fn mixer(upstreams: &str, code: Option<&str>) -> Fault {
    let legal =
        |name: &str| dataplane::ids::StreamName::parse(name).is_some() && !name.contains('/');
    let named = upstreams.split_once(',').filter(|(video, audio)| legal(video) && legal(audio));
    match named {
        None => Fault::new("invalid_mixer_url", "url", "it is mixer://VIDEO,AUDIO, of two codes"),
        Some((video, audio)) if code == Some(video) || code == Some(audio) => {
            Fault::new("invalid_mixer_shape", "url", "a stream cannot mix itself")
        }
        Some(_) => pull("mixer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(url: &str, priority: u32) -> Input {
        Input { url: url.to_owned(), priority, ..Input::default() }
    }

    #[test]
    fn the_scheme_and_the_host_decide() {
        for (url, kind) in [
            ("publish://", Kind::Publish),
            (" publish://ignored ", Kind::Publish),
            ("rtmp://0.0.0.0", Kind::PublishRtmp),
            ("rtmp://0.0.0.0:1935/live/news/one", Kind::PublishRtmp),
            ("rtmps://[::]:1936/news/one?x=1", Kind::PublishRtmp),
            ("RTMP:///live", Kind::PublishRtmp),
            ("rtmp://127.0.0.1/live", Kind::PublishRtmp),
            ("rtmp://[::ffff:127.0.0.1]/live", Kind::PublishRtmp),
            ("srt://[::]:9999", Kind::PublishSrt),
            ("srt://:9999?mode=listener", Kind::PublishSrt),
            ("srt://127.0.0.1:9999", Kind::PublishSrt),
            ("srt://127.0.0.1:9999?mode=caller", Kind::PullSrt),
            ("srt://127.0.0.1:9999?mode=rendezvous", Kind::PullSrt),
            ("srt://origin.example:9999?streamid=#!::r=x,m=request", Kind::PullSrt),
            ("rtmp://localhost/live/x", Kind::PullRtmp),
            ("rtmps://origin.example/live/x?key=y", Kind::PullRtmp),
            ("rtmp://192.0.2.1:1936/a/b/c", Kind::PullRtmp),
            ("udp://239.0.0.1:5000?interface=lo", Kind::Udp),
            ("rtp://239.0.0.1:5000", Kind::Udp),
        ] {
            assert_eq!(input(url, 0).kind(Some("news/one")), Ok(kind), "{url}");
        }
        for (url, code) in [
            ("", "invalid_input_url"),
            ("0.0.0.0:1935", "invalid_input_url"),
            ("rtmp://localhost/live", "invalid_rtmp_url"),
            ("rtsp://0.0.0.0/x", "input_not_supported"),
            ("udp://origin.example:5000", "invalid_input_url"),
            ("rtp://origin.example:5000", "invalid_input_url"),
            ("srt://origin.example", "invalid_srt_url"),
            ("srt://origin.example:9999?mode=listener", "invalid_srt_url"),
            ("https://h/x.m3u8", "input_not_supported"),
            ("file:///etc/passwd", "input_not_supported"),
            ("s3://bucket/x", "unknown_input_scheme"),
            ("rtmp://0.0.0.0/live/other", "input_key_mismatch"),
            ("copy://a/b", "invalid_copy_url"),
            ("copy://one", "input_not_supported"),
            ("mixer://one", "invalid_mixer_url"),
            ("mixer://one,two", "input_not_supported"),
        ] {
            assert_eq!(input(url, 0).kind(Some("news/one")).unwrap_err().code, code, "{url}");
        }
        assert_eq!(input("copy://a", 0).kind(Some("a")).unwrap_err().code, "invalid_copy_shape");
        let mixed = input("mixer://b,a", 0).kind(Some("a"));
        assert_eq!(mixed.unwrap_err().code, "invalid_mixer_shape");
        let template = input("rtmp://0.0.0.0/live/x", 0).kind(None);
        assert_eq!(template.unwrap_err().code, "input_key_mismatch");
    }

    #[test]
    fn priorities_count_up_and_addresses_differ() {
        let (one, two) = (input("publish://", 0), input("rtmp://0.0.0.0/", 1));
        assert_eq!(check(&[one.clone(), two.clone()], Some("a")), Ok(()));
        let fault = check(std::slice::from_ref(&two), Some("a")).unwrap_err();
        assert_eq!((fault.code, fault.field.as_str()), {
            ("invalid_input_priority", "inputs[0].priority")
        });
        let again = input(" publish:// ", 1);
        let fault = check(&[one.clone(), again], Some("a")).unwrap_err();
        assert_eq!((fault.code, fault.field.as_str()), ("duplicate_input", "inputs[1].url"));
        let pids = Input { pids: vec![0x2000], ..one };
        assert_eq!(check(&[pids], Some("a")).unwrap_err().field, "inputs[0].pids");
    }
}
