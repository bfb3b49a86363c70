//! A place in a clip, which goes round and round.

use std::sync::Arc;

use super::file::Clip;
use super::stamping::StampPlace;
use crate::piece::PieceKind;
use crate::source::SourceFrame;
use crate::stamp::Stamp;

/// Plays a clip in its time, for one publisher.
#[derive(Clone, Debug)]
pub struct ClipPlayer {
    clip: Arc<Clip>,
    stamps: bool,
    next: usize,
    lap: u64,
    sequence: u64,
    /// The body of a stamped picture.
    body: Vec<u8>,
}

impl ClipPlayer {
    /// Starts at the first frame; pictures are stamped if wanted and possible.
    #[must_use]
    pub const fn new(clip: Arc<Clip>, stamps: bool) -> Self {
        Self { clip, stamps, next: 0, lap: 0, sequence: 0, body: Vec::new() }
    }

    /// The clip.
    #[must_use]
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// When the next tag is due, in nanoseconds from the start.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.due_ms() * 1_000_000
    }

    /// The next tag, the first one again after the last.
    pub fn tag(&mut self, sent_ns: u64) -> SourceFrame<'_> {
        let timestamp_ms = self.due_ms() as u32;
        let tag = &self.clip.tags[self.next];
        self.next += 1;
        if self.next == self.clip.tags.len() {
            (self.next, self.lap) = (0, self.lap + 1);
        }
        let (kind, is_picture) = (tag.kind, tag.is_picture);
        let body = &self.clip.bytes[tag.body.clone()];
        let sequence = self.sequence;
        self.sequence += u64::from(is_picture);
        let Some(StampPlace { stamping, at, content }) = tag.stamp.filter(|_| self.stamps) else {
            return SourceFrame { kind, is_picture, timestamp_ms, body };
        };
        self.body.clear();
        self.body.extend_from_slice(&body[..at]);
        stamping.put(Stamp { sent_ns, sequence, content }, &mut self.body);
        self.body.extend_from_slice(&body[at..]);
        SourceFrame { kind: PieceKind::Video, is_picture, timestamp_ms, body: &self.body }
    }

    fn due_ms(&self) -> u64 {
        self.lap * self.clip.lap_ms + self.clip.tags[self.next].at_ms
    }
}
