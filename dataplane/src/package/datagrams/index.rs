//! The packets of a connection, by number: what the connection asks, and the bytes.

use codecs::mpegts::Splice;
use codecs::mpegts::relay::Entrance;
use codecs::writer::Writer;

use super::spans::{Head, HeadPart, Span, Spans};
use crate::log::{Group, RangeList, Succession};
use crate::session::srt::{PacketIndex, PacketMeta};

/// The payload of a datagram.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    /// One or two pieces of pages, valid until this shard's epoch advances.
    Log(RangeList),
    /// Packets of this player alone: it goes on at another place than it stopped.
    Splice(Splice),
    /// So many bytes of this player alone, which [`PlayerIndex::read`] gives: it begins among
    /// packets that came as they are.
    Entrance(usize),
}

impl Payload {
    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Log(ranges) => ranges.as_slice().iter().map(|range| range.len as usize).sum(),
            Self::Splice(splice) => splice.encoded_len(),
            Self::Entrance(len) => *len,
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
        match span.head_at(number) {
            Some(HeadPart::Splice(splice)) => return Some(Payload::Splice(splice)),
            Some(part @ HeadPart::Entrance { .. }) => {
                self.entrance(span, &group, |_| ())?;
                return Some(Payload::Entrance(part.len()));
            }
            None => {}
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
        if let Some(part) = span.head_at(number) {
            let out = out.get_mut(..part.len())?;
            let mut writer = Writer::new(out);
            match part {
                HeadPart::Splice(splice) => splice.encode(&mut writer),
                HeadPart::Entrance { first, packets } => {
                    let encode =
                        |entrance: &Entrance<'_>| entrance.encode(first, packets, &mut writer);
                    self.entrance(span, &group, encode)?;
                }
            }
            return Some(out.len());
        }
        let out = out.get_mut(..group.len as usize)?;
        let read = self.logs.at(group.offset).read(group.offset, out).ok()?;
        (read == out.len()).then_some(read)
    }

    /// The entrance before the group that a span begins with, unless it is gone.
    fn entrance<T>(
        &self,
        span: &Span,
        group: &Group,
        take: impl FnOnce(&Entrance<'_>) -> T,
    ) -> Option<T> {
        let Head::Entrance { packets, after_gap } = span.head else { return None };
        let log = self.logs.at(group.offset);
        let entry = log.entry_containing(group.offset)?;
        let preamble = log.preamble(entry.config_version)?;
        let entrance = preamble.relayed.as_ref()?.entrance(&entry, after_gap);
        (entrance.count() == usize::from(packets)).then(|| take(&entrance))
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
        let len = span.head_at(number).map_or(group.len as usize, HeadPart::len);
        Some(PacketMeta { len, at_us: span.at_us(group.time) })
    }
}
