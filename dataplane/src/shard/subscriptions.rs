//! Players: from an allowed play request to a cursor, and back.

use std::time::Duration;

use super::connection::{Establish, Moment, Playing};
use super::cursor::{Filter, Jumps};
use super::message::{Answer, Message, Subscribe};
use super::opening::Opening;
use super::queues::Class;
use super::reader::{Question, Reader, ReaderState};
use super::shard::Shard;
use super::starters::Start;
use crate::config::Latency;
use crate::control::CloseReason;
use crate::hub::Subscriber;
use crate::ids::{ShardId, StreamName};
use crate::metrics::NoRoom;
use crate::session::{Command, Framing, LogKey, Refusal, Use};

/// Shards that one question is asked of, one after the other, because the stream moved on.
const HOPS_MAX: u8 = 8;

impl Shard {
    /// A player was allowed: it joins a log that this shard reads, or the home shard is asked.
    pub(super) fn subscribe(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        let Some(asked) = connection.asked.as_ref() else { return };
        let Some(options) = asked.play else { return };
        let (stream, waits) = (asked.stream.clone(), asked.idle);
        // For whoever is refused at the end, a log would be written for nobody: it is not even
        // asked for. Who waits already is asked about when there is something to play.
        if !waits && self.shared.load(self.id).is_full() {
            self.refuse_for_room(slot, self.headroom.lacks());
            return;
        }
        if !waits && !self.shared.caps.has_player_room(&self.config.limits) {
            self.refuse_for_room(slot, NoRoom::Players);
            return;
        }
        if let Some(found) = self.find_going(&stream, options.log) {
            match self.readers.get_mut(found).map(|reader| &mut reader.state) {
                Some(ReaderState::Asked(waiting)) => {
                    waiting.push(slot);
                    self.wait_at_home(slot, Duration::ZERO);
                }
                _ => self.start_playing(slot, found),
            }
            return;
        }
        // Who may wait for it does so here, and keeps no answer of its home reserved.
        self.ask_home(slot, stream, options.log, Use::Live, Duration::ZERO);
    }

    /// The reader of a live log that goes on. One that its home ended, of which this shard has yet
    /// to take note, is for nobody new: the home is asked what comes after it.
    fn find_going(&mut self, stream: &StreamName, key: LogKey) -> Option<u32> {
        let found = self.readers.find(stream, key, Use::Live)?;
        let logs = self.readers.get(found).and_then(Reader::logs);
        if logs.is_some_and(|logs| logs.ended().is_some()) {
            self.readers.retire(found);
            return None;
        }
        Some(found)
    }

    /// Asks the home shard for a log that this shard does not read yet.
    pub(super) fn ask_home(
        &mut self,
        slot: u32,
        stream: StreamName,
        key: LogKey,
        usage: Use,
        wait: Duration,
    ) {
        let home = self.shared.placement.home(&stream);
        // An earlier Unsubscribe that waits for room must not arrive after this question.
        let free = !self.unsent.iter().any(|(to, _)| *to == home);
        let question = Question { stream: &stream, key, usage, home, asker: slot };
        let Some(reader) = free.then(|| self.readers.ask(question, self.now)).flatten() else {
            match usage {
                Use::Live => self.play_refused(slot, Refusal::Overloaded),
                Use::Segments => self.refuse(slot, Refusal::Overloaded),
            }
            return;
        };
        self.wait_at_home(slot, wait);
        let number = self.readers.get(reader).map_or(0, |reader| reader.number);
        let question = Subscribe { stream, key, usage, slot: reader, number, hops: 0, wait };
        self.ask_for_log(home, question);
    }

    /// Asks `home` for a log; a full mailbox is the answer, too.
    fn ask_for_log(&mut self, home: ShardId, question: Subscribe) {
        let reader = question.slot;
        if home == self.id {
            self.subscription_asked(home, question);
        } else if self.outboxes.ask(home, Message::Subscribe(question)).is_ok() {
            self.alert(home);
        } else {
            self.counters.mailbox_full += 1;
            self.subscribed(reader, Answer::Refused(Refusal::Overloaded));
        }
    }

    /// The stream is on another shard than the one that was asked.
    fn ask_elsewhere(&mut self, to: ShardId, mut question: Subscribe) {
        let slot = question.slot;
        question.hops += 1;
        let free = !self.unsent.iter().any(|(waits, _)| *waits == to);
        match self.readers.get_mut(slot) {
            Some(reader) if question.hops <= HOPS_MAX && free => {
                reader.home = to;
                self.ask_for_log(to, question);
            }
            _ => self.subscribed(slot, Answer::Refused(Refusal::NotFound)),
        }
    }

    /// The home shard may keep a player waiting for its stream: the deadline moves.
    pub(super) fn wait_at_home(&mut self, slot: u32, wait: Duration) {
        let deadline = self.now + wait + self.config.session.authorize_deadline;
        let asked = self.connections.get_mut(slot).and_then(|c| c.asked.as_mut());
        if let Some(asked) = asked.filter(|asked| !asked.idle) {
            asked.deadline = deadline;
        }
    }

    /// The home shard answered: everybody who waits has his turn to play, or to be refused.
    pub(super) fn subscribed(&mut self, reader_slot: u32, answer: Answer) {
        let answer = match answer {
            Answer::Elsewhere(shard, question) => return self.ask_elsewhere(shard, question),
            Answer::Reading(logs, key) => Ok((logs, key)),
            Answer::Refused(refusal) => Err(refusal),
        };
        let Some(reader) = self.readers.get_mut(reader_slot) else { return };
        let ReaderState::Asked(waiting) = &mut reader.state else { return };
        let waiting = std::mem::take(waiting);
        let usage = reader.usage;
        match answer {
            Ok((logs, _)) if usage == Use::Segments => {
                reader.state = ReaderState::Reading(logs);
                self.answer_viewers(waiting, reader_slot, false);
            }
            Ok((logs, key)) => {
                reader.state = ReaderState::Reading(logs);
                reader.key_published = key;
                let stream = reader.stream.clone();
                self.let_start(waiting, Start::Play { reader: reader_slot });
                self.stream_began(&stream);
            }
            Err(refusal) => {
                self.readers.remove(reader_slot);
                self.let_start(waiting, Start::Refuse { refusal, usage });
            }
        }
    }

    /// A player begins at a log that this shard reads, or hears why not.
    pub(super) fn start_playing(&mut self, slot: u32, reader_slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        debug_assert!(connection.role.is_none(), "who plays still has asked for nothing");
        let asked = connection.asked.as_ref();
        let Some(options) = asked.and_then(|asked| asked.play) else { return };
        let published = self.readers.get(reader_slot).and_then(|reader| reader.key_published);
        if asked.is_some_and(|asked| asked.same_key && published != Some(asked.key)) {
            self.refuse(slot, Refusal::WrongKey);
            return;
        }
        if self.awaits_keys(slot) {
            self.queue_keys(slot);
            return;
        }
        if !self.let_in(slot) {
            return;
        }
        let Some(connection) = self.connections.get(slot) else { return };
        let low_latency = options.latency.unwrap_or(connection.latency) == Latency::Low;
        let place = match self.take_place(slot, reader_slot, low_latency) {
            Ok(place) => place,
            Err(reason) => {
                self.refuse_for_room(slot, reason);
                return;
            }
        };
        let Some(asked) = self.take_asked(slot) else { return };
        let Self { connections, readers, shared, counters, words, quotas, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let Some(reader) = readers.get_mut(reader_slot) else { return };
        let unlisted = asked.unlisted;
        reader.add(slot, low_latency, unlisted);
        quotas.seat(slot, place);
        let not_before = reader.logs().map_or(0, |logs| logs.newest().committed());
        let stream = asked.stream.clone();
        let again = Some(asked).filter(|asked| asked.waits || asked.same_key);
        let playing = Establish::Play(Box::new(Playing {
            reader: reader_slot,
            options,
            low_latency,
            unlisted,
            cursor: None,
            not_before,
            filter: Filter::ALL,
            frame: (options.framing == Framing::WebSocket).then(Box::default),
            paused: false,
            resumed: false,
            told: None,
            waiting: false,
            over: None,
            leaving: false,
            jumps: Jumps::new(*now),
            again,
            accepted: Moment::of(*now, connection.opened),
            opening: Opening::Unsent,
        }));
        connection.establish(Some(playing), counters);
        connection.session.share(words);
        connection.span().in_scope(|| tracing::info!(%stream, "play started"));
        shared.caps.established(&mut connection.admission);
        counters.plays_started += 1;
        self.session_began(slot);
        self.tell(slot, Command::PlayStarted);
        self.enqueue(slot, Class::Join);
        self.feed_parked(slot);
        self.arm(slot);
    }

    /// The session pauses or resumes: it goes on at the newest join point.
    pub(super) fn pause(&mut self, slot: u32, paused: bool) {
        let Some(playing) = self.connections.get_mut(slot).and_then(|c| c.playing_mut()) else {
            return;
        };
        playing.paused = paused;
        playing.resumed = !paused;
        self.enqueue(slot, Class::CatchUp);
    }

    /// The session wants only some kinds of entries.
    pub(super) fn filter(&mut self, slot: u32, audio: bool, video: bool) {
        let Some(playing) = self.connections.get_mut(slot).and_then(|c| c.playing_mut()) else {
            return;
        };
        playing.filter = playing.filter.asked(audio, video);
        self.enqueue(slot, Class::CatchUp);
    }

    /// The stream ended and everything of it is sent.
    pub(super) fn stream_ended(&mut self, slot: u32) {
        if self.wait_again(slot) {
            return;
        }
        if let Some(playing) = self.connections.get_mut(slot).and_then(|c| c.playing_mut()) {
            playing.over.get_or_insert(CloseReason::StreamEnded);
        }
        self.tell(slot, Command::StreamEnded);
    }

    /// The player is done, its connection may go on.
    ///
    /// Replies may follow only where an entry ends, so a player inside one finishes it first.
    pub(super) fn play_ended(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let in_flight = connection.is_sending();
        let Some(playing) = connection.playing_mut() else {
            self.forget_question(slot);
            return;
        };
        if in_flight || playing.cursor.is_some_and(|cursor| !cursor.at_boundary) {
            playing.leaving = true;
            self.enqueue(slot, Class::CatchUp);
        } else {
            self.stop_playing(slot, CloseReason::PeerClosed);
        }
    }

    /// Takes the player out of its reader; the last one gives the log back.
    pub(super) fn stop_playing(&mut self, slot: u32, reason: CloseReason) {
        let Some(playing) = self.connections.get(slot).and_then(|c| c.playing()) else { return };
        let (reader_slot, low_latency) = (playing.reader, playing.low_latency);
        let reason = playing.over.unwrap_or(reason);
        self.session_over(slot, reason);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.establish(None, &mut self.counters);
        self.shared.caps.leave_player();
        self.quotas.leave(slot);
        if let Some(reader) = self.readers.get_mut(reader_slot) {
            reader.remove(slot);
            let place = reader.place(&self.config.egress, low_latency);
            self.headroom.remove_player(&place);
        }
        self.drop_unused_reader(reader_slot);
    }

    /// Nobody waits for the answer to this connection's question any more.
    pub(super) fn forget_subscription(&mut self, slot: u32) {
        let Self { connections, readers, .. } = self;
        let Some(asked) = connections.get(slot).and_then(|c| c.asked.as_ref()) else { return };
        if asked.viewer.is_some() {
            // A viewer waits for its log or for the first window of it, and counts nowhere.
            readers.forget_viewer(&asked.stream, slot);
            return;
        }
        let Some(options) = asked.play.filter(|_| asked.allowed) else { return };
        let found = readers.find(&asked.stream, options.log, Use::Live);
        let Some(reader) = found.and_then(|found| readers.get_mut(found)) else { return };
        if matches!(&reader.state, ReaderState::Asked(waiting) if waiting.contains(&slot)) {
            reader.remove(slot);
        }
    }

    pub(super) fn drop_unused_reader(&mut self, reader_slot: u32) {
        if !self.readers.get(reader_slot).is_some_and(|reader| reader.is_unused()) {
            return;
        }
        self.leave_log(reader_slot);
    }

    /// Gives a log back to its home shard.
    pub(super) fn leave_log(&mut self, reader_slot: u32) {
        let Some(reader) = self.readers.remove(reader_slot) else { return };
        let home = reader.logs().map_or(reader.home, |logs| logs.newest().home());
        let gone = Subscriber { shard: self.id, slot: reader_slot, number: reader.number };
        if home == self.id {
            self.unsubscribed(gone, &reader.stream, reader.key);
            return;
        }
        let Reader { stream, key, .. } = reader;
        self.post(home, Message::Unsubscribe { stream, key, reader: gone });
    }

    /// A reading shard reads a log no longer.
    pub(super) fn unsubscribed(&mut self, reader: Subscriber, stream: &StreamName, key: LogKey) {
        if let Some(slot) = self.streams.find(stream) {
            self.with_stream(slot, |hub, sink| hub.unsubscribe(key, reader, sink));
            self.streams.touch(slot);
        } else if let Some(at) = self.streams.away.find(stream) {
            self.post(at, Message::Unsubscribe { stream: stream.clone(), key, reader });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{self, Rig};

    #[test]
    fn nobody_joins_a_log_that_its_home_has_just_ended() {
        let mut rig = Rig::new(&rig::config(1));
        rig.begin_stream(1);
        rig.ask(2, "/demo.flv");
        rig.turn_until(&[0, 1], |rig| rig.counters().players == 2);
        // The next one is let in before its shard has taken note of the end.
        rig.ask(1, "/demo.flv");
        rig.turn_until(&[0], |rig| rig.judged() == 3);
        rig.end_stream(1);
        rig.turn_until(&[0, 1], |rig| rig.counters().plays_refused == 1);
        assert_eq!(rig.counters().plays_started, 2);
    }
}
