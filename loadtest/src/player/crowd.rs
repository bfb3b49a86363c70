//! Any number of players on one thread.
//!
//! Every player parses what it gets up to its first video frame. A sampled one goes on, woken by
//! every packet, so that its latency is true. The others are quiet: nothing wakes them, their bytes
//! are thrown away inside the kernel every [`SWEEP_NS`], as a network card would take them, so that
//! thousands of them cost the server what real players cost, and this process next to nothing.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{Peer, Tally};
use crate::client;
use crate::connection::Connection;
use crate::piece::{Event, PieceKind};
use crate::socket::{Poll, monotonic_ns};
use crate::stream_url::StreamUrl;
use crate::verify::{Arrival, Verifier};

/// How often quiet players are emptied.
pub const SWEEP_NS: u64 = 25_000_000;

/// Without bytes for so long a player has stalled.
pub const STALL_NS: u64 = 2_000_000_000;

const READ_BYTES: usize = 256 * 1024;

/// Who is in the crowd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdPlan {
    /// What is played; players take turns with the streams.
    pub url: StreamUrl,
    /// How many streams there are.
    pub streams: usize,
    /// Players that connect in a second.
    pub ramp_per_s: u64,
    /// Sampled players at most.
    pub sampled: usize,
    /// Every how many players one is sampled, until there are enough.
    pub sample_stride: usize,
}

enum Stage {
    /// Up to the first frame; afterwards only if sampled.
    Parsing { peer: Peer, verifier: Verifier },
    /// Bytes are thrown away; acknowledged every `window` bytes.
    Quiet { acknowledged: u64, window: Option<u32> },
}

struct Player {
    connection: Connection,
    stage: Stage,
    sampled: bool,
    connected_ns: u64,
    accepted_ns: Option<u64>,
    video_ns: Option<u64>,
    playing: bool,
    stalled: bool,
    received: u64,
    last_bytes_ns: u64,
}

/// Why a player is lost.
enum Loss {
    Refused(String),
    Failed(String),
    Closed,
}

/// The crowd.
pub struct Crowd {
    plan: CrowdPlan,
    addr: SocketAddr,
    poll: Poll,
    players: Vec<Option<Player>>,
    wanted: usize,
    ramp_started_ns: u64,
    ramp_base: usize,
    sampled: usize,
    next_sweep_ns: u64,
    ready: Vec<u64>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl Crowd {
    /// An empty crowd.
    ///
    /// # Errors
    /// If the host has no address.
    pub fn new(plan: CrowdPlan) -> Result<Self> {
        let addr = plan.url.resolve()?;
        Ok(Self {
            plan,
            addr,
            poll: Poll::new()?,
            players: Vec::new(),
            wanted: 0,
            ramp_started_ns: 0,
            ramp_base: 0,
            sampled: 0,
            next_sweep_ns: monotonic_ns() + SWEEP_NS,
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES],
            tally: Tally::default(),
        })
    }

    /// Sets how many players are to be started in all, those that are lost included.
    pub fn grow(&mut self, players: usize) {
        self.wanted = players.max(self.players.len());
        self.ramp_base = self.players.len();
        self.ramp_started_ns = monotonic_ns();
    }

    /// How many play: they have had a frame, and are still connected.
    #[must_use]
    pub fn playing(&self) -> usize {
        self.players.iter().flatten().filter(|player| player.playing).count()
    }

    /// True once every player has been started and either plays or is lost.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.players.len() == self.wanted
            && self.players.iter().flatten().all(|player| player.playing)
    }

    /// What was counted.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets what was counted; the players stay.
    pub fn reset_tally(&mut self) {
        self.tally = Tally::default();
    }

    /// Waits for something to do until `deadline_ns`, and does it.
    ///
    /// # Errors
    /// If this process cannot go on; the loss of a player is counted instead.
    pub fn turn(&mut self, deadline_ns: u64) -> Result<()> {
        let connect_ns = self.connect_due()?;
        let until = deadline_ns.min(self.next_sweep_ns).min(connect_ns);
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(until, &mut ready)?;
        for token in &ready {
            self.with_player(*token as usize, Self::receive);
        }
        self.ready = ready;
        let now_ns = monotonic_ns();
        if now_ns >= self.next_sweep_ns {
            for index in 0..self.players.len() {
                self.with_player(index, |crowd, player| crowd.sweep(player, now_ns));
            }
            // A sweep that takes longer than the interval does not pile up.
            self.next_sweep_ns = (self.next_sweep_ns + SWEEP_NS).max(monotonic_ns());
        }
        Ok(())
    }

    /// Starts the players whose time has come; tells when the next one's comes.
    fn connect_due(&mut self) -> Result<u64> {
        let ramp = self.plan.ramp_per_s.max(1);
        loop {
            let index = self.players.len();
            if index >= self.wanted {
                return Ok(u64::MAX);
            }
            let since_base = (index - self.ramp_base) as u64;
            let due_ns = self.ramp_started_ns + since_base * 1_000_000_000 / ramp;
            if due_ns > monotonic_ns() {
                return Ok(due_ns);
            }
            let player = self.connect(index)?;
            self.players.push(Some(player));
        }
    }

    fn connect(&mut self, index: usize) -> Result<Player> {
        let mut connection = Connection::open(self.addr, index as u64, &self.poll)
            .with_context(|| format!("cannot connect to {}", self.addr))?;
        let now_ns = monotonic_ns();
        let url = self.plan.url.nth(index % self.plan.streams.max(1), self.plan.streams);
        let peer = Peer::new(&url, now_ns, connection.out());
        let sampled = self.sampled < self.plan.sampled
            && index.is_multiple_of(self.plan.sample_stride.max(1));
        self.sampled += usize::from(sampled);
        Ok(Player {
            connection,
            stage: Stage::Parsing { peer, verifier: Verifier::default() },
            sampled,
            connected_ns: now_ns,
            accepted_ns: None,
            video_ns: None,
            playing: false,
            stalled: false,
            received: 0,
            last_bytes_ns: now_ns,
        })
    }

    /// Lets `act` work on a player, and drops it if it is lost.
    fn with_player(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Self, &mut Player) -> Result<(), Loss>,
    ) {
        let Some(mut player) = self.players.get_mut(index).and_then(Option::take) else {
            return;
        };
        match act(self, &mut player) {
            Ok(()) => self.players[index] = Some(player),
            Err(loss) => self.count_loss(loss),
        }
    }

    fn count_loss(&mut self, loss: Loss) {
        let tally = &mut self.tally;
        let reason = match loss {
            Loss::Refused(reason) => {
                tally.refused += 1;
                format!("refused: {reason}")
            }
            Loss::Failed(reason) => {
                tally.failed += 1;
                reason
            }
            Loss::Closed => {
                tally.closed += 1;
                "the server closed the connection".to_owned()
            }
        };
        tally.first_loss.get_or_insert(reason);
    }

    fn receive(&mut self, player: &mut Player) -> Result<(), Loss> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.receive_into(player, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn receive_into(&mut self, player: &mut Player, buffer: &mut [u8]) -> Result<(), Loss> {
        player.connection.flush(&self.poll)?;
        while matches!(player.stage, Stage::Parsing { .. }) {
            let Some(len) = player.connection.read(buffer)? else { break };
            if len == 0 {
                return Err(Loss::Closed);
            }
            let now_ns = monotonic_ns();
            player.note_bytes(len as u64, now_ns);
            self.tally.received += len as u64;
            self.parse(player, &buffer[..len], now_ns)?;
            player.connection.flush(&self.poll)?;
            if player.playing && !player.sampled && player.connection.backlog() == 0 {
                player.quieten();
                player.connection.unwatch(&self.poll)?;
            }
        }
        Ok(())
    }

    fn parse(&mut self, player: &mut Player, mut input: &[u8], now_ns: u64) -> Result<(), Loss> {
        let Stage::Parsing { peer, verifier } = &mut player.stage else {
            return Ok(());
        };
        while !input.is_empty() {
            let fed = peer.feed(input, player.connection.out());
            let (taken, event) = fed.map_err(|error| Loss::Failed(format!("{error:#}")))?;
            input = &input[taken..];
            let piece = match event {
                None => continue,
                Some(Event::Refused(reason)) => return Err(Loss::Refused(reason)),
                Some(Event::Accepted) => {
                    player.accepted_ns = Some(now_ns);
                    continue;
                }
                Some(Event::Media(piece)) => piece,
            };
            if piece.kind == PieceKind::Video && player.video_ns.is_none() {
                player.video_ns = Some(now_ns);
                let waited = now_ns - player.accepted_ns.unwrap_or(player.connected_ns);
                self.tally.first_video.record(waited);
            }
            let findings = match player.sampled {
                true => &mut self.tally.sampled,
                false => &mut self.tally.starts,
            };
            let arrival = verifier.piece(&piece, now_ns, findings);
            if arrival == Arrival::Frame && !player.playing {
                player.playing = true;
                self.tally.join.record(now_ns - player.connected_ns);
            }
        }
        Ok(())
    }

    fn sweep(&mut self, player: &mut Player, now_ns: u64) -> Result<(), Loss> {
        if let Stage::Quiet { .. } = player.stage {
            let discarded = player.connection.discard()?;
            if discarded.bytes > 0 {
                player.note_bytes(discarded.bytes, now_ns);
                self.tally.received += discarded.bytes;
            }
            if discarded.ended {
                return Err(Loss::Closed);
            }
            player.acknowledge();
            player.connection.flush(&self.poll)?;
        }
        if player.playing && !player.stalled && now_ns - player.last_bytes_ns.min(now_ns) > STALL_NS
        {
            player.stalled = true;
            self.tally.stalls += 1;
        }
        Ok(())
    }
}

impl Player {
    fn note_bytes(&mut self, bytes: u64, now_ns: u64) {
        self.received += bytes;
        self.last_bytes_ns = now_ns;
        self.stalled = false;
    }

    fn quieten(&mut self) {
        if let Stage::Parsing { peer, .. } = &self.stage {
            let window = peer.window();
            self.stage = Stage::Quiet { acknowledged: self.received, window };
        }
    }

    /// Acknowledges in the server's window, as a player that parses does.
    fn acknowledge(&mut self) {
        let received = self.received;
        if let Stage::Quiet { acknowledged, window: Some(window) } = &mut self.stage
            && received - *acknowledged >= u64::from(*window)
        {
            *acknowledged = received;
            client::put_acknowledgement(received, self.connection.out());
        }
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
