//! The loop of a shard: one turn after the other.
//!
//! ```text
//!   reap completions -> messages, commands -> publish logs -> flush what is due -> egress
//!        ^                                                                          |
//!        +---- wait (if nothing is left) <- free pages <- advance the epoch <- timers
//! ```
//!
//! Each kind of work has a share of a turn's time: half a millisecond for completions, letters,
//! commands, timers, keys and those who waited to begin each, one for handshakes, one and a half
//! and a slice for sending. What is left over goes on in the next turn, so that none of it delays
//! what was received, or is due, by more than five milliseconds. One signature of a large RSA key
//! can alone take longer than that, and nothing cuts it.
//!
//! The clock is read here, at the start of a turn and between its kinds of work, and passed down;
//! so is the calendar, for what people are told.

use std::time::{Duration, Instant, SystemTime};

use codecs::time::WallTime;

use super::accept::PORT_SLOTS;
use super::message::Message;
use super::reader::earlier;
use super::shard::{Shard, TimerKey};
use crate::control::Event;
use crate::reactor::{Completion, Token};

/// Completions that one turn reaps at most before it sends.
const COMPLETIONS_PER_TURN_MAX: usize = 1_024;
/// Letters of other shards that one turn takes at most.
const LETTERS_PER_TURN_MAX: usize = 256;
/// Time that completions, letters, commands, timers and starts may each take at a time.
const ROUND: Duration = Duration::from_micros(500);
/// Steps of a round between two looks at the clock.
const STEPS_PER_LOOK: usize = 16;
/// Time of one turn that sending may take, but for the slice that is under way.
const EGRESS_PER_TURN: Duration = Duration::from_micros(1_500);
/// Time of one turn that TLS handshakes may take.
const HANDSHAKES_PER_TURN: Duration = Duration::from_millis(1);
/// Time of one turn that keys of SRT callers may take, but for the last one.
const DERIVATIONS_PER_TURN: Duration = ROUND;
/// Streams, logs and grace times are looked after this often.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// The loop shows this often how late it is, if nothing else does.
const PROBE: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "the one clock of the data plane")]
fn clock() -> Instant {
    #[cfg(test)]
    if let Some(now) = super::rig::look() {
        return now;
    }
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one calendar of the data plane")]
pub(super) fn calendar() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Shard {
    /// Runs until the control plane ends it.
    pub(crate) fn run(mut self) {
        self.timers.insert(self.now + HOUSEKEEPING, TimerKey::Housekeeping);
        self.timers.insert(self.now + PROBE, TimerKey::Probe);
        self.start_demo();
        while !self.stopped {
            let began = clock();
            self.now = began;
            let busy = self.begin_turn();
            let ended = clock();
            self.pulse.turned(began, ended, &mut self.counters);
            if !self.drained() && !busy {
                self.sleep(ended);
            }
        }
        self.shutdown();
    }

    /// One turn at `now`; true if work is left.
    fn begin_turn(&mut self) -> bool {
        self.wall = calendar();
        self.shared.epochs.enter(self.id);
        self.turn()
    }

    /// A turn of a case, which waits for nothing.
    #[cfg(test)]
    pub(super) fn take_turn(&mut self) {
        self.begin_turn();
        self.shared.epochs.sleep(self.id);
        self.reactor.submit_and_wait(Some(Duration::ZERO));
    }

    /// One turn; true if work is left.
    fn turn(&mut self) -> bool {
        self.counters.turns += 1;
        self.shared.load(self.id).turn(self.counters.turns);
        self.note_late_flush();
        self.ports.begin_turn();
        self.reap();
        self.take_letters();
        self.take_commands();
        let evicting = self.evict_some();
        let rekeying = self.rekey_some();
        let surveying = self.survey();
        let due = self.run_timers();
        self.publish_logs();
        self.collect_dirty();
        self.flush_due();
        self.release_due();
        self.start_some();
        let left = self.send();
        // What egress reaped may have fed hubs: their readers must not wait for the next turn.
        self.publish_logs();
        let shaking = self.shake_hands();
        let deriving = self.derive_keys();
        self.submit();
        self.shared.epochs.advance(self.id);
        self.counters.pages_reclaimed += self.gc.collect(&self.shared.epochs, &self.pool) as u64;
        self.retry_unsent();
        self.tell_tombstones();
        // Sending may have let others have their turn.
        let starting = self.has_starters();
        left || shaking || deriving || evicting || rekeying || surveying || due || starting
    }

    /// Sends in slices for its share of a turn; true if somebody waits for the next.
    ///
    /// Whatever was received meanwhile, and timers, then have their turn before sending goes on.
    fn send(&mut self) -> bool {
        let began = clock();
        let until = began + EGRESS_PER_TURN;
        self.begin_egress();
        let now = loop {
            let sent = self.send_slice();
            let now = clock();
            if !sent {
                break now;
            }
            if now >= until {
                self.counters.egress_slices_cut += 1;
                break now;
            }
        };
        let busy = now.saturating_duration_since(began);
        self.flush.account(now, busy, || self.headroom.each_at_once());
        self.pulse.egress_took(busy);
        self.end_egress()
    }

    /// Advances TLS handshakes for their share of a turn; true if some wait, or have words to send.
    ///
    /// A signature takes from 30 microseconds (ECDSA) to milliseconds (RSA): whoever floods this
    /// shard with handshakes makes them wait, and not the frames of those who play.
    fn shake_hands(&mut self) -> bool {
        if !self.has_handshakes() {
            return false;
        }
        let until = clock() + HANDSHAKES_PER_TURN;
        while self.next_handshake() {
            if clock() >= until {
                break;
            }
        }
        if self.has_handshakes() {
            self.counters.tls_handshakes_put_off += 1;
        }
        true
    }

    /// Derives keys of SRT callers for their share of a turn; true if some wait, or were let in.
    fn derive_keys(&mut self) -> bool {
        if self.derivations.is_empty() {
            return false;
        }
        let until = clock() + DERIVATIONS_PER_TURN;
        while self.next_derivation() {
            if clock() >= until {
                break;
            }
        }
        if !self.derivations.is_empty() {
            self.counters.srt_keys_put_off += 1;
        }
        true
    }

    /// Takes the completions that are ready, a bounded number of them.
    pub(super) fn reap(&mut self) {
        self.reap_some();
        self.settle_heard();
    }

    fn reap_some(&mut self) {
        let mut round = Round::default();
        for _ in 0..COMPLETIONS_PER_TURN_MAX {
            let Some(completion) = self.reactor.next_completion() else { return };
            let steps = match &completion {
                Completion::Datagrams { buf, .. } => buf.count(),
                _ => 1,
            };
            self.complete(completion);
            if round.is_over_after(steps) {
                return;
            }
        }
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { token, fd, peer } => self.accepted(token, fd, peer),
            Completion::AcceptFailed { token, errno, ended: true } => {
                self.accept_failed(token, errno);
            }
            Completion::AcceptFailed { .. } => {}
            Completion::Connected { token, result } => {
                self.with(token, |shard, slot| shard.server_connected(slot, result));
            }
            Completion::Received { token, buf } => match self.current(token) {
                Some(slot) => self.received(slot, buf),
                None => self.reactor.release(buf),
            },
            Completion::Eof { token } => self.with(token, Self::peer_ended),
            Completion::RecvEnded { token } => self.with(token, Self::receive_ended),
            Completion::SendFailed { token, .. } => {
                self.with(token, |shard, slot| shard.peer_gone(slot, "connection_lost"));
                self.usage.sent_late(token, 0);
            }
            Completion::RecvFailed { token, errno } => match self.ports.find(token) {
                Some(port) => self.port_failed(port, errno),
                None => self.with(token, |shard, slot| shard.peer_gone(slot, "connection_lost")),
            },
            Completion::Sent { token, bytes } => {
                self.with(token, |shard, slot| shard.sent(slot, bytes as usize));
                self.usage.sent_late(token, bytes.into());
            }
            Completion::SendBlocked { token } => {
                self.with(token, |s, slot| s.sent(slot, 0));
                self.usage.sent_late(token, 0);
            }
            Completion::Writable { token } => match self.ports.find(token) {
                Some(port) => self.port_writable(port),
                None => self.with(token, Self::writable),
            },
            Completion::Datagrams { token, peer, buf } => self.datagrams(token, peer, buf),
            Completion::TrainSent { token, bytes } => self.train_sent(token, bytes),
            Completion::TrainBlocked { token } => self.train_sent(token, 0),
            Completion::TrainFailed { token, errno } => self.train_failed(token, errno),
            Completion::Woken => self.counters.wakes_received += 1,
        }
    }

    fn with(&mut self, token: Token, act: impl FnOnce(&mut Self, u32)) {
        if let Some(slot) = self.current(token) {
            act(self, slot);
        }
    }

    /// The connection's slot, unless the completion belongs to an earlier one.
    fn current(&self, token: Token) -> Option<u32> {
        // A port that is closed may have answers left, which are nobody's.
        debug_assert!(token.slot >= PORT_SLOTS, "listeners only accept");
        self.connections.is_current(token).then_some(token.slot)
    }

    fn take_letters(&mut self) {
        let mut round = Round::default();
        for _ in 0..LETTERS_PER_TURN_MAX {
            let Some((from, letter)) = self.inboxes.recv() else { return };
            match letter {
                Message::Accepted(fresh) if self.draining.is_some_and(|d| d.ends()) => {
                    self.shed(fresh);
                }
                Message::Accepted(fresh) => self.open(fresh),
                Message::Publisher(traveller) => self.take_over_connection(traveller),
                Message::Subscribe(question) => self.subscription_asked(from, question),
                Message::Subscribed { slot, answer } => {
                    self.outboxes.settle(from);
                    self.subscribed(slot, answer);
                }
                Message::Unsubscribe { stream, key, reader } => {
                    self.unsubscribed(reader, &stream, key);
                }
                Message::Evict { kicks, reason } => self.kick_publications(kicks, reason),
                Message::Withdraw(whose) => self.withdraw(&whose),
                Message::Began(stream) => self.stream_began(&stream),
                Message::ClearJoins(stream) => self.clear_joins(&stream),
                Message::Rekeyed { reader, key } => self.rekeyed(reader, key),
                Message::Parted { reader } => self.parted(reader),
                Message::Called { port, caller, answer } => {
                    self.call_answered(port, caller, answer);
                }
                Message::CalledAgain { socket, peer } => self.answer_again(socket, peer),
                Message::Datagram(stray) => self.stray(*stray),
                letter => self.take_letter_of_a_move(from, letter),
            }
            if round.is_over() {
                return;
            }
        }
    }

    fn collect_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.shared.wakes.drain(self.id, |slot| dirty.push(slot));
        for slot in dirty.drain(..) {
            self.log_is_dirty(slot);
        }
        self.dirty = dirty;
    }

    /// A flush that others waited for is a deadline like a timer's.
    fn note_late_flush(&mut self) {
        let due = self.flush.next_due();
        if self.is_gathering() && !self.flush.immediate() && due <= self.now {
            self.pulse.late(self.now.saturating_duration_since(due), &mut self.counters);
        }
    }

    /// Does what is due; true if some of it is left for the next turn.
    fn run_timers(&mut self) -> bool {
        self.timers.advance(self.now);
        let mut round = Round::default();
        while let Some((due, key)) = self.timers.pop() {
            self.pulse.late(self.now.saturating_duration_since(due), &mut self.counters);
            match key {
                TimerKey::Connection { slot, generation } => {
                    if self.connections.is_current(Token::new(slot, generation)) {
                        self.timed_out(slot);
                    }
                }
                TimerKey::Housekeeping => {
                    self.timers.insert(self.now + HOUSEKEEPING, TimerKey::Housekeeping);
                    self.keep_house();
                    self.measure();
                }
                TimerKey::Probe => {
                    self.timers.insert(self.now + PROBE, TimerKey::Probe);
                }
                TimerKey::Demo => self.play_demo(),
                TimerKey::Accept(token) => self.resume_accepting(token),
                TimerKey::Receive(token) => self.resume_receiving(token),
            }
            if round.is_over() {
                return true;
            }
        }
        false
    }

    fn sleep(&mut self, now: Instant) {
        let gathering = self.is_gathering();
        let Self { shared, inboxes, control, id, .. } = self;
        let pending = || !inboxes.is_empty() || !control.commands.is_empty();
        if !shared.wakes.prepare_sleep(*id, pending) {
            return;
        }
        let mut until = earlier(self.timers.next_deadline(), self.readers.release_at());
        if gathering {
            let flush = self.flush.next_due();
            until = Some(until.map_or(flush, |at| at.min(flush)));
        }
        if let Some(draining) = self.draining {
            until = Some(until.map_or(draining.next(), |at| at.min(draining.next())));
        }
        self.shared.epochs.sleep(self.id);
        self.reactor.submit_and_wait(until.map(|at| at.saturating_duration_since(now)));
        self.shared.wakes.woke(self.id);
    }

    pub(super) fn shutdown(&mut self) {
        for slot in self.connections.slots() {
            self.send_what_waits(slot);
            self.close(slot, "stopped");
        }
        self.close_streams();
        self.submit();
        // Sends of the connections that were just closed are charged, too.
        self.reap();
        self.tell_last_usage();
        self.shared.epochs.sleep(self.id);
        self.shared.load(self.id).end();
        self.report(Event::Stopped);
    }
}

/// Steps of like kind that a turn does one after the other, until their time is over.
#[derive(Debug, Default)]
pub(super) struct Round {
    steps: usize,
    until: Option<Instant>,
}

impl Round {
    /// Counts a step; true if its time is over.
    pub(super) fn is_over(&mut self) -> bool {
        self.is_over_after(1)
    }

    /// Counts so many steps at once; true if their time is over.
    fn is_over_after(&mut self, steps: usize) -> bool {
        self.steps += steps;
        if self.steps < STEPS_PER_LOOK {
            return false;
        }
        self.steps = 0;
        let now = clock();
        now >= *self.until.get_or_insert(now + ROUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_datagrams_counts_as_many_steps_as_it_has() {
        let looked = |runs: &[usize]| {
            let mut round = Round::default();
            runs.iter().for_each(|&datagrams| _ = round.is_over_after(datagrams));
            round.until.is_some()
        };
        assert!(!looked(&[1; STEPS_PER_LOOK - 1]) && looked(&[1; STEPS_PER_LOOK]));
        assert!(looked(&[64]) && looked(&[10, 6]) && !looked(&[10, 5]));
    }
}
