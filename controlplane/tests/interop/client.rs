//! Clients: what plays, and how a stream comes to it.

use std::fmt;

use crate::server::Server;

/// What plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The distribution's ffmpeg.
    Ffmpeg,
    /// The newer ffmpeg.
    Newer,
    /// GStreamer.
    Gstreamer,
    /// An independent library: `rml_rtmp`, `tungstenite`.
    Library,
    /// The bytes of a body as they come.
    Plain,
}

/// How a stream comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// RTMP.
    Rtmp,
    /// RTMP inside TLS.
    Rtmps,
    /// FLV over HTTP.
    Flv,
    /// FLV over HTTPS.
    Https,
    /// FLV over WebSocket.
    WsFlv,
    /// FLV over WebSocket inside TLS.
    Wss,
    /// MPEG-TS over HTTP.
    Ts,
    /// MPEG-TS over HTTPS.
    HttpsTs,
    /// MPEG-TS over WebSocket.
    WsTs,
    /// HLS, from the first segment on.
    Hls,
    /// The same over HTTPS.
    HttpsHls,
}

impl Way {
    /// True if MPEG-TS comes, where parameter sets are in the pictures and not in a record.
    pub(crate) const fn is_transport(self) -> bool {
        matches!(self, Self::Ts | Self::HttpsTs | Self::WsTs | Self::Hls | Self::HttpsHls)
    }

    /// True if the client asks for lists and segments: it does not wait at the server for its
    /// publisher.
    pub(crate) const fn is_hls(self) -> bool {
        matches!(self, Self::Hls | Self::HttpsHls)
    }

    /// True if it is RTMP, inside TLS or not.
    pub(crate) const fn is_rtmp(self) -> bool {
        matches!(self, Self::Rtmp | Self::Rtmps)
    }

    /// True inside TLS.
    pub(crate) const fn is_secure(self) -> bool {
        matches!(self, Self::Rtmps | Self::Https | Self::Wss | Self::HttpsTs | Self::HttpsHls)
    }

    pub(crate) fn url(self, server: &Server, name: &str) -> String {
        match self {
            Self::Rtmp => server.rtmp_url(name),
            Self::Rtmps => server.rtmps_url(name),
            _ => {
                let scheme = if self.is_secure() { "https" } else { "http" };
                format!("{scheme}://{}{}", server.web(self.is_secure()).addr, self.path(name))
            }
        }
    }

    /// What a name asks for behind a `?` stands behind the suffix.
    pub(crate) fn path(self, name: &str) -> String {
        let suffix = match self {
            _ if self.is_hls() => "/index.m3u8",
            _ if self.is_transport() => ".ts",
            _ => ".flv",
        };
        match name.split_once('?') {
            Some((name, query)) => format!("/{name}{suffix}?{query}"),
            None => format!("/{name}{suffix}"),
        }
    }
}

/// A client that plays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) Tool, pub(crate) Way);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}", self.0, self.1)
    }
}

impl Client {
    /// The bytes of HTTP-FLV as they come.
    pub(crate) const PLAIN: Self = Self(Tool::Plain, Way::Flv);
    /// An independent RTMP library.
    pub(crate) const RML: Self = Self(Tool::Library, Way::Rtmp);

    /// True if it knows Enhanced RTMP, or does not look into tags.
    pub(crate) fn is_enhanced(self) -> bool {
        self.0 != Tool::Ffmpeg
    }
}

/// Every client.
pub(crate) const ALL: [Client; 27] = [
    Client(Tool::Ffmpeg, Way::Rtmp),
    Client(Tool::Newer, Way::Rtmp),
    Client(Tool::Gstreamer, Way::Rtmp),
    Client(Tool::Library, Way::Rtmp),
    Client(Tool::Ffmpeg, Way::Rtmps),
    Client(Tool::Newer, Way::Rtmps),
    Client(Tool::Gstreamer, Way::Rtmps),
    Client(Tool::Ffmpeg, Way::Flv),
    Client(Tool::Newer, Way::Flv),
    Client(Tool::Gstreamer, Way::Flv),
    Client(Tool::Plain, Way::Flv),
    Client(Tool::Ffmpeg, Way::Https),
    Client(Tool::Newer, Way::Https),
    Client(Tool::Gstreamer, Way::Https),
    Client(Tool::Plain, Way::Https),
    Client(Tool::Library, Way::WsFlv),
    Client(Tool::Library, Way::Wss),
    Client(Tool::Ffmpeg, Way::Ts),
    Client(Tool::Newer, Way::Ts),
    Client(Tool::Gstreamer, Way::Ts),
    Client(Tool::Plain, Way::Ts),
    Client(Tool::Plain, Way::HttpsTs),
    Client(Tool::Library, Way::WsTs),
    Client(Tool::Ffmpeg, Way::Hls),
    Client(Tool::Newer, Way::Hls),
    Client(Tool::Plain, Way::Hls),
    Client(Tool::Plain, Way::HttpsHls),
];
