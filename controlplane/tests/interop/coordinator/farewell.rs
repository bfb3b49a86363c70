//! The way down with everybody there: who is new is refused, who is there is served until the
//! time is over, the application hears the end, and the process ends well.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::application::Application;
use super::stage::{node_with, url};
use crate::clip::Clip;
use crate::http_flv::{Answer, get};
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Server};

/// Everything that is waited for comes within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// About a second of the clip.
const FRESH_BYTES: u64 = 80_000;
/// From the signal to the end, without a phase in which everybody is served as ever.
const TIMES: [(&str, &str); 3] = [
    ("GRANDSTAND_SESSION__REFUSE_MS", "0"),
    ("GRANDSTAND_SESSION__DRAIN_MS", "8000"),
    ("GRANDSTAND_SESSION__DRAIN_SERVE", "true"),
];

#[test]
fn viewers_are_served_until_the_time_is_over_on_io_uring() {
    viewers_are_served_until_the_time_is_over(Backend::IoUring);
}

#[test]
fn viewers_are_served_until_the_time_is_over_on_epoll() {
    viewers_are_served_until_the_time_is_over(Backend::Epoll);
}

fn viewers_are_served_until_the_time_is_over(backend: Backend) {
    let application = Application::start(7..=8);
    let mut server = node_with(backend, &application, Folder::new(), &TIMES);
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &url(&server, "cam7", "right-7"));
    let event = application.wait_available("cam7");
    let (_, id) = event.event();
    let index = format!("/{}", event.header("x-index-file"));
    assert_eq!(get(server.http, &index, "").0, 200);
    let player = Player::start(&server);
    until(|| player.bytes() > FRESH_BYTES, "it plays");

    server.terminate();
    until(|| get(server.control, "/readyz", "").0 == 503, "not ready any more");
    until(|| get(server.http, "/cam7.flv?key=right-7", "").0 == 503, "a new player is refused");
    assert_eq!(get(server.control, "/healthz", "").0, 200, "the process is there");
    let another = url(&server, "cam8", "right-8");
    let mut newcomer = Publisher::ffmpeg_endless(Clip::Small, &another);
    let before = player.bytes();
    until(|| player.bytes() > before + FRESH_BYTES, "who was there is served on");
    newcomer.is_refused();
    player.ends();
    publisher.ends();
    application.wait_closed(id);
    let folder = server.ended(PATIENCE);

    // All of that was written, too: the next start has nothing to tell.
    let told = application.told().len();
    node_with(backend, &application, folder, &[]).stop();
    assert_eq!(application.told().len(), told);
}

/// A player on a thread of its own, which reads whatever comes at once.
struct Player {
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Player {
    fn start(server: &Server) -> Self {
        let mut answer = Answer::request(server.http, "/cam7.flv?key=right-7", "");
        assert_eq!(answer.status, 200);
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                let read = answer.body.read(&mut buffer).expect("its end is orderly");
                counted.fetch_add(read as u64, Ordering::Relaxed);
                if read == 0 {
                    return;
                }
            }
        });
        Self { bytes, thread }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until the server has ended it, as its protocol does.
    fn ends(self) {
        self.thread.join().expect("its end is orderly");
    }
}

fn until(mut is: impl FnMut() -> bool, what: &str) {
    let late = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < late, "never: {what}");
        // Asked again when others had the processor for a moment.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
