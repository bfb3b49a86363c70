//! The packets of a connection, by number: what the connection asks, and the bytes.

use codecs::mpegts::Splice;

use super::spans::{Span, Spans};
use crate::log::{Group, RangeList, Succession};
use crate::session::srt::{PacketIndex, PacketMeta};

/// The payload of a datagram.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    /// One or two pieces of pages, valid until this shard's epoch advances.
    Log(RangeList),
    /// Packets of this player alone: it goes on at another place than it stopped.
    Splice(Splice),
}

impl Payload {
    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Log(ranges) => ranges.as_slice().iter().map(|range| range.len as usize).sum(),
            Self::Splice(splice) => splice.encoded_len(),
        }
    }

    /// True if there is nothing to send, which does not happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a player was offered, by the numbers of its connection.
///
/// A number that the log has let go of is not there: it was sent, and cannot be sent again.
#[derive(Clone, Copy, Debug)]
pub struct PlayerIndex<'a> {
    pub(super) spans: &'a Spans,
    pub(super) end: u64,
    pub(super) logs: &'a Succession,
}

impl PlayerIndex<'_> {
    /// The bytes of a number; `None` if they are gone.
    #[must_use]
    pub fn payload(&self, number: u64) -> Option<Payload> {
        let (span, group) = self.find(number)?;
        if let Some(splice) = span.splice_at(number) {
            return Some(Payload::Splice(splice));
        }
        let mut ranges = RangeList::new();
        let log = self.logs.at(group.offset);
        let covered = log.ranges(group.offset, group.end(), &mut ranges).ok()?;
        (covered == u64::from(group.len)).then_some(Payload::Log(ranges))
    }

    /// Copies the bytes of a number to `out`, for those who change them; how many there are, or
    /// `None` if they are gone or do not fit.
    #[must_use]
    pub fn read(&self, number: u64, out: &mut [u8]) -> Option<usize> {
        let (span, group) = self.find(number)?;
        if let Some(splice) = span.splice_at(number) {
            let out = out.get_mut(..splice.encoded_len())?;
            splice.encode(&mut codecs::writer::Writer::new(out));
            return Some(out.len());
        }
        let out = out.get_mut(..group.len as usize)?;
        let read = self.logs.at(group.offset).read(group.offset, out).ok()?;
        (read == out.len()).then_some(read)
    }

    /// The span of a number, and the group that it is or announces.
    pub(super) fn find(&self, number: u64) -> Option<(&Span, Group)> {
        let span = self.spans.find(number).filter(|_| number < self.end)?;
        let group = self.logs.group(span.group_of(number))?;
        Some((span, group))
    }
}

impl PacketIndex for PlayerIndex<'_> {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let (span, group) = self.find(number)?;
        let len = span.splice_at(number).map_or(group.len as usize, |splice| splice.encoded_len());
        Some(PacketMeta { len, at_us: span.at_us(group.time) })
    }
}
