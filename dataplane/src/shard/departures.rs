//! Departures: trains that left and are not answered yet, and what their answers mean.
//!
//! ```text
//!   leave --> TrainSent ----------> charged to its stream
//!        \--> cut short, blocked -> what did not leave goes back to its connection, and the port
//!         \                         waits for room: so do its players
//!          \> TrainFailed --------> lost, as any datagram may be: its peer has no route now, and
//!                                   a push is tried again later
//! ```
//!
//! What the protocol itself says is a train of one datagram, of which nothing goes back: what is
//! not heard of it is said again when it is due.
//! Limits: trains of a submit, and of those before whose answers wait for their turn.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use super::egress::class_of_rest;
use super::opening::Opening;
use super::shard::Shard;
use crate::reactor::Token;
use crate::session::srt::Returned;

/// Trains without an answer, oldest first. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Departures {
    trains: VecDeque<Departure>,
    /// The datagrams of all of them, with the bytes of their headers.
    packets: VecDeque<(Returned, usize)>,
}

/// One train.
#[derive(Clone, Copy, Debug)]
struct Departure {
    token: Token,
    port: u8,
    /// How many of the packets are its own: none if the protocol itself says something.
    packets: usize,
}

impl Departures {
    /// A packet enters the train that leaves next, with so many bytes of a header.
    pub(super) fn enter(&mut self, packet: Returned, header: usize) {
        self.packets.push_back((packet, header));
    }

    /// A train of the last `packets` that entered leaves by a port.
    pub(super) fn leave(&mut self, token: Token, port: u8, packets: usize) {
        self.trains.push_back(Departure { token, port, packets });
    }

    /// Trains of `token` without an answer.
    pub(super) fn of(&self, token: Token) -> usize {
        self.trains.iter().filter(|train| train.token == token).count()
    }

    /// The first train of `token` left with `bytes`: gives its port, whether it carried packets,
    /// and to `rest` those that did not leave. Trains of one token are answered in their order.
    pub(super) fn answer(
        &mut self,
        token: Token,
        bytes: usize,
        rest: &mut Vec<Returned>,
    ) -> Option<(u8, bool)> {
        let at = self.trains.iter().position(|train| train.token == token)?;
        let first: usize = self.trains.iter().take(at).map(|train| train.packets).sum();
        let train = self.trains.remove(at)?;
        let mut room = Some(bytes);
        for (packet, header) in self.packets.drain(first..first + train.packets) {
            room = room.and_then(|room| room.checked_sub(header + packet.len));
            if room.is_none() {
                rest.push(packet);
            }
        }
        Some((train.port, train.packets > 0))
    }
}

impl Shard {
    /// The kernel took so many bytes of a train, and had no room for the rest of it.
    pub(super) fn train_sent(&mut self, token: Token, bytes: u32) {
        let mut rest = std::mem::take(&mut self.trains.rest);
        let answered = self.trains.departures.answer(token, bytes as usize, &mut rest);
        self.charge_train(token, bytes);
        if let Some((port, has_packets)) = answered {
            if has_packets && bytes > 0 {
                self.began_to_play(token);
            }
            if bytes == 0 || !rest.is_empty() {
                self.counters.sends_blocked += 1;
                self.port_blocked(port);
            }
        }
        if !rest.is_empty() && self.connections.is_current(token) {
            self.take_back(token.slot, &rest);
        }
        rest.clear();
        self.trains.rest = rest;
    }

    /// A train is lost.
    pub(super) fn train_failed(&mut self, token: Token, errno: i32) {
        let mut lost = std::mem::take(&mut self.trains.rest);
        self.trains.departures.answer(token, 0, &mut lost);
        self.counters.datagrams_unsent += lost.len() as u64;
        self.charge_train(token, 0);
        lost.clear();
        self.trains.rest = lost;
        self.push_failed(token, errno);
    }

    /// The kernel has packets of a player.
    fn began_to_play(&mut self, token: Token) {
        let Self { connections, counters, now, .. } = self;
        if connections.is_current(token)
            && let Some(connection) = connections.get_mut(token.slot)
            && let opened = connection.opened
            && let Some(playing) = connection.playing_mut()
            && playing.opening == Opening::Unsent
        {
            let accepted = playing.accepted.at(opened);
            counters.first_byte_us.observe_time(now.saturating_duration_since(accepted));
            playing.opening = Opening::Behind;
        }
    }

    /// So many bytes are with the kernel: its stream pays for them, also if it is gone by now.
    fn charge_train(&mut self, token: Token, bytes: u32) {
        let Self { connections, counters, usage, now, .. } = self;
        let bytes = u64::from(bytes);
        counters.sends += 1;
        if bytes > 0 {
            counters.bytes_sent += bytes;
            counters.send_bytes.observe(bytes);
        }
        if !connections.is_current(token) {
            usage.sent_late(token, bytes);
            return;
        }
        let Some(connection) = connections.get_mut(token.slot).filter(|_| bytes > 0) else {
            return;
        };
        connection.sent += bytes;
        connection.progress(*now);
        usage.sent(token.slot, bytes);
    }

    /// The connection gives again what did not leave.
    fn take_back(&mut self, slot: u32, packets: &[Returned]) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let class = class_of_rest(connection);
        let server = connection.session.srt_mut();
        let Some(playing) = server.and_then(|server| server.playing_mut()) else {
            // Nobody asks for it again.
            self.counters.datagrams_unsent += packets.len() as u64;
            return;
        };
        packets.iter().for_each(|packet| playing.connection.take_back(packet));
        self.enqueue(slot, class);
    }

    /// A port has no room: whoever sends by it waits.
    fn port_blocked(&mut self, port: u8) {
        let Self { ports, reactor, .. } = self;
        let Some((port, _)) = ports.get_mut(port).filter(|(port, _)| !port.is_blocked) else {
            return;
        };
        port.is_blocked = true;
        reactor.poll_writable(port.fd.as_fd(), port.token);
    }

    /// A player waits for room; false if there is some.
    pub(super) fn waits_for_room(&mut self, slot: u32) -> bool {
        let Self { connections, ports, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return false };
        let Some(server) = connection.session.srt_mut() else { return false };
        let Some((port, _)) = ports.get_mut(server.port()) else { return false };
        let Some(playing) = server.playing_mut().filter(|_| port.is_blocked) else { return false };
        playing.connection.block(true);
        connection.lines.set_queued(true);
        if port.waiting.len() == connections.capacity() {
            // Some of those who waited are gone.
            port.waiting.retain(|&waiting| connections.is_current(waiting));
        }
        port.waiting.push(token);
        true
    }

    /// A port has room again: its players go on, in the order in which they came.
    pub(super) fn port_writable(&mut self, port: u8) {
        let Some((port_of, _)) = self.ports.get_mut(port) else { return };
        port_of.is_blocked = false;
        let mut waiting = std::mem::take(&mut port_of.waiting);
        for token in waiting.drain(..) {
            if !self.connections.is_current(token) {
                continue;
            }
            let Some(connection) = self.connections.get_mut(token.slot) else { continue };
            connection.lines.set_queued(false);
            if let Some(playing) = connection.session.srt_mut().and_then(|s| s.playing_mut()) {
                playing.connection.block(false);
            }
            let class = class_of_rest(connection);
            self.enqueue(token.slot, class);
            self.rearm(token.slot);
        }
        if let Some((port_of, _)) = self.ports.get_mut(port) {
            port_of.waiting = waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three datagrams of 100 bytes each, their headers included.
    fn train(departures: &mut Departures, token: Token, port: u8, first: u64) {
        for number in first..first + 3 {
            let packet = Returned { number, len: 84, retransmitted: number % 2 == 0 };
            departures.enter(packet, 16);
        }
        departures.leave(token, port, 3);
    }

    #[test]
    fn answers_find_their_trains_and_what_did_not_leave() {
        let (one, other) = (Token::new(100, 1), Token::new(101, 1));
        let mut departures = Departures::default();
        train(&mut departures, one, 0, 10);
        train(&mut departures, other, 1, 20);
        departures.leave(one, 0, 0);
        train(&mut departures, one, 0, 13);
        assert_eq!([one, other, Token::new(100, 2)].map(|token| departures.of(token)), [3, 1, 0]);
        let mut answer = |token: Token, bytes: usize| {
            let mut rest = Vec::new();
            let of = departures.answer(token, bytes, &mut rest);
            (of, rest.iter().map(|packet| packet.number).collect::<Vec<_>>())
        };
        assert_eq!(answer(other, 100), (Some((1, true)), vec![21, 22]), "it was cut short");
        assert_eq!(answer(one, 300), (Some((0, true)), vec![]));
        assert_eq!(answer(one, 0), (Some((0, false)), vec![]), "the protocol's own");
        assert_eq!(answer(one, 0), (Some((0, true)), vec![13, 14, 15]), "no room");
        assert_eq!(answer(one, 300), (None, vec![]), "nobody waits for it");
        assert!(departures.trains.is_empty() && departures.packets.is_empty());
    }
}
