//! Windows: what a log shows of its segments until the next one is finished.

use std::fmt::Write;

use codecs::time::{MediaTime, WallTime};

use crate::ids::StreamId;

/// A playlist, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playlist {
    body: String,
    etag: String,
    /// The offsets behind the URIs of its children.
    uri_ends: Box<[u32]>,
}

impl Playlist {
    pub(super) fn new(body: String, uri_ends: Vec<usize>) -> Self {
        let mut etag = String::with_capacity(18);
        write!(etag, "\"{:016x}\"", hash(body.as_bytes())).expect("a string takes any text");
        let ends = uri_ends.into_iter().map(|end| u32::try_from(end).expect("a short text"));
        Self { uri_ends: ends.collect(), body, etag }
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// The entity tag, in quotes: texts that differ have different ones.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Bytes of the text with `query` behind each child's URI.
    #[must_use]
    pub fn len_with_query(&self, query: &str) -> usize {
        let each = if query.is_empty() { 0 } else { query.len() + 1 };
        self.body.len() + each * self.uri_ends.len()
    }

    /// Appends the text with `query` behind each child's URI, so that children are asked for as
    /// their playlist was.
    pub fn write_with_query(&self, query: &str, out: &mut Vec<u8>) {
        let mut from = 0;
        for &end in self.uri_ends.iter().filter(|_| !query.is_empty()) {
            let end = end as usize;
            out.extend_from_slice(&self.body.as_bytes()[from..end]);
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
            from = end;
        }
        out.extend_from_slice(&self.body.as_bytes()[from..]);
    }
}

/// FNV-1a: texts of one stream are told apart by it, nothing is kept secret.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A finished segment that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSegment {
    /// Its number.
    pub number: u64,
    /// The offset of its first byte in the log.
    pub from: u64,
    /// The offset behind its last byte.
    pub to: u64,
    /// How long it lasts.
    pub duration: MediaTime,
    /// When its first picture or sound was live.
    pub wall: WallTime,
    /// A break lies before it.
    pub discontinuity: bool,
}

/// The segments of a log and the playlists that list them. It never changes: a new one takes its
/// place.
///
/// Lives on: the home shard, which retires it; every shard reads it for a turn.
/// Limits: [`super::SEGMENTS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The playlist of renditions.
    pub multivariant: Playlist,
    /// The playlist of segments.
    pub media: Playlist,
    /// Oldest first, with those that are listed no longer.
    pub segments: Box<[KeptSegment]>,
    /// No segment will follow.
    pub ended: bool,
    /// The publication that they are of; its number is a part of some addresses of them.
    pub publication: Option<StreamId>,
}

impl Window {
    /// The segment with this number.
    #[must_use]
    pub fn segment(&self, number: u64) -> Option<&KeptSegment> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.number).ok()?;
        self.segments.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_goes_behind_every_child() {
        let playlist = Playlist::new("#X\na.ts\n#Y\nb.ts\n".to_owned(), vec![7, 15]);
        for (query, text) in
            [("", "#X\na.ts\n#Y\nb.ts\n"), ("key=1", "#X\na.ts?key=1\n#Y\nb.ts?key=1\n")]
        {
            let mut out = Vec::new();
            playlist.write_with_query(query, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
            assert_eq!(playlist.len_with_query(query), text.len());
        }
    }

    #[test]
    fn texts_that_differ_have_different_tags() {
        let of = |text: &str| Playlist::new(text.to_owned(), Vec::new());
        assert_eq!(of("a").etag(), of("a").etag());
        assert_ne!(of("a").etag(), of("b").etag());
        assert!(of("").etag().starts_with('"') && of("").etag().ends_with('"'));
    }
}
