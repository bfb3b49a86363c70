//! Protocol control and user control messages of a peer.

use codecs::rtmp::message::{Control, MessageKind, UserControl};

use super::server::Server;
use super::window::WINDOW_BYTES;
use crate::Error;
use crate::slab::Pool;

impl Server {
    pub(super) fn control(
        &mut self,
        kind: MessageKind,
        body: &[u8],
        pool: &Pool,
    ) -> Result<(), Error> {
        match Control::parse(kind, body)? {
            Control::SetChunkSize(bytes) => self.reader.set_chunk_size(bytes)?,
            Control::Abort(csid) => {
                self.reader.abort(csid);
                self.assembly.abort(csid, pool);
            }
            // What the peer received is the kernel's business: TCP has its own window.
            Control::Acknowledgement(_) => {}
            Control::WindowAckSize(bytes) => self.window.set_size(bytes),
            Control::SetPeerBandwidth { size, .. } => {
                if size != WINDOW_BYTES {
                    self.replies.control(Control::WindowAckSize(size));
                }
            }
        }
        Ok(())
    }

    pub(super) fn user_control(&mut self, body: &[u8]) -> Result<(), Error> {
        match UserControl::parse(body)? {
            UserControl::PingRequest(time) => {
                self.replies.user_control(UserControl::PingResponse(time));
            }
            // A player's buffer length does not matter to a live stream, and the other events are
            // a server's words: ffmpeg sends SetBufferLength, Flash a few more.
            event => tracing::trace!(?event, "user control ignored"),
        }
        Ok(())
    }
}
