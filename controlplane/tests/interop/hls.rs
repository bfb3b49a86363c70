//! HLS: a client that follows a list segment by segment, and what other readers make of it.

use std::time::{Duration, Instant};

use crate::http_flv::{Endpoint, get};

/// A list comes, and grows, within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a list.
const PAUSE: Duration = Duration::from_millis(100);

/// A media playlist.
#[derive(Debug, Default)]
struct List {
    target: f64,
    sequence: u64,
    /// URI and duration of each segment.
    segments: Vec<(String, f64)>,
    breaks: usize,
    ended: bool,
}

impl List {
    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        let mut duration = None;
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-TARGETDURATION" => list.target = value.parse().expect("a number"),
                "#EXT-X-MEDIA-SEQUENCE" => list.sequence = value.parse().expect("a number"),
                "#EXT-X-DISCONTINUITY" => list.breaks += 1,
                "#EXT-X-ENDLIST" => list.ended = true,
                "#EXTINF" => {
                    let seconds = value.split(',').next().unwrap_or_default();
                    duration = Some(seconds.parse().expect("a number"));
                }
                uri if !uri.is_empty() && !uri.starts_with('#') => {
                    let duration = duration.take().expect("a duration before each segment");
                    list.segments.push((line.to_owned(), duration));
                }
                _ => {}
            }
        }
        list
    }
}

/// The first line of a list that names a resource.
fn child(text: &str) -> &str {
    text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).expect("a child")
}

/// The multivariant playlist, once the stream has one.
pub(crate) fn wait_for_list(web: &Endpoint, name: &str) -> String {
    wait_for_signed_list(web, name, "")
}

/// The list, asked for with a query that opens it.
pub(crate) fn wait_for_signed_list(web: &Endpoint, name: &str, query: &str) -> String {
    let late = Instant::now() + PATIENCE;
    let sign = if query.is_empty() { "" } else { "?" };
    loop {
        let (status, body) = get(web, &format!("/{name}/index.m3u8{sign}{query}"), "");
        if status == 200 {
            return String::from_utf8(body).expect("a list is text");
        }
        assert!(matches!(status, 404 | 503), "{status}");
        assert!(Instant::now() < late, "no list of {name} came");
        std::thread::park_timeout(PAUSE);
    }
}

/// All segments from the first to the end of the stream, joined.
pub(crate) fn follow(web: &Endpoint, name: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    let media = format!("/{name}/{}", child(&wait_for_list(web, name)));
    let mut joined = Vec::new();
    let mut next = None;
    let mut late = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(web, &media, "");
        assert_eq!(status, 200, "{media}");
        let list = List::parse(&String::from_utf8(body).expect("a list is text"));
        assert_eq!(list.breaks, 0, "one publication is one piece");
        let next = next.get_or_insert(list.sequence);
        assert!(list.sequence <= *next, "a segment left the list before it could be read");
        let known = usize::try_from(*next - list.sequence).expect("a short list");
        for (uri, duration) in list.segments.iter().skip(known) {
            assert!(duration.round() <= list.target, "{duration} s of at most {}", list.target);
            let (status, segment) = get(web, &format!("/{name}/{uri}"), "");
            assert_eq!(status, 200, "{uri}");
            joined.extend_from_slice(&segment);
            *next += 1;
            late = Instant::now() + PATIENCE;
            begun();
        }
        if list.ended {
            return joined;
        }
        assert!(Instant::now() < late, "the list grows no more: {list:?}");
        std::thread::park_timeout(PAUSE);
    }
}
