//! HLS: playlists and segments, asked for one by one.
//!
//! Spec: RFC 8216; RFC 9110 13 (conditions) and 14 (ranges).
//! In/Out: the shard asks who may, finds the stream's window and hands it in; a playlist is written
//! here, a segment's head too, and the shard sends the segment's bytes from the log behind it.
//! Limits: tags of [`TAGS_BYTES_MAX`]; a query as long as a request head.
//! Not here: several ranges in one request, which get the whole; dates, because nothing of a live
//! stream has one.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::time::Instant;

use codecs::http1::{ByteRange, Method, Request, if_range_names, none_match_names, percent_decode};

use super::reply::{ACCEPT_RANGES, IMMUTABLE, NO_CACHE, NO_SNIFF, NO_STORE, Replies};
use super::routes::credentials as credentials_of;
use super::server::Server;
use super::shown_token::{Entrance, ShownToken, TOKEN_NAME};
use super::state::{Pending, State};
use crate::Error;
use crate::config::AuthConfig;
use crate::ids::{Secret, StreamId, StreamName};
use crate::segment::uri::Asset;
use crate::segment::{KeptSegment, Playlist, Window};
use crate::session::rtmp::Params;
use crate::session::view_token::ViewToken;
use crate::session::{Credentials, Event, Refusal, Served, ServedAs};

/// Bytes of a list of entity tags that is looked at; a longer one matches nothing.
const TAGS_BYTES_MAX: usize = 512;

/// What names of pairs begin with that ask for a part of a playlist (RFC 8216bis 6.2.5).
const DIRECTIVES: &str = "_HLS_";
/// The piece that everybody asks for first.
const ENTRANCE: &str = "index.m3u8";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/mp2t";

/// A request for a piece of HLS that waits for its answer.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) pending: Pending,
    pub(super) stream: StreamName,
    asset: Asset,
    /// The publication that it must be of.
    publication: Option<StreamId>,
    /// What the children of a playlist are asked for with.
    query: Box<str>,
    /// How the viewer says which one it is, if it does.
    shown: ShownToken,
    range: Option<ByteRange>,
    /// `If-None-Match`.
    none_match: Option<Box<str>>,
    /// `If-Range`.
    if_range: Option<Box<str>>,
}

impl Fetch {
    pub(super) fn new(
        request: &Request<'_>,
        pending: Pending,
        (stream, asset): (StreamName, Asset),
        shown: ShownToken,
    ) -> Box<Self> {
        let tags = |name| request.header(name).map(|tags| kept_tags(tags).into());
        let whole = matches!(asset, Asset::Multivariant | Asset::Media);
        Box::new(Self {
            pending,
            stream,
            asset,
            publication: None,
            query: if whole { shown_by(request.query).into() } else { "".into() },
            shown,
            // Playlists are short and change: they are always sent whole, as a server may.
            range: request.range().filter(|_| request.method == Method::Get && !whole),
            none_match: tags("if-none-match"),
            if_range: tags("if-range"),
        })
    }

    /// It is of the publication `id`, or it is not found.
    pub(super) fn of_publication(mut self: Box<Self>, id: StreamId) -> Box<Self> {
        self.publication = Some(id);
        self
    }

    /// What each child's address ends with.
    fn children_query(&self) -> Cow<'_, str> {
        let Some(token) = self.shown.in_addresses() else { return Cow::Borrowed(&self.query) };
        let sign = if self.query.is_empty() { "" } else { "&" };
        Cow::Owned(format!("{}{sign}{TOKEN_NAME}={}", self.query, token.as_str()))
    }

    /// The segment that is asked for, if it is there; what lies before `tail` is gone.
    fn segment_in<'a>(&self, window: &'a Window, tail: u64) -> Option<&'a KeptSegment> {
        let Asset::Segment(number) = self.asset else { return None };
        let kept = window.segment(number).filter(|segment| segment.from >= tail)?;
        (!self.is_of_another(window)).then_some(kept)
    }

    /// True if what is asked for is there.
    fn is_in(&self, window: &Window, tail: u64) -> bool {
        match self.asset {
            Asset::Multivariant | Asset::Media => !self.is_of_another(window),
            Asset::Segment(_) => self.segment_in(window, tail).is_some(),
        }
    }

    /// True if it must be of another publication than what is there.
    fn is_of_another(&self, window: &Window) -> bool {
        self.publication.is_some_and(|id| window.publication != Some(id))
    }

    fn is_known(&self, etag: &str) -> bool {
        // What is said to one viewer alone is said anew each time.
        !self.shown.is_new()
            && self.none_match.as_deref().is_some_and(|tags| none_match_names(tags, etag))
    }

    /// The range that is to be sent of a representation.
    fn range_of(&self, etag: &str) -> Option<ByteRange> {
        let same = self.if_range.as_deref().is_none_or(|tag| if_range_names(tag, etag));
        self.range.filter(|_| same)
    }
}

/// The value of a field of tags, or one that matches nothing.
fn kept_tags(tags: &str) -> &str {
    if tags.len() <= TAGS_BYTES_MAX { tags } else { "" }
}

/// What a query says of who asks, as it was sent: all but what we, or the protocol, put into it.
/// An application may judge by every pair of it, and their order, so the children of a playlist
/// are asked for with the same.
fn shown_by(query: Option<&str>) -> String {
    let mut kept = String::new();
    for pair in query.unwrap_or_default().split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let ours = name == TOKEN_NAME || name.starts_with(DIRECTIVES);
        // What is no letter of an address would end an attribute of a playlist, or a line.
        let legal = pair.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>".contains(&byte));
        if !ours && legal && !pair.is_empty() {
            let sign = if kept.is_empty() { "" } else { "&" };
            write!(kept, "{sign}{pair}").expect("a string takes any text");
        }
    }
    kept
}

/// Who the sender of a request for a piece of HLS says it is: the same for every piece that one
/// playlist leads to, so that the control plane is asked one question about all of them.
pub(super) fn credentials_of_piece(
    request: &Request<'_>,
    params: Params,
    auth: AuthConfig,
) -> Box<Credentials> {
    let mut credentials = credentials_of(request, params, auth);
    credentials.query = Secret(shown_by(request.query));
    if let Some((folder, _)) = credentials.url.rsplit_once('/') {
        credentials.url = format!("{folder}/{ENTRANCE}").into();
    }
    credentials
}

/// Where the playlist of `/NAME.m3u8` is: beside it, so that its children are found.
pub(super) fn location_of(path: &str, query: Option<&str>) -> Option<String> {
    let last = percent_decode(path.rsplit('/').next()?).ok()?;
    // A slash that was encoded parts no folders for whoever follows this.
    let mut location = last.strip_suffix(".m3u8")?.replace('/', "%2F");
    location.push('/');
    location.push_str(&location_beside(query));
    Some(location)
}

/// Where the playlist of renditions is, for who asked for what is beside it.
pub(super) fn location_beside(query: Option<&str>) -> String {
    let mut location = String::new();
    Asset::Multivariant.write(&mut location);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    location
}

/// The tag of a segment: its number alone would not tell two packagings of it apart.
fn etag_of(segment: &KeptSegment) -> String {
    format!("\"{:x}-{:x}-{:x}\"", segment.number, segment.from, segment.to)
}

impl Server {
    /// A piece of HLS is asked for: whoever shows what is needed may ask the shard.
    pub(super) fn enter(
        &mut self,
        request: &Request<'_>,
        pending: Pending,
        piece: (StreamName, Asset),
        params: Params,
    ) -> Result<(), Error> {
        match Entrance::of(request, piece.1, self.terms.hls_session) {
            Entrance::Open(shown) => {
                let fetch = Fetch::new(request, pending, piece, shown);
                self.tell_for_whom(request);
                self.fetch(fetch, credentials_of_piece(request, params, self.terms.auth));
                return Ok(());
            }
            Entrance::Elsewhere => {
                self.replies.elsewhere(&location_beside(request.query), pending);
            }
            Entrance::Closed => self.replies.refused(Refusal::Denied, pending),
        }
        self.answered(pending)
    }

    /// The shard is asked for a piece of HLS.
    pub(super) fn fetch(&mut self, fetch: Box<Fetch>, credentials: Box<Credentials>) {
        let (stream, viewer) = (fetch.stream.clone(), fetch.shown.viewer());
        self.events.push(Event::Fetch { stream, credentials, viewer });
        self.transition(State::Fetching(fetch), "fetch");
    }

    /// The piece of HLS that is asked for, if one is.
    #[must_use]
    pub const fn asset(&self) -> Option<Asset> {
        match &self.state {
            State::Fetching(fetch) => Some(fetch.asset),
            _ => None,
        }
    }

    /// True if the piece of HLS that is asked for is in a window of its stream.
    #[must_use]
    pub fn finds(&self, window: &Window, tail: u64) -> bool {
        matches!(&self.state, State::Fetching(fetch) if fetch.is_in(window, tail))
    }

    /// Bytes of answers that wait to be taken.
    #[must_use]
    pub const fn said_bytes(&self) -> usize {
        self.replies.len()
    }

    /// The viewer who asks for a playlist is known by `token` from now on.
    pub fn give_view_token(&mut self, token: ViewToken) {
        if let State::Fetching(fetch) = &mut self.state {
            fetch.shown.give(token);
        }
    }

    /// Answers the request that waits from the window of its stream. What lies before `tail` is in
    /// the log no longer.
    ///
    /// The shard sends the bytes that it returns, and says
    /// [`Served`](crate::session::Command::Served) then.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if no request waits.
    pub fn handle_window(
        &mut self,
        now: Instant,
        window: &Window,
        tail: u64,
    ) -> Result<Served, Error> {
        let state = std::mem::replace(&mut self.state, State::Closing);
        let State::Fetching(fetch) = state else {
            let error = Error::Misbehaved { state: state.name(), got: "window" };
            self.transition(State::Closing, error.reason());
            return Err(error);
        };
        self.deadline = now + self.terms.session.keep_alive;
        let served = match fetch.asset {
            Asset::Multivariant if fetch.is_in(window, tail) => {
                self.replies.playlist(&fetch, &window.multivariant)
            }
            Asset::Media if fetch.is_in(window, tail) => {
                self.replies.playlist(&fetch, &window.media)
            }
            _ => self.replies.segment(&fetch, fetch.segment_in(window, tail)),
        };
        let Fetch { pending, stream, .. } = *fetch;
        if served.body.is_empty() {
            self.transition(State::Head, "answered");
            self.answered(pending)?;
        } else {
            self.transition(State::Serving(pending, stream), "serve");
        }
        Ok(served)
    }
}

impl Replies {
    fn playlist(&mut self, fetch: &Fetch, playlist: &Playlist) -> Served {
        let etag = ("ETag", playlist.etag());
        if fetch.is_known(playlist.etag()) {
            self.put(304, None, fetch.pending, &[NO_CACHE, etag], None);
            return Served::whole(ServedAs::NotModified);
        }
        let query = fetch.children_query();
        let len = playlist.len_with_query(&query) as u64;
        let cookie = fetch.shown.new_cookie();
        match &cookie {
            Some(cookie) => {
                let own = [NO_STORE, NO_SNIFF, ("Set-Cookie", cookie.as_str())];
                self.put_head(200, Some(PLAYLIST), Some(len), fetch.pending, &own);
            }
            None if fetch.shown.is_new() => {
                let own = [NO_STORE, NO_SNIFF];
                self.put_head(200, Some(PLAYLIST), Some(len), fetch.pending, &own);
            }
            None => {
                let own = [NO_CACHE, NO_SNIFF, etag];
                self.put_head(200, Some(PLAYLIST), Some(len), fetch.pending, &own);
            }
        }
        if !fetch.pending.head_only {
            playlist.write_with_query(&query, self.room());
        }
        Served::whole(ServedAs::Playlist)
    }

    fn segment(&mut self, fetch: &Fetch, segment: Option<&KeptSegment>) -> Served {
        let Some(segment) = segment else {
            self.not_found(fetch.pending);
            return Served::whole(ServedAs::NotFound);
        };
        let etag = etag_of(segment);
        let tag = ("ETag", &*etag);
        if fetch.is_known(&etag) {
            self.put(304, None, fetch.pending, &[IMMUTABLE, tag], None);
            return Served::whole(ServedAs::NotModified);
        }
        let len = segment.to - segment.from;
        let Some(range) = fetch.range_of(&etag) else {
            let own = [IMMUTABLE, ACCEPT_RANGES, tag, NO_SNIFF];
            self.put_head(200, Some(SEGMENT), Some(len), fetch.pending, &own);
            let body = if fetch.pending.head_only { 0..0 } else { segment.from..segment.to };
            return Served { what: ServedAs::Segment, body };
        };
        let Some(Range { start, end }) = range.resolve(len) else {
            let none = format!("bytes */{len}");
            let own = [NO_STORE, ACCEPT_RANGES, ("Content-Range", &*none)];
            self.put(416, None, fetch.pending, &own, Some(&[]));
            return Served::whole(ServedAs::Unsatisfiable);
        };
        let place = format!("bytes {start}-{}/{len}", end - 1);
        let own = [IMMUTABLE, ACCEPT_RANGES, tag, NO_SNIFF, ("Content-Range", &*place)];
        self.put_head(206, Some(SEGMENT), Some(end - start), fetch.pending, &own);
        Served { what: ServedAs::Part, body: segment.from + start..segment.from + end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_asked_for_with_what_says_who_asks() {
        for (query, kept) in [
            (None, ""),
            (Some(""), ""),
            (Some("key=a%2Bb"), "key=a%2Bb"),
            (Some("x=1&token=t&y&key=k=k"), "x=1&token=t&y&key=k=k"),
            (Some("e=9&s=AAAA&sig=%20b&_HLS_msn=7&_HLS_part=1"), "e=9&sig=%20b"),
            (Some("ss=1&a=\"&b=<"), "ss=1"),
        ] {
            assert_eq!(&*shown_by(query), kept, "{query:?}");
        }
    }

    #[test]
    fn the_short_name_leads_to_the_playlist_beside_it() {
        for (path, query, location) in [
            ("/cam.m3u8", None, Some("cam/index.m3u8")),
            ("/live/news/cam.m3u8", Some("key=k"), Some("cam/index.m3u8?key=k")),
            ("/news/c%61m%2em3u8", None, Some("cam/index.m3u8")),
            ("/a%2Fcam.m3u8", None, Some("a%2Fcam/index.m3u8")),
            ("/cam", None, None),
        ] {
            assert_eq!(location_of(path, query).as_deref(), location, "{path}");
        }
    }
}
