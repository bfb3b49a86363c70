//! Commands: what an application may order by the coordinator's contract.

use std::time::Instant;

use dataplane::ids::StreamId;
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::attached::Report;

/// A question or an order of an application.
#[derive(Debug)]
pub enum CommandAsk {
    /// Which channels are on the air, and which servers and encoders are there?
    Report {
        /// Takes them.
        reply: oneshot::Sender<Report>,
    },
    /// The publication of a channel is to end.
    Close {
        /// The channel.
        channel: String,
        /// The publication; `*` and nothing mean whichever there is.
        id: String,
        /// Takes whether there was one.
        reply: oneshot::Sender<bool>,
    },
}

impl<F: Fleet> Exchange<F> {
    /// Answers, or gives the order to the shards, or to the server that has the publication.
    pub(super) fn command(&mut self, ask: CommandAsk, now: Instant) {
        // The request may be gone: then nobody misses the answer.
        match ask {
            CommandAsk::Report { reply } => drop(reply.send(self.coordinator.report())),
            CommandAsk::Close { channel, id, reply } => {
                let meant = self.coordinator.channels().meant(&channel, &id).cloned();
                let elsewhere = self.coordinator.close(&channel, &id, now);
                let _ = reply.send(meant.is_some() || elsewhere);
                let Some(stream) = meant else { return };
                tracing::info!(%stream, "closed by the application");
                // The publication may end, and another begin, before the shards read this.
                self.kick_publisher(&stream, StreamId::parse(&id));
            }
        }
    }
}
