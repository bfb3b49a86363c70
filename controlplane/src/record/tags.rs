//! Tags: what comes of a stream of FLV, in pieces that fit a buffer of fixed size.

use std::io::{self, Read};

use codecs::flv::tag::{FILE_HEADER_LEN, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use codecs::flv::{AudioPacket, AudioTagHeader, FileHeader, TagHeader, TagKind};
use codecs::flv::{VideoPacket, VideoTagHeader};

/// Bytes that are held at most: longer tags are passed on in pieces.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of a body by which it is told what it is.
const HEAD_BYTES: usize = 32;

/// What a tag is to who records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What the stream says of itself.
    Metadata,
    /// What decoders need first, of that track.
    Configuration(u8),
    /// A frame at which a file may begin.
    Keyframe,
    /// Anything else.
    Other,
}

/// A tag, or its first piece.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) header: TagHeader,
    pub(super) meaning: Meaning,
    /// The header, the body as far as it is there, and the length behind it.
    pub(super) bytes: &'a mut [u8],
    /// Bytes of the tag that follow.
    pub(super) left: usize,
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Tags {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    has_header: bool,
}

impl Tags {
    pub(super) fn new() -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { buffer, start: 0, end: 0, has_header: false }
    }

    /// Reads what is there; false at the end.
    pub(super) fn fill(&mut self, source: &mut impl Read) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let read = loop {
            match source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        Ok(read > 0)
    }

    /// True if nothing of a tag is held.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next tag, if it is there, or as much of it as fits.
    ///
    /// Errors: what comes is no FLV.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, codecs::Error> {
        let held = self.end - self.start;
        if !self.has_header {
            if held < FILE_HEADER_LEN {
                return Ok(None);
            }
            FileHeader::parse(&self.buffer[self.start..self.end])?;
            self.start += FILE_HEADER_LEN;
            self.has_header = true;
            return self.next();
        }
        if held < TAG_HEADER_LEN {
            return Ok(None);
        }
        let header = TagHeader::parse(&self.buffer[self.start..self.end])?;
        let whole = TAG_HEADER_LEN + header.data_len as usize + PREVIOUS_TAG_SIZE_LEN;
        if held < whole.min(BUFFER_BYTES) {
            return Ok(None);
        }
        let len = whole.min(held);
        let bytes = &mut self.buffer[self.start..self.start + len];
        self.start += len;
        let body_len = (header.data_len as usize).min(len - TAG_HEADER_LEN);
        let meaning = meaning(header.kind, &bytes[TAG_HEADER_LEN..TAG_HEADER_LEN + body_len]);
        Ok(Some(Piece { header, meaning, bytes, left: whole - len }))
    }

    /// Up to `left` bytes of the tag in hand.
    pub(super) fn rest(&mut self, left: usize) -> &[u8] {
        let len = left.min(self.end - self.start);
        let rest = &self.buffer[self.start..self.start + len];
        self.start += len;
        rest
    }
}

/// What a body is. One that cannot be read is passed on as it is.
fn meaning(kind: TagKind, body: &[u8]) -> Meaning {
    let head = &body[..body.len().min(HEAD_BYTES)];
    match kind {
        TagKind::Script if head.get(3..13) == Some(b"onMetaData") => Meaning::Metadata,
        TagKind::Script => Meaning::Other,
        TagKind::Audio => match AudioTagHeader::parse(head) {
            Ok(audio) => match audio.packet {
                AudioPacket::SequenceStart | AudioPacket::MultichannelConfig => {
                    Meaning::Configuration(audio.multitrack.map_or(0, |track| track.track_id))
                }
                _ => Meaning::Other,
            },
            Err(_) => Meaning::Other,
        },
        TagKind::Video => match VideoTagHeader::parse(head) {
            Ok(video) => match video.packet {
                VideoPacket::SequenceStart | VideoPacket::Mpeg2TsSequenceStart => {
                    Meaning::Configuration(video.multitrack.map_or(0, |track| track.track_id))
                }
                VideoPacket::Coded { .. } if video.frame_type.is_key() => Meaning::Keyframe,
                _ => Meaning::Other,
            },
            Err(_) => Meaning::Other,
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use codecs::writer::Writer;

    /// A tag with that body.
    pub(in crate::record) fn tag(kind: TagKind, timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
        let data_len = u32::try_from(body.len()).unwrap();
        let header = TagHeader { kind, data_len, timestamp_ms };
        let mut bytes = vec![0; TAG_HEADER_LEN];
        header.encode(&mut Writer::new(&mut bytes));
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&header.previous_tag_size().to_be_bytes());
        bytes
    }

    /// What is read of `stream` when `step` bytes come at a time.
    fn read(stream: &[u8], step: usize) -> Vec<(Meaning, usize)> {
        let (mut tags, mut left) = (Tags::new(), 0);
        let mut found: Vec<(Meaning, usize)> = Vec::new();
        for part in stream.chunks(step) {
            let mut part = part;
            while !part.is_empty() {
                assert!(tags.fill(&mut part).unwrap());
                loop {
                    if left > 0 {
                        let taken = tags.rest(left).len();
                        left -= taken;
                        if let Some((_, len)) = found.last_mut() {
                            *len += taken;
                        }
                    }
                    if left > 0 {
                        break;
                    }
                    let Some(piece) = tags.next().unwrap() else { break };
                    found.push((piece.meaning, piece.bytes.len()));
                    left = piece.left;
                }
            }
        }
        assert!(tags.is_empty() && left == 0);
        found
    }

    #[test]
    fn tags_are_found_wherever_they_are_cut() {
        let mut stream = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let mut meta = vec![2, 0, 10];
        meta.extend_from_slice(b"onMetaData");
        let large = vec![0x27; BUFFER_BYTES * 2];
        for (kind, body) in [
            (TagKind::Script, meta.as_slice()),
            (TagKind::Video, &[0x17, 0, 0, 0, 0, 1]),
            (TagKind::Audio, &[0xaf, 0, 0x12, 0x10]),
            (TagKind::Video, &[0x17, 1, 0, 0, 0, 9, 9]),
            (TagKind::Audio, &[0xaf, 1, 7]),
            (TagKind::Video, &large),
            (TagKind::Audio, &[]),
        ] {
            stream.extend(tag(kind, 40, body));
        }
        let whole = read(&stream, stream.len());
        let meanings: Vec<_> = whole.iter().map(|&(meaning, _)| meaning).collect();
        let expected = [
            Meaning::Metadata,
            Meaning::Configuration(0),
            Meaning::Configuration(0),
            Meaning::Keyframe,
            Meaning::Other,
            Meaning::Other,
            Meaning::Other,
        ];
        assert_eq!(meanings, expected);
        assert_eq!(whole.iter().map(|&(_, len)| len).sum::<usize>(), stream.len() - 13);
        for step in [1, 7, 1_000, BUFFER_BYTES - 1] {
            assert_eq!(read(&stream, step), whole, "{step}");
        }
    }

    #[test]
    fn what_is_no_flv_is_refused() {
        let mut tags = Tags::new();
        tags.fill(&mut &b"<html><body>no</body>"[..]).unwrap();
        assert!(tags.next().is_err());
    }
}
