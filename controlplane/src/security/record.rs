//! Record: one line of the security log.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use codecs::time::WallTime;
use dataplane::config::AddrRange;
use dataplane::rates::{address_of, prefix_of};
use serde::Serialize;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// Somebody may not publish, play or connect.
    AuthRefused,
    /// Somebody showed the API no valid token.
    ApiAuthFailed,
    /// An address or prefix is refused from now on.
    PenaltyBegun,
    /// It is not any more.
    PenaltyEnded,
    /// Connections or calls came too often, or during a penalty.
    RateLimited,
    /// Connections began with what is no word of their protocol.
    Malformed,
    /// Lines were left out.
    Suppressed,
}

impl Happened {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthRefused => "auth_refused",
            Self::ApiAuthFailed => "api_auth_failed",
            Self::PenaltyBegun => "penalty_begun",
            Self::PenaltyEnded => "penalty_ended",
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::Suppressed => "suppressed",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What happened.
    pub event: Happened,
    /// To whom: an address, or a range of them.
    pub whose: Option<AddrRange>,
    /// By which listener.
    pub listener: Option<&'a str>,
    /// By which protocol.
    pub proto: Option<&'a str>,
    /// About which stream.
    pub stream: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// How often.
    pub count: u64,
    /// When it is over.
    pub until: Option<SystemTime>,
}

/// The fields, in their order.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    addr: Option<String>,
    prefix: Option<String>,
    listener: Option<&'a str>,
    proto: Option<&'a str>,
    stream: Option<&'a str>,
    reason: Option<&'a str>,
    count: u64,
    until: Option<String>,
}

impl Record<'_> {
    /// Something that happened once to one address.
    #[must_use]
    pub const fn once(event: Happened, peer: IpAddr) -> Self {
        let bits = if peer.is_ipv4() { 32 } else { 128 };
        let whose = Some(AddrRange { addr: peer, bits });
        Self {
            event,
            whose,
            listener: None,
            proto: None,
            stream: None,
            reason: None,
            count: 1,
            until: None,
        }
    }

    /// The line, without its end.
    #[must_use]
    pub fn render(&self, now: SystemTime) -> String {
        let line = Line {
            time: moment(now),
            event: self.event.name(),
            addr: self.addr().map(|addr| addr.to_string()),
            prefix: self.prefix().map(|prefix| prefix.to_string()),
            listener: self.listener,
            proto: self.proto,
            stream: self.stream,
            reason: self.reason,
            count: self.count,
            until: self.until.map(moment),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The address, if it is one: what a customer of IPv6 has is told by its first.
    pub(super) fn addr(&self) -> Option<IpAddr> {
        let whose = self.whose?;
        (whose.bits >= address_of(whose.addr).bits).then(|| whose.addr.to_canonical())
    }

    /// What is around it; of what is no address, the range itself.
    pub(super) fn prefix(&self) -> Option<AddrRange> {
        let whose = self.whose?;
        Some(if self.addr().is_some() { prefix_of(whose.addr) } else { whose })
    }
}

/// A moment as of RFC 3339, in UTC and milliseconds.
pub(crate) fn moment(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(millis).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_has_every_field_in_its_order() {
        let at = UNIX_EPOCH + Duration::from_millis(1_777_863_721_123);
        let mut record = Record::once(Happened::AuthRefused, [192, 0, 2, 7].into());
        (record.listener, record.proto) = (Some("rtmp"), Some("rtmp"));
        (record.stream, record.reason) = (Some("news"), Some("forbidden"));
        assert_eq!(
            record.render(at),
            concat!(
                r#"{"time":"2026-05-04T03:02:01.123Z","event":"auth_refused","addr":"192.0.2.7","#,
                r#""prefix":"192.0.2.0/24","listener":"rtmp","proto":"rtmp","stream":"news","#,
                r#""reason":"forbidden","count":1,"until":null}"#
            )
        );
        let text = |whose: AddrRange| {
            let record = Record { whose: Some(whose), ..record.clone() };
            let line = record.render(at);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            (line["addr"].as_str().map(str::to_owned), line["prefix"].as_str().unwrap().to_owned())
        };
        let peer: IpAddr = "2001:db8:1:2::3".parse().unwrap();
        for (whose, addr, prefix) in [
            (address_of(peer), Some("2001:db8:1:2::"), "2001:db8:1::/56"),
            (prefix_of(peer), None, "2001:db8:1::/56"),
            (address_of([192, 0, 2, 7].into()), Some("192.0.2.7"), "192.0.2.0/24"),
            (prefix_of([192, 0, 2, 7].into()), None, "192.0.2.0/24"),
        ] {
            assert_eq!(text(whose), (addr.map(str::to_owned), prefix.to_owned()), "{whose}");
        }
    }
}
