//! The FLV file: its header, and tags behind each other.
//!
//! Spec: Adobe Flash Video File Format 10.1, annex E.2 to E.4.1.
//! Shape: `"FLV"`, version 1, flags, 32-bit offset of the body; then, again and again, the length
//! of the previous tag (32 bits) and a tag: kind (8), length (24), time (24), its upper bits (8),
//! stream id (24, always 0), body.
//! Units: milliseconds in 32 bits that wrap.
//! Limits: [`FlvReader`] keeps 13 bytes at most; bodies are handed on as they come.

use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of a file header with the length of the tag that is not before the first one.
pub const FILE_HEADER_LEN: usize = 13;
/// Bytes of a tag header.
pub const TAG_HEADER_LEN: usize = 11;
/// Bytes of the length behind each tag.
pub const PREVIOUS_TAG_SIZE_LEN: usize = 4;
/// The longest tag body: its length has 24 bits.
pub const TAG_DATA_LEN_MAX: u32 = 0x00ff_ffff;

/// The file header without the length behind it.
const PLAIN_HEADER_LEN: u32 = 9;
/// No file header is longer in practice; a longer one would be skipped byte by byte.
const DATA_OFFSET_MAX: u32 = 1024;
const HAS_AUDIO: u8 = 4;
const HAS_VIDEO: u8 = 1;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// There are audio tags.
    pub audio: bool,
    /// There are video tags.
    pub video: bool,
}

impl FileHeader {
    /// Reads the header and the length behind it; returns how many bytes to skip besides those
    /// [`FILE_HEADER_LEN`], which no file in the wild needs.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`] for another signature, version or offset.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u32), Error> {
        let mut reader = Reader::new(bytes);
        let signature = reader.u24("flv.signature")?;
        if signature.to_be_bytes() != *b"\0FLV" {
            return Err(Error::Invalid { what: "flv.signature", value: u64::from(signature) });
        }
        let version = reader.u8("flv.version")?;
        if version != 1 {
            return Err(Error::Invalid { what: "flv.version", value: u64::from(version) });
        }
        let flags = reader.u8("flv.flags")?;
        let offset = reader.u32("flv.data_offset")?;
        if !(PLAIN_HEADER_LEN..=DATA_OFFSET_MAX).contains(&offset) {
            return Err(Error::Invalid { what: "flv.data_offset", value: u64::from(offset) });
        }
        reader.u32("flv.previous_tag_size")?;
        let header = Self { audio: flags & HAS_AUDIO != 0, video: flags & HAS_VIDEO != 0 };
        Ok((header, offset - PLAIN_HEADER_LEN))
    }

    /// Writes the header and the length behind it: [`FILE_HEADER_LEN`] bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let audio = if self.audio { HAS_AUDIO } else { 0 };
        let video = if self.video { HAS_VIDEO } else { 0 };
        writer.put(b"FLV\x01");
        writer.u8(audio | video);
        writer.u32(PLAIN_HEADER_LEN);
        writer.u32(0);
    }
}

/// What a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
    /// AMF0 values, such as `onMetaData`.
    Script,
}

impl TagKind {
    /// The number on the wire, the same as in an RTMP message.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }
}

/// The header of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagHeader {
    /// What it is.
    pub kind: TagKind,
    /// Bytes of its body, 24 bits.
    pub data_len: u32,
    /// Its decoding time in milliseconds.
    pub timestamp_ms: u32,
}

impl TagHeader {
    /// Reads [`TAG_HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Unsupported`] for encrypted tags, [`Error::Invalid`] for an
    /// unknown kind, by which a reader notices that it lost its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let wire = reader.u8("flv.tag.kind")?;
        let kind = match wire {
            8 => TagKind::Audio,
            9 => TagKind::Video,
            18 => TagKind::Script,
            0x28 | 0x29 | 0x32 => {
                return Err(Error::Unsupported { what: "flv.tag.filter", value: u64::from(wire) });
            }
            _ => return Err(Error::Invalid { what: "flv.tag.kind", value: u64::from(wire) }),
        };
        let data_len = reader.u24("flv.tag.len")?;
        let low = reader.u24("flv.tag.timestamp")?;
        let high = reader.u8("flv.tag.timestamp")?;
        reader.u24("flv.tag.stream_id")?;
        Ok(Self { kind, data_len, timestamp_ms: u32::from(high) << 24 | low })
    }

    /// Writes [`TAG_HEADER_LEN`] bytes.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(self.kind.to_wire());
        writer.u24(self.data_len);
        writer.u24(self.timestamp_ms);
        writer.u8(self.timestamp_ms.to_be_bytes()[0]);
        writer.u24(0);
    }

    /// The length that stands behind the tag.
    #[must_use]
    pub const fn previous_tag_size(&self) -> u32 {
        11 + self.data_len
    }
}

/// A piece of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFragment<'a> {
    /// The tag's header.
    pub header: TagHeader,
    /// Where in the body the piece stands.
    pub offset: u32,
    /// The piece; empty only if the body is.
    pub data: &'a [u8],
    /// True if the tag ends with it.
    pub last: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Expect {
    FileHeader,
    Skip(u32),
    TagHeader,
    Body { header: TagHeader, received: u32 },
    PreviousTagSize,
}

/// Reads an FLV stream piece by piece.
#[derive(Debug)]
pub struct FlvReader {
    data_len_max: u32,
    file_header: Option<FileHeader>,
    expect: Expect,
    head: [u8; FILE_HEADER_LEN],
    head_len: usize,
}

impl FlvReader {
    /// Starts before the file header; tags over `data_len_max` are refused.
    #[must_use]
    pub const fn new(data_len_max: u32) -> Self {
        Self {
            data_len_max,
            file_header: None,
            expect: Expect::FileHeader,
            head: [0; FILE_HEADER_LEN],
            head_len: 0,
        }
    }

    /// The file header, once it has been read.
    #[must_use]
    pub const fn file_header(&self) -> Option<FileHeader> {
        self.file_header
    }

    /// Reads up to the end of one fragment and tells how many bytes that took. Without a
    /// fragment, all of the input has been taken.
    ///
    /// # Errors
    /// Those of [`FileHeader::parse`] and [`TagHeader::parse`]; [`Error::TooLarge`] over the
    /// limit. All are final.
    pub fn feed<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<TagFragment<'a>>), Error> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            match self.expect {
                Expect::FileHeader => {
                    at += self.gather(rest, FILE_HEADER_LEN);
                    if self.head_len == FILE_HEADER_LEN {
                        let (header, skip) = FileHeader::parse(&self.head)?;
                        self.file_header = Some(header);
                        self.head_len = 0;
                        self.expect = Expect::Skip(skip);
                    }
                }
                Expect::Skip(0) => self.expect = Expect::TagHeader,
                Expect::Skip(left) => {
                    at += 1;
                    self.expect = Expect::Skip(left - 1);
                }
                Expect::TagHeader => {
                    at += self.gather(rest, TAG_HEADER_LEN);
                    if self.head_len == TAG_HEADER_LEN
                        && let Some(empty) = self.tag_header()?
                    {
                        return Ok((at, Some(empty)));
                    }
                }
                Expect::Body { header, received } => {
                    let fragment = self.body(rest, header, received);
                    return Ok((at + fragment.data.len(), Some(fragment)));
                }
                Expect::PreviousTagSize => {
                    // Many files have it wrong, and it is of use only when reading backwards.
                    at += self.gather(rest, PREVIOUS_TAG_SIZE_LEN);
                    if self.head_len == PREVIOUS_TAG_SIZE_LEN {
                        self.head_len = 0;
                        self.expect = Expect::TagHeader;
                    }
                }
            }
        }
        Ok((at, None))
    }

    fn gather(&mut self, bytes: &[u8], len: usize) -> usize {
        let taken = (len - self.head_len).min(bytes.len());
        self.head[self.head_len..][..taken].copy_from_slice(&bytes[..taken]);
        self.head_len += taken;
        taken
    }

    fn tag_header<'a>(&mut self) -> Result<Option<TagFragment<'a>>, Error> {
        let header = TagHeader::parse(&self.head)?;
        self.head_len = 0;
        if header.data_len > self.data_len_max {
            let (value, max) = (u64::from(header.data_len), u64::from(self.data_len_max));
            return Err(Error::TooLarge { what: "flv.tag.len", value, max });
        }
        if header.data_len == 0 {
            self.expect = Expect::PreviousTagSize;
            return Ok(Some(TagFragment { header, offset: 0, data: &[], last: true }));
        }
        self.expect = Expect::Body { header, received: 0 };
        Ok(None)
    }

    fn body<'a>(&mut self, bytes: &'a [u8], header: TagHeader, offset: u32) -> TagFragment<'a> {
        let left = header.data_len - offset;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(left);
        let last = len == left;
        self.expect = if last {
            Expect::PreviousTagSize
        } else {
            Expect::Body { header, received: offset + len }
        };
        TagFragment { header, offset, data: &bytes[..len as usize], last }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn header_bytes(header: &TagHeader) -> [u8; TAG_HEADER_LEN] {
        let mut bytes = [0; TAG_HEADER_LEN];
        header.encode(&mut Writer::new(&mut bytes));
        bytes
    }

    #[test]
    fn tag_header_table_holds_both_ways() {
        let table: [(&[u8; 11], TagKind, u32, u32); 3] = [
            (b"\x08\0\0\x02\0\0\x05\0\0\0\0", TagKind::Audio, 2, 5),
            (b"\x09\x01\0\0\x02\x03\x04\x01\0\0\0", TagKind::Video, 0x1_0000, 0x0102_0304),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\0\0\0", TagKind::Script, 0xff_ffff, u32::MAX),
        ];
        for (bytes, kind, data_len, timestamp_ms) in table {
            let header = TagHeader { kind, data_len, timestamp_ms };
            assert_eq!(TagHeader::parse(bytes), Ok(header));
            assert_eq!(header_bytes(&header), *bytes);
            assert_eq!(header.previous_tag_size(), 11 + data_len);
            for len in 0..TAG_HEADER_LEN {
                assert!(matches!(TagHeader::parse(&bytes[..len]), Err(Error::Truncated { .. })));
            }
        }
    }

    #[test]
    fn encrypted_and_unknown_tags_are_refused() {
        assert!(matches!(TagHeader::parse(&[0x29; 11]), Err(Error::Unsupported { .. })));
        for kind in [0, 10, 17, 0xff] {
            assert!(matches!(TagHeader::parse(&[kind; 11]), Err(Error::Invalid { .. })));
        }
    }

    #[test]
    fn file_header_holds_both_ways() {
        for (audio, video, flags) in [(true, true, 5), (true, false, 4), (false, true, 1)] {
            let mut bytes = [0xff; FILE_HEADER_LEN];
            let header = FileHeader { audio, video };
            header.encode(&mut Writer::new(&mut bytes));
            assert_eq!(bytes[..], [&b"FLV\x01"[..], &[flags, 0, 0, 0, 9, 0, 0, 0, 0]].concat());
            assert_eq!(FileHeader::parse(&bytes), Ok((header, 0)));
        }
        for bad in [b"FLX\x01\x05\0\0\0\x09", b"FLV\x02\x05\0\0\0\x09", b"FLV\x01\x05\0\0\0\x08"] {
            assert!(matches!(FileHeader::parse(bad), Err(Error::Invalid { .. })));
        }
        assert!(FileHeader::parse(b"FLV\x01\x05\xff\0\0\x09\0\0\0\0").is_err());
    }

    fn file(skip: u8) -> Vec<u8> {
        let mut bytes = b"FLV\x01\x05\0\0\0".to_vec();
        bytes.push(9 + skip);
        bytes.extend(core::iter::repeat_n(0xee, usize::from(skip)));
        bytes.extend_from_slice(&[0; 4]);
        for (kind, len) in [(TagKind::Script, 3), (TagKind::Audio, 0), (TagKind::Video, 300)] {
            let header = TagHeader { kind, data_len: len, timestamp_ms: len };
            bytes.extend_from_slice(&header_bytes(&header));
            bytes.extend(core::iter::repeat_n(7, len as usize));
            bytes.extend_from_slice(&header.previous_tag_size().to_be_bytes());
        }
        bytes
    }

    #[test]
    fn the_reader_gives_the_same_tags_however_the_input_is_split() {
        for skip in [0, 3] {
            let bytes = file(skip);
            for step in 1..=bytes.len() {
                let mut reader = FlvReader::new(300);
                let mut tags: Vec<(TagKind, u32, u32)> = Vec::new();
                for piece in bytes.chunks(step) {
                    let mut rest = piece;
                    loop {
                        let (used, fragment) = reader.feed(rest).unwrap();
                        rest = &rest[used..];
                        let Some(TagFragment { header, offset, data, last }) = fragment else {
                            break;
                        };
                        let end = offset + u32::try_from(data.len()).unwrap();
                        if last {
                            tags.push((header.kind, header.timestamp_ms, end));
                        }
                    }
                    assert!(rest.is_empty());
                }
                assert_eq!(
                    tags,
                    [(TagKind::Script, 3, 3), (TagKind::Audio, 0, 0), (TagKind::Video, 300, 300)]
                );
                assert_eq!(reader.file_header(), Some(FileHeader { audio: true, video: true }));
            }
        }
    }

    #[test]
    fn long_tags_are_refused() {
        let mut reader = FlvReader::new(299);
        let mut bytes = &file(0)[..];
        let error = loop {
            match reader.feed(bytes) {
                Ok((used, Some(_))) => bytes = &bytes[used..],
                Ok((_, None)) => panic!("the long tag was read"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::TooLarge { what: "flv.tag.len", value: 300, max: 299 });
    }
}
