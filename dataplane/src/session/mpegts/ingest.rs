//! A publisher's transport stream becomes tracks, configurations and access units.
//!
//! What is wrong with a stream is never an error: it costs the units that it is in, which are told
//! as dropped. Times are one line whatever the clocks do; see `time_line.rs`. The first picture of
//! a track is a keyframe, and so is the next one after one was dropped for want of pages. A picture
//! that follows lost packets is passed on: decoders conceal what is missing better than a pause.
//!
//! Timed data (SCTE-35, KLV) and streams of unknown kinds become no units. Players of transport
//! streams get them with the publisher's own packets (`relaying.rs`), unless that is switched off;
//! all streams of the program are listed (`program.rs`).

use std::collections::VecDeque;
use std::time::Instant;

use codecs::media::TrackKind;
use codecs::mpegts::demux::programs::Program;
use codecs::mpegts::demux::{self, Counters, Demuxer, Framer, MediaUnit, RawPacket, Settings};
use codecs::time::MediaTime;

use super::losses::Losses;
use super::metadata::Metadata;
use super::opening::Opening;
use super::program::Listing;
use super::relaying::Relaying;
use super::time_line::{BaseId, TimeLine};
use super::tracks::Tracks;
use super::unit_pages::UnitPages;
use crate::config::Limits;
use crate::session::{AccessUnit, Event, TrackId};
use crate::slab::{AuBytes, Pool};

/// How long after or before its decoding a picture may be shown.
const COMPOSITION_MAX: MediaTime = MediaTime::from_millis(10_000);

/// The media of a publisher that sends a transport stream.
///
/// In/Out: bytes in any pieces go to [`Self::feed`], or packets that were found before to
/// [`Self::push`]; what they say is taken event by event until there is none.
/// Lives on: the home shard. Crosses by: with its session, after [`Self::pack_pages`].
/// Limits: what one packet says waits, and what is held until all tracks have spoken.
#[derive(Debug)]
pub struct Ingest {
    framer: Framer,
    demuxer: Demuxer<AuBytes>,
    listing: Listing,
    relaying: Option<Box<Relaying>>,
    pages: UnitPages,
    tracks: Tracks,
    line: TimeLine,
    metadata: Metadata,
    losses: Losses,
    /// What came first, until all tracks have spoken.
    opening: Option<Opening>,
    /// The version of the tables that was looked at.
    tables_version: u32,
    events: VecDeque<Event>,
}

impl Ingest {
    /// A publisher that has sent nothing; `settings` choose its program, and bound its units.
    #[must_use]
    pub fn new(settings: Settings, limits: &Limits) -> Self {
        Self {
            framer: Framer::default(),
            listing: Listing::new(&settings.pids),
            relaying: None,
            demuxer: Demuxer::new(settings),
            pages: UnitPages::default(),
            tracks: Tracks::new(limits.tracks_max),
            line: TimeLine::default(),
            metadata: Metadata::default(),
            losses: Losses::default(),
            opening: Some(Opening::default()),
            tables_version: 0,
            events: VecDeque::new(),
        }
    }

    /// Tells its packets as they are, too; those that fill the rate if `keeps_null`.
    #[must_use]
    pub fn relaying(mut self, keeps_null: bool) -> Self {
        self.relaying = Some(Box::new(Relaying::new(keeps_null)));
        self
    }

    /// Takes new limits; tracks that are carried stay.
    pub const fn reload(&mut self, limits: &Limits) {
        self.tracks.limit(limits.tracks_max);
    }

    /// Takes bytes until they say something. Without an event all were taken, and nothing waits.
    pub fn feed(&mut self, now: Instant, input: &mut &[u8], pool: &Pool) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let Some(&packet) = self.framer.next(input) else {
                self.flush(pool);
                return self.poll();
            };
            self.push(now, &packet, pool);
        }
    }

    /// Takes one packet that was found before; what it says is taken by [`Self::poll`] before the
    /// next one comes.
    pub fn push(&mut self, now: Instant, packet: &RawPacket, pool: &Pool) {
        self.demuxer.push(packet, &mut self.pages.store(pool));
        // What the tables say comes before the packets that it is of.
        self.look_at_tables(pool);
        if let Some(relaying) = &mut self.relaying {
            relaying.take(packet, pool, &mut self.events);
        }
        self.take_all(now, pool);
    }

    /// No packet follows soon: those that were pushed wait for no other.
    pub fn flush(&mut self, pool: &Pool) {
        if let Some(relaying) = &mut self.relaying {
            relaying.flush(pool, &mut self.events);
        }
    }

    /// The next event that waits.
    pub fn poll(&mut self) -> Option<Event> {
        self.tell_starved();
        self.events.pop_front().or_else(|| {
            let reason = self.losses.next(&self.counters())?;
            Some(Event::MediaDropped { reason })
        })
    }

    /// A track that the program has no more, kind and number, once; one whose number another track
    /// took is not told. To be asked when no event waits: its units came before.
    pub fn take_ended(&mut self) -> Option<(TrackKind, TrackId)> {
        self.tracks.take_ended()
    }

    /// The stream is over: what is whole waits for [`Self::poll`].
    pub fn finish(&mut self, now: Instant, pool: &Pool) {
        while let Some(&packet) = self.framer.rest() {
            self.push(now, &packet, pool);
        }
        self.flush(pool);
        self.demuxer.finish(&mut self.pages.store(pool));
        self.take_all(now, pool);
        self.end_opening();
    }

    /// The program that is read.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.demuxer.program()
    }

    /// Another number whenever the program may be another one, or have other streams.
    #[must_use]
    pub const fn tables_version(&self) -> u32 {
        self.demuxer.tables_version()
    }

    /// What was found so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let sync = self.framer.counters();
        let (sync_losses, bytes_skipped) = (sync.losses, sync.skipped);
        Counters { sync_losses, bytes_skipped, ..self.demuxer.counters() }
    }

    /// Bytes of buffers beside its record. Pages are counted by their pool.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let opening = self.opening.as_ref().map_or(0, Opening::buffer_bytes);
        let events = self.events.capacity() * size_of::<Event>();
        let open = self.pages.buffer_bytes() + self.tracks.buffer_bytes();
        let framed = self.framer.buffer_bytes() + self.demuxer.buffer_bytes();
        let relaying = self.relaying.as_ref().map_or(0, |_| size_of::<Relaying>());
        framed + open + opening + events + relaying + self.listing.buffer_bytes()
    }

    /// Takes open units out of the pages of this shard before the session moves to another one;
    /// units that wait are dropped.
    pub fn pack_pages(&mut self, pool: &Pool) {
        self.pages.pack(pool);
        self.close_relaying(pool);
        let is_holding = self.opening.as_ref().is_some_and(|opening| !opening.is_empty());
        if is_holding || !self.events.is_empty() {
            let pictures = self.tracks.iter_mut().filter(|track| track.kind == TrackKind::Video);
            pictures.for_each(|track| track.awaits_keyframe = Some("moved"));
        }
        self.drop_units(pool);
    }

    /// Gives every page back. Call it once, at the end.
    pub fn close(&mut self, pool: &Pool) {
        self.drop_units(pool);
        self.pages.close(pool);
        self.close_relaying(pool);
    }

    fn close_relaying(&mut self, pool: &Pool) {
        if let Some(relaying) = &mut self.relaying {
            relaying.close(pool);
        }
    }

    fn drop_units(&mut self, pool: &Pool) {
        if let Some(opening) = &mut self.opening {
            opening.drop_units(pool);
        }
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Media(unit) => pool.release(unit.payload),
                Event::Relay(run) => pool.release(run.packets),
                event => self.events.push_back(event),
            }
        }
    }

    fn take_all(&mut self, now: Instant, pool: &Pool) {
        while let Some(said) = self.demuxer.poll() {
            self.take(said, now, pool);
        }
    }

    fn take(&mut self, said: demux::Event<AuBytes>, now: Instant, pool: &Pool) {
        match said {
            demux::Event::Track(listed) => {
                let program = self.demuxer.program().map_or(0, |program| program.number);
                if let Some(kind) = self.tracks.begin(&listed, program) {
                    self.pages.begin(listed.slot, kind);
                }
            }
            demux::Event::TrackEnded(slot) => {
                self.pages.end(slot, pool);
                let ended = self.tracks.end(slot);
                if let Some(track) = ended.filter(|track| track.id == 0) {
                    self.metadata.forget(track.kind);
                }
            }
            demux::Event::Config { track, config } => {
                let Some(track) = self.tracks.get_mut(track.index()) else { return };
                if track.id == 0 {
                    self.metadata.see(&config);
                }
                track.config = Some(config);
            }
            demux::Event::Unit(unit) => self.unit(unit, now, pool),
            demux::Event::Data(unit) => pool.release(unit.bytes),
            demux::Event::ClockJump(jump) => tracing::debug!(?jump, "the clock jumped"),
        }
    }

    fn unit(&mut self, unit: MediaUnit<AuBytes>, now: Instant, pool: &Pool) {
        self.tell_starved();
        let Self { tracks, line, .. } = self;
        let track = tracks.get_mut(unit.track.index());
        let Some(track) = track.filter(|_| !unit.bytes.is_empty()) else {
            pool.release(unit.bytes);
            return;
        };
        let base = BaseId { program: track.program, jumps: unit.time_base };
        let dts = line.place(base, unit.dts, &mut track.pulse, now);
        if unit.keyframe {
            track.awaits_keyframe = None;
        }
        if let Some(reason) = track.awaits_keyframe {
            pool.release(unit.bytes);
            self.events.push_back(Event::MediaDropped { reason });
            return;
        }
        track.has_spoken = true;
        let id = track.id;
        let config = track.config.take().filter(|config| !config.record.is_empty());
        if self.opening.is_none() {
            self.tell_metadata(dts);
        }
        if let Some(config) = config {
            let (codec, record) = (config.codec, config.record);
            self.tell(Event::Config { track: id, codec, record, dts }, now);
        }
        let cts = (unit.pts - unit.dts).clamp(MediaTime::ZERO - COMPOSITION_MAX, COMPOSITION_MAX);
        let MediaUnit { codec, keyframe, bytes: payload, .. } = unit;
        let unit = AccessUnit { track: id, codec, dts, cts, keyframe, payload };
        self.tell(Event::Media(unit), now);
        let is_over = self.opening.as_ref().is_some_and(Opening::is_over);
        if is_over || self.tracks.have_all_spoken() {
            self.end_opening();
        }
    }

    fn tell(&mut self, event: Event, now: Instant) {
        match &mut self.opening {
            Some(opening) => opening.hold(event, now),
            None => self.events.push_back(event),
        }
    }

    fn tell_metadata(&mut self, dts: MediaTime) {
        if let Some(body) = self.metadata.take_news() {
            self.events.push_back(Event::Metadata { body, dts });
        }
    }

    /// Tells what came first.
    fn end_opening(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        self.tell_metadata(opening.began().unwrap_or(MediaTime::ZERO));
        opening.release(&mut self.events);
    }

    /// Tells of units that found no page; pictures behind one wait for a keyframe.
    fn tell_starved(&mut self) {
        while let Some((at, units)) = self.pages.take_starved() {
            self.losses.starved(units);
            let track = self.tracks.get_mut(at);
            if let Some(track) = track.filter(|track| track.kind == TrackKind::Video) {
                track.awaits_keyframe = Some("awaits_keyframe");
            }
            if let Some(opening) = &mut self.opening {
                opening.give_up();
            }
            self.events.push_back(Event::MediaDropped { reason: "memory" });
        }
    }

    /// Looks for streams that cannot be read, without a program that can in all of them, and tells
    /// of all that there is.
    fn look_at_tables(&mut self, pool: &Pool) {
        let version = self.demuxer.tables_version();
        if std::mem::replace(&mut self.tables_version, version) == version {
            return;
        }
        let program = self.demuxer.program();
        match program {
            Some(program) => self.tracks.look_at(program),
            None => self.demuxer.programs().iter().for_each(|p| self.tracks.look_at(p)),
        }
        let Some(told) = self.listing.look_at(&self.demuxer, self.relaying.is_some()) else {
            return;
        };
        if let (Some(relaying), Some(program)) = (&mut self.relaying, program) {
            relaying.follow(program, told.relay.as_ref(), pool, &mut self.events);
        }
        self.events.push_back(Event::Program(Box::new(told)));
    }
}
