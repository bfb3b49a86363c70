//! A live stream moves to another shard: nobody is dropped, nothing is lost.
//!
//! Four shards take part, which may be fewer: the *map's home* of the name, which serialises the
//! moves of a stream and knows where it is (`away.rs`); the *old home* with the hub; the *new
//! home*; and every shard that reads.
//!
//! ```text
//!   control --Move--> map's home --Relocate--> old home --Offer--> new home
//!                                              |  <------Offered-----+  (room?)
//!                                     the publisher's receives are stopped and end
//!                                              |
//!              in one turn: publish, seal each log with its next, pack, mark the readers
//!                                              |
//!                                              +------Stream-------> unpack, listen, publish
//!   control <--Moved-- map's home <----------------Relocated---------+
//! ```
//!
//! **States of a move at the old home**, [`Moving`]: *offered*, until the new home has answered;
//! *stopping*, until the publisher's last receive has ended and its last send is in the kernel;
//! then the hub is gone. Before that last step a move can be given up at any time, for want of room
//! or time or because the stream ended, and all is as it was; after it nothing can go wrong any
//! more, because the letter has its place and whoever gets it takes it. A publisher that is lost in
//! the middle is one that needs no stopping: the stream moves in its grace. A publisher that takes
//! the stream over is stopped in its turn.
//!
//! **Who holds what until when.**
//! - *The publisher's bytes*: those that were received are in the session, parsed or not, and go
//!   with it; a message in hand leaves its pages (`session/rtmp/assembly.rs`). Those that were not
//!   are in the socket. Nothing is armed between the last receive here and the first there.
//! - *The sealed logs* stay with the old home (`passed.rs`), which owns their pages, until no
//!   reader can need them. Readers hold the oldest log that one of their players is in, and find
//!   the rest along `next` (`log/succession.rs`); the new home holds the oldest in which somebody
//!   may begin, or of which a segment is listed, and gives it to new readers.
//! - *The next logs* are made by the old home, empty and without a page, so that the seal can name
//!   them; only the new home writes them, with its own pages.
//! - *Readers* keep their slots, their subscriptions and their cursors: an offset names the same
//!   byte of the stream in whichever log it lies. A reader that leaves tells the home that the
//!   newest log names; that is the old one until the new one has unpacked, and the old one sends it
//!   on.
//! - *Joins* begin at the newest join point, which lies in a sealed log until the next keyframe.
//!
//! **Where the stream is found.** Questions and publishers go to the map's home, which sends them
//! on; one that arrives before the stream waits for it, one that comes after it is sent back. The
//! stream stays where it was put for its life, a return within the grace time included; a new
//! publication goes by the map again.
//!
//! Limits: one move of a stream at a time, [`MOVES_MAX`] of a shard, [`MOVE_TIME`] each;
//! [`super::passed::PASSED_MAX`] moves whose logs are still read.

use std::time::{Duration, Instant};

use super::away::Found;
use super::connection::{Establish, Receiving};
use super::demo::Demo;
use super::handover::Traveller;
use super::message::Message;
use super::passed::Passed;
use super::queues::Class;
use super::shard::Shard;
use crate::control::{CloseReason, Event, MoveOrder, MoveOutcome, MoveRefusal, Role, StreamMove};
use crate::hub::{Hub, Parcel, Publisher, Sink, Subscriber};
use crate::ids::{ShardId, StreamName};
use crate::segment::Numbering;
use crate::session::Command;

/// How long the new home may take to answer and the publisher to be stopped.
const MOVE_TIME: Duration = Duration::from_secs(3);
/// Streams that leave a shard at the same time at most.
const MOVES_MAX: usize = 4;

/// A move of a stream of this shard. Lives on: the stream's shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Moving {
    order: MoveOrder,
    until: Instant,
    /// The new home has room for it.
    welcome: bool,
}

/// A stream on its way, and whoever delivers it.
#[derive(Debug)]
pub(crate) struct Removal {
    order: MoveOrder,
    from: ShardId,
    parcel: Parcel,
    publisher: Option<Traveller>,
    /// When its publisher began, in milliseconds since it was accepted.
    began_ms: u32,
    demo: Option<Box<Demo>>,
}

impl Shard {
    /// The control plane orders a move of a stream that the map places here.
    pub(super) fn move_ordered(&mut self, order: MoveOrder) {
        let refusal = if order.to.index() >= self.shared.shards() {
            MoveRefusal::UnknownShard
        } else if self.draining.is_some() {
            MoveRefusal::Draining
        } else if self.streams.find(&order.stream).is_some() {
            return self.begin_move(order);
        } else {
            match self.streams.away.order(&order.stream) {
                Found::There(at) => return self.post(at, Message::Relocate(order)),
                Found::Busy => MoveRefusal::Busy,
                Found::Nowhere => MoveRefusal::UnknownStream,
            }
        };
        self.report(Event::Moved { id: order.id, outcome: MoveOutcome::Refused(refusal) });
    }

    /// Takes what shards tell each other of moves.
    pub(super) fn take_letter_of_a_move(&mut self, from: ShardId, letter: Message) {
        match letter {
            Message::Relocate(order) => self.begin_move(order),
            Message::Offer { order } => {
                let room = self.draining.is_none() && !self.pool.is_low();
                self.outboxes.answer(from, Message::Offered { order, room });
                self.alert(from);
            }
            Message::Offered { order, room } => {
                self.outboxes.settle(from);
                self.offer_answered(order, room);
            }
            Message::Stream(removal) => self.stream_arrived(*removal),
            Message::Relocated { order, outcome } => self.move_over(&order, outcome),
            Message::Ended { stream, numbering, shown } => {
                self.streams.numbering = self.streams.numbering.or_later(numbering);
                let until = shown.then(|| self.now + self.config.stream.hls.ended);
                self.streams.away.end(&stream, from, until);
            }
            Message::Supersede(stream) => self.supersede_ended(&stream),
            Message::Demo(demo) if self.draining.is_none() => self.demo = Some(demo),
            Message::Demo(_) => {}
            Message::Accepted(_)
            | Message::Publisher(_)
            | Message::Subscribe(_)
            | Message::Subscribed { .. }
            | Message::Evict { .. }
            | Message::Withdraw(_)
            | Message::Began(_)
            | Message::ClearJoins(_)
            | Message::Rekeyed { .. }
            | Message::Parted { .. }
            | Message::Called { .. }
            | Message::CalledAgain { .. }
            | Message::Datagram(_)
            | Message::Unsubscribe { .. } => unreachable!("taken before"),
        }
    }

    /// A stream of this shard is to be moved: its new home is asked whether it has room.
    fn begin_move(&mut self, order: MoveOrder) {
        let stream = &order.stream;
        let moving = self.streams.moving.iter().any(|moving| moving.order.stream == *stream);
        let refusal = if self.streams.find(stream).is_none() {
            MoveRefusal::UnknownStream
        } else if self.draining.is_some() {
            MoveRefusal::Draining
        } else if moving || self.drains_moves_of(stream) {
            MoveRefusal::Busy
        } else if order.to == self.id {
            self.tell_outcome(order, MoveOutcome::AlreadyThere);
            return;
        } else if self.is_bound(stream) {
            MoveRefusal::Bound
        } else if self.streams.moving.len() >= MOVES_MAX
            || self.outboxes.ask(order.to, Message::Offer { order: order.id }).is_err()
        {
            MoveRefusal::NoRoom
        } else {
            self.alert(order.to);
            let until = self.now + MOVE_TIME;
            self.streams.moving.push(Moving { order, until, welcome: false });
            return;
        };
        self.tell_outcome(order, MoveOutcome::Refused(refusal));
    }

    /// The answer may be late: the stream may be leaving for another shard by now.
    fn offer_answered(&mut self, order: u64, room: bool) {
        let mut moving = self.streams.moving.iter();
        let Some(at) = moving.position(|moving| moving.order.id == order) else { return };
        // Its publisher may have come meanwhile.
        if self.is_bound(&self.streams.moving[at].order.stream) {
            self.give_up(at, MoveRefusal::Bound);
        } else if room {
            self.streams.moving[at].welcome = true;
            self.relocate(at);
        } else {
            self.give_up(at, MoveRefusal::NoRoom);
        }
    }

    /// True if the publisher of a stream cannot move: it shares its socket with others, or its home
    /// connected to it.
    fn is_bound(&self, stream: &StreamName) -> bool {
        let hub = self.streams.find(stream).and_then(|slot| self.streams.get(slot));
        let slot = hub.and_then(|hub| hub.publisher().slot());
        let shares = |slot| self.connections.get(slot).is_some_and(|c| c.fd.is_none());
        slot.is_some_and(|slot| shares(slot) || self.is_dialled(slot))
    }

    /// True if the connection publishes a stream that is about to move.
    pub(super) fn leaves_with_its_stream(&self, slot: u32) -> bool {
        !self.streams.moving.is_empty() && self.move_of_publisher(slot).is_some()
    }

    /// The publisher in `slot` was stopped, or is a step closer to it.
    pub(super) fn relocate_stream_of(&mut self, slot: u32) {
        if let Some(at) = self.move_of_publisher(slot) {
            self.relocate(at);
        }
    }

    fn move_of_publisher(&self, slot: u32) -> Option<usize> {
        let hub = self.connections.get(slot)?.publishing()?;
        let name = self.streams.get(hub)?.name();
        let leaves = |moving: &Moving| moving.welcome && moving.order.stream == *name;
        self.streams.moving.iter().position(leaves)
    }

    /// Takes the next step of a move that its new home agreed to: the publisher is stopped, then
    /// the stream goes.
    fn relocate(&mut self, at: usize) {
        let order = &self.streams.moving[at].order;
        let Some(hub) = self.streams.find(&order.stream) else { return };
        let waits = self.unsent.iter().any(|(shard, _)| *shard == order.to);
        if waits || !self.outboxes.has_room(order.to) {
            // Housekeeping tries again.
            return;
        }
        let publisher = self.streams.get(hub).map(crate::hub::Hub::publisher);
        if let Some(Publisher::Session { slot, .. }) = publisher {
            let token = self.connections.token(slot);
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if connection.fd.is_none() {
                self.give_up(at, MoveRefusal::Bound);
                return;
            }
            match connection.receiving {
                Receiving::Once | Receiving::Multi => {
                    connection.receiving = Receiving::Stopping;
                    self.reactor.recv_stop(token);
                    return;
                }
                Receiving::Stopping => return,
                Receiving::Off if connection.is_sending() => return,
                Receiving::Off => {}
            }
        }
        let order = self.streams.moving.swap_remove(at).order;
        self.send_stream(hub, order);
    }

    /// Seals the logs and sends the stream away.
    fn send_stream(&mut self, slot: u32, order: MoveOrder) {
        self.publish_logs();
        let Some(hub) = self.streams.remove(slot) else { return };
        self.forget_stream(slot);
        let stream = order.stream.clone();
        let (mut publisher, mut demo, mut began_ms) = (None, None, 0);
        match hub.publisher() {
            Publisher::Session { slot, .. } => {
                if let Some(connection) = self.connections.get_mut(slot) {
                    began_ms = connection.millis_since_opened(connection.role_began());
                    connection.session.pack_pages(&self.pool);
                }
                self.usage.end(slot, Role::Publish, self.now);
                publisher = self.lift(slot);
            }
            Publisher::Demo => demo = self.lift_demo(),
            Publisher::Lost(_) => {}
        }
        let Self { streams, pool, gc, counters, now, wall, .. } = self;
        let (parcel, sealed) = hub.pack(&mut Sink { pool, gc, counters, now: *now, wall: *wall });
        streams.numbering = streams.numbering.or_later(parcel.hub().numbering());
        streams.passed.push(Passed::new(stream.clone(), sealed));
        let to = order.to;
        if self.shared.placement.home(&stream) == self.id {
            self.streams.away.leave_home(stream.clone(), to);
        } else {
            self.streams.away.leave(stream.clone(), to, self.now);
        }
        let readers: Vec<_> = parcel.hub().readers().collect();
        let moved = move_of(parcel.hub(), order.id, false);
        tracing::info!(%stream, shard = %self.id, to = %to, "stream moves");
        let removal = Removal { order, from: self.id, parcel, publisher, began_ms, demo };
        let sent = self.outboxes.send(to, Message::Stream(Box::new(removal)));
        debug_assert!(sent.is_ok(), "room was checked and only this shard fills the mailbox");
        self.alert(to);
        self.tell_control(Event::StreamMoved(Box::new(moved)));
        for Subscriber { shard, slot, .. } in readers {
            self.mark(shard, slot);
        }
        self.answer_awaited(&stream);
    }

    /// A stream comes to its new home.
    fn stream_arrived(&mut self, removal: Removal) {
        let Removal { order, from, parcel, publisher, began_ms, demo } = removal;
        let stream = order.stream.clone();
        debug_assert!(self.streams.find(&stream).is_none(), "a stream is on one shard");
        let slot = publisher.map(|traveller| self.lay_down(traveller));
        let publisher = match (parcel.hub().publisher(), slot) {
            (Publisher::Session { id, .. }, Some(slot)) => Publisher::Session { slot, id },
            (publisher, _) => publisher,
        };
        let Self { streams, pool, gc, counters, now, wall, .. } = self;
        let hub =
            parcel.unpack(publisher, &mut Sink { pool, gc, counters, now: *now, wall: *wall });
        let moved = move_of(&hub, order.id, true);
        let hub = streams.insert(hub);
        streams.touch(hub);
        streams.away.arrive(&stream);
        self.counters.streams_moved += 1;
        self.tell_control(Event::StreamMoved(Box::new(moved)));
        self.answer_awaited(&stream);
        if let Some(demo) = demo {
            self.go_on_with_demo(demo, hub);
        }
        tracing::info!(%stream, shard = %self.id, %from, "stream moved");
        self.tell_outcome(order, MoveOutcome::Moved { from });
        let Some(slot) = slot else {
            if self.sends_away() {
                self.end_stream(hub, CloseReason::Draining);
            }
            return;
        };
        let Self { connections, counters, .. } = self;
        if let Some(connection) = connections.get_mut(slot) {
            connection.establish(Some(Establish::Publish { hub, began_ms }), counters);
            if !connection.out.is_empty() || connection.has_ciphertext() {
                self.enqueue(slot, Class::Reply);
            }
        }
        // What it carried until now was charged where it came from.
        self.charge_session(slot, Role::Publish, &stream, (0, 0));
        if self.sends_away() {
            self.tell(slot, Command::Shutdown { reason: "draining" });
        }
        self.feed_parked(slot);
        self.arm(slot);
        self.rearm(slot);
    }

    /// Tells the map's home what became of an order.
    fn tell_outcome(&mut self, order: MoveOrder, outcome: MoveOutcome) {
        let home = self.shared.placement.home(&order.stream);
        if home == self.id {
            self.move_over(&order, outcome);
        } else {
            self.post(home, Message::Relocated { order, outcome });
        }
    }

    /// At the map's home: a move is over.
    fn move_over(&mut self, order: &MoveOrder, outcome: MoveOutcome) {
        let at = matches!(outcome, MoveOutcome::Moved { .. }).then_some(order.to);
        self.streams.away.settle(&order.stream, at);
        self.report(Event::Moved { id: order.id, outcome });
    }

    /// A move ends before the stream went: its publisher is heard again.
    fn give_up(&mut self, at: usize, refusal: MoveRefusal) {
        let order = self.streams.moving.swap_remove(at).order;
        let hub = self.streams.find(&order.stream).and_then(|hub| self.streams.get(hub));
        if let Some(Publisher::Session { slot, .. }) = hub.map(crate::hub::Hub::publisher) {
            self.arm(slot);
        }
        self.tell_outcome(order, MoveOutcome::Refused(refusal));
    }

    /// A stream of this shard ended: its move is over, and its home in the map hears of it.
    pub(super) fn ended_away(&mut self, stream: &StreamName, numbering: Numbering, shown: bool) {
        let mut moving = self.streams.moving.iter();
        if let Some(at) = moving.position(|moving| moving.order.stream == *stream) {
            self.give_up(at, MoveRefusal::Ended);
        }
        let home = self.shared.placement.home(stream);
        if home != self.id {
            self.post(home, Message::Ended { stream: stream.clone(), numbering, shown });
        }
    }

    /// A stream begins here, where the map places it: where it ended last hears of it.
    pub(super) fn began_after_move(&mut self, stream: &StreamName) {
        if let Some(at) = self.streams.away.take_ended(stream) {
            self.post(at, Message::Supersede(stream.clone()));
        }
    }

    /// Goes on with moves that wait, ends those that took too long, and gives back what readers
    /// have passed.
    pub(super) fn keep_relocations(&mut self) {
        for at in (0..self.streams.moving.len()).rev() {
            if self.streams.moving[at].until <= self.now {
                self.give_up(at, MoveRefusal::Timeout);
            } else if self.streams.moving[at].welcome {
                self.relocate(at);
            }
        }
        self.streams.away.keep(self.now);
        self.leave_sealed_logs();
        self.close_passed_logs(false);
    }
}

/// What the control plane hears of a stream that left, or arrived.
fn move_of(hub: &Hub, order: u64, arrived: bool) -> StreamMove {
    let session = match hub.publisher() {
        Publisher::Session { id, .. } => Some(id),
        Publisher::Demo | Publisher::Lost(_) => None,
    };
    StreamMove { stream: hub.name().clone(), id: hub.id(), session, order, arrived }
}
