//! The publisher's packets as they are: in runs of a datagram each, in pages.
//!
//! A run is closed where it is full, before each place where a reader may begin, and where the
//! bytes that came are used up, so that nothing waits for what comes next. Packets that fill the
//! rate are left out unless that is asked for; so are those that a demodulator marked, for which
//! the counters of their PID tell that they are missing.
//!
//! In/Out: a packet is copied once, from where it came to here. The shard writes it into a log.
//! Limits: one run.

use std::collections::VecDeque;

use codecs::mpegts::demux::packet::TransportPacket;
use codecs::mpegts::demux::programs::Program;
use codecs::mpegts::demux::{PacketGroup, PacketIndex, RawPacket};
use codecs::mpegts::relay::{Carried, RelayProgram};
use codecs::mpegts::{PACKET_LEN, Pid};
use codecs::time::MediaTime;

use crate::session::Event;
use crate::slab::{AuBytes, AuWriter, PageClass, Pool};

/// Packets that follow each other, as they came; their bytes are in the slab of the home shard.
#[derive(Debug)]
pub struct RelayRun {
    /// Whole packets.
    pub packets: AuBytes,
    /// The time of the program's clock at the first of them, if there was any.
    pub at: Option<MediaTime>,
    /// The newest clock reference before them, unless the first has one itself.
    pub clock: Option<i64>,
    /// A reader may begin with it.
    pub join: bool,
    /// There are pictures or sound in it: not tables, clocks and filling alone.
    pub has_media: bool,
}

/// Packets on their way. Lives on: the home shard. Crosses by: with its session, without its run.
#[derive(Debug)]
pub(super) struct Relaying {
    /// Packets that fill the rate are sent on as well.
    keeps_null: bool,
    program: Option<Box<RelayProgram>>,
    index: PacketIndex,
    /// Packets that were taken.
    taken: u64,
    run: AuWriter,
    /// A packet of the run has media.
    has_media: bool,
    /// A packet of the run found no page.
    is_broken: bool,
}

impl Relaying {
    pub(super) fn new(keeps_null: bool) -> Self {
        Self {
            keeps_null,
            program: None,
            index: PacketIndex::default(),
            taken: 0,
            run: AuWriter::new(),
            has_media: false,
            is_broken: false,
        }
    }

    /// The packets are those of this program from here on; what came before is told.
    pub(super) fn follow(
        &mut self,
        followed: &Program,
        program: Option<&RelayProgram>,
        pool: &Pool,
        events: &mut VecDeque<Event>,
    ) {
        self.flush(pool, events);
        self.index.follow(followed);
        self.program = program.cloned().map(Box::new);
    }

    /// Takes a packet, and tells of the run that it closes.
    pub(super) fn take(&mut self, raw: &RawPacket, pool: &Pool, events: &mut VecDeque<Event>) {
        let Some(program) = &self.program else { return };
        let packet = TransportPacket::parse(raw);
        if packet.damaged || packet.malformed {
            return;
        }
        let carried = match program.carries(&packet) {
            Carried::Not if packet.pid == Pid::NULL && self.keeps_null => Carried::Whole,
            carried => carried,
        };
        let is_media = program.is_media(&packet);
        match carried {
            Carried::Whole => self.push(raw, is_media, pool, events),
            Carried::Clock => self.push(&RelayProgram::clock_of(&packet), false, pool, events),
            Carried::Not => {}
        }
    }

    /// Tells of the run that is open.
    pub(super) fn flush(&mut self, pool: &Pool, events: &mut VecDeque<Event>) {
        if let Some(group) = self.index.flush() {
            self.end_run(&group, pool, events);
        }
    }

    /// Drops the run that is open, and gives its pages back.
    pub(super) fn close(&mut self, pool: &Pool) {
        self.index.flush();
        (self.has_media, self.is_broken) = (false, false);
        std::mem::take(&mut self.run).close(pool);
    }

    fn push(&mut self, raw: &RawPacket, is_media: bool, pool: &Pool, events: &mut VecDeque<Event>) {
        let number = self.taken;
        self.taken += 1;
        let closed = self.index.take(raw);
        let (before, with) = match closed {
            Some(group) if group.first + u64::from(group.packets) <= number => (closed, None),
            closed => (None, closed),
        };
        if let Some(group) = before {
            self.end_run(&group, pool, events);
        }
        self.has_media |= is_media;
        // COPY(ingest): a packet as it is, out of its datagram.
        if !self.is_broken && self.run.append(pool, PageClass::Small, raw).is_err() {
            self.run.abort(pool);
            self.is_broken = true;
        }
        if let Some(group) = with {
            self.end_run(&group, pool, events);
        }
    }

    fn end_run(&mut self, group: &PacketGroup, pool: &Pool, events: &mut VecDeque<Event>) {
        let has_media = std::mem::take(&mut self.has_media);
        if std::mem::take(&mut self.is_broken) {
            events.push_back(Event::MediaDropped { reason: "memory" });
            return;
        }
        let packets = self.run.finish(pool);
        debug_assert_eq!(packets.len(), usize::from(group.packets) * PACKET_LEN, "one group");
        let PacketGroup { began: at, clock, join, .. } = *group;
        events.push_back(Event::Relay(RelayRun { packets, at, clock, join, has_media }));
    }
}
