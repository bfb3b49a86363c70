//! Role: who speaks on a control WebSocket.

/// What a peer of the coordinator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A streaming server that is published to by RTMP.
    Rtmp,
    /// A streaming server that is published to by WebSocket.
    Wss,
    /// An encoder that makes HLS.
    Hls,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Rtmp, Self::Wss, Self::Hls];

    /// Where it connects to, below the address of its coordinator.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Rtmp => "/ws/control/rtmp",
            Self::Wss => "/ws/control/wss",
            Self::Hls => "/ws/control/hls",
        }
    }

    /// What its token says of it.
    #[must_use]
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp-control",
            Self::Wss => "wss-control",
            Self::Hls => "hls-control",
        }
    }

    /// One word for logs, metrics and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Wss => "wss",
            Self::Hls => "hls",
        }
    }

    /// True if publishers come to it.
    #[must_use]
    pub const fn is_server(self) -> bool {
        !matches!(self, Self::Hls)
    }

    /// The port of one that does not say its own.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Rtmp => 1935,
            Self::Wss | Self::Hls => 80,
        }
    }
}
