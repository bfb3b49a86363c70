//! An FLV file, read once.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use codecs::flv::audio::{AudioPacket, AudioTagHeader};
use codecs::flv::tag::{FILE_HEADER_LEN, FileHeader, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use codecs::flv::tag::{TagHeader, TagKind};
use codecs::flv::video::{VideoPacket, VideoTagHeader};

use super::stamping::{StampPlace, Stamping};
use crate::content::Content;
use crate::piece::PieceKind;

/// The longest file: it is kept in memory.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// The most tags of a file: some nine hours.
pub const TAGS_MAX: usize = 2_000_000;

/// From one frame to the next, where a track has but one.
const INTERVAL_DEFAULT_MS: u64 = 40;

/// A tag that is sent in its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: PieceKind,
    /// Its time from the start of the clip.
    pub(super) at_ms: u64,
    /// Its body in the file.
    pub(super) body: Range<usize>,
    /// It is a picture, and not configuration.
    pub(super) is_picture: bool,
    /// Where its stamp stands.
    pub(super) stamp: Option<StampPlace>,
}

/// A recorded stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Clip {
    pub(super) bytes: Vec<u8>,
    pub(super) tags: Vec<Tag>,
    metadata: Option<Range<usize>>,
    heads: Vec<(PieceKind, Range<usize>)>,
    /// From the first frame to the first frame of the next round.
    pub(super) lap_ms: u64,
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, tags, lap_ms, .. } = self;
        write!(f, "Clip({} bytes, {} tags, {lap_ms} ms)", bytes.len(), tags.len())
    }
}

impl Clip {
    /// Reads a file; its pictures can be stamped.
    ///
    /// # Errors
    /// In one line, if it cannot be read or is no stream that could be published.
    pub fn open(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(bytes).with_context(|| {
            format!(
                "{} cannot be published; ffmpeg -i FILE -c copy -f flv NEW.flv makes a new one",
                path.display()
            )
        })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// In one line, if that is no stream.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let len = bytes.len() as u64;
        ensure!(len <= FILE_BYTES_MAX, "it is longer than {FILE_BYTES_MAX} bytes");
        let mut reading = Reading::default();
        let (_, skip) = FileHeader::parse(&bytes).context("it is no FLV file")?;
        let mut at = FILE_HEADER_LEN + skip as usize;
        while let Some(head) = bytes.get(at..at + TAG_HEADER_LEN) {
            let header = TagHeader::parse(head).with_context(|| format!("at byte {at}"))?;
            let start = at + TAG_HEADER_LEN;
            let end = start + header.data_len as usize;
            // A recording that was broken off ends in the middle of a tag.
            let Some(body) = bytes.get(start..end) else { break };
            reading.tag(header, body, start..end).with_context(|| format!("at byte {at}"))?;
            ensure!(reading.tags.len() <= TAGS_MAX, "it has more than {TAGS_MAX} tags");
            at = end + PREVIOUS_TAG_SIZE_LEN;
        }
        reading.finish(bytes)
    }

    /// What is sent before anything else: `onMetaData`, as a data message of a publisher.
    #[must_use]
    pub fn metadata(&self) -> Option<&[u8]> {
        self.metadata.clone().map(|range| &self.bytes[range])
    }

    /// The sequence headers, which are sent before the first frame.
    pub fn heads(&self) -> impl Iterator<Item = (PieceKind, &[u8])> {
        self.heads.iter().map(|(kind, range)| (*kind, &self.bytes[range.clone()]))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    metadata: Option<Range<usize>>,
    heads: Vec<(PieceKind, Range<usize>)>,
    tags: Vec<Tag>,
    /// The time of the first frame.
    start_ms: Option<u32>,
    has_video_config: bool,
    stamping: Option<Stamping>,
    tracks: [Track; 2],
    /// The decoder is configured anew after the first frame.
    changes: bool,
}

/// Frames of a track.
#[derive(Clone, Copy, Default)]
struct Track {
    frames: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Track {
    /// When its next frame would be due.
    fn end_ms(self) -> u64 {
        match self.frames {
            0 => 0,
            1 => self.first_ms + INTERVAL_DEFAULT_MS,
            frames => {
                let gaps = frames - 1;
                self.last_ms + (self.last_ms - self.first_ms + gaps / 2) / gaps
            }
        }
    }
}

impl Reading {
    fn tag(&mut self, header: TagHeader, body: &[u8], range: Range<usize>) -> Result<()> {
        match header.kind {
            TagKind::Script => self.metadata = self.metadata.take().or(Some(range)),
            TagKind::Audio => match AudioTagHeader::parse(body)?.packet {
                AudioPacket::SequenceStart | AudioPacket::MultichannelConfig => {
                    self.configuration(PieceKind::Audio, header, range);
                }
                AudioPacket::Coded => self.frame(PieceKind::Audio, header, range, None),
                AudioPacket::SequenceEnd | AudioPacket::Silence => {}
            },
            TagKind::Video => self.video(header, body, range)?,
        }
        Ok(())
    }

    fn video(&mut self, header: TagHeader, body: &[u8], range: Range<usize>) -> Result<()> {
        let of = VideoTagHeader::parse(body)?;
        let payload = body.get(of.header_len..).unwrap_or_default();
        match of.packet {
            VideoPacket::SequenceStart => {
                self.has_video_config = true;
                let codec = of.codec.filter(|_| of.multitrack.is_none());
                if let Some(codec) = codec {
                    self.stamping = Stamping::of(codec, payload);
                }
                self.configuration(PieceKind::Video, header, range);
            }
            VideoPacket::Metadata | VideoPacket::Mpeg2TsSequenceStart => {
                self.configuration(PieceKind::Video, header, range);
            }
            VideoPacket::Coded { .. } => {
                let is_first = self.tracks[usize::from(true)].frames == 0;
                // Nothing can be decoded before a keyframe, in no round.
                if !is_first || of.frame_type.is_key() {
                    let stamping = self.stamping.filter(|_| of.multitrack.is_none());
                    let stamp = stamping.and_then(|stamping| {
                        let at = of.header_len + stamping.place(payload)?;
                        Some(StampPlace { stamping, at, content: Content::of(&body[at..]) })
                    });
                    self.frame(PieceKind::Video, header, range, stamp);
                }
            }
            VideoPacket::SequenceEnd | VideoPacket::Command(_) => {}
        }
        Ok(())
    }

    fn configuration(&mut self, kind: PieceKind, header: TagHeader, range: Range<usize>) {
        if self.tracks[usize::from(kind == PieceKind::Video)].frames == 0 {
            self.heads.push((kind, range));
        } else {
            self.changes = true;
            let at_ms = self.at_ms(header);
            self.tags.push(Tag { kind, at_ms, body: range, is_picture: false, stamp: None });
        }
    }

    fn frame(
        &mut self,
        kind: PieceKind,
        header: TagHeader,
        body: Range<usize>,
        stamp: Option<StampPlace>,
    ) {
        let is_picture = kind == PieceKind::Video;
        // Sound from before the first picture would have to wait for it in every round.
        if is_picture && self.tracks[1].frames == 0 && !self.tags.is_empty() {
            self.tags.clear();
            (self.tracks[0], self.start_ms) = (Track::default(), None);
        }
        let at_ms = self.at_ms(header);
        let track = &mut self.tracks[usize::from(is_picture)];
        if track.frames == 0 {
            track.first_ms = at_ms;
        }
        track.frames += 1;
        track.last_ms = at_ms;
        self.tags.push(Tag { kind, at_ms, body, is_picture, stamp });
    }

    /// The time of a tag, which never goes back.
    fn at_ms(&mut self, header: TagHeader) -> u64 {
        let start_ms = *self.start_ms.get_or_insert(header.timestamp_ms);
        // The clock wraps: half its range ahead is behind.
        let since_ms = header.timestamp_ms.wrapping_sub(start_ms);
        let since_ms = if since_ms > u32::MAX / 2 { 0 } else { u64::from(since_ms) };
        since_ms.max(self.tags.last().map_or(0, |tag| tag.at_ms))
    }

    fn finish(self, bytes: Vec<u8>) -> Result<Clip> {
        let Self { metadata, heads, mut tags, tracks, changes, .. } = self;
        let [_, video] = tracks;
        if video.frames == 0 && self.has_video_config {
            bail!("it has no keyframe to begin with");
        }
        ensure!(!tags.is_empty(), "it has neither pictures nor sound");
        let lap_ms = tracks.map(Track::end_ms).into_iter().max().unwrap_or(0);
        let lap_ms = lap_ms.max(tags.last().map_or(0, |tag| tag.at_ms)).max(1);
        if changes {
            // The next round begins with another configuration than this one ends with.
            let again = heads.iter().map(|(kind, range)| Tag {
                kind: *kind,
                at_ms: 0,
                body: range.clone(),
                is_picture: false,
                stamp: None,
            });
            tags.splice(..0, again.collect::<Vec<_>>());
        }
        Ok(Clip { bytes, tags, metadata, heads, lap_ms })
    }
}
