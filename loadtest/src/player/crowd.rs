//! Any number of players on one thread.
//!
//! Players of streams are quiet unless they are sampled (`stream_player`): they are emptied every
//! [`SWEEP_NS`], as a network card would take their bytes, so that thousands of them cost the
//! server what real players cost, and this process next to nothing.

use anyhow::{Context, Result};

use super::loss::Loss;
use super::scene::Scene;
use super::segment_player::SegmentPlayer;
use super::stream_player::StreamPlayer;
use super::tally::Tally;
use crate::connection::{Connection, Route};
use crate::socket::{Poll, monotonic_ns};
use crate::stream_url::{Scheme, StreamUrl};
use crate::tls::Trust;

/// How often quiet players are emptied, and lists are asked for.
pub const SWEEP_NS: u64 = 25_000_000;

const READ_BYTES: usize = 256 * 1024;

/// Who is in the crowd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrowdPlan {
    /// What is played; players take turns with the streams.
    pub url: StreamUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// How many streams there are.
    pub streams: usize,
    /// Players that connect in a second.
    pub ramp_per_s: u64,
    /// Sampled players at most.
    pub sampled: usize,
    /// Every how many players one is sampled, until there are enough.
    pub sample_stride: usize,
    /// Players of HLS ask for one playlist and keep their connection.
    pub holds: bool,
}

enum Player {
    Stream(StreamPlayer),
    Segments(SegmentPlayer),
}

/// The crowd.
pub struct Crowd {
    plan: CrowdPlan,
    route: Route,
    scene: Scene,
    players: Vec<Option<Player>>,
    wanted: usize,
    ramp_started_ns: u64,
    ramp_base: usize,
    sampled: usize,
    next_sweep_ns: u64,
    ready: Vec<u64>,
}

impl Crowd {
    /// An empty crowd.
    ///
    /// # Errors
    /// If the host has no address, or its certificate could not be checked.
    pub fn new(plan: CrowdPlan) -> Result<Self> {
        let route = Route::to(&plan.url, &plan.trust)?;
        let (poll, buffer) = (Poll::new()?, vec![0; READ_BYTES]);
        Ok(Self {
            plan,
            route,
            scene: Scene { poll, buffer, tally: Tally::default() },
            players: Vec::new(),
            wanted: 0,
            ramp_started_ns: 0,
            ramp_base: 0,
            sampled: 0,
            next_sweep_ns: monotonic_ns() + SWEEP_NS,
            ready: Vec::new(),
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
        self.players.iter().flatten().filter(|player| player.is_playing()).count()
    }

    /// True once every player has been started and either plays or is lost.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.players.len() == self.wanted && self.players.iter().flatten().all(Player::is_playing)
    }

    /// What was counted.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.scene.tally
    }

    /// Forgets what was counted; the players stay.
    pub fn reset_tally(&mut self) {
        self.scene.tally = Tally::default();
    }

    /// Waits for something to do until `deadline_ns`, and does it.
    ///
    /// # Errors
    /// If this process cannot go on; the loss of a player is counted instead.
    pub fn turn(&mut self, deadline_ns: u64) -> Result<()> {
        let connect_ns = self.connect_due()?;
        let until = deadline_ns.min(self.next_sweep_ns).min(connect_ns);
        let mut ready = std::mem::take(&mut self.ready);
        self.scene.poll.wait(until, &mut ready)?;
        for token in &ready {
            self.with_player(*token as usize, |scene, player| player.receive(scene));
        }
        self.ready = ready;
        let now_ns = monotonic_ns();
        if now_ns >= self.next_sweep_ns {
            for index in 0..self.players.len() {
                self.with_player(index, |scene, player| player.sweep(now_ns, scene));
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
        let connection = Connection::open(&self.route, index as u64, &self.scene.poll)
            .with_context(|| format!("cannot connect to {}", self.route.addr))?;
        let url = self.plan.url.nth(index % self.plan.streams.max(1), self.plan.streams);
        let sampled = self.sampled < self.plan.sampled
            && index.is_multiple_of(self.plan.sample_stride.max(1));
        self.sampled += usize::from(sampled);
        Ok(match url.scheme {
            Scheme::Hls => {
                let holds = self.plan.holds;
                Player::Segments(SegmentPlayer::new(connection, &url, sampled, holds))
            }
            _ => Player::Stream(StreamPlayer::new(connection, &url, sampled)),
        })
    }

    /// Lets `act` work on a player, and drops it if it is lost.
    fn with_player(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Scene, &mut Player) -> Result<(), Loss>,
    ) {
        let Some(mut player) = self.players.get_mut(index).and_then(Option::take) else {
            return;
        };
        match act(&mut self.scene, &mut player) {
            Ok(()) => self.players[index] = Some(player),
            Err(loss) => loss.count(&mut self.scene.tally),
        }
    }
}

impl Player {
    const fn is_playing(&self) -> bool {
        match self {
            Self::Stream(player) => player.playing,
            Self::Segments(player) => player.playing,
        }
    }

    fn receive(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        match self {
            Self::Stream(player) => player.receive(scene),
            Self::Segments(player) => player.receive(scene),
        }
    }

    fn sweep(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        match self {
            Self::Stream(player) => player.sweep(now_ns, scene),
            Self::Segments(player) => player.sweep(now_ns, scene),
        }
    }
}
