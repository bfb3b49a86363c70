//! Commands: what an application may order by the coordinator's contract.

use dataplane::control::{CloseReason, Command, ProtocolSet, Role};
use dataplane::ids::{StreamId, StreamName};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::fleet::Fleet;

/// A question or an order of an application.
#[derive(Debug)]
pub enum CommandAsk {
    /// Which channels are on the air?
    Active {
        /// Takes them, by their names.
        reply: oneshot::Sender<Vec<(StreamName, StreamId)>>,
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
    /// Answers, or gives the order to the shards.
    pub(super) fn command(&mut self, ask: CommandAsk) {
        // The request may be gone: then nobody misses the answer.
        match ask {
            CommandAsk::Active { reply } => {
                let active = self.coordinator.channels().active();
                let _ = reply.send(active.map(|(name, id)| (name.clone(), id)).collect());
            }
            CommandAsk::Close { channel, id, reply } => {
                let meant = self.coordinator.channels().meant(&channel, &id).cloned();
                let _ = reply.send(meant.is_some());
                let Some(stream) = meant else { return };
                tracing::info!(%stream, "closed by the application");
                // The publication may end, and another begin, before the shards read this.
                let publication = StreamId::parse(&id);
                self.tell_all(|| Command::KickStream {
                    stream: stream.clone(),
                    publication,
                    role: Some(Role::Publish),
                    protocols: ProtocolSet::ALL,
                    reason: CloseReason::Kicked,
                });
            }
        }
    }
}
