//! A stream that goes on beside everything at its own pace, and players of it that must get every
//! frame.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::node::{FRAME_MS, FlvPlayer, Player, Publisher, RtmpPlayer};
use crate::server::Server;

/// The stream.
pub(crate) const NAME: &str = "witness";
/// From one frame to the next, as their time stamps say.
const PACE: Duration = Duration::from_millis(FRAME_MS as u64);
/// A player to which nothing comes for this long has stalled.
const STALL: Duration = Duration::from_secs(5);

/// The publisher and its well-behaved players: nobody of them waits for another.
pub(crate) struct Witness {
    /// The publisher ends when this goes.
    goes_on: Sender<()>,
    publisher: JoinHandle<()>,
    players: [Seen; 2],
}

/// What a player tells of what it sees.
struct Seen {
    numbers: Receiver<u32>,
    newest: Cell<u32>,
    thread: JoinHandle<u32>,
}

impl Witness {
    /// The publisher's and its players' connections.
    pub(crate) const CONNECTIONS: usize = 3;

    /// Publishes, and plays in two formats.
    pub(crate) fn start(server: &Server) -> Self {
        let mut publisher = Publisher::start(server.rtmp, NAME);
        publisher.video_bytes = 4_000;
        publisher.send_frames(1);
        let rtmp = RtmpPlayer::start(server.rtmp, NAME);
        let flv = FlvPlayer::start(server.http, NAME);
        for socket in [&rtmp.peer.socket, &flv.socket] {
            socket.set_read_timeout(Some(STALL)).expect("a timeout above zero is legal");
        }
        let last = Arc::new(AtomicU32::new(u32::MAX));
        let players = [Seen::by(rtmp, Arc::clone(&last)), Seen::by(flv, Arc::clone(&last))];
        let (goes_on, end) = channel();
        let publisher = spawn(move || publish(&mut publisher, &end, &last));
        Self { goes_on, publisher, players }
    }

    /// Waits until so many more frames were seen by every player.
    pub(crate) fn wait(&self, frames: u32) {
        let newest = self.players.iter().map(Seen::newest).max();
        let until = newest.unwrap_or(0) + frames;
        self.players.iter().for_each(|player| player.wait(until));
    }

    /// Ends the stream; every player saw every frame, and the server let none of them jump.
    pub(crate) fn end(self, server: &Server) -> u32 {
        let listed = server.api("/api/v1/sessions?role=play");
        let sessions = listed["sessions"].as_array().expect("sessions are listed");
        // A viewer of segments may be there, too, and has no place in the stream to jump from.
        let players = sessions.iter().filter(|session| session["protocol"] != "hls");
        let jumps: Vec<_> = players.map(|player| player["jumps"].as_u64()).collect();
        assert_eq!(jumps, [Some(0); 2], "no player was ever behind: {listed:#}");
        drop(self.goes_on);
        self.publisher.join().expect("the server took every frame");
        let players = self.players.into_iter().map(|player| player.thread);
        players.map(|player| player.join().expect("no frame was lost")).min().unwrap_or(0)
    }
}

/// Delivers a frame each [`PACE`] of the stream's time, whoever reads it, until the test is over.
fn publish(publisher: &mut Publisher, end: &Receiver<()>, last: &AtomicU32) {
    let mut due = Instant::now();
    loop {
        due += PACE;
        let rest = due.saturating_duration_since(Instant::now());
        if end.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
            last.store(publisher.next_number(), Ordering::SeqCst);
            publisher.send_frames(1);
            return;
        }
        publisher.send_frames(1);
    }
}

impl Seen {
    fn by(mut player: impl Player + Send + 'static, last: Arc<AtomicU32>) -> Self {
        let (tells, numbers) = channel();
        let thread = spawn(move || see(&mut player, &tells, &last));
        Self { numbers, newest: Cell::new(0), thread }
    }

    /// The newest frame that came until now.
    fn newest(&self) -> u32 {
        self.numbers.try_iter().for_each(|number| self.newest.set(number));
        self.newest.get()
    }

    fn wait(&self, until: u32) {
        while self.newest.get() < until {
            self.newest.set(self.numbers.recv().expect("the witness lost a frame"));
        }
    }
}

/// Reads to the last frame: each number of each medium comes, once and in order. Tells how many.
fn see(player: &mut impl Player, tells: &Sender<u32>, last: &AtomicU32) -> u32 {
    let (mut video, mut audio) = (0, 0);
    loop {
        let item = player.item();
        let (next, frame) = match (item.video(), item.audio()) {
            (Some(frame), _) => (&mut video, frame),
            (None, Some(frame)) => (&mut audio, frame),
            (None, None) => continue,
        };
        assert_eq!(frame.number, *next, "no frame is lost or doubled");
        *next += 1;
        if item.audio().is_some() {
            continue;
        }
        // Nobody may listen at the end.
        let _ = tells.send(frame.number);
        if frame.number == last.load(Ordering::SeqCst) {
            return video;
        }
    }
}
