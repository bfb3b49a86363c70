//! Players of transport streams get the publisher's own packets while it sends a transport stream.
//!
//! Beside the log of packets that are made of the units there is one of those that came (`Dialect::
//! Relayed`), which live players read instead; segments stay ranges of the other one. It has a line
//! of time of its own, from the program's clock, and versions of its own, each with the tables that
//! a player gets who begins under it. While nobody reads it, it holds what follows the newest join
//! point and no more, so that a player begins at once and a stream without such players pays for
//! one GOP: at most `gop_bytes_max`, given up when memory is short.
//!
//! A source ends and another begins, and no player is dropped:
//!
//! ```text
//!   awaited --(its tables)--> packets --(a source begins)--> awaited
//!      |                                                      |
//!      +--(a unit comes first: no transport stream is sent)-> units --(a source begins)--> awaited
//! ```
//!
//! Who plays before the tables came reads the log of units, which becomes that of the packets when
//! they do: nobody waits for what may never come. Viewers of its segments are sent to another log.
//!
//! At each of these steps every PID that was used says that it does not go on, and the tables have
//! other versions. In `units` the log is framed as the other one is.

use std::time::{Duration, Instant};

use codecs::time::MediaTime;

use super::packaged::{AUDIO_JOIN_STEP, HubLog};
use super::{Hub, Sink, Subscriber};
use crate::log::{EntryKind, EntryMeta, Gc, LogLimits, LogWriter, Preamble, RelayPreamble};
use crate::package::{PacketPackager, RelayPackager};
use crate::session::LogKey;
use crate::session::mpegts::{RelayRun, TransportProgram};

/// Without a start of sound to begin at, players begin somewhere after so much.
const BLIND_JOIN_STEP: MediaTime = MediaTime::from_millis(2_000);

/// What the log is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Feed {
    /// A source began, and has said nothing.
    #[default]
    Awaited,
    /// The packets that came.
    Packets,
    /// The units.
    Units,
}

/// What a log of packets that came has beside other logs.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    packager: RelayPackager,
    feed: Feed,
    has_video: bool,
    /// Units were framed for it since packets came.
    framed: bool,
    /// The clock that players are told of who begin now.
    clock: Option<i64>,
    /// The version of its preamble.
    version: u32,
    /// What is added to the times of the feed; `None` until its first one.
    offset: Option<MediaTime>,
    /// The newest time, and when it came.
    newest: Option<(MediaTime, Instant)>,
    last_join: Option<MediaTime>,
}

impl Relayed {
    /// It goes on in a log of units, whose preamble has this version: the newest of them and when
    /// it came, if there are any.
    fn after_units(version: u32, newest: Option<(MediaTime, Instant)>) -> Self {
        let framed = newest.is_some();
        let feed = if framed { Feed::Units } else { Feed::Awaited };
        Self { feed, framed, version, newest, ..Self::default() }
    }

    /// What players begin with who begin now.
    pub(super) fn preamble(&self) -> Preamble {
        let tables = self.packager.tables().filter(|_| self.feed == Feed::Packets);
        let relayed =
            tables.cloned().map(|tables| Box::new(RelayPreamble { tables, clock: self.clock }));
        Preamble { version: self.version, relayed, video: true, audio: true, ..Preamble::default() }
    }

    pub(super) const fn passes(&self) -> bool {
        matches!(self.feed, Feed::Packets)
    }

    pub(super) const fn frames(&self) -> bool {
        matches!(self.feed, Feed::Units)
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        size_of::<Self>() + self.packager.buffer_bytes()
    }

    /// Another source begins.
    pub(super) const fn expect_source(&mut self) {
        self.feed = Feed::Awaited;
        self.offset = None;
    }

    /// Where a time of the feed is on the line of the log.
    fn place(&mut self, at: Option<MediaTime>, jump_max: MediaTime, now: Instant) -> MediaTime {
        let (newest, since) = self.newest.unwrap_or((MediaTime::ZERO, now));
        let Some(at) = at else { return newest };
        let passed = now.saturating_duration_since(since).as_nanos();
        let passed = MediaTime::from_nanos(i64::try_from(passed).unwrap_or(i64::MAX));
        let goes_on = |offset: &MediaTime| {
            let step = at + *offset - newest;
            step.abs() <= jump_max || (step - passed).abs() <= jump_max
        };
        let known = self.offset.filter(goes_on);
        let offset = known.unwrap_or(newest + passed - at);
        self.offset = Some(offset);
        let placed = (at + offset).max(newest);
        self.newest = Some((placed, now));
        placed
    }

    fn notice(&self) -> EntryMeta {
        let newest = self.newest.map_or(MediaTime::ZERO, |(newest, _)| newest);
        EntryMeta::plain(EntryKind::Notice, newest, self.version)
    }

    /// Units come from a source that sends no transport stream: what is said of that before the
    /// first one. False if no page was left, and it is to be asked again.
    pub(super) fn begin_units(
        &mut self,
        packets: &mut PacketPackager,
        writer: &mut LogWriter,
        sink: &mut Sink<'_>,
    ) -> bool {
        if self.framed {
            // As one publisher follows another in any log.
            self.feed = Feed::Units;
            return true;
        }
        packets.follow_tables(self.packager.versions());
        let meta = EntryMeta { config_version: self.version + 1, ..self.notice() };
        let left = self.packager.leave(packets.continuity(), writer, sink.pool, meta);
        if left.is_err() {
            return false;
        }
        (self.feed, self.framed) = (Feed::Units, true);
        self.version += 1;
        writer.set_preamble(sink.gc, self.preamble());
        true
    }

    pub(super) fn awaits_source(&self) -> bool {
        self.feed == Feed::Awaited
    }

    /// Where a unit is on the line of the log.
    pub(super) fn place_unit(&mut self, dts: MediaTime, now: Instant) -> MediaTime {
        // Units are on one line already.
        self.place(Some(dts), MediaTime::from_nanos(i64::MAX), now)
    }
}

impl HubLog {
    /// Another source begins.
    pub(super) fn expect_source(&mut self) {
        self.lose_source();
        if let Some(relayed) = &mut self.relayed {
            relayed.expect_source();
        }
    }

    /// Its source stopped: players hear that nothing follows soon.
    pub(super) const fn lose_source(&mut self) {
        self.stopped = true;
    }

    /// The packets of a program follow.
    fn relay_program(&mut self, program: &TransportProgram, sink: &mut Sink<'_>) {
        let Some(relay) = &program.relay else { return };
        let Self { relayed: Some(relayed), packets, writer, .. } = self else { return };
        match packets {
            Some(packets) if std::mem::take(&mut relayed.framed) => {
                relayed.packager.interrupt(packets.versions());
            }
            _ if relayed.feed != Feed::Packets => relayed.packager.renew(),
            _ => {}
        }
        let is_other = relayed.packager.follow(relay);
        relayed.has_video = relay.has_video;
        if relayed.feed == Feed::Packets && !is_other {
            return;
        }
        if relayed.feed != Feed::Packets {
            (relayed.feed, relayed.offset, relayed.clock) = (Feed::Packets, None, None);
        }
        relayed.version += 1;
        writer.set_preamble(sink.gc, relayed.preamble());
        let meta = relayed.notice();
        // Where no page was left the tables come with those of the publisher.
        if let Ok(true) = relayed.packager.tell_tables(writer, sink.pool, meta) {
            self.count_relayed(sink);
        }
    }

    /// Appends packets; false if no page was left.
    fn relay(&mut self, run: &RelayRun, jump_max: MediaTime, sink: &mut Sink<'_>) -> bool {
        let Self { relayed: Some(relayed), writer, .. } = self else { return true };
        if !relayed.passes() {
            return true;
        }
        let dts = relayed.place(run.at, jump_max, sink.now);
        let since = relayed.last_join.map(|last| dts - last);
        let join = match since.filter(|_| !relayed.has_video) {
            None => run.join || (since.is_none() && !relayed.has_video),
            Some(since) => since >= BLIND_JOIN_STEP || (run.join && since >= AUDIO_JOIN_STEP),
        };
        if join && relayed.clock != run.clock {
            relayed.clock = run.clock;
            relayed.version += 1;
            writer.set_preamble(sink.gc, relayed.preamble());
        }
        let meta = EntryMeta::plain(EntryKind::Video, dts, relayed.version);
        let meta = EntryMeta { join, ..meta };
        match relayed.packager.run(&run.packets, writer, sink.pool, meta) {
            Ok(written) => {
                if written && join {
                    relayed.last_join = Some(dts);
                }
                if written {
                    self.count_relayed(sink);
                }
                true
            }
            Err(_) => {
                sink.counters.units_dropped_memory += 1;
                false
            }
        }
    }

    /// Takes packets as they came from now on, for those who play it; true if somebody has use for
    /// the segments that were in it.
    fn take_relayed(&mut self, relayed: Relayed, limits: LogLimits, gc: &mut Gc) -> bool {
        self.packager = self.packager.of(LogKey::RELAYED);
        self.relayed = Some(Box::new(relayed));
        self.writer.set_limits(limits);
        let segments = self.segments.take();
        if segments.is_some() {
            self.show_window(None, gc);
        }
        segments.is_some_and(|segments| segments.are_used())
    }

    /// While nobody reads it, only what players begin with is kept.
    pub(super) fn keep_newest_gop(&mut self, gc: &mut Gc) {
        if self.relayed.is_some() && self.readers().next().is_none() {
            // Nobody is to be woken for it, and the join point of this turn is the newest.
            self.writer.publish();
            match self.log().newest_join() {
                Some(_) => _ = self.writer.shrink(gc, None),
                None => self.writer.forget(gc),
            }
        }
    }
}

impl Hub {
    /// What the publisher's transport stream has; the viewers whose segments are in another log
    /// from now on.
    #[must_use = "they are to ask for it"]
    pub fn set_program(
        &mut self,
        program: TransportProgram,
        sink: &mut Sink<'_>,
    ) -> Vec<Subscriber> {
        let told = program.relay.is_some();
        let parted = if told { self.turn_to_packets(sink) } else { Vec::new() };
        let program = self.transport.insert(Box::new(program));
        if let Some(number) = program.number {
            let (stream, streams) = (&self.name, program.streams.len());
            tracing::info!(%stream, program = number, streams, passthrough = told, "program");
        }
        if let Some(log) = self.logs.iter_mut().find(|log| log.key() == LogKey::RELAYED) {
            log.relay_program(program, sink);
        }
        parted
    }

    /// The publisher's program, and what else its stream has.
    #[must_use]
    pub fn transport(&self) -> Option<&TransportProgram> {
        self.transport.as_deref()
    }

    /// Takes packets as they came; false if no page was left for them.
    pub fn relay(&mut self, run: RelayRun, sink: &mut Sink<'_>) -> bool {
        // A source that has nothing but tables to tell is silent: it holds no name.
        if run.has_media {
            self.last_media = sink.now;
        }
        let at = self.logs.iter().position(|log| log.key() == LogKey::RELAYED);
        // A log that was given up begins anew where players can, unless memory is still short.
        let opens = run.join && !sink.pool.is_low();
        let at = at.or_else(|| opens.then(|| self.open_relayed(sink)).flatten());
        let jump_max = self.config.jump_max;
        let kept = at.is_none_or(|at| self.logs[at].relay(&run, jump_max, sink));
        sink.pool.release(run.packets);
        kept
    }

    /// The log that players of `key` read: that of the publisher's own packets, if there is one.
    pub(super) fn live_key(&self, key: LogKey) -> LogKey {
        let relays = self.transport.as_ref().is_some_and(|program| program.relay.is_some());
        let is_open = || self.logs.iter().any(|log| log.key() == LogKey::RELAYED);
        if key == LogKey::SEGMENTS && (relays || is_open()) { LogKey::RELAYED } else { key }
    }

    /// The log of the packets of the program, an empty one if need be; `None` if there is no
    /// program, or no room.
    pub(super) fn open_relayed(&mut self, sink: &mut Sink<'_>) -> Option<usize> {
        let known = self.logs.iter().position(|log| log.key() == LogKey::RELAYED);
        if known.is_some() {
            return known;
        }
        let program = self.transport.take();
        let has_room = self.logs.len() < super::hub::LOGS_MAX;
        let relays = |program: &&TransportProgram| has_room && program.relay.is_some();
        if let Some(program) = program.as_deref().filter(relays) {
            let mut log = self.empty_log(LogKey::RELAYED, sink);
            log.relay_program(program, sink);
            self.logs.push(log);
        }
        self.transport = program;
        self.logs.iter().position(|log| log.key() == LogKey::RELAYED)
    }

    /// The publisher's own packets follow: whoever plays what was made of units gets them, too, in
    /// the log that he reads. The segments in it are in another one from now on, which is asked for
    /// by those who are returned.
    fn turn_to_packets(&mut self, sink: &mut Sink<'_>) -> Vec<Subscriber> {
        let is_known = self.logs.iter().any(|log| log.key() == LogKey::RELAYED);
        let is_played = |log: &HubLog| log.key() == LogKey::SEGMENTS && !log.readers.is_empty();
        let played = self.logs.iter().position(is_played);
        let has_room = self.logs.len() < super::hub::LOGS_MAX;
        let Some(at) = played.filter(|_| has_room && !is_known) else { return Vec::new() };
        let newest = self.timeline.newest_at().filter(|_| self.logs[at].entries > 0);
        let since = |wall: MediaTime| {
            let passed = u64::try_from(wall.as_nanos()).unwrap_or_default();
            self.began() + Duration::from_nanos(passed)
        };
        let newest = newest.map(|(dts, wall)| (dts, since(wall)));
        let relayed = Relayed::after_units(self.config_version, newest);
        let limits = self.log_limits(LogKey::RELAYED);
        let has_segments = self.logs[at].take_relayed(relayed, limits, sink.gc);
        if has_segments && !sink.pool.is_low() {
            // Before anything of the new source came, so that those of the last one are in it.
            self.open_log(LogKey::SEGMENTS, sink);
        }
        // CONTROL: shards that have viewers, once per source.
        std::mem::take(&mut self.logs[at].viewers)
    }
}
