//! One stream that is published.

use anyhow::{Result, bail};

use super::PublishTotals;
use super::bank::BACKLOG_BYTES_MAX;
use super::feed::Feed;
use crate::client::{Client, Role};
use crate::connection::Connection;
use crate::piece::Event;
use crate::socket::{Poll, monotonic_ns};
use crate::source::SourceFrame;
use crate::stream_url::StreamUrl;

pub(super) struct Publication {
    connection: Connection,
    client: Client,
    feed: Feed,
    /// When frame 0 is due; `None` until the server accepts.
    started_ns: Option<u64>,
}

impl Publication {
    pub(super) fn new(mut connection: Connection, url: StreamUrl, feed: Feed) -> Self {
        let client = Client::new(Role::Publish, url, monotonic_ns(), connection.out());
        Self { connection, client, feed, started_ns: None }
    }

    /// When the next frame is due, once the server has accepted the stream.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.started_ns.map(|started_ns| started_ns + self.feed.due_ns())
    }

    /// Reads what the server says; true if it accepts the stream now.
    pub(super) fn receive(&mut self, buffer: &mut [u8], poll: &Poll) -> Result<bool> {
        let mut is_accepted = false;
        while let Some(len) = self.connection.read(buffer)? {
            if len == 0 {
                bail!("the server closed the connection");
            }
            let mut input = &buffer[..len];
            while !input.is_empty() {
                let (taken, event) = self.client.feed(input, self.connection.out())?;
                input = &input[taken..];
                match event {
                    Some(Event::Accepted) => is_accepted = true,
                    Some(Event::Refused(reason)) => bail!("the server refused it: {reason}"),
                    Some(Event::Media(_) | Event::Unit(_) | Event::Moved(_)) | None => {}
                }
            }
        }
        self.connection.flush(poll)?;
        Ok(is_accepted)
    }

    /// Begins: frame 0 is due then.
    pub(super) fn start(&mut self, started_ns: u64) {
        self.started_ns = Some(started_ns);
        self.feed.send_heads(&self.client, self.connection.out());
    }

    /// Sends the frames whose time has come.
    pub(super) fn send_due(&mut self, totals: &mut PublishTotals, poll: &Poll) -> Result<()> {
        while let Some(due_ns) = self.due_ns() {
            let now_ns = monotonic_ns();
            if due_ns > now_ns {
                break;
            }
            totals.lateness.record(now_ns - due_ns);
            let fits = self.connection.backlog() < BACKLOG_BYTES_MAX;
            let Self { connection, client, feed, .. } = self;
            let SourceFrame { kind, is_picture, timestamp_ms, body } = feed.frame(now_ns);
            if fits {
                totals.frames += u64::from(is_picture);
                totals.bytes += body.len() as u64;
                client.send_media(kind, timestamp_ms, body, connection.out());
            } else {
                totals.dropped += u64::from(is_picture);
            }
        }
        Ok(self.connection.flush(poll)?)
    }

    /// Says goodbye as far as the socket takes it at once.
    pub(super) fn end(&mut self, poll: &Poll) {
        self.client.send_end(self.connection.out());
        // What a server makes of a lost goodbye is its own business.
        let _ = self.connection.flush(poll);
    }
}
