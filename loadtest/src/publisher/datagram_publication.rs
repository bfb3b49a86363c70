//! One stream that is published in datagrams: SRT.
//!
//! Shape: a frame becomes transport packets, which go out seven to a datagram; a frame's last
//! datagram may be shorter. It is sent when it is due, all at once, and kept by the connection for
//! its latency. A frame that the connection has no room for is dropped and counted.

use anyhow::{Context, Result, bail};

use super::PublishTotals;
use super::feed::Feed;
use super::multiplex::Multiplex;
use crate::socket::monotonic_ns;
use crate::source::SourceFrame;
use crate::srt::{Endpoint, PAYLOAD_BYTES, Told};

pub(super) struct DatagramPublication {
    endpoint: Endpoint,
    feed: Feed,
    multiplex: Multiplex,
    /// The packets of a frame.
    packets: Vec<u8>,
    /// What the server says beside acknowledgements, which nobody looks at.
    unwanted: Vec<u8>,
    /// When frame 0 is due; `None` until the server accepts.
    started_ns: Option<u64>,
}

impl DatagramPublication {
    pub(super) fn new(endpoint: Endpoint, feed: Feed) -> Self {
        let (packets, unwanted) = (Vec::new(), Vec::new());
        Self {
            endpoint,
            feed,
            multiplex: Multiplex::default(),
            packets,
            unwanted,
            started_ns: None,
        }
    }

    /// When the next frame is due, once the server has accepted the stream.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.started_ns.map(|started_ns| started_ns + self.feed.due_ns())
    }

    /// Reads what the server says; true if it accepts the stream now.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.endpoint.receive(buffer)? {
            Told::Accepted => Ok(true),
            Told::Refused(reason) => bail!("the server refused it: {reason}"),
            Told::Nothing => Ok(false),
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, totals: &mut PublishTotals) -> Result<()> {
        self.endpoint.tick()?;
        self.endpoint.take_released(&mut self.unwanted);
        if let Some(link) = self.endpoint.link() {
            let departures = link.take_departures();
            totals.resent_packets += departures.again;
            totals.late_packets += departures.late;
        }
        Ok(())
    }

    /// Begins: frame 0 is due then.
    ///
    /// # Errors
    /// If no transport stream carries it.
    pub(super) fn start(&mut self, started_ns: u64) -> Result<()> {
        self.started_ns = Some(started_ns);
        for (kind, body) in self.feed.heads() {
            let put = self.multiplex.put(kind, 0, &body, &mut self.packets);
            put.context("it cannot be a transport stream")?;
        }
        Ok(())
    }

    /// Sends the frames whose time has come.
    pub(super) fn send_due(&mut self, totals: &mut PublishTotals) -> Result<()> {
        while let Some(due_ns) = self.due_ns() {
            let now_ns = monotonic_ns();
            if due_ns > now_ns {
                break;
            }
            totals.lateness.record(now_ns - due_ns);
            let Self { endpoint, feed, multiplex, packets, .. } = self;
            let SourceFrame { kind, is_picture, timestamp_ms, body } = feed.frame(now_ns);
            packets.clear();
            multiplex.put(kind, timestamp_ms, body, packets)?;
            if endpoint.send(packets.chunks(PAYLOAD_BYTES))? {
                totals.frames += u64::from(is_picture);
                totals.bytes += body.len() as u64;
            } else {
                totals.dropped += u64::from(is_picture);
            }
        }
        Ok(())
    }
}
