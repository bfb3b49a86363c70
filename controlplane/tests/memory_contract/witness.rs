//! A stream that goes on beside everything, and a player of it that must get every frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::node::{FlvPlayer, Player, Publisher, RtmpPlayer, assert_contiguous};
use crate::server::Server;

/// From one frame to the next: about fifty in a second.
const PACE: Duration = Duration::from_millis(18);

/// The publisher and its well-behaved players.
pub(crate) struct Witness {
    frames: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Witness {
    /// Publishes `name`, and plays it in two formats.
    pub(crate) fn start(server: &Server, name: &str) -> Self {
        let mut publisher = Publisher::start(server.rtmp, name);
        publisher.video_bytes = 4_000;
        publisher.send_frames(1);
        let mut rtmp = RtmpPlayer::start(server.rtmp, name);
        let mut flv = FlvPlayer::start(server.http, name);
        let frames = Arc::new(AtomicU32::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (count, ends) = (Arc::clone(&frames), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let newest = publisher.send_frames(1) - 1;
                let players: [&mut dyn Player; 2] = [&mut rtmp, &mut flv];
                for player in players {
                    let items = player.items_to_video(newest);
                    assert_contiguous(&items);
                    let of_video = items.iter().filter_map(|item| item.video());
                    let first = of_video.map(|frame| frame.number).min();
                    assert!(newest < 2 || first == Some(newest), "a frame before it was lost");
                }
                count.fetch_add(1, Ordering::Relaxed);
                // The pace of an encoder.
                std::thread::park_timeout(PACE);
            }
        });
        Self { frames, over, thread }
    }

    /// Waits until so many more frames were seen by every player.
    pub(crate) fn wait(&self, frames: u32) {
        let until = self.frames.load(Ordering::Relaxed) + frames;
        while self.frames.load(Ordering::Relaxed) < until {
            assert!(!self.thread.is_finished(), "the witness lost a frame");
            std::thread::park_timeout(PACE);
        }
    }

    /// Ends the stream; every frame was there.
    pub(crate) fn end(self) -> u32 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the witness lost no frame");
        self.frames.load(Ordering::Relaxed)
    }
}
