//! Gathering: frames of SRT players that wait for the next one, so that one train takes both.
//!
//! A player of SRT shows each frame a fixed time after it was made, whenever it came: a part of
//! that time costs nothing, and half as many trains, and answers to them, cost much less. A log is
//! looked at when it moves. Whoever would wait too long for its next move is sent what there is,
//! and the others wait until then. All who began to wait for one log with one of its moves, and
//! have one latency, are sent to in one turn.
//!
//! ```text
//!   the log moves --> is the next move expected in time? --no--> sent at once
//!                        | yes
//!                        v
//!                      waits --(the log moves, too late for one more)--> sent
//!                        +-----(its time is over)----------------------> sent
//!                        +-----(its source stops, it is sealed, the player leaves)--> sent
//! ```
//!
//! What is sent again, and what the protocol itself says, never waits.
//! Limits: a log is looked at every [`LOOK_MIN`] at most, but for its moves.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::egress::line_up_buckets;
use super::flush::Flush;
use super::reader::Reader;
use super::shard::Shard;
use crate::log::{Succession, Trail};
use crate::session::Format;

/// Nobody waits whose time would be over earlier: it would save little, and few looks at a log do
/// for all who wait.
const LOOK_MIN: Duration = Duration::from_millis(15);
/// The next move may come later than the others did by this part of the time between them.
const JITTER_SHARE: u32 = 16;

/// What is known of the log whose players are lined up.
pub(super) struct Gathering<'a> {
    logs: &'a Succession,
    trail: &'a Trail,
    /// The next move comes within this.
    expected: Duration,
    now: Instant,
}

impl<'a> Gathering<'a> {
    /// `None` if nobody waits: the log ends, or it is not known when it moves.
    pub(super) fn of(reader: &'a Reader, flush: &Flush, now: Instant) -> Option<Self> {
        let (logs, trail) = (reader.logs()?, &reader.trail);
        if reader.key.format != Format::MpegTs || logs.ended().is_some() {
            return None;
        }
        let interval = trail.interval()?;
        let expected = interval + interval / JITTER_SHARE;
        // Past its target the shard gathers for all.
        let expected = expected.max(LOOK_MIN).max(flush.interval());
        Some(Self { logs, trail, expected, now })
    }

    /// When what there is for a player is sent, if it waits.
    fn held(&self, player: &Connection) -> Option<Instant> {
        if player.fd().is_some() || player.playing()?.low_latency {
            return None;
        }
        let playing = player.session.srt()?.playing()?;
        playing.gathers_until((self.logs, self.trail), self.expected, self.now)
    }
}

/// How long what there is for a player waits for more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// It is sent now.
    Over,
    /// It is sent then.
    Until(Instant),
    /// There is nothing.
    Nothing,
}

impl Wait {
    /// How long what there is for a player waits; nobody does without a gathering.
    pub(super) fn of(player: &Connection, gathering: Option<&Gathering<'_>>) -> Self {
        gathering.and_then(|gathering| gathering.held(player)).map_or(Self::Over, Self::Until)
    }
}

impl Shard {
    /// Sends what has waited long enough.
    pub(super) fn release_due(&mut self) {
        while let Some(reader) = self.readers.due(self.now) {
            self.release(reader, true);
        }
    }

    /// Sends what waits for the next move of a log: what has waited long enough, if the log `goes
    /// on`; all of it if somebody says that its source stops, or that the stream moves.
    pub(super) fn release(&mut self, reader_slot: u32, goes_on: bool) {
        let Self { readers, connections, queues, flush, now, .. } = self;
        let Some(reader) = readers.get(reader_slot) else { return };
        let (buckets, logs) = (reader.held(), reader.logs());
        if buckets == 0 {
            return;
        }
        let gathering = Gathering::of(reader, flush, *now).filter(|_| goes_on);
        let wait = |player: &Connection| match logs {
            Some(logs) if has_more(player, logs) => Wait::of(player, gathering.as_ref()),
            _ => Wait::Nothing,
        };
        let held = line_up_buckets(connections, queues, (reader, buckets), wait);
        readers.hold(reader_slot, buckets, held);
    }

    /// A player is about to leave: what waited for it goes first, if its port has room. It is up to
    /// the player whether it shows that: libsrt forgets what it has not given out at a goodbye.
    pub(super) fn send_what_waits(&mut self, slot: u32) {
        let Self { connections, readers, ports, .. } = self;
        let waits = |player: &Connection| {
            let reader = readers.get(player.playing()?.reader)?;
            let port = ports.get(player.session.srt()?.port())?;
            Some(!port.is_blocked && has_more(player, reader.logs()?))
        };
        if connections.get(slot).and_then(waits) != Some(true) {
            return;
        }
        if self.trains.is_full() {
            self.submit();
        }
        // Nothing comes of it: the player leaves, whatever else it might have heard.
        let _ = self.serve_datagrams(slot);
    }
}

/// True if the logs hold something that a player in datagrams has not been sent.
fn has_more(player: &Connection, logs: &Succession) -> bool {
    let playing = player.session.srt().and_then(|server| server.playing());
    playing.is_some_and(|playing| playing.cursor.next(logs).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

    use std::net::{SocketAddr, UdpSocket};

    use codecs::srt::{PACKET_BYTES_MAX, SeqNumber, SocketId};

    use super::super::rig::{self, Rig};
    use super::*;
    use crate::config::{ListenerConfig, ListenerKind};
    use crate::ids::StreamName;
    use crate::session::Command;
    use crate::session::srt::{Call, Caller, Connection as Line, Progress, Settings};

    const MS: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_millis(400);
    /// So much of it frames wait at most.
    const GATHER_SHARE: u32 = 8;

    /// A player of SRT.
    struct Fan {
        socket: UdpSocket,
        node: SocketAddr,
        caller: Option<Caller>,
        line: Option<Line>,
        /// The bytes of each packet, and its time.
        got: Vec<(Vec<u8>, i64)>,
    }

    impl Fan {
        fn call(rig: &Rig, number: u32, latency: Duration, target: &str) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let settings = Settings { latency, peer_latency: latency, ..Settings::default() };
            let call = Call {
                peer: rig.addr,
                socket: SocketId(number),
                initial: SeqNumber::new(1),
                stream_id: Some(target.as_bytes().to_vec()),
            };
            let caller = Some(Caller::new(settings, call, [3; 32], rig::look().unwrap()));
            Self { socket, node: rig.addr, caller, line: None, got: Vec::new() }
        }

        /// Hears what came and answers; true if that was media.
        fn hear(&mut self) -> bool {
            let (now, before) = (rig::look().unwrap(), self.got.len());
            let mut bytes = [0; PACKET_BYTES_MAX];
            while let Ok(len) = self.socket.recv(&mut bytes) {
                if let Some(line) = &mut self.line {
                    if let Some(payload) = line.handle_datagram(now, &mut bytes[..len]) {
                        self.got.push((payload.bytes.to_vec(), payload.sent_us));
                    }
                } else if let Some(caller) = &mut self.caller {
                    match caller.handle_datagram(now, &bytes[..len]) {
                        Progress::Waiting => {}
                        Progress::Connected(line) => self.line = Some(*line),
                        Progress::Refused(reason) => panic!("{reason}"),
                    }
                }
            }
            if let Some(line) = &mut self.line {
                line.handle_timeout(now);
            }
            loop {
                let said = match (&mut self.line, &mut self.caller) {
                    (Some(line), _) => line.poll_transmit(now, &mut bytes),
                    (None, Some(caller)) => caller.poll_transmit(now, &mut bytes),
                    (None, None) => None,
                };
                let Some(len) = said else { break };
                self.socket.send_to(&bytes[..len], self.node).unwrap();
            }
            self.got.len() > before
        }
    }

    /// A stream on the first shard and its players, by a clock of milliseconds.
    struct Show {
        rig: Rig,
        fans: Vec<Fan>,
    }

    impl Show {
        /// Players with these latencies, who play by now.
        fn begin(fans: &[(Duration, &str)]) -> Self {
            let mut config = rig::config(0);
            config.reactor.datagram_buffers = 64;
            let listener = ListenerConfig::new(ListenerKind::Srt, config.listeners[0].addr);
            config.listeners[0] = ListenerConfig { shards: config.listeners[0].shards, ..listener };
            let mut rig = Rig::new(&config);
            rig.begin_stream(0);
            let call = |(number, &(latency, target)): (u32, &(Duration, &str))| {
                Fan::call(&rig, number, latency, target)
            };
            let fans: Vec<_> = (11..).zip(fans).map(call).collect();
            let mut show = Self { rig, fans };
            // Shakes hands while no time passes, so that the times of all count from one moment.
            for _ in 0..50 {
                show.turn();
            }
            assert_eq!(show.rig.counters().plays_started, show.fans.len() as u64);
            // What a join begins with is sent, and how often frames come is known.
            for _ in 0..2_000 {
                show.pass();
            }
            show
        }

        /// A turn; who got media.
        fn turn(&mut self) -> Vec<bool> {
            self.rig.turn(0);
            self.fans.iter_mut().map(Fan::hear).collect()
        }

        /// A millisecond passes; who got media, and whether the log moved.
        fn pass(&mut self) -> (Vec<bool>, bool) {
            let before = self.rig.counters().dirty_logs;
            self.rig.pass(MS);
            let mut got = vec![false; self.fans.len()];
            for _ in 0..3 {
                let now = self.turn();
                got.iter_mut().zip(now).for_each(|(got, now)| *got |= now);
            }
            (got, self.rig.counters().dirty_logs > before)
        }

        /// A reader with something that waits.
        fn held(&self) -> Option<u32> {
            let readers = &self.rig.shards[0].readers;
            let held = |slot: &u32| readers.get(*slot).is_some_and(|reader| reader.held() != 0);
            (0..readers.capacity() as u32).find(held)
        }

        fn is_held(&self) -> bool {
            self.held().is_some()
        }

        /// Time passes until something waits.
        fn pass_until_held(&mut self) {
            for _ in 0..1_000 {
                if self.is_held() {
                    return;
                }
                self.pass();
            }
            panic!("nothing ever waits");
        }

        fn slot_of_player(&self) -> u32 {
            let connections = &self.rig.shards[0].connections;
            let plays = |slot: &u32| connections.get(*slot).unwrap().playing().is_some();
            connections.slots().into_iter().find(plays).unwrap()
        }

        fn bytes(&self, fan: usize) -> Vec<u8> {
            self.fans[fan].got.iter().flat_map(|(bytes, _)| bytes.clone()).collect()
        }
    }

    #[test]
    fn frames_wait_for_a_part_of_the_latency_and_show_the_times_that_they_had() {
        let mut show =
            Show::begin(&[(LONG, "demo"), (MS * 120, "demo"), (LONG, "demo?latency=low")]);
        let (mut trains, mut waited_since) = ([0; 3], None);
        let mut moves = 0;
        for ms in 0..4_000 {
            let (got, moved) = show.pass();
            moves += u32::from(moved);
            got.iter().zip(&mut trains).for_each(|(&got, trains)| *trains += u32::from(got));
            if moved {
                assert!(got[1] && got[2], "short or low latency: at once, {ms}");
                waited_since.get_or_insert(ms);
            }
            if got[0] {
                waited_since = None;
            }
            let waited = waited_since.map_or(0, |since| ms - since);
            assert!(MS * waited <= LONG / GATHER_SHARE, "{waited} ms at {ms}");
        }
        assert_eq!(trains[1], moves);
        assert!(trains[0] * 2 <= moves + 10, "{trains:?} of {moves}");
        show.rig.end_stream(0);
        show.turn();
        show.turn();
        let [gathers, short, low] = [0, 1, 2].map(|fan| show.fans[fan].got.clone());
        assert!(gathers.len() > 1_000 || moves > 100, "{}", gathers.len());
        assert_eq!(gathers, short, "the same packets, the same times");
        assert_eq!(gathers, low);
    }

    #[test]
    fn nothing_is_left_behind_when_its_source_stops_or_the_stream_ends() {
        for ends in [false, true] {
            let mut show = Show::begin(&[(LONG, "demo"), (LONG, "demo?latency=low")]);
            show.pass_until_held();
            assert!(show.bytes(0).len() < show.bytes(1).len());
            if ends {
                show.rig.end_stream(0);
            } else {
                let shard = &mut show.rig.shards[0];
                let hub = shard.streams.find(&StreamName::parse("demo").unwrap()).unwrap();
                let now = shard.now;
                shard.streams.get_mut(hub).unwrap().lose_source(now);
                shard.streams.touch(hub);
            }
            // No time passes.
            show.turn();
            show.turn();
            assert_eq!(show.bytes(0), show.bytes(1));
            assert!(!show.is_held() && show.rig.shards[0].readers.release_at().is_none());
        }
    }

    #[test]
    fn a_player_that_is_sent_away_gets_first_what_waits_for_it() {
        for (reason, gets) in [("draining", true), ("too_slow", false)] {
            let mut show = Show::begin(&[(LONG, "demo")]);
            show.pass_until_held();
            let before = show.bytes(0).len();
            let slot = show.slot_of_player();
            show.rig.shards[0].tell(slot, Command::Shutdown { reason });
            show.turn();
            assert_eq!(show.bytes(0).len() > before, gets, "{reason}");
            assert!(show.fans[0].line.as_ref().unwrap().closed().is_some());
        }
    }

    #[test]
    fn a_shard_that_stops_sends_what_waits() {
        let mut show = Show::begin(&[(LONG, "demo")]);
        show.pass_until_held();
        let before = show.bytes(0).len();
        show.rig.shards[0].shutdown();
        assert!(show.fans[0].hear() && show.bytes(0).len() > before);
    }

    #[test]
    fn who_has_been_sent_everything_is_left_alone_when_something_is_released() {
        let mut show = Show::begin(&[(LONG, "demo"), (LONG, "demo?latency=low")]);
        show.pass_until_held();
        let reader = show.held().unwrap();
        let shard = &mut show.rig.shards[0];
        shard.release(reader, true);
        assert!(shard.queues.is_empty(), "its time is not over");
        shard.release(reader, false);
        assert!(shard.queues.pop().is_some() && shard.queues.is_empty(), "one of two");
        assert!(!show.is_held());
    }

    #[test]
    fn a_source_that_stalls_makes_nothing_wait_longer() {
        let mut show = Show::begin(&[(LONG, "demo"), (LONG, "demo?latency=low")]);
        show.pass_until_held();
        // No turn of the source: the clock alone goes on.
        show.rig.shards[0].demo = None;
        for _ in 0..LONG.as_millis() / u128::from(GATHER_SHARE) {
            show.pass();
        }
        assert_eq!(show.bytes(0), show.bytes(1));
        assert!(!show.is_held());
    }
}
