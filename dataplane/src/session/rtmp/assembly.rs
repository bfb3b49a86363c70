//! Messages from their fragments: media straight into slab pages, the rest into bounded vectors.
//!
//! In/Out: a media fragment is copied once, from the receive buffer to its page. A message of
//! another kind that lies in one piece is not copied at all.
//! Limits: `rtmp_command_bytes_max` a message that is not media; the chunk reader bounds the bytes
//! of all unfinished messages together, so vectors and pages are bounded with them.

use std::borrow::Cow;

use codecs::rtmp::chunk_reader::Fragment;
use codecs::rtmp::message::{Csid, MessageKind};

use crate::slab::{AuBytes, AuWriter, PageClass, Pool};

/// Media messages in the making at most, each on its chunk stream: every track on a chunk stream of
/// its own is within it.
const WRITERS_MAX: usize = 16;

/// What a fragment completed.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// Nothing yet.
    Partial,
    /// A message of control rate.
    Bytes(Cow<'a, [u8]>),
    /// A media message.
    Unit(AuBytes),
    /// A media message that could not be kept, and why.
    Dropped(&'static str),
}

/// What becomes of the message in hand on a chunk stream.
#[derive(Debug)]
enum Part {
    Idle,
    Bytes(Vec<u8>),
    Unit(AuWriter),
    /// A media message that is on its way to the pages of another shard.
    Packed(Vec<u8>),
    Skip(Option<&'static str>),
}

/// One chunk stream's message in the making.
#[derive(Debug)]
struct Slot {
    csid: Csid,
    part: Part,
}

/// All messages in the making. A player, whose messages are short and whole, has no table.
#[derive(Debug, Default)]
pub(super) struct Assembly(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    /// Writers between messages, one kind a page class so that small audio shares small pages.
    idle: Vec<(PageClass, AuWriter)>,
    busy: usize,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Into a vector.
    Bytes,
    /// Into pages.
    Pages,
    /// Nowhere.
    Skip,
}

/// The pages that a media message is kept in.
pub(super) fn class_of(kind: MessageKind) -> PageClass {
    if kind == MessageKind::Audio { PageClass::Small } else { PageClass::Large }
}

impl Assembly {
    /// Takes one fragment; `way` counts at the first one of a message.
    ///
    /// Inlined where fragments come in, for publishers as for pulls: a call is 1 % of an ingest.
    #[inline(always)]
    pub(super) fn push<'a>(&mut self, fragment: Fragment<'a>, way: Way, pool: &Pool) -> Body<'a> {
        let Fragment { header, offset, data, last } = fragment;
        if offset == 0 {
            // A message that begins ends the one that was partial on its chunk stream.
            self.abort(header.csid, pool);
            if last && way == Way::Bytes {
                return Body::Bytes(Cow::Borrowed(data));
            }
        }
        let table = self.0.get_or_insert_default();
        let class = class_of(header.kind);
        let index = table.slot(header.csid);
        if offset == 0 {
            table.slots[index].part = table.begin(way, class);
        }
        table.append(index, class, data, pool);
        if !last {
            return Body::Partial;
        }
        let body = table.complete(index, class, pool);
        if table.is_unused() {
            self.0 = None;
        }
        body
    }

    /// Bytes of vectors: messages of control rate in hand, and the table itself. Pages are counted
    /// by their pool.
    pub(super) fn buffer_bytes(&self) -> usize {
        let Some(table) = &self.0 else { return 0 };
        let bytes = |slot: &Slot| match &slot.part {
            Part::Bytes(bytes) | Part::Packed(bytes) => bytes.capacity(),
            Part::Idle | Part::Unit(_) | Part::Skip(_) => 0,
        };
        let slots = table.slots.capacity() * size_of::<Slot>();
        let idle = table.idle.capacity() * size_of::<(PageClass, AuWriter)>();
        slots + idle + table.slots.iter().map(bytes).sum::<usize>()
    }

    /// Drops the message in hand on a chunk stream, if there is one.
    pub(super) fn abort(&mut self, csid: Csid, pool: &Pool) {
        if let Some(table) = &mut self.0 {
            table.abort(csid, pool);
        }
    }

    /// One media body that came in one piece inside an aggregate.
    pub(super) fn whole(&mut self, kind: MessageKind, body: &[u8], pool: &Pool) -> Body<'static> {
        self.0.get_or_insert_default().whole(class_of(kind), body, pool)
    }

    /// The session moves to a shard with pages of its own: media in hand is dropped.
    pub(super) fn leave_pages(&mut self, pool: &Pool) {
        if let Some(table) = &mut self.0 {
            table.leave_pages(pool);
        }
    }

    /// Takes media in hand out of the pages of this shard; the next fragment puts it in those of
    /// the one that the session moves to.
    pub(super) fn pack(&mut self, pool: &Pool) {
        if let Some(table) = &mut self.0 {
            table.pack(pool);
        }
    }

    /// Gives every page back.
    pub(super) fn close(&mut self, pool: &Pool) {
        if let Some(table) = self.0.take() {
            table.close(pool);
        }
    }
}

impl Table {
    fn append(&mut self, index: usize, class: PageClass, data: &[u8], pool: &Pool) {
        self.unpack(index, class, pool);
        match &mut self.slots[index].part {
            Part::Idle | Part::Skip(_) | Part::Packed(_) => {}
            // COPY(script): a message of control rate that came in pieces; media goes to pages.
            Part::Bytes(bytes) => bytes.extend_from_slice(data),
            // COPY(ingest): a fragment of a media message.
            Part::Unit(writer) => {
                if writer.append(pool, class, data).is_err() {
                    writer.abort(pool);
                    self.retire(index, class);
                    self.slots[index].part = Part::Skip(Some("memory"));
                }
            }
        }
    }

    /// True if no message is in hand and no writer is kept for the next one.
    fn is_unused(&self) -> bool {
        self.idle.is_empty() && self.slots.iter().all(|slot| matches!(slot.part, Part::Idle))
    }

    fn abort(&mut self, csid: Csid, pool: &Pool) {
        let Some(index) = self.slots.iter().position(|slot| slot.csid == csid) else { return };
        match std::mem::replace(&mut self.slots[index].part, Part::Idle) {
            Part::Unit(writer) => {
                // The next message may be of another kind: its pages are not worth keeping.
                writer.close(pool);
                self.busy -= 1;
            }
            Part::Packed(_) => self.busy -= 1,
            Part::Idle | Part::Bytes(_) | Part::Skip(_) => {}
        }
    }

    fn whole(&mut self, class: PageClass, body: &[u8], pool: &Pool) -> Body<'static> {
        let Some(mut writer) = self.take(class) else { return Body::Dropped("chunk_streams") };
        // COPY(aggregate): a body that was gathered with its aggregate.
        let unit = if writer.append(pool, class, body).is_ok() {
            Body::Unit(writer.finish(pool))
        } else {
            writer.abort(pool);
            Body::Dropped("memory")
        };
        self.give(class, writer);
        unit
    }

    fn leave_pages(&mut self, pool: &Pool) {
        for slot in &mut self.slots {
            if matches!(slot.part, Part::Packed(_)) {
                slot.part = Part::Skip(Some("moved"));
                self.busy -= 1;
            } else if matches!(slot.part, Part::Unit(_)) {
                let part = std::mem::replace(&mut slot.part, Part::Skip(Some("moved")));
                if let Part::Unit(writer) = part {
                    writer.close(pool);
                    self.busy -= 1;
                }
            }
        }
        for (_, writer) in self.idle.drain(..) {
            writer.close(pool);
        }
    }

    fn pack(&mut self, pool: &Pool) {
        for slot in &mut self.slots {
            if let Part::Unit(writer) = &slot.part {
                let mut bytes = Vec::with_capacity(writer.len());
                // COPY(move): a media message in the making leaves the pages of this shard.
                pool.chunks(writer.open()).for_each(|chunk| bytes.extend_from_slice(chunk));
                let packed = Part::Packed(bytes);
                if let Part::Unit(writer) = std::mem::replace(&mut slot.part, packed) {
                    writer.close(pool);
                }
            }
        }
        for (_, writer) in self.idle.drain(..) {
            writer.close(pool);
        }
    }

    /// Puts a message that was packed in pages of `pool`.
    fn unpack(&mut self, index: usize, class: PageClass, pool: &Pool) {
        let part = &mut self.slots[index].part;
        if !matches!(part, Part::Packed(_)) {
            return;
        }
        let unit = Part::Unit(AuWriter::new());
        if let Part::Packed(bytes) = std::mem::replace(part, unit) {
            self.append(index, class, &bytes, pool);
        }
    }

    fn close(self, pool: &Pool) {
        for slot in self.slots {
            if let Part::Unit(writer) = slot.part {
                writer.close(pool);
            }
        }
        for (_, writer) in self.idle {
            writer.close(pool);
        }
    }

    fn slot(&mut self, csid: Csid) -> usize {
        self.slots.iter().position(|slot| slot.csid == csid).unwrap_or_else(|| {
            self.slots.push(Slot { csid, part: Part::Idle });
            self.slots.len() - 1
        })
    }

    fn begin(&mut self, way: Way, class: PageClass) -> Part {
        match way {
            Way::Bytes => Part::Bytes(Vec::new()),
            Way::Skip => Part::Skip(None),
            Way::Pages => self.take(class).map_or(Part::Skip(Some("chunk_streams")), Part::Unit),
        }
    }

    fn complete(&mut self, index: usize, class: PageClass, pool: &Pool) -> Body<'static> {
        match std::mem::replace(&mut self.slots[index].part, Part::Idle) {
            Part::Idle | Part::Skip(None) | Part::Packed(_) => Body::Partial,
            Part::Skip(Some(reason)) => Body::Dropped(reason),
            Part::Bytes(bytes) => Body::Bytes(Cow::Owned(bytes)),
            Part::Unit(mut writer) => {
                let unit = writer.finish(pool);
                self.give(class, writer);
                Body::Unit(unit)
            }
        }
    }

    fn take(&mut self, class: PageClass) -> Option<AuWriter> {
        if self.busy == WRITERS_MAX {
            return None;
        }
        self.busy += 1;
        let idle = self.idle.iter().position(|(of, _)| *of == class);
        Some(idle.map_or_else(AuWriter::new, |index| self.idle.swap_remove(index).1))
    }

    fn give(&mut self, class: PageClass, writer: AuWriter) {
        self.busy -= 1;
        self.idle.push((class, writer));
    }

    fn retire(&mut self, index: usize, class: PageClass) {
        if let Part::Unit(writer) = std::mem::replace(&mut self.slots[index].part, Part::Idle) {
            self.give(class, writer);
        }
    }
}
