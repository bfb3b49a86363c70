//! A viewer of HLS on one connection: asks for the playlist again and again, and for every new
//! segment once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::Connection;

/// Between two requests for the playlist.
const RELOAD: Duration = Duration::from_millis(300);
/// Something new comes within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A viewer on a thread of its own.
pub(crate) struct Viewer {
    seen: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Viewer {
    /// Begins to view.
    pub(crate) fn start(http: SocketAddr, name: &str) -> Self {
        let (seen, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let list = format!("/{name}/index.m3u8");
        let (count, end) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut list = list;
            // One shard let it in, and goes on to.
            let mut connection = Connection::connect(http);
            let mut have: Option<String> = None;
            while !end.load(Ordering::Relaxed) {
                let answer = connection.get(&list);
                assert_eq!(answer.status, 200, "{list}");
                let text = answer.text().to_owned();
                let uris: Vec<String> = text
                    .lines()
                    .filter(|line| !line.starts_with('#') && !line.is_empty())
                    .map(|line| resolve(&list, line))
                    .collect();
                if text.contains("#EXT-X-STREAM-INF") {
                    list = uris[0].clone();
                    continue;
                }
                let known = have.as_ref().and_then(|have| uris.iter().position(|u| u == have));
                if have.is_some() {
                    assert!(known.is_some(), "a segment was never listed: {text}");
                }
                for uri in &uris[known.map_or(0, |at| at + 1)..] {
                    let answer = connection.get(uri);
                    assert!(
                        answer.status == 200 && answer.body.len() > 188,
                        "{uri}: {}",
                        answer.status
                    );
                    have = Some(uri.clone());
                    count.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::park_timeout(RELOAD);
            }
        });
        Self { seen, over, thread }
    }

    /// Segments until now.
    pub(crate) fn segments(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Waits until there were so many.
    pub(crate) fn wait(&self, segments: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.segments() < segments {
            assert!(!self.thread.is_finished(), "the viewer failed");
            assert!(Instant::now() < deadline, "{} segments, not {segments}", self.segments());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends it; everything that it asked for was given.
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the viewer got everything that was listed");
    }
}

/// The path of `uri` in the playlist at `list`.
fn resolve(list: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let path = list.split('?').next().unwrap_or(list);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{uri}")
}
