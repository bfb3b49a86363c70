//! Messages of a peer: which kinds may come where, and who takes them.

use std::borrow::Cow;
use std::time::Instant;

use codecs::rtmp::message::{MessageHeader, MessageKind};

use super::assembly::Way;
use super::ingest::Ingest;
use super::server::Server;
use super::state::State;
use crate::Error;
use crate::config::LimitId;
use crate::slab::Pool;

impl Server {
    /// Where the message of a header goes, or why it may not come at all.
    pub(super) fn way(&self, header: &MessageHeader) -> Result<Way, Error> {
        let media = match header.kind {
            MessageKind::Audio | MessageKind::Video => Way::Pages,
            MessageKind::Aggregate => Way::Bytes,
            MessageKind::SharedObjectAmf0
            | MessageKind::SharedObjectAmf3
            | MessageKind::Unknown(_) => return Ok(Way::Skip),
            _ if u64::from(header.len) > self.terms.limits.rtmp_command_bytes_max => {
                return Err(Error::Limit(LimitId::RtmpCommandBytesMax));
            }
            _ => return Ok(Way::Bytes),
        };
        match self.state {
            State::Publishing(_) => Ok(media),
            // What was under way when the publication ended.
            State::Connected => Ok(Way::Skip),
            _ => Err(self.misbehaved("media")),
        }
    }

    pub(super) fn message(
        &mut self,
        now: Instant,
        header: &MessageHeader,
        body: Cow<'_, [u8]>,
        pool: &Pool,
    ) -> Result<(), Error> {
        match header.kind {
            MessageKind::SetChunkSize
            | MessageKind::Abort
            | MessageKind::Acknowledgement
            | MessageKind::WindowAckSize
            | MessageKind::SetPeerBandwidth => self.control(header.kind, &body, pool),
            MessageKind::UserControl => self.user_control(&body),
            MessageKind::CommandAmf0 => self.command(now, header.msid, &body, false),
            MessageKind::CommandAmf3 => self.command(now, header.msid, &body, true),
            MessageKind::DataAmf0 | MessageKind::DataAmf3 => self.data(header, &body),
            MessageKind::Aggregate => self.aggregate(header, &body, pool),
            _ => Ok(()),
        }
    }

    /// Script data of a publisher; in other states nobody listens.
    fn data(&mut self, header: &MessageHeader, body: &[u8]) -> Result<(), Error> {
        let limits = self.amf_limits();
        if !matches!(self.state, State::Publishing(_)) {
            tracing::debug!(state = self.state.name(), "data message ignored");
            return Ok(());
        }
        let (ingest, events) = self.ingest();
        ingest.data(header, body, &limits, events).map_err(|e| self.limit_of(e))
    }

    /// An aggregate of a publisher.
    fn aggregate(&mut self, header: &MessageHeader, body: &[u8], pool: &Pool) -> Result<(), Error> {
        let limits = self.amf_limits();
        let Self { assembly, events, .. } = self;
        let ingest = self.ingest.get_or_insert_with(|| Box::new(Ingest::new(&self.terms.limits)));
        ingest.aggregate(header, body, (assembly, pool), &limits, events).map_err(Error::Limit)
    }
}
