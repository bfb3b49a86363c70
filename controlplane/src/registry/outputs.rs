//! Outputs: how a stream may be played, and where it is pushed to.

use std::collections::BTreeMap;
use std::time::Duration;

use dataplane::control::{Protocol, ProtocolSet};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::{Fault, few, short};
use super::input::URL_BYTES_MAX;
use super::srt_url::{self, SrtPlace};
use super::udp_place::{self, UdpPlace};

/// Destinations of a stream at most.
pub(super) const PUSHES_MAX: usize = 16;
/// Bytes of a comment at most.
const COMMENT_BYTES_MAX: usize = 512;

/// How a stream may be played: what is not named is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one way to play, switched alone")]
pub struct Protocols {
    /// HLS.
    pub hls: bool,
    /// DASH, kept until it can be played.
    pub dash: bool,
    /// RTSP, kept until it can be played.
    pub rtsp: bool,
    /// RTMP.
    pub rtmp: bool,
    /// MPEG-TS over SRT.
    pub srt: bool,
    /// MPEG-TS over HTTP and WebSocket.
    pub mpegts: bool,
    /// FLV over HTTP and WebSocket.
    pub flv: bool,
}

impl Protocols {
    /// Every way there is: what a stream has that says nothing of it.
    pub const ALL: Self =
        Self { hls: true, dash: true, rtsp: true, rtmp: true, srt: true, mpegts: true, flv: true };

    /// True if a stream may be played by `protocol`.
    #[must_use]
    pub const fn allows(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Rtmp => self.rtmp,
            Protocol::Srt => self.srt,
            Protocol::HttpFlv | Protocol::WsFlv => self.flv,
            Protocol::HttpTs | Protocol::WsTs => self.mpegts,
            Protocol::Hls => self.hls,
            Protocol::Http | Protocol::Demo => true,
            // Nobody can ask for it: it is pushed.
            Protocol::Udp => false,
        }
    }

    /// What could be played before and cannot any more.
    #[must_use]
    pub fn lost(&self, next: &Self) -> ProtocolSet {
        let lost = |protocol: &Protocol| self.allows(*protocol) && !next.allows(*protocol);
        Protocol::ALL.into_iter().filter(lost).collect()
    }
}

/// Seconds between two tries at most.
const RETRY_SEC_MAX: u32 = 3_600;
/// Seconds to connect at most.
const TIMEOUT_SEC_MAX: u32 = 60;
/// The first pause between two tries, where nothing is said.
const RETRY: Duration = Duration::from_secs(1);
/// What can be pushed to.
const KNOWN: &str = "srt://HOST:PORT, udp://HOST:PORT or rtp://HOST:PORT";

/// Where a stream is pushed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PushDestination {
    /// The address: `srt://HOST:PORT?..`, `udp://HOST:PORT?..` or `rtp://HOST:PORT?..`. One of
    /// `rtmp` or `rtmps` is kept, and has no effect yet.
    #[schema(max_length = 2048)]
    pub url: String,
    /// It is to be used.
    pub enabled: bool,
    /// Seconds to connect, 0 for the protocol's own; datagrams are sent at once.
    pub timeout_sec: u32,
    /// Seconds before the second try, 0 for 1; they double up to 30.
    pub retry_timeout_sec: u32,
    /// Tries in a row, 0 for endless ones.
    pub limit: u32,
    /// Free text.
    #[schema(max_length = 512)]
    pub comment: String,
}

/// Where a stream is pushed to, as the node does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushPlace {
    /// To a peer of SRT, which the node calls.
    Srt(SrtPlace),
    /// In datagrams, to a host or a group of multicast.
    Udp(UdpPlace),
}

impl PushDestination {
    /// Where the node is to push.
    ///
    /// # Errors
    /// The node cannot push there: the address means nothing, or its scheme is not to be had.
    pub fn place(&self) -> Result<PushPlace, Fault> {
        if udp_place::is_udp(&self.url) {
            return udp_place::parse(&self.url).map(PushPlace::Udp);
        }
        if !srt_url::is_srt(&self.url) {
            let scheme = self.url.trim().split_once("://").map_or("", |(scheme, _)| scheme);
            let message = format!("this node cannot push by {scheme}:// yet; write {KNOWN}");
            return Err(Fault::new("push_not_supported", "url", message));
        }
        let mut place = srt_url::parse(&self.url, &BTreeMap::new())?;
        if self.timeout_sec > 0 {
            place.peer.connect_timeout = Duration::from_secs(self.timeout_sec.into());
        }
        Ok(PushPlace::Srt(place))
    }

    /// The first pause between two tries.
    #[must_use]
    pub const fn pause(&self) -> Duration {
        match self.retry_timeout_sec {
            0 => RETRY,
            seconds => Duration::from_secs(seconds as u64),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let url = self.url.trim();
        for (field, seconds, max) in [
            ("timeout_sec", self.timeout_sec, TIMEOUT_SEC_MAX),
            ("retry_timeout_sec", self.retry_timeout_sec, RETRY_SEC_MAX),
        ] {
            if seconds > max {
                let message = format!("{seconds} seconds are more than {max}");
                return Err(Fault::new("invalid_value", field, message));
            }
        }
        if srt_url::is_srt(url) || udp_place::is_udp(url) {
            return self.place().map(drop);
        }
        let host = url.strip_prefix("rtmp://").or_else(|| url.strip_prefix("rtmps://"));
        if host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = format!(
                "it is {KNOWN}; rtmp://HOST/APP/NAME and rtmps://HOST/APP/NAME are kept for later"
            );
            return Err(Fault::new("invalid_push_url", "url", message));
        }
        Ok(())
    }

    /// The address as it may be shown: its last segment is the key of the other server's stream,
    /// and its query may hold one, too.
    #[must_use]
    pub fn shown(&self) -> String {
        let url = self.url.trim();
        if srt_url::is_srt(url) {
            return srt_url::masked(url);
        }
        if udp_place::is_udp(url) {
            // It has no secrets.
            return url.to_owned();
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        match path.rsplit_once('/') {
            Some((app, _)) => format!("{scheme}://{host}/{app}/***"),
            None if path.is_empty() => format!("{scheme}://{host}"),
            None => format!("{scheme}://{host}/***"),
        }
    }
}

/// Checks where a stream is pushed to.
pub(super) fn check(pushes: &[PushDestination]) -> Result<(), Fault> {
    few("push", pushes, PUSHES_MAX)?;
    for (index, push) in pushes.iter().enumerate() {
        let at = |field: &str| format!("push[{index}].{field}");
        short(&at("url"), &push.url, URL_BYTES_MAX)?;
        short(&at("comment"), &push.comment, COMMENT_BYTES_MAX)?;
        let url = push.url.trim();
        push.check().map_err(|fault| fault.within(&format!("push[{index}]")))?;
        if pushes[..index].iter().any(|other| other.url.trim() == url) {
            let message = "another push has this address; remove one";
            return Err(Fault::new("duplicate_push", at("url"), message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_rules_its_protocols() {
        let only = |set: fn(&mut Protocols)| {
            let mut protocols = Protocols::default();
            set(&mut protocols);
            let allowed = Protocol::ALL.into_iter().filter(|&p| protocols.allows(p) && p.plays());
            let hls = protocols.allows(Protocol::Hls).then_some("hls");
            allowed.map(Protocol::name).chain(hls).collect::<Vec<_>>()
        };
        assert_eq!(only(|p| p.rtmp = true), ["rtmp"]);
        assert_eq!(only(|p| p.flv = true), ["http-flv", "ws-flv"]);
        assert_eq!(only(|p| p.mpegts = true), ["http-ts", "ws-ts"]);
        assert_eq!(only(|p| p.hls = true), ["hls"]);
        assert_eq!(only(|p| p.srt = true), ["srt"]);
        assert_eq!(only(|p| p.rtsp = true), [""; 0]);
    }

    #[test]
    fn only_what_was_on_is_lost() {
        let next = Protocols { rtmp: false, srt: false, ..Protocols::ALL };
        let lost = Protocols::ALL.lost(&next);
        let lost: Vec<_> = Protocol::ALL.into_iter().filter(|&p| lost.contains(p)).collect();
        assert_eq!(lost, [Protocol::Rtmp, Protocol::Srt]);
        assert_eq!(next.lost(&Protocols::ALL), ProtocolSet::NONE);
    }

    #[test]
    fn a_destination_is_shown_without_its_key() {
        for (url, shown) in [
            ("rtmp://user:pw@h:1935/live/hunter2?k=hunter2", "rtmp://h:1935/live/***"),
            (" rtmps://h/a/b/hunter2", "rtmps://h/a/b/***"),
            ("rtmp://h/hunter2", "rtmp://h/***"),
            ("rtmp://h", "rtmp://h"),
            ("srt://h:1?passphrase=hunter2hunter2&latency=9", {
                "srt://h:1?passphrase=***&latency=9"
            }),
            (" udp://239.1.2.3:5000?ttl=3&interface=eth1", {
                "udp://239.1.2.3:5000?ttl=3&interface=eth1"
            }),
        ] {
            let push = PushDestination { url: url.to_owned(), ..PushDestination::default() };
            assert_eq!(push.shown(), shown);
        }
    }

    #[test]
    fn pushes_are_checked_for_their_shape() {
        let push =
            |url: &str| PushDestination { url: url.to_owned(), ..PushDestination::default() };
        let kept = ["rtmp://h/live/x", "rtmps://h/live/x", "srt://h:1?streamid=publish:x"];
        let datagrams = ["udp://239.1.2.3:5000?ttl=4", "RTP://h:1", "udp://h:1"];
        assert_eq!(check(&datagrams.map(push)), Ok(()));
        assert_eq!(check(&kept.map(push)), Ok(()));
        let place = push("rtmp://h/x").place().unwrap_err();
        assert!(place.message.contains("by rtmp:// yet; write srt://HOST:PORT, udp"), "{place}");
        assert!(matches!(push("srt://h:1").place(), Ok(PushPlace::Srt(_))));
        assert!(
            matches!(push(" udp://h:1").place(), Ok(PushPlace::Udp(place)) if !place.peer.is_rtp)
        );
        assert!(
            matches!(push("RTP://h:1").place(), Ok(PushPlace::Udp(place)) if place.peer.is_rtp)
        );
        for (urls, code) in [
            (vec!["srt://h"], "invalid_srt_url"),
            (vec!["https://h/x"], "invalid_push_url"),
            (vec!["udp://h"], "invalid_push_url"),
            (vec!["udp://h:1", "rtp://h:1?rtcpport=3"], "invalid_push_url"),
            (vec!["udp://h:1", "udp://h:1 "], "duplicate_push"),
            (vec!["rtmp:///live"], "invalid_push_url"),
            (vec!["rtmp://h/x", " rtmp://h/x"], "duplicate_push"),
            (vec!["rtmp://h/x"; PUSHES_MAX + 1], "too_many"),
        ] {
            let pushes: Vec<_> = urls.into_iter().map(push).collect();
            assert_eq!(check(&pushes).unwrap_err().code, code);
        }
    }
}
