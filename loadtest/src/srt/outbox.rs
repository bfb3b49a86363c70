//! Datagrams that are to be sent.

use codecs::srt::{ControlHeader, ControlType, HEADER_BYTES, SocketId};
use codecs::writer::Writer;

/// Datagrams in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Outbox {
    /// The datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// They are sent.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a datagram of so many bytes, which `write` fills.
    pub(super) fn put(&mut self, len: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        let mut writer = Writer::new(&mut self.bytes[start..]);
        write(&mut writer);
        assert_eq!(writer.written(), len, "a length of ours is kept");
        self.ends.push(self.bytes.len());
    }

    /// Appends a control packet with a body of so many bytes.
    pub(super) fn put_control(
        &mut self,
        head: ControlHead,
        len: usize,
        body: impl FnOnce(&mut Writer<'_>),
    ) {
        let ControlHead { kind, info, now_us, destination } = head;
        let header = ControlHeader { kind, info, timestamp: now_us as u32, destination };
        self.put(HEADER_BYTES + len, |writer| {
            header.encode(writer);
            body(writer);
        });
    }
}

/// What the header of a control packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlHead {
    pub(super) kind: ControlType,
    pub(super) info: u32,
    pub(super) now_us: u64,
    pub(super) destination: SocketId,
}
