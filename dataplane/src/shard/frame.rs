//! WebSocket frames around what a player is sent of its log.
//!
//! The payload is the log's own bytes, shared with everybody; the header is the connection's. One
//! frame holds what one send takes: whole entries, or a single one that is larger than a send. A
//! frame of which the socket took a byte is finished before anything else is said, so jumps,
//! replies and the end wait for its border as they wait for that of an entry elsewhere.
//!
//! ```text
//!   none --begin--> begun --first byte taken--> open --last byte taken--> none
//!                     +-------- no byte taken ---------------------------->+
//! ```

use codecs::websocket::{FrameHeader, Opcode, SERVER_HEADER_BYTES_MAX};
use codecs::writer::Writer;

use super::connection::{InFlight, Playing};
use crate::log::Log;

/// The frame in hand. Lives on: the player's shard. Crosses by: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    head: [u8; SERVER_HEADER_BYTES_MAX],
    head_len: u8,
    head_sent: u8,
    /// The offset in the log where it ends, while a byte of it is sent and another is not.
    open: Option<u64>,
    /// Where a frame ends that is only begun.
    end: u64,
}

impl Frame {
    /// The offset where the frame ends that must be finished first.
    pub(super) const fn open(&self) -> Option<u64> {
        self.open
    }

    /// Begins the next frame at `from`; `to` is as far as a send reaches, the border of an entry if
    /// `boundary`. Returns how far this send goes instead, `None` if the log no longer knows.
    pub(super) fn begin(&mut self, log: &Log, from: u64, to: u64, boundary: bool) -> Option<u64> {
        let (to, end) = if boundary {
            (to, to)
        } else {
            let cut = log.entry_containing(to - 1)?;
            if cut.end() == to {
                (to, to)
            } else if cut.offset > from {
                (cut.offset, cut.offset)
            } else {
                (to, cut.end())
            }
        };
        let len;
        (self.head, len) = header(end - from);
        (self.head_len, self.head_sent, self.open, self.end) = (len, 0, None, end);
        Some(to)
    }

    /// What is not yet sent of the header.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[usize::from(self.head_sent)..usize::from(self.head_len)]
    }

    /// The socket took so many bytes of the header, and the log's up to `offset`; true if nothing
    /// of a frame is left open.
    pub(super) fn sent(&mut self, head: u8, offset: u64) -> bool {
        self.head_sent += head;
        let begun = self.head_sent > 0;
        let whole = self.head_sent == self.head_len && offset == self.end;
        self.open = (begun && !whole).then_some(self.end);
        self.open.is_none()
    }
}

/// The header of a binary frame of `len` bytes, and its own length.
fn header(len: u64) -> ([u8; SERVER_HEADER_BYTES_MAX], u8) {
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    let mut writer = Writer::new(&mut bytes);
    FrameHeader { fin: true, opcode: Opcode::Binary, mask: None, len }.encode(&mut writer);
    let written = u8::try_from(writer.written()).expect("10 bytes at most");
    (bytes, written)
}

/// Makes what was appended to `out` since `start` a frame of its own.
pub(super) fn enclose(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    if len > 0 {
        let (bytes, written) = header(len as u64);
        out.splice(start..start, bytes.into_iter().take(usize::from(written)));
    }
}

impl Playing {
    /// The socket took so many bytes of the log, and of a frame's header before them.
    pub(super) fn advance(&mut self, flight: &InFlight, head: u8, from_log: u64, log: &Log) {
        let Some(cursor) = &mut self.cursor else { return };
        let offset = flight.from + from_log;
        if let Some(frame) = &mut self.frame {
            cursor.offset = offset;
            cursor.at_boundary = frame.sent(head, offset);
        } else if from_log > 0 {
            let whole = from_log == u64::from(flight.len);
            cursor.sent(offset, flight.boundary && whole, log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(len: u64) -> Frame {
        let (head, head_len) = header(len);
        Frame { head, head_len, head_sent: 0, open: None, end: 1_000 + len }
    }

    #[test]
    fn a_frame_is_open_from_its_first_byte_to_its_last() {
        let mut frame = begun(300);
        assert_eq!(frame.head(), [0x82, 126, 1, 44]);
        assert!(frame.sent(0, 1_000), "nothing was taken: it was never begun");
        assert!(!frame.sent(1, 1_000));
        assert_eq!((frame.head(), frame.open()), (&[126, 1, 44][..], Some(1_300)));
        assert!(!frame.sent(3, 1_000), "the header alone is no frame");
        assert!(frame.head().is_empty());
        assert!(!frame.sent(0, 1_299));
        assert!(frame.sent(0, 1_300));
        assert_eq!(frame.open(), None);
    }

    #[test]
    fn own_bytes_become_a_frame_behind_what_waits() {
        let mut out = b"pong".to_vec();
        enclose(&mut out, 4);
        assert_eq!(out, b"pong");
        out.extend_from_slice(b"head");
        enclose(&mut out, 4);
        assert_eq!(out, b"pong\x82\x04head");
    }
}
