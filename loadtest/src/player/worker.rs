//! The players of one thread, in a loop of their own.
//!
//! Players of streams are quiet unless they are sampled (`stream_player`): they are emptied every
//! [`SWEEP_NS`], as a network card would take their bytes, so that thousands of
//! them cost the server what real players cost, and this process little. The sweep goes round in
//! small batches, and whoever waits for a packet is looked at between two of them. Players of SRT
//! have a round of their own, every [`DATAGRAM_SWEEP_NS`], because they have to answer as often.
//!
//! Lives on: its thread. Crosses by: orders come through a channel that is looked at every turn, so
//! at the latest after a slice of a sweep; counts go back by value, the gauge is plain stores.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use anyhow::{Context, Result};

use super::cast::{Cast, Deal, Role};
use super::census::{Census, Gauge};
use super::crowd::CrowdPlan;
use super::datagram_player::DatagramPlayer;
use super::loss::Loss;
use super::routes::{Routes, dial, from_any_source};
use super::scene::Scene;
use super::segment_player::{Eyesight, SegmentPlayer};
use super::stream_player::StreamPlayer;
use super::sweep::{DATAGRAM_SWEEP_NS, SWEEP_NS, Schedule, Slice};
use super::tally::Tally;
use crate::connection::Route;
use crate::socket::{Poll, TRAIN_BYTES_MAX, TRAINS_MAX, monotonic_ns, thread_cpu_ns};
use crate::srt::Endpoint;
use crate::stream_url::{Scheme, StreamUrl};

/// Players that are swept before those who wait for a packet are looked at.
const SWEEP_BATCH: usize = 32;

/// Connections that are begun before anything else is looked at.
const CONNECT_BATCH: usize = 32;

const READ_BYTES: usize = TRAINS_MAX * TRAIN_BYTES_MAX;

/// What a thread is told to do.
pub(super) enum Order {
    /// There are to be so many players on all threads; the missing connect in a ramp, those too
    /// many leave.
    Resize { players: usize, ramp_per_s: u64, started_ns: u64 },
    /// Everybody leaves at once.
    Leave,
    /// So many players leave, the next in turn, and come again.
    Replace { players: usize },
    /// Tell what was counted since this was last asked.
    Tell(Sender<Census>),
}

enum Player {
    Stream(StreamPlayer),
    Segments(Box<SegmentPlayer>),
    Datagrams(Box<DatagramPlayer>),
}

struct Slot {
    /// How many players were dealt before, on all threads.
    number: usize,
    role: Role,
    player: Option<Player>,
}

/// Which thread this is, of how many.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) index: usize,
    pub(super) threads: usize,
}

pub(super) struct Worker {
    plan: Arc<CrowdPlan>,
    seat: Seat,
    cast: Cast,
    deal: Deal,
    /// Roles dealt on all threads.
    dealt: usize,
    scene: Scene,
    slots: Vec<Slot>,
    /// Slots whose player is to connect, and the ramp in which they do.
    waiting: VecDeque<usize>,
    ramp_per_s: u64,
    ramp_started_ns: u64,
    ramp_done: u64,
    sweeps: Schedule,
    /// The round of those whose media comes in datagrams, if anybody plays that.
    datagram_sweeps: Option<Schedule>,
    ready: Vec<u64>,
    /// Players that play, and those that are about to, of each part.
    playing: Vec<usize>,
    joining: usize,
    /// The slot that was replaced last.
    replaced: usize,
    orders_done: u64,
}

impl Worker {
    pub(super) fn new(plan: Arc<CrowdPlan>, seat: Seat, routes: Routes) -> Result<Self> {
        let parts = plan.parts.len();
        let has_datagrams = plan.parts.iter().any(|part| part.url.scheme == Scheme::Srt);
        let now_ns = monotonic_ns();
        let scene = Scene {
            poll: Poll::new()?,
            buffer: vec![0; READ_BYTES],
            routes,
            tallies: vec![Tally::default(); parts],
            part: 0,
        };
        Ok(Self {
            cast: Cast::new(&plan.parts, plan.streams, plan.skew, plan.sampling),
            deal: Deal::new(parts, seat.threads),
            plan,
            seat,
            dealt: 0,
            scene,
            slots: Vec::new(),
            waiting: VecDeque::new(),
            ramp_per_s: 1,
            ramp_started_ns: 0,
            ramp_done: 0,
            sweeps: Schedule::every(SWEEP_NS, now_ns),
            datagram_sweeps: has_datagrams.then(|| Schedule::every(DATAGRAM_SWEEP_NS, now_ns)),
            ready: Vec::new(),
            playing: vec![0; parts],
            joining: 0,
            replaced: 0,
            orders_done: 0,
        })
    }

    /// Works until nobody can give orders any more.
    ///
    /// # Errors
    /// If this process cannot go on; the loss of a player is counted instead.
    pub(super) fn work(mut self, orders: &Receiver<Order>, gauge: &Gauge) -> Result<()> {
        loop {
            match orders.try_recv() {
                Ok(order) => self.follow(order),
                Err(TryRecvError::Empty) => self.turn()?,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            let playing = self.playing.iter().sum();
            gauge.set(playing, self.joining, self.waiting.len(), self.orders_done);
        }
    }

    fn follow(&mut self, order: Order) {
        self.orders_done += 1;
        match order {
            Order::Resize { players, ramp_per_s, started_ns } => {
                self.ramp_per_s = ramp_per_s.max(1);
                self.ramp_started_ns = started_ns;
                self.ramp_done = 0;
                self.resize(players);
            }
            Order::Leave => self.resize(0),
            Order::Replace { players } => self.replace(players),
            // Whoever asked may have given up.
            Order::Tell(sender) => drop(sender.send(self.census())),
        }
    }

    fn resize(&mut self, players: usize) {
        let rate = self.cast.rate(players);
        while self.dealt < players {
            let role = self.cast.next(rate);
            if self.deal.next(role) == self.seat.index {
                self.slots.push(Slot { number: self.dealt, role, player: None });
            }
            self.dealt += 1;
        }
        let ours = self.slots.partition_point(|slot| slot.number < players);
        for index in ours..self.slots.len() {
            self.dismiss(index);
        }
        let ours = self.slots[..ours].iter().enumerate();
        self.waiting = ours.filter(|(_, slot)| slot.player.is_none()).map(|(at, _)| at).collect();
    }

    /// The player leaves, if there is one.
    fn dismiss(&mut self, index: usize) -> bool {
        let Slot { role, player, .. } = &mut self.slots[index];
        let Some(player) = player.take() else { return false };
        match player.is_playing() {
            true => self.playing[role.part] -= 1,
            false => self.joining -= 1,
        }
        true
    }

    fn replace(&mut self, players: usize) {
        // Those that have not come yet are not asked to leave.
        let most = players.min(self.slots.len());
        for _ in 0..most {
            self.replaced = (self.replaced + 1) % self.slots.len();
            if self.dismiss(self.replaced) {
                self.waiting.push_back(self.replaced);
            }
        }
        self.ramp_started_ns = 0;
    }

    fn census(&mut self) -> Census {
        let parts = self.scene.tallies.len();
        let tallies = std::mem::replace(&mut self.scene.tallies, vec![Tally::default(); parts]);
        let mut sampled = vec![0; parts];
        for Slot { role, player, .. } in &self.slots {
            let looks = role.sampled && player.as_ref().is_some_and(Player::is_playing);
            sampled[role.part] += usize::from(looks);
        }
        let mut sweep_late = self.sweeps.take_late();
        if let Some(sweeps) = &mut self.datagram_sweeps {
            sweep_late.add(&sweeps.take_late());
        }
        Census {
            tallies,
            playing: self.playing.clone(),
            sampled,
            cpu_ns: thread_cpu_ns(),
            sweep_late,
        }
    }

    /// Waits for something to do, and does it.
    fn turn(&mut self) -> Result<()> {
        let connect_ns = self.connect_due()?;
        let datagrams_ns = self.datagram_sweeps.as_ref().map_or(u64::MAX, Schedule::due_ns);
        self.attend(self.sweeps.due_ns().min(datagrams_ns).min(connect_ns))?;
        if let Some(slice) = self.sweeps.begin(monotonic_ns()) {
            self.sweep(slice, Player::sweep)?;
            self.sweeps.end(monotonic_ns());
        }
        let Some(sweeps) = &mut self.datagram_sweeps else { return Ok(()) };
        if let Some(slice) = sweeps.begin(monotonic_ns()) {
            self.sweep(slice, Player::sweep_datagrams)?;
            self.datagram_sweeps.iter_mut().for_each(|sweeps| sweeps.end(monotonic_ns()));
        }
        Ok(())
    }

    /// Lets those work whose sockets become ready until then.
    fn attend(&mut self, until_ns: u64) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.scene.poll.wait(until_ns, &mut ready)?;
        for token in &ready {
            self.with_player(*token as usize, Player::receive);
        }
        self.ready = ready;
        Ok(())
    }

    fn sweep(
        &mut self,
        slice: Slice,
        act: impl Fn(&mut Player, u64, &mut Scene) -> Result<(), Loss>,
    ) -> Result<()> {
        let (mut at, end) = slice.of(self.slots.len());
        while at < end {
            let batch_end = end.min(at + SWEEP_BATCH);
            let now_ns = monotonic_ns();
            for index in at..batch_end {
                self.with_player(index, |player, scene| act(player, now_ns, scene));
            }
            at = batch_end;
            if at < end {
                self.attend(0)?;
            }
        }
        Ok(())
    }

    /// Starts players whose time has come; tells when the next one's comes.
    fn connect_due(&mut self) -> Result<u64> {
        let Seat { index, threads } = self.seat;
        for _ in 0..CONNECT_BATCH {
            let Some(slot) = self.waiting.front().copied() else { return Ok(u64::MAX) };
            let number = self.ramp_done * threads as u64 + index as u64;
            let due_ns = self.ramp_started_ns + number * 1_000_000_000 / self.ramp_per_s;
            if due_ns > monotonic_ns() {
                return Ok(due_ns);
            }
            self.waiting.pop_front();
            self.ramp_done += 1;
            self.connect(slot)?;
        }
        Ok(0)
    }

    fn connect(&mut self, slot: usize) -> Result<()> {
        let Role { part, stream, sampled } = self.slots[slot].role;
        self.scene.part = part;
        let CrowdPlan { parts, streams, .. } = &*self.plan;
        let url = parts[part].url.nth(stream, *streams);
        match self.open(&url, slot as u64, sampled) {
            Ok(player) => self.slots[slot].player = Some(player),
            Err(error) if is_of_the_server(&error) => {
                Loss::from(error).count(self.scene.tally());
                return Ok(());
            }
            Err(error) => {
                let addr = self.scene.routes.home(part).addr;
                return Err(error).with_context(|| format!("cannot connect to {addr}"));
            }
        }
        self.joining += 1;
        Ok(())
    }

    /// Starts to connect a player of the scene's part.
    fn open(&mut self, url: &StreamUrl, token: u64, sampled: bool) -> io::Result<Player> {
        let CrowdPlan { parts, holds, .. } = &*self.plan;
        let Scene { routes, poll, part, .. } = &mut self.scene;
        let pace = parts[*part].pace;
        let route = routes.home(*part);
        if let Some(target) = &url.srt {
            let open = |route: &Route| Endpoint::open(route, target, token, poll);
            let endpoint = from_any_source(route, open)?;
            return Ok(Player::Datagrams(Box::new(DatagramPlayer::new(endpoint, sampled))));
        }
        let connection = dial(route, token, poll)?;
        Ok(match url.scheme {
            Scheme::Hls => {
                let eyes = Eyesight { sampled, holds: *holds };
                Player::Segments(Box::new(SegmentPlayer::new(connection, url, pace, eyes)))
            }
            _ => Player::Stream(StreamPlayer::new(connection, url, pace, sampled)),
        })
    }

    /// Lets `act` work on a player, and drops it if it is lost.
    fn with_player(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Player, &mut Scene) -> Result<(), Loss>,
    ) {
        let Some(Slot { role, player, .. }) = self.slots.get_mut(index) else { return };
        let Some(playing) = player.as_mut() else { return };
        let was_playing = playing.is_playing();
        self.scene.part = role.part;
        let acted = act(playing, &mut self.scene);
        if playing.is_playing() && !was_playing {
            self.joining -= 1;
            self.playing[role.part] += 1;
        }
        if let Err(loss) = acted {
            self.dismiss(index);
            loss.count(self.scene.tally());
        }
    }
}

/// Whether a connection failed for what the server or the way to it did.
fn is_of_the_server(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | TimedOut
    )
}

impl Player {
    const fn is_playing(&self) -> bool {
        match self {
            Self::Stream(player) => player.playing,
            Self::Segments(player) => player.playing,
            Self::Datagrams(player) => player.playing,
        }
    }

    fn receive(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        match self {
            Self::Stream(player) => player.receive(scene),
            Self::Segments(player) => player.receive(scene),
            Self::Datagrams(player) => player.receive(scene),
        }
    }

    fn sweep(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        match self {
            Self::Stream(player) => player.sweep(now_ns, scene),
            Self::Segments(player) => player.sweep(now_ns, scene),
            Self::Datagrams(_) => Ok(()),
        }
    }

    fn sweep_datagrams(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        match self {
            Self::Datagrams(player) => player.sweep(now_ns, scene),
            Self::Stream(_) | Self::Segments(_) => Ok(()),
        }
    }
}
