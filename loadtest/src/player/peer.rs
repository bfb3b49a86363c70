//! The protocol of one player.

use anyhow::Result;

use crate::client::{self, Role};
use crate::http_flv;
use crate::piece::Event;
use crate::stream_url::{Scheme, StreamUrl};

/// A player's end of its connection, sans-IO.
#[derive(Debug)]
pub enum Peer {
    /// RTMP.
    Rtmp(Box<client::Client>),
    /// FLV over HTTP.
    HttpFlv(Box<http_flv::Client>),
}

impl Peer {
    /// Starts; the first bytes are in `out`.
    #[must_use]
    pub fn new(url: &StreamUrl, seed: u64, out: &mut Vec<u8>) -> Self {
        match url.scheme {
            Scheme::Rtmp => {
                Self::Rtmp(Box::new(client::Client::new(Role::Play, url.clone(), seed, out)))
            }
            Scheme::HttpFlv => Self::HttpFlv(Box::new(http_flv::Client::new(url, out))),
        }
    }

    /// Takes bytes of the server; see the clients.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>)> {
        match self {
            Self::Rtmp(client) => client.feed(input, out),
            Self::HttpFlv(client) => client.feed(input),
        }
    }

    /// Bytes between acknowledgements, `None` if the protocol has none.
    #[must_use]
    pub const fn window(&self) -> Option<u32> {
        match self {
            Self::Rtmp(client) => Some(client.window()),
            Self::HttpFlv(_) => None,
        }
    }
}
