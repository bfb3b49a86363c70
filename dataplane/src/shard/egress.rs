//! Egress: every player whose cursor is behind gets one contiguous range of its log.
//!
//! A slice of sends is submitted, its completions are reaped, then the next slice follows, up to a
//! bound per turn. Every send ends inside its submit, so no kernel reference to a page outlives it.

use std::time::{Duration, Instant};

use super::cipher::Took;
use super::connection::{Connection, Connections, Establish, InFlight, Sending};
use super::cursor::Filter;
use super::frame::Frame;
use super::gathering::{Gathering, Wait};
use super::parts::Parts;
use super::plan::{Context, Joins, Outcome};
use super::prefetch::{CONNECTION_AHEAD, PLAYING_AHEAD};
use super::queues::{Class, Queues};
use super::reader::{Reader, ReaderState, earlier};
use super::shard::Shard;
use super::turn::Round;
use crate::control::CloseReason;
use crate::log::RangeList;
use crate::package::Packager;
use crate::reactor::SendPart;
use crate::session::Use;

/// Sends of one submit at most; their completions fit the completion queue several times.
///
/// No turn can cut a submit, and the kernel now and then takes five times as long for one as it
/// does on the whole: a slice is short, so that its turn ends within its bound even then. A submit
/// of a quarter as many sends costs no more CPU per byte.
pub(super) const SLICE_SENDS_MAX: usize = 32;
/// Bytes of one submit at most: about an eighth of a millisecond of copying for the kernel.
const SLICE_BYTES_MAX: usize = 512 << 10;
/// How long a closed connection is listened to for the peer's own end.
pub(super) const LINGER: Duration = Duration::from_millis(1_000);

impl Shard {
    /// Begins the sending of a turn: it may start joins again.
    pub(super) const fn begin_egress(&mut self) {
        self.join_budget = self.config.egress.join_bytes_per_turn;
        self.queues.release_joins();
    }

    /// Sends one slice of what waits and reaps how far each send came; false if nothing was sent.
    pub(super) fn send_slice(&mut self) -> bool {
        if self.trains.is_full() {
            self.submit();
        }
        self.fill_slice();
        if self.slice.is_empty() {
            return false;
        }
        self.submit();
        self.answered = 0;
        self.reap();
        true
    }

    /// Ends the sending of a turn; true if something is left for the next.
    pub(super) fn end_egress(&mut self) -> bool {
        for at in 0..self.postponed.len() {
            let slot = self.postponed[at];
            let class = self.connections.get(slot).map_or(Class::Reply, class_of_rest);
            self.enqueue(slot, class);
        }
        self.postponed.clear();
        if !self.clears.is_empty() {
            self.tell_clears();
        }
        !self.queues.is_empty()
    }

    /// Puts a connection in line, once; one that waits to join also for what it is told meanwhile.
    pub(super) fn enqueue(&mut self, slot: u32, class: Class) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.lines_up(class)
        {
            self.queues.push(slot, class);
        }
    }

    /// A log of this shard moved: its subscribers are due now, or bucket by bucket.
    pub(super) fn log_is_dirty(&mut self, reader_slot: u32) {
        self.counters.dirty_logs += 1;
        let Some(reader) = self.readers.get_mut(reader_slot) else { return };
        if reader.usage == Use::Segments {
            self.window_moved(reader_slot);
            return;
        }
        let mut moved = false;
        if let ReaderState::Reading(logs) = &reader.state {
            reader.late.advance(logs, self.config.egress.player_lag_max);
            let newest = logs.newest();
            // Counted first, so that no group is told whose bytes are not.
            let groups = newest.groups_committed();
            let end = newest.committed();
            moved = reader.trail.step(end, groups, self.now);
            reader.burst.step(end, self.now, super::burst::interval(&self.config.egress));
        }
        let sealed = reader.logs().is_some_and(|logs| logs.ended().is_some());
        if sealed {
            self.readers.retire(reader_slot);
        }
        if !moved {
            self.release(reader_slot, false);
        }
        if sealed || self.flush.immediate() {
            self.flush_buckets(reader_slot, u16::MAX);
            return;
        }
        self.readers.gather(reader_slot);
        self.enqueue_low_latency(reader_slot);
    }

    /// Flushes the buckets whose part of the interval has come: all that wait once there is no
    /// interval any more.
    pub(super) fn flush_due(&mut self) {
        let mut due = 0;
        while let Some(bucket) = self.flush.due(self.now) {
            due |= 1 << bucket;
        }
        if self.flush.immediate() {
            due = u16::MAX;
        }
        if due == 0 {
            return;
        }
        for nth in 0..self.readers.gathering() {
            let slot = self.readers.gathers(nth);
            let waiting = self.readers.get(slot).map_or(0, |reader| reader.pending);
            self.flush_buckets(slot, waiting & due);
        }
        self.readers.settle();
    }

    /// True if frames are being gathered for somebody.
    pub(super) const fn is_gathering(&self) -> bool {
        self.readers.gathering() > 0
    }

    /// Lines the players of some buckets up, but for those whose frames wait for the next.
    pub(super) fn flush_buckets(&mut self, reader_slot: u32, buckets: u16) {
        let Self { readers, connections, queues, flush, now, .. } = self;
        let Some(reader) = readers.get_mut(reader_slot) else { return };
        reader.pending &= !buckets;
        let reader = &*reader;
        let gathering = Gathering::of(reader, flush, *now);
        let wait = |player: &Connection| Wait::of(player, gathering.as_ref());
        let held = line_up_buckets(connections, queues, (reader, buckets), wait);
        readers.hold(reader_slot, buckets, held);
    }

    fn enqueue_low_latency(&mut self, reader_slot: u32) {
        let Self { readers, connections, queues, .. } = self;
        let Some(reader) = readers.get(reader_slot) else { return };
        line_up(connections, queues, &reader.low_latency, |_| Wait::Over);
    }

    /// Queues the sends of one submit.
    ///
    /// Those whose stream ended, or who leave, have nothing to send and may be thousands: the time
    /// of a round bounds them.
    fn fill_slice(&mut self) {
        self.slice.clear();
        let mut bytes = 0;
        let mut round = Round::default();
        while self.slice.len() < SLICE_SENDS_MAX
            && bytes < SLICE_BYTES_MAX
            && !self.cipher.is_full()
            && !self.trains.is_full()
        {
            let Some(slot) = self.queues.pop() else { break };
            if let Some(soon) = self.queues.ahead(CONNECTION_AHEAD) {
                self.connections.foresee(soon);
            }
            if let Some(next) = self.queues.ahead(PLAYING_AHEAD) {
                self.connections.foresee_playing(next);
            }
            let outcome = self.serve(slot);
            self.queues.pay(if let Outcome::Sent(bytes) = outcome { bytes } else { 0 });
            match outcome {
                Outcome::Idle => {}
                Outcome::Sent(sent) => {
                    self.slice.push(slot);
                    bytes += sent;
                }
                Outcome::Later => {
                    if self.join_budget == 0 {
                        self.queues.hold_joins();
                    }
                    self.postponed.push(slot);
                }
                Outcome::StreamEnded => self.stream_ended(slot),
                Outcome::Farewell => self.farewell(slot),
                Outcome::Left => {
                    self.stop_playing(slot, CloseReason::PeerClosed);
                    self.enqueue(slot, Class::Reply);
                    self.begin_allowed(slot);
                }
                Outcome::TooSlow => self.outpaced(slot),
                Outcome::Broken(error) => self.fail(slot, &error),
                Outcome::Overtaken => {
                    self.counters.viewers_too_slow += 1;
                    self.close(slot, "too_slow");
                }
            }
            if round.is_over() {
                break;
            }
        }
    }

    /// Queues the next send of one connection.
    fn serve(&mut self, slot: u32) -> Outcome {
        let Some(connection) = self.connections.get_mut(slot) else { return Outcome::Idle };
        if self.queues.popped_join() {
            connection.lines.set_joins(false);
        } else {
            connection.lines.set_queued(false);
        }
        if connection.fd.is_none() {
            return self.serve_datagrams(slot);
        }
        if connection.sending != Sending::Idle {
            connection.lines.miss();
            return Outcome::Idle;
        }
        if connection.tls.is_some()
            && let Some(outcome) = self.send_kept(slot)
        {
            return outcome;
        }
        self.serve_plain(slot)
    }

    /// Plans the next send of a connection that has no ciphertext waiting, and queues it.
    fn serve_plain(&mut self, slot: u32) -> Outcome {
        let Self { connections, readers, counters, config, reactor, now, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return Outcome::Idle };
        // What is planned here is all that was flushed so far.
        let _ = connection.lines.take_missed();
        let logs = connection
            .playing()
            .and_then(|playing| readers.get(playing.reader))
            .and_then(|reader| Some((reader.logs()?, reader.key, reader.late)));
        let mut ranges = RangeList::new();
        let mut flight = InFlight::NOTHING;
        match connection.plan_segment(readers, &mut ranges) {
            Some(Ok(planned)) => flight = planned,
            Some(Err(_)) => return Outcome::Overtaken,
            None => {}
        }
        if let Some((logs, key, late)) = logs {
            let joins = Joins { budget: &mut self.join_budget, clears: &mut self.clears };
            let packager = Packager::new(key, config.session.rtmp_chunk_bytes);
            let context = Context { logs, packager, egress: &config.egress, late, now: *now };
            match context.plan(connection, counters, joins, &mut ranges) {
                Ok(planned) => flight = planned,
                // Inside an entry that is gone there is no place for other bytes either.
                Err(outcome @ (Outcome::TooSlow | Outcome::Left)) => return outcome,
                Err(outcome) if connection.out.is_empty() => return outcome,
                Err(_) => {}
            }
        }
        let inside = connection.playing().and_then(|p| p.cursor).is_some_and(|c| !c.at_boundary);
        let own: &[u8] = if inside { &[] } else { connection.out.rest() };
        let frame = connection.playing().and_then(|playing| playing.frame.as_deref());
        let head = frame.filter(|_| flight.len > 0).map_or(&[][..], Frame::head);
        let mut parts = Parts::new();
        parts.push(SendPart::new(own));
        parts.push(SendPart::new(head));
        for range in ranges.as_slice() {
            parts.push(SendPart { ptr: range.ptr, len: range.len });
        }
        if parts.bytes == 0 {
            let last = connection.closing.as_ref().is_some_and(|closing| !closing.lingering);
            return if last && !inside { Outcome::Farewell } else { Outcome::Idle };
        }
        flight.own = u32::try_from(own.len()).expect("reply_bytes_max is under 32 bits");
        flight.head = u8::try_from(head.len()).expect("a header has 10 bytes at most");
        if connection.tls.is_some() {
            // SAFETY: as below; and encrypting moves the cursor, not the bytes.
            return unsafe { self.send_encrypted(slot, flight, parts.as_slice()) };
        }
        connection.sending = Sending::InFlight(flight);
        counters.sends += 1;
        // SAFETY: the log ranges stay valid until this shard's epoch advances, which is after this
        // turn's submits; the connection's own bytes are not touched while it is in flight, because
        // no session runs between here and the submit.
        unsafe { reactor.send(connection.stream_fd(), token, parts.as_slice()) };
        Outcome::Sent(parts.bytes)
    }

    /// The kernel took `bytes` of a connection's send.
    pub(super) fn sent(&mut self, slot: u32, bytes: usize) {
        self.foresee_answers();
        let Self { connections, counters, usage, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let sending = connection.sending;
        if !connection.is_sending() {
            return;
        }
        connection.sending = Sending::Idle;
        if bytes > 0 {
            connection.progress(*now);
        }
        connection.sent += bytes as u64;
        usage.sent(slot, bytes as u64);
        counters.bytes_sent += bytes as u64;
        counters.send_bytes.observe(bytes as u64);
        match sending {
            Sending::InFlight(flight) => {
                let asked = flight.own as usize + usize::from(flight.head) + flight.len as usize;
                let took = self.took(slot, &flight, bytes);
                if flight.own > 0 {
                    self.account(slot);
                }
                self.go_on(slot, took, bytes < asked);
            }
            Sending::Ciphered(sent) => self.ciphertext_sent(slot, sent, bytes),
            Sending::Idle | Sending::Blocked => {}
        }
    }

    /// Sends are answered in the order of their slice: the next ones are fetched.
    fn foresee_answers(&mut self) {
        let Self { slice, answered, connections, .. } = self;
        connections.foresee_walk(slice, *answered);
        *answered += 1;
    }

    /// The socket, or the cipher before it, took the first `bytes` plain bytes of a planned send.
    pub(super) fn took(&mut self, slot: u32, flight: &InFlight, bytes: usize) -> Took {
        let Self { connections, readers, counters, flush, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return Took::default() };
        let own = bytes.min(flight.own as usize);
        connection.out.sent(own);
        let head = (bytes - own).min(flight.head.into());
        let from_log = (bytes - own - head) as u64;
        let whole = from_log == u64::from(flight.len);
        let mut more = !connection.out.is_empty()
            || connection.closing.is_some()
            || connection.playing().is_some_and(|playing| playing.leaving);
        let hears_again = own > 0 && connection.out.is_empty();
        if let Some(Establish::Play(playing)) = &mut connection.role
            && let Some(reader) = readers.get(playing.reader)
            && let Some(logs) = reader.logs()
        {
            if flight.len > 0 {
                playing.advance(flight, head as u8, from_log, logs.at(flight.from));
            }
            if from_log > 0 {
                let moments = (connection.opened, *now);
                playing.observe(flight, (logs, &reader.trail), counters, moments);
            }
            // What was committed since the send was planned waits for its flush like everything.
            let at_once = flight.cut
                || !whole
                || flush.immediate()
                || playing.low_latency
                || playing.filter != Filter::ALL;
            more |= at_once && playing.cursor.is_some_and(|c| c.offset < logs.newest().committed());
            // Replies may have gone in place of a join, or of the word that the stream ended.
            more |= playing.cursor.is_none() || logs.ended().is_some();
        }
        let mut viewed = false;
        if let Some(Establish::View(serving)) = &mut connection.role {
            serving.at += from_log;
            serving.left -= from_log as u32;
            viewed = serving.left == 0;
            more |= !viewed;
        }
        Took { more, hears: hears_again, viewed }
    }
}

/// Lines the players of some buckets of a log up, as [`line_up`] does. Gives the buckets with a
/// player that waits, and when the first of those is due.
pub(super) fn line_up_buckets(
    connections: &mut Connections,
    queues: &mut Queues,
    (reader, buckets): (&Reader, u16),
    wait: impl Fn(&Connection) -> Wait,
) -> (u16, Option<Instant>) {
    let (mut held, mut until) = (0, None);
    for (number, bucket) in reader.subscribers.iter().enumerate() {
        if buckets & (1 << number) == 0 {
            continue;
        }
        if let Some(first) = line_up(connections, queues, bucket, &wait) {
            held |= 1 << number;
            until = earlier(until, Some(first));
        }
    }
    (held, until)
}

/// Puts those of `slots` in line that are not there yet and need not wait; those who are being sent
/// something have their turn afterwards, because no later flush may come. Gives when the first of
/// those who wait is due.
fn line_up(
    connections: &mut Connections,
    queues: &mut Queues,
    slots: &[u32],
    wait: impl Fn(&Connection) -> Wait,
) -> Option<Instant> {
    let mut held = None;
    for (at, &slot) in slots.iter().enumerate() {
        connections.foresee_walk(slots, at);
        if let Some(connection) = connections.get_mut(slot)
            && !connection.lines.is_queued()
        {
            if connection.sending != Sending::Idle {
                connection.lines.miss();
                continue;
            }
            match wait(connection) {
                Wait::Over => {
                    let class = class_of(connection);
                    if connection.lines_up(class) {
                        queues.push(slot, class);
                    }
                }
                Wait::Until(until) => held = earlier(held, Some(until)),
                Wait::Nothing => {}
            }
        }
    }
    held
}

pub(super) fn class_of(connection: &Connection) -> Class {
    match connection.playing() {
        None if matches!(connection.role, Some(Establish::View(_))) => Class::Segments,
        None => Class::Reply,
        Some(playing) if playing.cursor.is_none() => Class::Join,
        Some(playing) if playing.low_latency => Class::LowLatency,
        Some(_) => Class::Live,
    }
}

/// The class of a connection that was not sent everything when its turn came.
pub(super) fn class_of_rest(connection: &Connection) -> Class {
    match class_of(connection) {
        Class::Live => Class::CatchUp,
        class => class,
    }
}

impl Connection {
    /// Notes that it waits in this class; false if it waits already.
    fn lines_up(&mut self, class: Class) -> bool {
        if self.lines.is_queued() || (class == Class::Join && self.lines.joins()) {
            return false;
        }
        match class {
            Class::Join => self.lines.set_joins(true),
            _ => self.lines.set_queued(true),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{self, Rig};
    use super::*;

    const PLAYERS: u64 = 200;
    /// Four looks at such a clock are more than a round.
    const LOOK: Duration = Duration::from_micros(250);
    /// What all rounds of a turn have time for by that clock.
    const TURN_MAX: u64 = 64;

    /// Players who are sent what is there, and nothing more.
    fn playing(home: u16) -> Rig {
        let mut rig = Rig::new(&rig::config(home));
        rig.begin_stream(home.into());
        rig.ask(PLAYERS as usize, "/demo.flv");
        rig.turn_until(&[1, 0], |rig| {
            rig.counters().plays_started == PLAYERS && rig.shards[0].queues.is_empty()
        });
        rig
    }

    #[test]
    fn a_stream_that_ends_lets_no_turn_do_more_than_a_round() {
        for home in [0, 1] {
            let mut rig = playing(home);
            rig.end_stream(home.into());
            rig::each_look_takes(LOOK);
            let most = rig.most_in_a_turn(PLAYERS, |shard| PLAYERS - shard.counters.players);
            assert!((1..=TURN_MAX).contains(&most), "a turn ended {most} players");
        }
    }

    #[test]
    fn who_is_being_sent_something_has_a_turn_after_a_flush() {
        let mut rig = playing(0);
        let shard = &mut rig.shards[0];
        let plays = |slot: &u32| shard.connections.get(*slot).unwrap().playing().is_some();
        let slot = shard.connections.slots().into_iter().find(plays).unwrap();
        let sending = |shard: &mut Shard, sending| {
            shard.connections.get_mut(slot).unwrap().sending = sending;
        };
        sending(shard, Sending::InFlight(InFlight::NOTHING));
        line_up(&mut shard.connections, &mut shard.queues, &[slot], |_| Wait::Over);
        assert!(shard.queues.is_empty(), "one send at a time");
        sending(shard, Sending::Idle);
        shard.go_on(slot, Took::default(), false);
        assert!(!shard.queues.is_empty(), "what was flushed meanwhile is sent");
        while shard.send_slice() {}
        assert!(shard.queues.is_empty(), "once");
        sending(shard, Sending::Blocked);
        line_up(&mut shard.connections, &mut shard.queues, &[slot], |_| Wait::Over);
        shard.writable(slot);
        assert!(!shard.queues.is_empty(), "there is room again");
        while shard.send_slice() {}
        shard.go_on(slot, Took::default(), false);
        assert!(shard.queues.is_empty(), "what was flushed meanwhile was sent with the rest");
    }

    #[test]
    fn a_spent_budget_lets_one_more_join_be_looked_at() {
        let mut config = rig::config(0);
        config.egress.join_bytes_per_turn = 1;
        let mut rig = Rig::new(&config);
        rig.begin_stream(0);
        // Almost a whole group of pictures, which is more than one send takes.
        rig.pass(Duration::from_millis(1_900));
        rig.turn(0);
        rig.ask(50, "/demo.flv");
        rig.turn_until(&[0], |rig| rig.counters().plays_started == 50);
        let shard = &mut rig.shards[0];
        shard.begin_egress();
        let mut looked_at = 0;
        while shard.send_slice() {
            looked_at = shard.postponed.len();
        }
        assert_eq!(looked_at, 1, "the others wait for the next budget");
        assert!(shard.end_egress(), "and they do wait");
    }
}
