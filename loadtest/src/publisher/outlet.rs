//! How one stream leaves: over a connection, or in datagrams.

use std::io;

use anyhow::Result;

use super::PublishTotals;
use super::datagram_publication::DatagramPublication;
use super::feed::Feed;
use super::publication::Publication;
use crate::connection::{Connection, Route};
use crate::socket::Poll;
use crate::srt::Endpoint;
use crate::stream_url::StreamUrl;

pub(super) enum Outlet {
    Connection(Box<Publication>),
    Datagrams(Box<DatagramPublication>),
}

impl Outlet {
    /// Starts to connect.
    pub(super) fn open(
        route: &Route,
        url: StreamUrl,
        feed: Feed,
        token: u64,
        poll: &Poll,
    ) -> io::Result<Self> {
        Ok(match &url.srt {
            Some(target) => {
                let endpoint = Endpoint::open(route, target, token, poll)?;
                Self::Datagrams(Box::new(DatagramPublication::new(endpoint, feed)))
            }
            None => {
                let connection = Connection::open(route, token, poll)?;
                Self::Connection(Box::new(Publication::new(connection, url, feed)))
            }
        })
    }

    /// When the next frame is due, once the server has accepted the stream.
    pub(super) fn due_ns(&self) -> Option<u64> {
        match self {
            Self::Connection(publication) => publication.due_ns(),
            Self::Datagrams(publication) => publication.due_ns(),
        }
    }

    /// Reads what the server says; true if it accepts the stream now.
    pub(super) fn receive(&mut self, buffer: &mut [u8], poll: &Poll) -> Result<bool> {
        match self {
            Self::Connection(publication) => publication.receive(buffer, poll),
            Self::Datagrams(publication) => publication.receive(buffer),
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, totals: &mut PublishTotals) -> Result<()> {
        match self {
            Self::Connection(_) => Ok(()),
            Self::Datagrams(publication) => publication.tick(totals),
        }
    }

    /// Begins: frame 0 is due then.
    pub(super) fn start(&mut self, started_ns: u64) -> Result<()> {
        match self {
            Self::Connection(publication) => {
                publication.start(started_ns);
                Ok(())
            }
            Self::Datagrams(publication) => publication.start(started_ns),
        }
    }

    /// Sends the frames whose time has come.
    pub(super) fn send_due(&mut self, totals: &mut PublishTotals, poll: &Poll) -> Result<()> {
        match self {
            Self::Connection(publication) => publication.send_due(totals, poll),
            Self::Datagrams(publication) => publication.send_due(totals),
        }
    }

    /// Says goodbye; datagrams do so when they are dropped.
    pub(super) fn end(&mut self, poll: &Poll) {
        if let Self::Connection(publication) = self {
            publication.end(poll);
        }
    }
}
