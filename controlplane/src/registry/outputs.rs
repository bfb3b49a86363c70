//! Outputs: how a stream may be played, and where it is pushed to.

use dataplane::control::{Protocol, ProtocolSet};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::{Fault, few, short};
use super::input::URL_BYTES_MAX;

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
            Protocol::Udp | Protocol::Http | Protocol::Demo => true,
        }
    }

    /// What could be played before and cannot any more.
    #[must_use]
    pub fn lost(&self, next: &Self) -> ProtocolSet {
        let lost = |protocol: &Protocol| self.allows(*protocol) && !next.allows(*protocol);
        Protocol::ALL.into_iter().filter(lost).collect()
    }
}

/// Where a stream is pushed to. It is kept and has no effect yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PushDestination {
    /// The address, of `rtmp` or `rtmps`.
    #[schema(max_length = 2048)]
    pub url: String,
    /// It is to be used.
    pub enabled: bool,
    /// Seconds to connect, 0 for 10.
    pub timeout_sec: u32,
    /// Seconds between two tries, 0 for 5.
    pub retry_timeout_sec: u32,
    /// Tries, 0 for endless ones.
    pub limit: u32,
    /// Free text.
    #[schema(max_length = 512)]
    pub comment: String,
}

impl PushDestination {
    /// The address as it may be shown: its last segment is the key of the other server's stream,
    /// and its query may hold one, too.
    #[must_use]
    pub fn shown(&self) -> String {
        let url = self.url.trim();
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
        let host = url.strip_prefix("rtmp://").or_else(|| url.strip_prefix("rtmps://"));
        if host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            let message = "it is rtmp://HOST/APP/NAME or rtmps://HOST/APP/NAME";
            return Err(Fault::new("invalid_push_url", at("url"), message));
        }
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
        ] {
            let push = PushDestination { url: url.to_owned(), ..PushDestination::default() };
            assert_eq!(push.shown(), shown);
        }
    }

    #[test]
    fn pushes_are_checked_for_their_shape() {
        let push =
            |url: &str| PushDestination { url: url.to_owned(), ..PushDestination::default() };
        assert_eq!(check(&[push("rtmp://h/live/x"), push("rtmps://h/live/x")]), Ok(()));
        for (urls, code) in [
            (vec!["srt://h:1"], "invalid_push_url"),
            (vec!["rtmp:///live"], "invalid_push_url"),
            (vec!["rtmp://h/x", " rtmp://h/x"], "duplicate_push"),
            (vec!["rtmp://h/x"; PUSHES_MAX + 1], "too_many"),
        ] {
            let pushes: Vec<_> = urls.into_iter().map(push).collect();
            assert_eq!(check(&pushes).unwrap_err().code, code);
        }
    }
}
