//! One player on one keep-alive connection, sans-IO: bytes in, bytes out, what came of them.
//!
//! Spec: RFC 8216 6.3.1 to 6.3.5.
//!
//! Shape: multivariant playlist -> media playlist -> its last three segments -> wait, reload, each
//! new segment once -> wait -> ... A playlist is reloaded a target duration after the last load
//! began, half of one if it had not changed. There is one request at a time.
//!
//! A server that is busy (503) before it gave a media playlist has refused this player. Later it
//! asks for patience: the same is asked for again once its `Retry-After` has passed (RFC 9110
//! 10.2.3).
//!
//! A connection is left when its server ends it between two answers, when an answer says that it
//! will, or when the next thing is elsewhere: then [`Client::leads_to`] tells where the next one
//! goes, which begins with [`Client::renew`]. What was asked on a connection that had answered
//! before and ended without a word is asked again (RFC 9112 9.3.1).
//!
//! Limits: [`PLAYLIST_BYTES_MAX`] of a playlist, [`REDIRECTS_MAX`] redirects in a row; segments are
//! passed on and not kept.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};

use super::playlist::{MediaPlaylist, Playlist, Segment};
use crate::http_body::Body;
use crate::http_flv::put_request;
use crate::http_head::{Head, HeadReader, REDIRECTS_MAX};
use crate::stream_url::StreamUrl;

/// Bytes of a playlist.
pub const PLAYLIST_BYTES_MAX: usize = 1 << 20;

/// A player begins so many segments before the end of the list.
const SEGMENTS_AT_START: usize = 3;

const SECOND_NS: u64 = 1_000_000_000;

/// How often in a row a server may ask for patience before it has refused.
const RETRIES_MAX: u32 = 15;

/// Patience without a `Retry-After` in seconds, and the most that anybody has.
const RETRY_AFTER_DEFAULT_S: u64 = 1;
const RETRY_AFTER_MAX_S: u64 = 60;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    /// A playlist.
    Playlist,
    /// A segment of so many seconds.
    Segment {
        /// How long it lasts.
        duration_s: f64,
    },
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Told<'a> {
    /// A piece of a segment.
    Body(&'a [u8]),
    /// What was asked for at `asked_ns` has come whole.
    Whole {
        /// What it is.
        asked: Asked,
        /// When it was asked for.
        asked_ns: u64,
    },
    /// Segments that left the list before they were asked for, or are gone.
    Missed(u64),
    /// The server said no, or the stream is over; its own words.
    Refused(String),
}

/// What the end of a connection means.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// An answer is missing: the player is lost.
    Lost,
    /// The player goes on without it. What came whole by the end, if anything did.
    Left(Option<Told<'static>>),
}

/// What the head of a response says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is what was asked for.
    Given,
    /// It says that there is no such segment any more.
    Gone,
    /// It says that the server is busy: ask again after so long.
    Busy { retry_ns: u64 },
}

#[derive(Debug)]
enum Phase {
    /// The next segment that is queued, else a playlist, is asked for at this time.
    Wait {
        until_ns: u64,
    },
    /// Nothing is asked for any more.
    Hold,
    Head {
        asked: Asked,
        asked_ns: u64,
        reader: HeadReader,
    },
    Body {
        asked: Asked,
        asked_ns: u64,
        body: Body,
        text: Vec<u8>,
        outcome: Outcome,
    },
}

/// One player.
#[derive(Debug)]
pub struct Client {
    /// The playlist that is asked for next.
    playlist: StreamUrl,
    /// What was asked for last: the connection goes to its server unless it is to be left.
    asks: StreamUrl,
    /// The connection is not to be used for the next request.
    leaves: bool,
    /// It has answered before.
    has_answered: bool,
    redirects: u32,
    phase: Phase,
    /// Segments to ask for; the first one stays until it has come or is gone.
    queue: VecDeque<Segment>,
    /// The number of the segment that comes after those of the queue; `None` before any list.
    next_sequence: Option<u64>,
    /// When the playlist is to be loaded again.
    reload_ns: u64,
    /// What to tell before anything else.
    missed: u64,
    retries: u32,
    /// A media playlist has come.
    has_playlist: bool,
    /// Ask for one playlist, then nothing.
    holds: bool,
}

impl Client {
    /// Starts; the request is in `out`. One that `holds` asks for one playlist and stays.
    #[must_use]
    pub fn new(url: &StreamUrl, holds: bool, now_ns: u64, out: &mut Vec<u8>) -> Self {
        let mut client = Self {
            playlist: url.clone(),
            asks: url.clone(),
            leaves: false,
            has_answered: false,
            redirects: 0,
            phase: Phase::Hold,
            queue: VecDeque::new(),
            next_sequence: None,
            reload_ns: 0,
            missed: 0,
            retries: 0,
            has_playlist: false,
            holds,
        };
        client.ask(Asked::Playlist, url.clone(), now_ns, out);
        client
    }

    /// Where to connect anew, if what is asked for next is not asked on this connection.
    #[must_use]
    pub fn leads_to(&self) -> Option<&StreamUrl> {
        (self.leaves && matches!(self.phase, Phase::Head { .. })).then_some(&self.asks)
    }

    /// A new connection has been opened; the request is in `out`.
    pub fn renew(&mut self, out: &mut Vec<u8>) {
        (self.leaves, self.has_answered) = (false, false);
        if self.is_asking() {
            put_request(&self.asks.request_target(), &self.asks.authority, &[], out);
        }
    }

    /// The server has ended the connection; tells what that means.
    ///
    /// # Errors
    /// If what has come whole by it makes no sense.
    pub fn end(&mut self, now_ns: u64, out: &mut Vec<u8>) -> Result<End> {
        match &mut self.phase {
            // Its connection is what it is there for.
            _ if self.holds => return Ok(End::Lost),
            Phase::Wait { .. } => {}
            Phase::Head { reader, .. } if reader.is_empty() && self.has_answered => {}
            Phase::Body { body, .. } if body.is_open() => {
                *body = Body::default();
                self.leaves = true;
                return Ok(End::Left(self.end_body(now_ns, out)?));
            }
            _ => return Ok(End::Lost),
        }
        self.leaves = true;
        Ok(End::Left(None))
    }

    /// Asks for what is next if its time has come.
    ///
    /// # Errors
    /// If a segment's name cannot be followed.
    pub fn poll(&mut self, now_ns: u64, out: &mut Vec<u8>) -> Result<()> {
        match self.phase {
            Phase::Wait { until_ns } if until_ns <= now_ns && self.queue.is_empty() => {
                self.ask(Asked::Playlist, self.playlist.clone(), now_ns, out);
            }
            Phase::Wait { until_ns } if until_ns <= now_ns => {
                self.go_on(self.reload_ns, now_ns, out)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes of a segment that are still to come, if one is coming and they are told beforehand.
    #[must_use]
    pub const fn segment_left(&self) -> Option<u64> {
        match self.phase {
            Phase::Body { asked: Asked::Segment { .. }, body, .. } => body.left(),
            _ => None,
        }
    }

    /// True while an answer is due.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Head { .. } | Phase::Body { .. })
    }

    /// Takes bytes of the server; tells how many, and the first thing that came of them. Without
    /// one all were taken. The next request is appended to `out`.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(
        &mut self,
        input: &'a [u8],
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Told<'a>>)> {
        if self.missed > 0 {
            return Ok((0, Some(Told::Missed(std::mem::take(&mut self.missed)))));
        }
        match &mut self.phase {
            Phase::Wait { .. } | Phase::Hold => {
                ensure!(input.is_empty(), "the server answers what nobody asked");
                Ok((0, None))
            }
            // What an answer that was left still brings is for nobody.
            Phase::Head { .. } if self.leaves => Ok((input.len(), None)),
            Phase::Head { asked, asked_ns, reader } => {
                let (taken, head) = reader.feed(input)?;
                let Some(head) = head else { return Ok((taken, None)) };
                let (asked, asked_ns) = (*asked, *asked_ns);
                self.has_answered = true;
                Ok((taken, self.head(&head, asked, asked_ns, now_ns, out)?))
            }
            Phase::Body { asked, body, text, outcome, .. } => {
                let data = body.data(input)?;
                let (bytes, taken) = (&input[data.clone()], data.end);
                body.take(bytes.len() as u64)?;
                match (asked, *outcome) {
                    (Asked::Segment { .. }, Outcome::Given) if !bytes.is_empty() => {
                        return Ok((taken, Some(Told::Body(bytes))));
                    }
                    (Asked::Playlist, Outcome::Given) => {
                        let len = text.len() + bytes.len();
                        ensure!(len <= PLAYLIST_BYTES_MAX, "a playlist of {len} bytes");
                        text.extend_from_slice(bytes);
                    }
                    // The words of a refusal are no media.
                    _ => {}
                }
                Ok((taken, self.end_body(now_ns, out)?))
            }
        }
    }

    /// Bytes of a segment were thrown away; tells if it has come whole.
    ///
    /// # Errors
    /// If there are more than the segment has.
    pub fn discarded(
        &mut self,
        bytes: u64,
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Told<'static>>> {
        let Phase::Body { body, .. } = &mut self.phase else { return Ok(None) };
        body.take(bytes)?;
        self.end_body(now_ns, out)
    }

    /// Asks for it, unless another connection has to be opened before.
    fn ask(&mut self, asked: Asked, url: StreamUrl, now_ns: u64, out: &mut Vec<u8>) {
        self.leaves |= !url.is_beside(&self.asks);
        self.asks = url;
        if !self.leaves {
            put_request(&self.asks.request_target(), &self.asks.authority, &[], out);
        }
        self.phase = Phase::Head { asked, asked_ns: now_ns, reader: HeadReader::default() };
    }

    /// Asks for the next segment, or waits until `until_ns` for the playlist.
    fn go_on(&mut self, until_ns: u64, now_ns: u64, out: &mut Vec<u8>) -> Result<()> {
        let Some(Segment { uri, duration_s }) = self.queue.front() else {
            self.phase = Phase::Wait { until_ns };
            return Ok(());
        };
        let asked = Asked::Segment { duration_s: *duration_s };
        let url = self.playlist.join(uri)?;
        self.reload_ns = until_ns;
        self.ask(asked, url, now_ns, out);
        Ok(())
    }

    fn head(
        &mut self,
        head: &Head,
        asked: Asked,
        asked_ns: u64,
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Told<'static>>> {
        self.leaves |= head.closes;
        if let Some(location) = head.moved_to() {
            return self.follow(location, asked, asked_ns, out);
        }
        self.redirects = 0;
        let outcome = match (head.status, asked) {
            (200, _) => Outcome::Given,
            (404, Asked::Segment { .. }) => Outcome::Gone,
            (503, _) if self.has_playlist && self.retries < RETRIES_MAX => {
                Outcome::Busy { retry_ns: retry_after_ns(head) }
            }
            _ => return Ok(Some(Told::Refused(head.status_line.clone()))),
        };
        self.retries = if matches!(outcome, Outcome::Busy { .. }) { self.retries + 1 } else { 0 };
        let body = Body::of(head);
        self.leaves |= body.is_open();
        self.phase = Phase::Body { asked, asked_ns, body, text: Vec::new(), outcome };
        self.end_body(now_ns, out)
    }

    /// Asks for the same where it is said to be, on a connection without the rest of this answer.
    fn follow(
        &mut self,
        location: &str,
        asked: Asked,
        asked_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Told<'static>>> {
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            let reason = format!("led elsewhere more than {REDIRECTS_MAX} times");
            return Ok(Some(Told::Refused(reason)));
        }
        let url = self.asks.join(location)?;
        if asked == Asked::Playlist {
            self.playlist = url.clone();
        }
        self.leaves = true;
        self.ask(asked, url, asked_ns, out);
        Ok(None)
    }

    /// Acts on a body that has come whole.
    fn end_body(&mut self, now_ns: u64, out: &mut Vec<u8>) -> Result<Option<Told<'static>>> {
        if !matches!(&self.phase, Phase::Body { body, .. } if body.is_whole()) {
            return Ok(None);
        }
        let Phase::Body { asked, asked_ns, text, outcome, .. } =
            std::mem::replace(&mut self.phase, Phase::Hold)
        else {
            return Ok(None);
        };
        if let Outcome::Busy { retry_ns } = outcome {
            self.phase = Phase::Wait { until_ns: now_ns + retry_ns };
            return Ok(None);
        }
        match asked {
            Asked::Playlist => {
                let text = String::from_utf8(text).context("a playlist that is no text")?;
                if let Some(refusal) = self.playlist(&text, asked_ns, now_ns, out)? {
                    return Ok(Some(refusal));
                }
            }
            Asked::Segment { .. } => {
                self.queue.pop_front();
                self.go_on(self.reload_ns, now_ns, out)?;
                if outcome == Outcome::Gone {
                    return Ok(Some(Told::Missed(1)));
                }
            }
        }
        Ok(Some(Told::Whole { asked, asked_ns }))
    }

    fn playlist(
        &mut self,
        text: &str,
        asked_ns: u64,
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Told<'static>>> {
        let playlist = Playlist::parse(text)?;
        if self.holds {
            self.phase = Phase::Hold;
            return Ok(None);
        }
        let media = match playlist {
            Playlist::Multivariant(uri) => {
                self.playlist = self.playlist.join(&uri)?;
                self.ask(Asked::Playlist, self.playlist.clone(), now_ns, out);
                return Ok(None);
            }
            Playlist::Media(media) => media,
        };
        self.has_playlist = true;
        let target_ns = media.target_s.max(1).saturating_mul(SECOND_NS);
        let (is_over, has_new) = (media.is_over, self.take_new(media)?);
        if is_over && !has_new {
            return Ok(Some(Told::Refused("the playlist has ended".to_owned())));
        }
        let wait_ns = if has_new { target_ns } else { target_ns / 2 };
        self.go_on(asked_ns.saturating_add(wait_ns), now_ns, out)?;
        Ok(None)
    }

    /// Queues the segments that are new; tells if there are any.
    fn take_new(&mut self, media: MediaPlaylist) -> Result<bool> {
        let first = media.media_sequence;
        let end = first + media.segments.len() as u64;
        let next = self.next_sequence.unwrap_or_else(|| {
            first + media.segments.len().saturating_sub(SEGMENTS_AT_START) as u64
        });
        ensure!(end >= next, "the media sequence went back from {next} to {end}");
        self.missed += first.saturating_sub(next);
        let known = usize::try_from(next.saturating_sub(first)).context("a long playlist")?;
        let before = self.queue.len();
        self.queue.extend(media.segments.into_iter().skip(known));
        // A list that is still empty says nothing about where it will begin.
        self.next_sequence = (end > first).then_some(end).or(self.next_sequence);
        Ok(self.queue.len() > before)
    }
}

/// How long a busy server asks to wait; a date says no more than nothing.
fn retry_after_ns(head: &Head) -> u64 {
    let told = head.field("retry-after").and_then(|value| value.parse().ok());
    told.unwrap_or(RETRY_AFTER_DEFAULT_S).clamp(1, RETRY_AFTER_MAX_S) * SECOND_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    struct Player {
        client: Client,
        out: Vec<u8>,
        now_ns: u64,
    }

    impl Player {
        fn new(holds: bool) -> Self {
            let url = StreamUrl::parse("http://h:1/live/a/index.m3u8?key=1").unwrap();
            let mut out = Vec::new();
            let client = Client::new(&url, holds, 0, &mut out);
            Self { client, out, now_ns: 0 }
        }

        /// The target of the request that was made, if one was.
        fn asked(&mut self) -> Option<String> {
            self.client.poll(self.now_ns, &mut self.out).unwrap();
            let request = String::from_utf8(std::mem::take(&mut self.out)).unwrap();
            request.split(' ').nth(1).map(str::to_owned)
        }

        /// Answers; tells what came of it, without the pieces of bodies.
        fn answer(&mut self, status: u16, body: &str, step: usize) -> Result<Vec<Told<'static>>> {
            let length = body.len();
            let after = if status == 503 { "Retry-After: 2\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status} X\r\n{after}Content-Length: {length}\r\n\r\n");
            let mut all = Vec::new();
            for mut input in [head.as_bytes(), body.as_bytes()].concat().chunks(step) {
                loop {
                    let (taken, told) = self.client.feed(input, self.now_ns, &mut self.out)?;
                    input = &input[taken..];
                    match told {
                        None if input.is_empty() => break,
                        Some(Told::Body(_)) => assert_eq!(status, 200, "words are no media"),
                        None => {}
                        Some(Told::Whole { asked, asked_ns }) => {
                            all.push(Told::Whole { asked, asked_ns });
                        }
                        Some(Told::Missed(count)) => all.push(Told::Missed(count)),
                        Some(Told::Refused(reason)) => all.push(Told::Refused(reason)),
                    }
                }
            }
            Ok(all)
        }
    }

    fn media(first: u64, count: u64, over: bool) -> String {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:";
        let segments = (first..first + count).map(|n| format!("#EXTINF:2,\n{n}.ts\n"));
        let end = if over { "#EXT-X-ENDLIST\n" } else { "" };
        format!("{head}{first}\n{}{end}", segments.collect::<String>())
    }

    fn whole(asked: Asked, asked_ns: u64) -> Told<'static> {
        Told::Whole { asked, asked_ns }
    }

    const SEGMENT: Asked = Asked::Segment { duration_s: 2.0 };

    #[test]
    fn each_new_segment_is_asked_for_once_and_lists_in_their_time() {
        for step in [1, 3, 1000] {
            let mut player = Player::new(false);
            assert_eq!(player.asked().unwrap(), "/live/a/index.m3u8?key=1");
            let variants = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmedia.m3u8\n";
            assert_eq!(player.answer(200, variants, step).unwrap(), [whole(Asked::Playlist, 0)]);
            assert_eq!(player.asked().unwrap(), "/live/a/media.m3u8");
            player.now_ns = S;
            player.answer(200, &media(10, 5, false), step).unwrap();
            for (number, at) in [(12, 1), (13, 2), (14, 3)] {
                assert_eq!(player.asked().unwrap(), format!("/live/a/{number}.ts"));
                player.now_ns = (at + 1) * S;
                let told = player.answer(200, "segment", step).unwrap();
                assert_eq!(told, [whole(SEGMENT, at * S)]);
            }
            // A target duration after the list was asked for, at 0 s.
            player.now_ns = 4 * S - 1;
            assert_eq!(player.asked(), None);
            player.now_ns = 4 * S;
            assert_eq!(player.asked().unwrap(), "/live/a/media.m3u8");
            player.answer(200, &media(10, 5, false), step).unwrap();
            // Nothing was new: half of one.
            player.now_ns = 6 * S - 1;
            assert_eq!(player.asked(), None);
            player.now_ns = 6 * S;
            assert_eq!(player.asked().unwrap(), "/live/a/media.m3u8");
            let told = player.answer(200, &media(17, 1, true), step).unwrap();
            assert_eq!(told, [whole(Asked::Playlist, 6 * S), Told::Missed(2)]);
            assert_eq!(player.asked().unwrap(), "/live/a/17.ts");
            assert_eq!(player.answer(404, "gone", step).unwrap(), [Told::Missed(1)]);
            player.now_ns = 10 * S;
            assert_eq!(player.asked().unwrap(), "/live/a/media.m3u8");
            let told = player.answer(200, &media(17, 1, true), step).unwrap();
            assert_eq!(told, [Told::Refused("the playlist has ended".into())]);
        }
    }

    #[test]
    fn bytes_may_be_thrown_away() {
        let mut player = Player::new(false);
        player.answer(200, &media(0, 1, false), 1000).unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        let (taken, told) = player.client.feed(head, S, &mut player.out).unwrap();
        assert_eq!((taken, told), (head.len() - 3, None));
        let (_, told) = player.client.feed(b"abc", S, &mut player.out).unwrap();
        assert_eq!((told, player.client.segment_left()), (Some(Told::Body(b"abc")), Some(7)));
        assert_eq!(player.client.discarded(5, S, &mut player.out).unwrap(), None);
        let told = player.client.discarded(2, S, &mut player.out).unwrap();
        assert_eq!(told, Some(whole(SEGMENT, 0)));
        assert!(!player.client.is_asking());
    }

    #[test]
    fn patience_and_refusals() {
        let mut player = Player::new(false);
        player.asked();
        let told = player.answer(503, "full", 10).unwrap();
        assert_eq!(told[0], Told::Refused("HTTP/1.1 503 X".into()), "nothing was promised");
        let mut player = Player::new(false);
        player.asked();
        player.answer(200, &media(0, 1, false), 10).unwrap();
        // A segment, and then the playlist: the same again after two seconds.
        for target in ["/live/a/0.ts", "/live/a/index.m3u8?key=1"] {
            assert_eq!(player.asked().unwrap(), target);
            assert_eq!(player.answer(503, "soon", 10).unwrap(), []);
            player.now_ns += 2 * S - 1;
            assert_eq!(player.asked(), None);
            player.now_ns += 1;
            assert_eq!(player.asked().unwrap(), target);
            let told = player.answer(200, &media(0, 1, false), 1000).unwrap();
            assert!(matches!(told[..], [Told::Whole { .. }]), "{told:?}");
            player.now_ns += 4 * S;
        }
        player.asked();
        for _ in 0..RETRIES_MAX {
            assert_eq!(player.answer(503, "soon", 10).unwrap(), []);
            player.now_ns += 2 * S;
            assert!(player.asked().is_some());
        }
        let told = player.answer(503, "no", 100).unwrap();
        assert_eq!(told[0], Told::Refused("HTTP/1.1 503 X".into()), "patience ends");
        let mut player = Player::new(true);
        assert!(player.answer(200, &media(0, 4, false), 10).is_ok());
        player.out.clear();
        player.now_ns = 100 * S;
        assert_eq!(player.asked(), None, "it holds");
        assert!(player.answer(200, "", 10).is_err(), "nobody asked");
    }

    /// Gives bytes as they are; tells what came of them.
    fn give(player: &mut Player, bytes: &str) -> Result<Vec<String>> {
        let (mut input, mut all) = (bytes.as_bytes(), Vec::new());
        loop {
            let (taken, told) = player.client.feed(input, player.now_ns, &mut player.out)?;
            input = &input[taken..];
            match told {
                None if input.is_empty() => return Ok(all),
                None => {}
                Some(told) => all.push(format!("{told:?}")),
            }
        }
    }

    /// Opens the connection that is due; tells where to, and what is asked there.
    fn reopened(player: &mut Player) -> Option<(String, String)> {
        let url = player.client.leads_to()?.to_string();
        player.out.clear();
        player.client.renew(&mut player.out);
        assert!(player.client.leads_to().is_none());
        Some((url, player.asked()?))
    }

    const LIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:2,\n0.ts\n#EXTINF:2,\n1.ts\n";

    #[test]
    fn chunks_bring_lists_and_segments() {
        let mut player = Player::new(false);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (first, rest) = LIST.split_at(30);
        let list = format!("{chunked}1e\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
        assert_eq!(give(&mut player, &list).unwrap().len(), 1);
        player.out.clear();
        let told = give(&mut player, &format!("{chunked}3\r\nabc\r\n2\r\nde\r\n")).unwrap();
        assert_eq!((told.len(), player.client.segment_left()), (2, None), "{told:?}");
        assert!(give(&mut player, "0\r\n\r\n").unwrap()[0].starts_with("Whole"));
        let mut player = Player::new(false);
        let long = format!("{chunked}200000\r\n{}", "#".repeat(PLAYLIST_BYTES_MAX + 1));
        assert!(give(&mut player, &long).is_err(), "no chunk makes a list longer");
        for chunk in ["x\r\n", "1\nab", "11111111111111111\r\n"] {
            let mut player = Player::new(false);
            assert!(give(&mut player, &format!("{chunked}{chunk}")).is_err(), "{chunk}");
        }
    }

    #[test]
    fn connections_end_between_answers_and_nowhere_else() {
        let none = End::Left(None);
        let mut player = Player::new(false);
        let end = |player: &mut Player| {
            let Player { client, out, now_ns } = player;
            client.end(*now_ns, out).unwrap()
        };
        assert_eq!(end(&mut player), End::Lost, "it has never answered");
        player.asked();
        player.answer(200, LIST, 1000).unwrap();
        assert_eq!(player.asked().unwrap(), "/live/a/0.ts");
        // The request met the end of the connection: once more, and once only.
        assert_eq!(end(&mut player), none);
        let there = ("http://h:1/live/a/0.ts".to_owned(), "/live/a/0.ts".to_owned());
        assert_eq!(reopened(&mut player).unwrap(), there);
        assert_eq!(end(&mut player), End::Lost);
        player.answer(200, "segment", 3).unwrap();
        assert_eq!(player.asked().unwrap(), "/live/a/1.ts");
        give(&mut player, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").unwrap();
        assert_eq!(end(&mut player), End::Lost, "a part of an answer is none");
        let mut holder = Player::new(true);
        holder.answer(200, LIST, 1000).unwrap();
        assert_eq!(end(&mut holder), End::Lost, "its connection is what it is there for");
        give(&mut player, "de").unwrap();
        assert_eq!((end(&mut player), reopened(&mut player)), (none, None), "nothing is due");
        player.now_ns = 4 * S;
        assert_eq!(player.asked(), None, "not on that connection");
        assert_eq!(reopened(&mut player).unwrap().1, "/live/a/index.m3u8?key=1");
    }

    #[test]
    fn announced_ends_and_answers_without_a_length_are_followed() {
        let mut player = Player::new(false);
        player.asked();
        let (length, list) = (LIST.len(), LIST);
        let told = give(
            &mut player,
            &format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{list}"
            ),
        );
        assert_eq!(told.unwrap().len(), 1);
        assert_eq!(player.asked(), None, "the server said that it would not answer");
        assert_eq!(reopened(&mut player).unwrap().1, "/live/a/0.ts");
        give(&mut player, "HTTP/1.0 200 OK\r\n\r\nsegment").unwrap();
        assert!(player.client.leads_to().is_none());
        let Player { client, out, now_ns } = &mut player;
        let End::Left(Some(told)) = client.end(*now_ns, out).unwrap() else { panic!("whole") };
        assert!(matches!(told, Told::Whole { asked: Asked::Segment { .. }, .. }), "{told:?}");
        assert_eq!(reopened(&mut player).unwrap().1, "/live/a/1.ts");
    }

    #[test]
    fn redirects_and_links_lead_to_other_servers() {
        let mut player = Player::new(false);
        player.asked();
        let moved = |to: &str| format!("HTTP/1.1 302 X\r\nLocation: {to}\r\n\r\nwords of it");
        give(&mut player, &moved("http://i/b/list.m3u8?t=2")).unwrap();
        let (to, asked) = reopened(&mut player).unwrap();
        assert_eq!((&*to, &*asked), ("http://i/b/list.m3u8", "/b/list.m3u8?t=2"));
        let list = LIST.replace("1.ts", "http://j:9/1.ts");
        player.answer(200, &list, 1000).unwrap();
        assert_eq!(player.asked().unwrap(), "/b/0.ts");
        give(&mut player, &moved("/c/0.ts")).unwrap();
        assert_eq!(reopened(&mut player).unwrap(), ("http://i/c/0.ts".into(), "/c/0.ts".into()));
        player.answer(200, "segment", 1000).unwrap();
        assert_eq!(reopened(&mut player).unwrap(), ("http://j:9/1.ts".into(), "/1.ts".into()));
        player.answer(200, "segment", 1000).unwrap();
        player.now_ns = 4 * S;
        assert_eq!(player.asked(), None);
        let back = ("http://i/b/list.m3u8".to_owned(), "/b/list.m3u8?t=2".to_owned());
        assert_eq!(reopened(&mut player).unwrap(), back, "the list is where it was last");
        for _ in 0..REDIRECTS_MAX {
            assert_eq!(give(&mut player, &moved("/b/list.m3u8")).unwrap(), [""; 0]);
            assert!(reopened(&mut player).is_some());
        }
        let told = give(&mut player, &moved("/b/list.m3u8"));
        assert!(told.unwrap()[0].starts_with("Refused(\"led elsewhere"));
        let mut player = Player::new(false);
        player.asked();
        assert!(give(&mut player, &moved("ftp://i/")).is_err());
    }
}
