//! Two ends, the lines between them, and their clock.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use codecs::srt::{Header, PACKET_BYTES_MAX, RejectReason, SeqNumber, SocketId};
use dataplane::session::srt::{Call, Caller, Connection, Incoming, Listener, Progress, Settings};

use crate::endpoint::{Clock, Endpoint, Source};
use crate::line::{Line, Weather};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Some moment to count from.
pub(crate) fn epoch() -> Instant {
    *EPOCH + Duration::from_secs(1_000)
}

pub(crate) fn caller_addr() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

/// How two ends meet.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub(crate) caller: Settings,
    pub(crate) listener: Settings,
    pub(crate) initial: SeqNumber,
    pub(crate) weather: [Weather; 2],
    pub(crate) seed: u64,
    /// By how many millionths the clocks of the caller and the listener are fast.
    pub(crate) ppm: [i64; 2],
}

impl Meeting {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        let settings = Settings { connect_timeout: Duration::from_secs(20), ..Settings::default() };
        Self {
            caller: settings.clone(),
            listener: settings,
            initial: SeqNumber::new(1_000),
            weather: [weather; 2],
            seed,
            ppm: [0; 2],
        }
    }

    /// Lets them meet; then `sources` says what the caller and the listener send.
    pub(crate) fn hold(self, sources: [Source; 2]) -> Result<World, RejectReason> {
        let now = epoch();
        let lines = [0, 1].map(|at| Line::new(self.weather[at], self.seed * 2 + at as u64));
        let call = Call {
            peer: "192.0.2.9:8890".parse().unwrap(),
            socket: SocketId(11),
            initial: self.initial,
            stream_id: Some(b"#!::r=cam1,m=publish".to_vec()),
        };
        let mut caller = Caller::new(self.caller, call, [3; 32], now);
        let mut parts = Parts {
            now,
            lines,
            listener: Listener::new(&self.listener, [5; 32], now),
            answered: None,
        };
        let mut out = [0; PACKET_BYTES_MAX];
        let connected = loop {
            while let Some(len) = caller.poll_transmit(parts.now, &mut out) {
                parts.lines[0].send(parts.now, &out[..len]);
            }
            parts.answer(&self.listener);
            while let Some(datagram) = parts.lines[1].receive(parts.now) {
                match caller.handle_datagram(parts.now, &datagram) {
                    Progress::Waiting => {}
                    Progress::Connected(connection) => parts.connected(*connection),
                    Progress::Refused(reason) => return Err(reason),
                }
            }
            if let Some(connection) = parts.take_connected() {
                break connection;
            }
            if let Progress::Refused(reason) = caller.handle_timeout(parts.now) {
                return Err(reason);
            }
            let arrivals = parts.lines.iter().filter_map(Line::next_arrival);
            parts.now = arrivals.chain(caller.poll_timeout()).min().unwrap().max(parts.now);
        };
        let Parts { now, lines, listener, answered } = parts;
        let (_, accepted) = answered.unwrap();
        let clocks = self.ppm.map(|ppm| Clock { since: now, ppm });
        let ends = [
            Endpoint::new(connected, sources[0], clocks[0]),
            Endpoint::new(accepted.unwrap(), sources[1], clocks[1]),
        ];
        Ok(World { now, ends, lines, listener })
    }
}

/// What there is while two ends meet.
struct Parts {
    now: Instant,
    lines: [Line; 2],
    listener: Listener,
    answered: Option<(Option<Connection>, Option<Connection>)>,
}

impl Parts {
    fn connected(&mut self, connection: Connection) {
        self.answered.as_mut().unwrap().0 = Some(connection);
    }

    fn take_connected(&mut self) -> Option<Connection> {
        self.answered.as_mut()?.0.take()
    }

    fn answer(&mut self, settings: &Settings) {
        let mut out = [0; PACKET_BYTES_MAX];
        while let Some(mut datagram) = self.lines[0].receive(self.now) {
            let incoming =
                self.listener.handle_datagram(self.now, caller_addr(), &datagram, &mut out);
            match incoming {
                Incoming::Ignored | Incoming::Waiting(_) => {}
                Incoming::Reply(len) => self.lines[1].send(self.now, &out[..len]),
                Incoming::Call(request) => {
                    assert_eq!(request.stream_id(), Some(&b"#!::r=cam1,m=publish"[..]));
                    let keys = (SocketId(77), request.keys(settings, [9; 32]));
                    match self.listener.accept(self.now, &request, settings, keys, &mut out) {
                        Ok(connection) => self.answered = Some((None, Some(connection))),
                        Err((_, len)) => self.lines[1].send(self.now, &out[..len]),
                    }
                }
                Incoming::For(socket) => {
                    assert_eq!(socket, SocketId(77));
                    let accepted = self.answered.as_mut().unwrap().1.as_mut().unwrap();
                    accepted.handle_datagram(self.now, &mut datagram);
                }
            }
            let accepted = self.answered.as_mut().and_then(|(_, accepted)| accepted.as_mut());
            if let Some(connection) = accepted {
                while let Some(len) = connection.poll_transmit(self.now, &mut out) {
                    self.lines[1].send(self.now, &out[..len]);
                }
            }
        }
    }
}

/// Two ends that met.
pub(crate) struct World {
    pub(crate) now: Instant,
    /// The caller and the listener.
    pub(crate) ends: [Endpoint; 2],
    pub(crate) lines: [Line; 2],
    listener: Listener,
}

impl World {
    /// Goes on until nothing happens before `end`.
    pub(crate) fn run_until(&mut self, end: Instant) {
        loop {
            self.turn();
            let timeouts = self.ends.iter().filter_map(|peer| peer.next_timeout(self.now));
            let arrivals = self.lines.iter().filter_map(Line::next_arrival);
            let Some(next) = timeouts.chain(arrivals).min().filter(|next| *next <= end) else {
                self.now = end;
                self.turn();
                return;
            };
            // A timer is as coarse as this.
            self.now = next.max(self.now + Duration::from_micros(100));
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Goes on until everything is sent and acknowledged, or until it takes too long.
    pub(crate) fn run_to_the_end(&mut self) {
        for _ in 0..100_000 {
            self.run_for(Duration::from_millis(100));
            let is_done = |peer: &Endpoint| {
                peer.next_timeout(self.now).is_none()
                    || peer.micros(self.now) > last_us(&peer.source)
            };
            let is_sent = self.ends.iter().all(|peer| peer.connection.is_sent());
            if is_sent && self.ends.iter().all(is_done) {
                return;
            }
        }
        panic!("it never ends");
    }

    fn turn(&mut self) {
        let now = self.now;
        for at in [0, 1] {
            while let Some(mut datagram) = self.lines[1 - at].receive(now) {
                let to = Header::parse(&datagram).map(|header| header.destination());
                if to != Ok(SocketId::LISTENER) {
                    self.ends[at].deliver(now, &mut datagram);
                    continue;
                }
                let mut out = [0; PACKET_BYTES_MAX];
                let from = caller_addr();
                if let Incoming::For(_) =
                    self.listener.handle_datagram(now, from, &datagram, &mut out)
                {
                    self.ends[at].deliver(now, &mut datagram);
                }
            }
        }
        for at in [0, 1] {
            self.ends[at].turn(now, &mut self.lines[at]);
        }
    }
}

fn last_us(source: &Source) -> i64 {
    source.first_us + i64::try_from(source.count).unwrap() * source.interval_us
}
