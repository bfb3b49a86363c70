//! What a session does, and how it speaks.

/// The four words for what a session does with media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The peer sends to us.
    Publish,
    /// The peer reads from us.
    Play,
}

impl Role {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// The protocol of a session, as it appears in the API and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// MPEG-TS over SRT.
    Srt,
    /// MPEG-TS in datagrams, bare or in RTP.
    Udp,
    /// FLV over HTTP.
    HttpFlv,
    /// MPEG-TS over HTTP.
    HttpTs,
    /// FLV over WebSocket.
    WsFlv,
    /// MPEG-TS over WebSocket.
    WsTs,
    /// HLS, while a piece of it is asked for or sent.
    Hls,
    /// HTTP without media.
    Http,
    /// The built-in demo stream.
    Demo,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 10] = [
        Self::Rtmp,
        Self::Srt,
        Self::Udp,
        Self::HttpFlv,
        Self::HttpTs,
        Self::WsFlv,
        Self::WsTs,
        Self::Hls,
        Self::Http,
        Self::Demo,
    ];

    /// True if a player of it is a cursor in a log.
    #[must_use]
    pub const fn plays(self) -> bool {
        !matches!(self, Self::Hls | Self::Http | Self::Demo)
    }

    /// True if a peer asks by it for leave to publish; a stream that the node fetches asks nobody.
    #[must_use]
    pub const fn asks_to_publish(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
            Self::Udp => "udp",
            Self::HttpFlv => "http-flv",
            Self::HttpTs => "http-ts",
            Self::WsFlv => "ws-flv",
            Self::WsTs => "ws-ts",
            Self::Hls => "hls",
            Self::Http => "http",
            Self::Demo => "demo",
        }
    }
}

/// Some of the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolSet(u16);

const _: () = assert!(Protocol::ALL.len() < u16::BITS as usize, "a set has one bit per protocol");

impl ProtocolSet {
    /// Every protocol.
    pub const ALL: Self = Self((1 << Protocol::ALL.len()) - 1);
    /// None.
    pub const NONE: Self = Self(0);

    /// True if `protocol` is among them.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & (1 << protocol as u16) != 0
    }

    /// Those of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Protocol> for ProtocolSet {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |set, protocol| set | 1 << protocol as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let live: ProtocolSet = [Protocol::Rtmp, Protocol::WsTs].into_iter().collect();
        for protocol in Protocol::ALL {
            let inside = matches!(protocol, Protocol::Rtmp | Protocol::WsTs);
            assert_eq!(live.contains(protocol), inside, "{}", protocol.name());
            assert!(ProtocolSet::ALL.contains(protocol) && !ProtocolSet::NONE.contains(protocol));
        }
        assert_eq!(Protocol::ALL.into_iter().collect::<ProtocolSet>(), ProtocolSet::ALL);
        let other: ProtocolSet = [Protocol::Hls].into_iter().collect();
        assert!(
            live.union(other).contains(Protocol::Hls) && live.union(other).contains(Protocol::Rtmp)
        );
    }
}
