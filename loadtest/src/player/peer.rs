//! The protocol of one player.

use anyhow::Result;

use crate::client::{self, Role};
use crate::http_flv;
use crate::http_ts;
use crate::piece::Event;
use crate::stream_url::{Scheme, StreamUrl};
use crate::websocket;

/// A player's end of its connection, sans-IO.
#[derive(Debug)]
pub enum Peer {
    /// RTMP.
    Rtmp(Box<client::Client>),
    /// FLV over HTTP.
    HttpFlv(Box<http_flv::Client>),
    /// A transport stream over HTTP.
    HttpTs(Box<http_ts::Client>),
    /// FLV over WebSocket.
    WebSocketFlv(Box<websocket::Client>),
}

impl Peer {
    /// Starts; the first bytes are in `out`. One that is sampled looks at all of its media.
    #[must_use]
    pub fn new(url: &StreamUrl, sampled: bool, seed: u64, out: &mut Vec<u8>) -> Self {
        match url.scheme {
            Scheme::Rtmp => {
                Self::Rtmp(Box::new(client::Client::new(Role::Play, url.clone(), seed, out)))
            }
            Scheme::HttpTs => Self::HttpTs(Box::new(http_ts::Client::new(url, sampled, out))),
            Scheme::WebSocketFlv => {
                Self::WebSocketFlv(Box::new(websocket::Client::new(url, seed, out)))
            }
            // What plays playlists or datagrams is no peer; as FLV it is refused as such.
            Scheme::HttpFlv | Scheme::Hls | Scheme::Srt => {
                Self::HttpFlv(Box::new(http_flv::Client::new(url, out)))
            }
        }
    }

    /// Takes bytes of the server that came at `now_ns`; see the clients.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(
        &mut self,
        input: &'a [u8],
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>)> {
        match self {
            Self::Rtmp(client) => client.feed(input, out),
            Self::HttpFlv(client) => client.feed(input),
            Self::HttpTs(client) => client.feed(input, now_ns),
            Self::WebSocketFlv(client) => client.feed(input, out),
        }
    }

    /// Bytes between acknowledgements, `None` if the protocol has none.
    #[must_use]
    pub const fn window(&self) -> Option<u32> {
        match self {
            Self::Rtmp(client) => Some(client.window()),
            Self::HttpFlv(_) | Self::HttpTs(_) | Self::WebSocketFlv(_) => None,
        }
    }

    /// Whether the server may ping it in frames of their own.
    #[must_use]
    pub const fn is_web_socket(&self) -> bool {
        matches!(self, Self::WebSocketFlv(_))
    }

    /// Whether the media is a transport stream.
    #[must_use]
    pub const fn is_transport_stream(&self) -> bool {
        matches!(self, Self::HttpTs(_))
    }

    /// Whether the next bytes belong to a transport stream.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self, Self::HttpTs(client) if client.is_in_body())
    }
}
