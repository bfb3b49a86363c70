//! One packet after the other to where it belongs.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::continuity::Follows;
use super::event::{Counters, Event, Track};
use super::framer::RawPacket;
use super::packet::TransportPacket;
use super::pid_table::{PidTable, Role};
use super::programs::{Program, ProgramStream, Programs};
use super::reference_clock::ReferenceClock;
use super::section::{SectionPayload, SectionReader};
use super::settings::{Settings, TRACKS_MAX};
use super::sink::{OpenBytes, Sink};
use super::store::{TrackSlot, UnitStore};
use super::tables::is_sound;
use super::track_reader::TrackReader;
use crate::mpegts::packet::Pid;

/// Everything behind the framing of packets.
#[derive(Debug)]
pub(super) struct Dispatcher<U> {
    settings: Settings,
    pub(super) programs: Programs,
    pub(super) pids: PidTable,
    pub(super) counters: Counters,
    pub(super) events: VecDeque<Event<U>>,
    chosen: Option<u16>,
    /// How often the tables said something new.
    pub(super) tables_version: u32,
    clock: ReferenceClock,
    /// The program whose clock it is, which may be gone for a while.
    clock_program: Option<u16>,
    clock_pid: Pid,
    tracks: Vec<Option<TrackReader>>,
    open: OpenBytes,
}

impl<U> Dispatcher<U> {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            programs: Programs::default(),
            pids: PidTable::new(),
            counters: Counters::default(),
            events: VecDeque::new(),
            chosen: None,
            tables_version: 0,
            clock: ReferenceClock::default(),
            clock_program: None,
            clock_pid: Pid::NULL,
            tracks: Vec::new(),
            open: OpenBytes::default(),
        }
    }

    /// The program that is read.
    pub(super) fn program(&self) -> Option<&Program> {
        self.programs.choose(self.chosen, None).filter(|_| self.chosen.is_some())
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        let tracks = self.tracks.capacity() * size_of::<Option<TrackReader>>()
            + self.tracks.iter().flatten().map(TrackReader::buffer_bytes).sum::<usize>();
        let events = self.events.capacity() * size_of::<Event<U>>();
        tracks + events + self.pids.buffer_bytes() + self.programs.buffer_bytes()
    }

    /// Takes a packet.
    pub(super) fn push<S: UnitStore<Unit = U>>(&mut self, raw: &RawPacket, store: &mut S) {
        self.counters.packets += 1;
        let packet = TransportPacket::parse(raw);
        if packet.damaged {
            self.counters.transport_errors += 1;
            return;
        }
        if packet.pid == Pid::NULL {
            self.counters.null_packets += 1;
            return;
        }
        if packet.malformed {
            self.counters.malformed += 1;
            return;
        }
        let Some(entry) = self.pids.entry(packet.pid) else { return };
        entry.report.packets += 1;
        let follows = entry.counter.follow(&packet, raw);
        let mut is_gap = follows == Follows::AsAnnounced;
        if let Follows::Behind { lost } = follows {
            is_gap = true;
            self.counters.continuity_errors += 1;
            self.counters.packets_lost += u64::from(lost);
            entry.report.lost += u64::from(lost);
        }
        if packet.scrambled {
            is_gap = true;
            self.counters.scrambled += 1;
            entry.report.scrambled += 1;
        }
        if packet.pid == self.clock_pid {
            self.take_clock(&packet);
        }
        if follows == Follows::AsDuplicate {
            self.counters.duplicates += 1;
            return;
        }
        self.dispatch(&packet, is_gap, store);
    }

    /// The stream is over.
    pub(super) fn end<S: UnitStore<Unit = U>>(&mut self, store: &mut S) {
        let Self { settings, counters, events, tracks, open, .. } = self;
        for reader in tracks.iter_mut().flatten() {
            let track = reader.track.slot;
            reader.end(&mut Sink { track, settings, store, open, events, counters });
        }
    }

    fn take_clock(&mut self, packet: &TransportPacket<'_>) {
        if packet.adaptation.discontinuity {
            self.clock.announce();
        }
        if let Some(jump) = packet.adaptation.pcr.and_then(|pcr| self.clock.take(pcr)) {
            self.counters.clock_jumps += 1;
            self.events.push_back(Event::ClockJump(jump));
        }
    }

    fn dispatch<S: UnitStore<Unit = U>>(
        &mut self,
        packet: &TransportPacket<'_>,
        is_gap: bool,
        store: &mut S,
    ) {
        let Self { settings, counters, events, tracks, open, clock, programs, pids, .. } = self;
        let Some(entry) = pids.entry(packet.pid) else { return };
        match &mut entry.role {
            Role::Other | Role::Clock => {}
            Role::Tables(reader) => {
                if is_gap {
                    reader.reset();
                }
                if !packet.scrambled && take_sections(reader, packet, programs, counters) {
                    self.reconcile(store);
                }
            }
            Role::Track(track) => {
                let track = *track;
                let reader = tracks.get_mut(track.index()).and_then(Option::as_mut);
                let Some(reader) = reader else { return };
                let mut sink = Sink { track, settings, store, open, events, counters };
                if is_gap {
                    reader.lose(&mut sink);
                }
                if packet.has_payload && !packet.scrambled {
                    reader.packet(packet, clock, &mut sink);
                }
            }
        }
    }

    /// Brings tracks and PIDs up to what the tables say.
    fn reconcile<S: UnitStore<Unit = U>>(&mut self, store: &mut S) {
        self.tables_version = self.tables_version.wrapping_add(1);
        let Self { settings, programs, chosen, .. } = self;
        let program = programs.choose(settings.program, *chosen);
        let (number, clock_pid) = match program {
            Some(program) => (Some(program.number), program.clock_pid),
            None => (None, Pid::NULL),
        };
        let is_asked = |stream: &&ProgramStream| {
            settings.pids.is_empty() || settings.pids.contains(&stream.pid.get())
        };
        let streams = program.map(|program| program.streams.as_slice()).unwrap_or_default();
        let read = |stream: &&ProgramStream| stream.carriage.is_some();
        let wanted: Vec<ProgramStream> =
            streams.iter().filter(read).filter(is_asked).take(TRACKS_MAX).copied().collect();
        let is_other_program = *chosen != number;
        if number.is_some() && number != self.clock_program {
            (self.clock, self.clock_program) = (ReferenceClock::default(), number);
        } else if clock_pid != self.clock_pid {
            self.clock.forget_reference();
        }
        (self.chosen, self.clock_pid) = (number, clock_pid);
        self.end_tracks(
            |track| {
                !is_other_program
                    && wanted.iter().any(|stream| {
                        (stream.pid, stream.carriage) == (track.pid, Some(track.carriage))
                    })
            },
            store,
        );
        for stream in &wanted {
            self.begin_track(stream);
        }
        self.give_roles();
    }

    fn end_tracks<S: UnitStore<Unit = U>>(
        &mut self,
        stays: impl Fn(&Track) -> bool,
        store: &mut S,
    ) {
        let Self { settings, counters, events, tracks, open, .. } = self;
        for place in tracks {
            let Some(mut reader) = place.take_if(|reader| !stays(&reader.track)) else { continue };
            let track = reader.track.slot;
            reader.end(&mut Sink { track, settings, store, open, events, counters });
            events.push_back(Event::TrackEnded(track));
        }
    }

    fn begin_track(&mut self, stream: &ProgramStream) {
        let Some(carriage) = stream.carriage else { return };
        if self.tracks.iter().flatten().any(|reader| reader.track.pid == stream.pid) {
            return;
        }
        let free = self.tracks.iter().position(Option::is_none);
        let index = free.unwrap_or(self.tracks.len());
        let Ok(number) = u8::try_from(index) else { return };
        let slot = TrackSlot(number);
        let ProgramStream { pid, stream_type, language, .. } = *stream;
        let track = Track { slot, pid, stream_type, carriage, language };
        let reader = Some(TrackReader::new(track));
        match self.tracks.get_mut(index) {
            Some(place) => *place = reader,
            None => self.tracks.push(reader),
        }
        self.events.push_back(Event::Track(track));
    }

    fn give_roles(&mut self) {
        self.pids.clear_roles();
        for program in self.programs.list() {
            self.pids.give(program.map_pid, Role::Tables(SectionReader::default()));
        }
        for reader in self.tracks.iter().flatten() {
            self.pids.give(reader.track.pid, Role::Track(reader.track.slot));
        }
        if self.clock_pid != Pid::NULL {
            self.pids.give(self.clock_pid, Role::Clock);
        }
        self.pids.trim();
    }
}

/// Takes the sections of a packet; true if they say something new.
fn take_sections(
    reader: &mut SectionReader,
    packet: &TransportPacket<'_>,
    programs: &mut Programs,
    counters: &mut Counters,
) -> bool {
    let mut payload = SectionPayload::new(packet.payload, packet.start);
    let mut is_news = false;
    while let Some(section) = reader.next(&mut payload) {
        // Short sections have no checksum, and none of them is read.
        if section.get(1).is_none_or(|flags| flags & 0x80 == 0) {
            continue;
        }
        if !is_sound(section) {
            counters.crc_errors += 1;
            continue;
        }
        match programs.section(packet.pid, section) {
            Ok(changed) => is_news |= changed,
            Err(_) => counters.table_errors += 1,
        }
    }
    is_news
}
