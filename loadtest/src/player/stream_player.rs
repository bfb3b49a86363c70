//! A player whose stream comes by itself once it was asked for.
//!
//! It parses what it gets up to its first video frame. A sampled one goes on, woken by every
//! packet, so that its latency is true. The others are quiet from then on: nothing wakes them, and
//! their bytes are thrown away inside the kernel when they are swept. What is encrypted is read and
//! parsed at the sweep instead, because a viewer behind TLS pays for every byte. A slow player
//! takes no more at a sweep than its pace allows, and is woken by the end of its connection only.
//!
//! A quiet player of RTMP acknowledges, one of a WebSocket sends pongs that nobody asked for (RFC
//! 6455 5.5.3): to the server it is alive.

use super::cast::Pace;
use super::loss::Loss;
use super::peer::Peer;
use super::scene::Scene;
use crate::client;
use crate::connection::Connection;
use crate::http_head::REDIRECTS_MAX;
use crate::mpegts::Tr101290;
use crate::piece::Event;
use crate::socket::monotonic_ns;
use crate::stream_url::StreamUrl;
use crate::verify::{Arrival, Verifier};
use crate::websocket;

/// Without bytes for so long a player has stalled.
pub const STALL_NS: u64 = 2_000_000_000;

/// How often a player of a WebSocket who throws pings away sends a pong: twice as often as servers
/// ping that do so every 30 s.
const PONG_NS: u64 = 15_000_000_000;

enum Stage {
    /// Up to the first frame; afterwards only if sampled.
    Parsing { peer: Peer, verifier: Box<Verifier>, judge: Option<Box<Tr101290>> },
    /// Bytes are thrown away.
    Quiet(SignOfLife),
}

/// What the server has to hear of a player who throws away what it says.
enum SignOfLife {
    /// Nothing.
    Silence,
    /// An acknowledgement of every `window` bytes.
    Acknowledgements { acknowledged: u64, window: u32 },
    /// A pong at `due_ns`, that answers whatever ping was thrown away.
    Pongs { due_ns: u64 },
}

impl Stage {
    /// Asks for what is there.
    fn at_start(url: &StreamUrl, sampled: bool, now_ns: u64, out: &mut Vec<u8>) -> Self {
        let peer = Peer::new(url, sampled, now_ns, out);
        let verifier = if sampled { Verifier::default() } else { Verifier::of_start() };
        let judge = (sampled && peer.is_transport_stream()).then(Box::default);
        Self::Parsing { peer, verifier: Box::new(verifier), judge }
    }
}

pub(super) struct StreamPlayer {
    url: Box<StreamUrl>,
    /// How often it was led elsewhere.
    redirects: u32,
    connection: Connection,
    stage: Stage,
    pace: Pace,
    /// Nothing wakes it: it is looked at when it is swept.
    is_swept: bool,
    sampled: bool,
    connected_ns: u64,
    /// When it began to play, and what it had received by then.
    paced_from: Option<(u64, u64)>,
    /// A picture has begun to come.
    has_video: bool,
    pub(super) playing: bool,
    stalled: bool,
    received: u64,
    last_bytes_ns: u64,
}

impl StreamPlayer {
    pub(super) fn new(
        mut connection: Connection,
        url: &StreamUrl,
        pace: Pace,
        sampled: bool,
    ) -> Self {
        let now_ns = monotonic_ns();
        let stage = Stage::at_start(url, sampled, now_ns, connection.out());
        Self {
            url: Box::new(url.clone()),
            redirects: 0,
            connection,
            stage,
            pace,
            is_swept: false,
            sampled,
            connected_ns: now_ns,
            paced_from: None,
            has_video: false,
            playing: false,
            stalled: false,
            received: 0,
            last_bytes_ns: now_ns,
        }
    }

    /// The socket has something, or room.
    pub(super) fn receive(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        if self.is_swept {
            // Only a slow player is still watched, for its end.
            return Err(Loss::Closed);
        }
        self.connection.flush(&scene.poll)?;
        self.read(u64::MAX, scene)?;
        let is_quiet = self.playing && !self.sampled && self.connection.backlog() == 0;
        if is_quiet {
            self.is_swept = true;
            if !self.connection.is_tls() {
                self.quieten();
            }
            match self.pace {
                Pace::Live => self.connection.unwatch(&scene.poll)?,
                Pace::Slow { .. } => self.connection.watch_end(&scene.poll)?,
            }
        }
        Ok(())
    }

    /// Reads and parses about `most` bytes, while there are any.
    fn read(&mut self, most: u64, scene: &mut Scene) -> Result<(), Loss> {
        let mut left = most;
        scene.with_buffer(|scene, buffer| {
            while left > 0 && matches!(self.stage, Stage::Parsing { .. }) {
                let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let Some(len) = self.connection.read(&mut buffer[..room])? else { break };
                if len == 0 {
                    return Err(Loss::Closed);
                }
                let now_ns = monotonic_ns();
                let received = self.connection.take_received();
                left = left.saturating_sub(received.max(len as u64));
                self.note_bytes(received, now_ns, scene);
                self.parse(&buffer[..len], now_ns, scene)?;
                self.connection.flush(&scene.poll)?;
                if self.playing && !self.sampled && !self.is_swept {
                    break;
                }
            }
            Ok(())
        })
    }

    fn parse(&mut self, mut input: &[u8], now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        let Stage::Parsing { peer, verifier, judge } = &mut self.stage else {
            return Ok(());
        };
        loop {
            let is_judged = judge.is_some() && peer.is_in_body();
            let (taken, event) = peer.feed(input, now_ns, self.connection.out())?;
            if let Some(judge) = judge.as_deref_mut().filter(|_| is_judged) {
                scene.judge(judge, &input[..taken]);
            }
            input = &input[taken..];
            let findings = match self.sampled {
                true => &mut scene.tally().sampled,
                false => &mut scene.tally().starts,
            };
            let (arrival, arrived_ns) = match event {
                None if input.is_empty() => return Ok(()),
                None => continue,
                Some(Event::Refused(reason)) => return Err(Loss::Refused(reason)),
                Some(Event::Moved(location)) => return self.follow(&location, scene),
                Some(Event::Accepted) => continue,
                Some(Event::Media(piece)) => (verifier.piece(&piece, now_ns, findings), now_ns),
                Some(Event::Unit(unit)) => (verifier.unit(&unit, findings), unit.arrived_ns),
            };
            if arrival != Arrival::Plain && !self.has_video {
                self.has_video = true;
                scene.tally().first_video.record(arrived_ns - self.connected_ns);
            }
            if arrival == Arrival::Frame && !self.playing {
                self.playing = true;
                scene.tally().join.record(arrived_ns - self.connected_ns);
            }
        }
    }

    /// Asks on a new connection for what is elsewhere; this is still one player, who waits since
    /// its first one.
    fn follow(&mut self, location: &str, scene: &mut Scene) -> Result<(), Loss> {
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            return Err(Loss::Refused(format!("led elsewhere more than {REDIRECTS_MAX} times")));
        }
        *self.url = self.url.join(location)?;
        self.connection = scene.connect_to(&self.url, self.connection.token())?;
        let (out, now_ns) = (self.connection.out(), monotonic_ns());
        self.stage = Stage::at_start(&self.url, self.sampled, now_ns, out);
        Ok(())
    }

    /// Time has passed.
    pub(super) fn sweep(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        let allowed = self.allowed(now_ns);
        if let Stage::Quiet(_) = self.stage {
            let discarded = self.connection.discard(allowed)?;
            if discarded.bytes > 0 {
                self.note_bytes(discarded.bytes, now_ns, scene);
            }
            if discarded.ended {
                return Err(Loss::Closed);
            }
            self.show_life(now_ns);
            self.connection.flush(&scene.poll)?;
        } else if self.is_swept {
            self.read(allowed, scene)?;
        }
        let silent_ns = now_ns.saturating_sub(self.last_bytes_ns);
        let is_silent = self.playing && silent_ns > STALL_NS && self.pace == Pace::Live;
        if is_silent && !self.stalled {
            self.stalled = true;
            scene.tally().stalls += 1;
        }
        Ok(())
    }

    /// Bytes that the pace lets it take now.
    fn allowed(&mut self, now_ns: u64) -> u64 {
        if !self.playing {
            return u64::MAX;
        }
        let (from_ns, had) = *self.paced_from.get_or_insert((now_ns, self.received));
        self.pace.due(now_ns - from_ns).saturating_sub(self.received - had)
    }

    fn note_bytes(&mut self, bytes: u64, now_ns: u64, scene: &mut Scene) {
        self.received += bytes;
        scene.tally().received += bytes;
        self.last_bytes_ns = now_ns;
        self.stalled = false;
    }

    fn quieten(&mut self) {
        let Stage::Parsing { peer, .. } = &self.stage else { return };
        let sign = match (peer.window(), peer.is_web_socket()) {
            (Some(window), _) => {
                SignOfLife::Acknowledgements { acknowledged: self.received, window }
            }
            (None, true) => SignOfLife::Pongs { due_ns: monotonic_ns() + PONG_NS },
            (None, false) => SignOfLife::Silence,
        };
        self.stage = Stage::Quiet(sign);
    }

    /// Acknowledges in the server's window, as a player that parses does, or sends the pong that
    /// is due.
    fn show_life(&mut self, now_ns: u64) {
        let Stage::Quiet(sign) = &mut self.stage else { return };
        match sign {
            SignOfLife::Acknowledgements { acknowledged, window }
                if self.received - *acknowledged >= u64::from(*window) =>
            {
                *acknowledged = self.received;
                client::put_acknowledgement(self.received, self.connection.out());
            }
            SignOfLife::Pongs { due_ns } if *due_ns <= now_ns => {
                *due_ns = now_ns + PONG_NS;
                websocket::put_pong(now_ns, self.connection.out());
            }
            _ => {}
        }
    }
}
