//! RTMP chunks in: message fragments without a copy.
//!
//! Spec: RTMP 1.0 section 5.3.
//! Shape: see [`chunk_writer`](super::chunk_writer). A header may be split over inputs; then its
//! bytes, 18 at most, are kept. Payload is never kept: it is handed on as it comes.
//! In/Out: fragments borrow from the input. A fragment at offset 0 starts a message and ends
//! whatever was partial on its chunk stream before.
//! Errors: all are final; the connection cannot be read on.
//! Limits: [`ChunkLimits`]; nothing is allocated once each chunk stream has been seen.
//!
//! Timestamps are absolute in every fragment. A type 3 header that starts a message adds the last
//! delta; after a type 0 header that is its timestamp, as the specification says and as FFmpeg and
//! librtmp read it.
//!
//! Most peers repeat the extended timestamp in type 3 headers, some do not: four bytes that equal
//! it are taken for it. A peer that once left it out within a message is not expected to repeat it
//! there again; at the start of a message librtmp leaves it out although it repeats it within.

use alloc::vec::Vec;

use super::chunk_writer::{CHUNK_SIZE_DEFAULT, HEADER_LEN_MAX};
use super::message::{Csid, MessageHeader, MessageKind};
use crate::Error;
use crate::reader::Reader;

/// The largest chunk size in effect: no message is longer.
pub const CHUNK_SIZE_MAX: u32 = 0x00ff_ffff;

/// The value of a 24-bit timestamp that sends the reader to the extended one.
const EXTENDED: u32 = 0x00ff_ffff;

/// Bytes that a fragment can point to when the input that brought them is gone.
static EVERY_BYTE: [u8; 256] = every_byte();

#[expect(clippy::cast_possible_truncation, reason = "the index ends at 255")]
const fn every_byte() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut index = 0;
    while index < bytes.len() {
        bytes[index] = index as u8;
        index += 1;
    }
    bytes
}

/// What a peer may make the reader and its caller hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Chunk streams over the life of the connection.
    pub csids_max: usize,
    /// Bytes of one message.
    pub message_bytes_max: u32,
    /// Bytes received of unfinished messages, over all chunk streams.
    pub partial_bytes_max: u32,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { csids_max: 64, message_bytes_max: 16 << 20, partial_bytes_max: 16 << 20 }
    }
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The message's header.
    pub header: MessageHeader,
    /// Where in the message the piece stands.
    pub offset: u32,
    /// The piece; empty only if the message is.
    pub data: &'a [u8],
    /// True if the message ends with it.
    pub last: bool,
}

/// What is remembered of a chunk stream.
#[derive(Clone, Copy, Debug)]
struct ChunkStream {
    header: MessageHeader,
    /// The last timestamp field, or the extended one behind it.
    delta: u32,
    /// True if that was an extended one.
    extended: bool,
    /// Bytes received of the message; `None` between messages.
    received: Option<u32>,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// A chunk header's.
    Header,
    /// After a type 3 header: the repeated extended timestamp's, unless the peer does not repeat
    /// it and this is payload already.
    Repeated { matched: u8 },
    /// Payload's, up to the end of the chunk.
    Payload,
}

/// Reads chunks of one direction of one connection.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    chunk_size: u32,
    streams: Vec<ChunkStream>,
    /// The chunk stream of the chunk in hand.
    current: usize,
    /// Payload that the chunk in hand still has.
    chunk_left: u32,
    partial_bytes: u64,
    expect: Expect,
    /// False once the peer has left out an extended timestamp within a message.
    repeats_extended: bool,
    /// Bytes that were taken for a repeated extended timestamp, but were something else; they
    /// come before the input.
    unread: [u8; 4],
    unread_len: u8,
    head: [u8; HEADER_LEN_MAX],
    head_len: u8,
}

impl ChunkReader {
    /// Starts with the default chunk size.
    #[must_use]
    pub const fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            chunk_size: CHUNK_SIZE_DEFAULT,
            streams: Vec::new(),
            current: 0,
            chunk_left: 0,
            partial_bytes: 0,
            expect: Expect::Header,
            repeats_extended: true,
            unread: [0; 4],
            unread_len: 0,
            head: [0; HEADER_LEN_MAX],
            head_len: 0,
        }
    }

    /// Changes the limits, say after authentication; they hold for what comes.
    pub const fn set_limits(&mut self, limits: ChunkLimits) {
        self.limits = limits;
    }

    /// Sets the peer's chunk size, from the next chunk on. What exceeds [`CHUNK_SIZE_MAX`] is the
    /// same as that.
    ///
    /// # Errors
    /// [`Error::Invalid`] for 0 and for values with the reserved top bit.
    pub const fn set_chunk_size(&mut self, chunk_size: u32) -> Result<(), Error> {
        if chunk_size == 0 || chunk_size > 0x7fff_ffff {
            return Err(Error::Invalid { what: "rtmp.chunk_size", value: chunk_size as u64 });
        }
        self.chunk_size = if chunk_size > CHUNK_SIZE_MAX { CHUNK_SIZE_MAX } else { chunk_size };
        Ok(())
    }

    /// Forgets the partial message of a chunk stream, as the peer asks by an Abort message.
    ///
    /// Such a message ends between chunks; in the middle of a chunk of that very stream the call
    /// has no effect.
    pub fn abort(&mut self, csid: Csid) {
        let Some(index) = self.position(csid) else { return };
        if index != self.current || matches!(self.expect, Expect::Header) {
            self.drop_partial(index);
        }
    }

    /// Bytes received of unfinished messages.
    #[must_use]
    pub const fn partial_bytes(&self) -> u64 {
        self.partial_bytes
    }

    /// Bytes of the table of chunk streams.
    #[must_use]
    pub const fn table_bytes(&self) -> usize {
        self.streams.capacity() * size_of::<ChunkStream>()
    }

    /// Reads up to the end of one fragment and tells how many bytes that took, which may be 0 as
    /// long as there is a fragment. Without one, all of the input has been taken.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a type 2 or 3 header on a chunk stream without history,
    /// [`Error::TooLarge`] over a limit.
    pub fn feed<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Fragment<'a>>), Error> {
        let mut at = 0;
        loop {
            let fragment = if self.unread_len > 0 {
                let byte = usize::from(self.unread[0]);
                let (used, fragment) = self.step(&EVERY_BYTE[byte..=byte])?;
                self.unread.copy_within(used.., 0);
                self.unread_len -= len8(used);
                fragment
            } else if at < input.len() {
                let (used, fragment) = self.step(&input[at..])?;
                at += used;
                fragment
            } else {
                return Ok((at, None));
            };
            if fragment.is_some() {
                return Ok((at, fragment));
            }
        }
    }

    /// Takes some of the bytes, or none but then moves on to another expectation.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Fragment<'a>>), Error> {
        match self.expect {
            Expect::Header => {
                let (used, complete) = self.gather(bytes);
                Ok((used, if complete { self.header()? } else { None }))
            }
            Expect::Repeated { matched: before } => {
                let value = self.streams[self.current].delta.to_be_bytes();
                let pairs = bytes.iter().zip(&value[usize::from(before)..]);
                let used = pairs.take_while(|(byte, expected)| byte == expected).count();
                let matched = before + len8(used);
                if usize::from(matched) == value.len() {
                    return Ok((used, self.begin_chunk()?));
                }
                if used == bytes.len() {
                    self.expect = Expect::Repeated { matched };
                    return Ok((used, None));
                }
                // Not repeated: all of this is payload, or what follows.
                self.repeats_extended &= self.streams[self.current].received.is_none();
                let (unread, matched) = (usize::from(self.unread_len), usize::from(before));
                self.unread.copy_within(..unread, matched);
                self.unread[..matched].copy_from_slice(&value[..matched]);
                self.unread_len += before;
                Ok((0, self.begin_chunk()?))
            }
            Expect::Payload => self.payload(bytes),
        }
    }

    /// Collects a chunk header, except for the extended timestamp of a type 3 header.
    fn gather(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        loop {
            let held = usize::from(self.head_len);
            let missing = header_len(&self.head[..held]) - held;
            if missing == 0 {
                return (used, true);
            }
            let rest = &bytes[used..];
            let rest = &rest[..missing.min(rest.len())];
            if rest.is_empty() {
                return (used, false);
            }
            self.head[held..][..rest.len()].copy_from_slice(rest);
            self.head_len += len8(rest.len());
            used += rest.len();
        }
    }

    fn header<'a>(&mut self) -> Result<Option<Fragment<'a>>, Error> {
        let head = self.head;
        let mut reader = Reader::new(&head[..usize::from(self.head_len)]);
        self.head_len = 0;
        let first = reader.u8("rtmp.chunk.basic")?;
        let (fmt, csid) = (first >> 6, read_csid(first, &mut reader)?);
        self.current = match self.position(csid) {
            Some(index) => index,
            // librtmp opens its control stream with type 1: message stream 0 and time 0 then.
            None if fmt < 2 => self.register(csid)?,
            None => return Err(Error::Invalid { what: "rtmp.chunk.fmt", value: u64::from(fmt) }),
        };
        if fmt == 3 {
            let stream = &self.streams[self.current];
            if stream.extended && (self.repeats_extended || stream.received.is_none()) {
                self.expect = Expect::Repeated { matched: 0 };
                return Ok(None);
            }
            return self.begin_chunk();
        }
        self.drop_partial(self.current);
        let stream = &mut self.streams[self.current];
        let field = reader.u24("rtmp.chunk.timestamp")?;
        if fmt < 2 {
            stream.header.len = reader.u24("rtmp.chunk.len")?;
            stream.header.kind = MessageKind::from_wire(reader.u8("rtmp.chunk.kind")?);
        }
        if fmt == 0 {
            stream.header.msid = reader.u32_le("rtmp.chunk.msid")?;
        }
        stream.extended = field == EXTENDED;
        stream.delta = if stream.extended { reader.u32("rtmp.chunk.extended")? } else { field };
        let base = if fmt == 0 { 0 } else { stream.header.timestamp };
        stream.header.timestamp = base.wrapping_add(stream.delta);
        stream.received = Some(0);
        self.begin_chunk()
    }

    /// Starts on the payload of a chunk of the current stream, and on a message if it has none.
    fn begin_chunk<'a>(&mut self) -> Result<Option<Fragment<'a>>, Error> {
        let stream = &mut self.streams[self.current];
        let header = &mut stream.header;
        let received = *stream.received.get_or_insert_with(|| {
            header.timestamp = header.timestamp.wrapping_add(stream.delta);
            0
        });
        let max = self.limits.message_bytes_max;
        if header.len > max {
            let (value, max) = (u64::from(header.len), u64::from(max));
            return Err(Error::TooLarge { what: "rtmp.message_bytes", value, max });
        }
        if header.len == 0 {
            stream.received = None;
            self.expect = Expect::Header;
            return Ok(Some(Fragment { header: *header, offset: 0, data: &[], last: true }));
        }
        self.chunk_left = self.chunk_size.min(header.len - received);
        self.expect = Expect::Payload;
        Ok(None)
    }

    fn payload<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Option<Fragment<'a>>), Error> {
        let stream = &mut self.streams[self.current];
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.chunk_left);
        let data = &bytes[..len as usize];
        let header = stream.header;
        let offset = stream.received.unwrap_or_default();
        let received = offset + len;
        let last = received == header.len;
        self.chunk_left -= len;
        if self.chunk_left == 0 {
            self.expect = Expect::Header;
        }
        stream.received = Some(received);
        self.partial_bytes += u64::from(len);
        let max = u64::from(self.limits.partial_bytes_max);
        if self.partial_bytes > max {
            let value = self.partial_bytes;
            return Err(Error::TooLarge { what: "rtmp.partial_bytes", value, max });
        }
        if last {
            stream.received = None;
            self.partial_bytes -= u64::from(received);
        }
        Ok((data.len(), Some(Fragment { header, offset, data, last })))
    }

    fn position(&self, csid: Csid) -> Option<usize> {
        if self.streams.get(self.current).is_some_and(|stream| stream.header.csid == csid) {
            return Some(self.current);
        }
        self.streams.iter().position(|stream| stream.header.csid == csid)
    }

    fn register(&mut self, csid: Csid) -> Result<usize, Error> {
        let (index, max) = (self.streams.len(), self.limits.csids_max);
        if index >= max {
            let (value, max) = (index as u64 + 1, max as u64);
            return Err(Error::TooLarge { what: "rtmp.csids", value, max });
        }
        let kind = MessageKind::Unknown(0);
        let header = MessageHeader { csid, timestamp: 0, len: 0, kind, msid: 0 };
        // Most peers use two or three: room is made for one at a time.
        self.streams.reserve_exact(1);
        self.streams.push(ChunkStream { header, delta: 0, extended: false, received: None });
        Ok(index)
    }

    fn drop_partial(&mut self, index: usize) {
        let received = self.streams[index].received.take().unwrap_or_default();
        self.partial_bytes -= u64::from(received);
    }
}

/// A length within a chunk header, as it is kept.
fn len8(len: usize) -> u8 {
    u8::try_from(len).expect("a header has 18 bytes at most")
}

/// Bytes of a chunk header, as far as those that are there tell.
fn header_len(head: &[u8]) -> usize {
    let Some(first) = head.first() else { return 1 };
    let basic = match first & 0x3f {
        0 => 2,
        1 => 3,
        _ => 1,
    };
    let fixed = match first >> 6 {
        0 => basic + 11,
        1 => basic + 7,
        2 => basic + 3,
        _ => return basic,
    };
    let full = head.get(basic..basic + 3) == Some(&[0xff; 3]);
    if full && head.len() >= fixed { fixed + 4 } else { fixed }
}

fn read_csid(first: u8, reader: &mut Reader<'_>) -> Result<Csid, Error> {
    let id = match first & 0x3f {
        0 => 64 + u32::from(reader.u8("rtmp.chunk.csid")?),
        // The one little-endian field beside the message stream id.
        1 => 64 + u32::from(u16::from_le_bytes(reader.array("rtmp.chunk.csid")?)),
        id => u32::from(id),
    };
    Csid::new(id).ok_or(Error::Invalid { what: "rtmp.chunk.csid", value: u64::from(id) })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rtmp::chunk_writer::frame_message;

    fn csid(id: u32) -> Csid {
        Csid::new(id).unwrap()
    }

    fn header(id: u32, timestamp: u32, len: u32) -> MessageHeader {
        MessageHeader { csid: csid(id), timestamp, len, kind: MessageKind::Video, msid: 1 }
    }

    fn reader() -> ChunkReader {
        ChunkReader::new(ChunkLimits::default())
    }

    /// Feeds the pieces and joins the fragments, as a session does.
    fn read(
        reader: &mut ChunkReader,
        pieces: &[&[u8]],
    ) -> Result<Vec<(MessageHeader, Vec<u8>)>, Error> {
        let mut messages = Vec::new();
        let mut partial: Vec<(Csid, Vec<u8>)> = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, fragment) = reader.feed(rest)?;
                rest = &rest[used..];
                let Some(Fragment { header, offset, data, last }) = fragment else {
                    assert!(rest.is_empty(), "all is taken when there is no fragment");
                    break;
                };
                if offset == 0 {
                    partial.retain(|(csid, _)| *csid != header.csid);
                    partial.push((header.csid, Vec::new()));
                }
                let at = partial.iter().position(|(csid, _)| *csid == header.csid).unwrap();
                assert_eq!(partial[at].1.len(), offset as usize, "no gap");
                partial[at].1.extend_from_slice(data);
                if last {
                    messages.push((header, partial.swap_remove(at).1));
                }
            }
        }
        Ok(messages)
    }

    fn read_one(bytes: &[u8]) -> Result<Vec<(MessageHeader, Vec<u8>)>, Error> {
        let whole = read(&mut reader(), &[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&mut reader(), &single), whole, "byte by byte as in one piece");
        whole
    }

    #[test]
    fn three_byte_csid_is_little_endian() {
        let bytes = b"\x01\x01\x02\0\0\x05\0\0\x01\x09\x01\0\0\0x";
        let message = (header(64 + 1 + 2 * 256, 5, 1), b"x".to_vec());
        assert_eq!(read_one(bytes), Ok(vec![message]));
    }

    #[test]
    fn csids_of_every_width_carry_continuations() {
        for id in [2, 63, 64, 319, 320, 65_599] {
            let body = [7; 300];
            let header = header(id, 9, 300);
            let mut bytes = Vec::new();
            frame_message(&header, &body, 128, &mut bytes);
            assert_eq!(read_one(&bytes), Ok(vec![(header, body.to_vec())]), "csid {id}");
        }
    }

    #[test]
    fn csid_64_to_319_is_read_in_either_width() {
        let bytes = b"\x00\x24\0\0\0\0\0\x01\x09\x01\0\0\0a\xc1\x24\x00b";
        let message = |body: &[u8]| (header(100, 0, 1), body.to_vec());
        assert_eq!(read_one(bytes), Ok(vec![message(b"a"), message(b"b")]));
    }

    #[test]
    fn type_3_that_starts_a_message_adds_the_previous_delta() {
        let bytes = b"\x06\0\0\x64\0\0\x01\x09\x01\0\0\0a\x86\0\0\x14b\xc6c\xc6d";
        let times: Vec<_> = read_one(bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [100, 120, 140, 160]);
    }

    #[test]
    fn type_3_after_type_0_takes_the_timestamp_as_delta() {
        let bytes = b"\x06\0\0\x64\0\0\x01\x09\x01\0\0\0a\xc6b";
        let times: Vec<_> = read_one(bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [100, 200]);
    }

    #[test]
    fn type_1_and_2_inherit_what_they_leave_out() {
        let bytes = b"\x06\0\0\x64\0\0\x01\x09\x01\0\0\0a\x46\0\0\x05\0\0\x02\x08bb\x86\0\0\x06cc";
        let second = MessageHeader { kind: MessageKind::Audio, ..header(6, 105, 2) };
        let third = MessageHeader { timestamp: 111, ..second };
        assert_eq!(
            read_one(bytes),
            Ok(vec![
                (header(6, 100, 1), b"a".to_vec()),
                (second, b"bb".to_vec()),
                (third, b"cc".to_vec()),
            ])
        );
    }

    #[test]
    fn timestamps_wrap_at_32_bits() {
        let bytes = b"\x06\xff\xff\xff\0\0\x01\x09\x01\0\0\0\xff\xff\xff\xf0a\x86\0\0\x20b";
        let times: Vec<_> = read_one(bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [0xffff_fff0, 0x10]);
    }

    #[test]
    fn extended_deltas_are_read_on_types_1_and_2() {
        let bytes = b"\x06\0\0\x01\0\0\x01\x09\x01\0\0\0a\
            \x46\xff\xff\xff\0\0\x01\x09\x01\0\0\0b\x86\xff\xff\xff\x02\0\0\0c";
        let times: Vec<_> = read_one(bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [1, 0x0100_0001, 0x0300_0001]);
    }

    #[test]
    fn type_3_may_start_a_message_with_an_extended_delta() {
        let bytes = b"\x06\0\0\x01\0\0\x01\x09\x01\0\0\0a\
            \x86\xff\xff\xff\x02\0\0\0b\xc6\x02\0\0\0c";
        let times: Vec<_> = read_one(bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [1, 0x0200_0001, 0x0400_0001]);
    }

    fn with_extended_time(body: &[u8], chunk_size: usize, repeat: bool) -> Vec<u8> {
        let time = 0x0102_0304_u32.to_be_bytes();
        let mut bytes = b"\x06\xff\xff\xff\0\0".to_vec();
        bytes.push(u8::try_from(body.len()).unwrap());
        bytes.extend_from_slice(b"\x09\x01\0\0\0");
        bytes.extend_from_slice(&time);
        for (index, piece) in body.chunks(chunk_size).enumerate() {
            if index > 0 {
                bytes.push(0xc6);
                bytes.extend_from_slice(if repeat { &time } else { &[] });
            }
            bytes.extend_from_slice(piece);
        }
        bytes
    }

    #[test]
    fn peers_may_repeat_the_extended_timestamp_or_not() {
        // Bodies whose chunks begin with some of the timestamp's bytes, up to their very end, are
        // the hard ones.
        let bodies: [&[u8]; 6] = [
            &[9; 200],
            &[1; 200],
            b"\x01\x02\x03\x05\x01\x02\x03\x06\x01\x02\x03\x07\x01\x02\x03\x08",
            b"\x01\x02\x03\x01\x02\x03\x01\x02\x03",
            b"abcd\x01\x01\x02\x01\x02\x03",
            b"abcd\x01",
        ];
        for body in bodies {
            for chunk_size in [1, 2, 3, 4, 7, 128] {
                for repeat in [true, false] {
                    let one = with_extended_time(body, chunk_size, repeat);
                    let end = b"\x04\0\0\0\0\0\0\x09\x01\0\0\0";
                    let bytes = [one.as_slice(), &one, end].concat();
                    let len = u32::try_from(body.len()).unwrap();
                    let message = (header(6, 0x0102_0304, len), body.to_vec());
                    let expected = vec![message.clone(), message, (header(4, 0, 0), vec![])];
                    for step in 1..bytes.len() {
                        let mut reader = reader();
                        reader.set_chunk_size(u32::try_from(chunk_size).unwrap()).unwrap();
                        let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                        let messages = read(&mut reader, &pieces);
                        assert_eq!(
                            messages.as_ref(),
                            Ok(&expected),
                            "chunks of {chunk_size}, repeated: {repeat}, pieces of {step}"
                        );
                        assert_eq!(reader.partial_bytes(), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn leaving_it_out_at_the_start_says_nothing_of_continuations() {
        let time = b"\x01\x02\x03\x04";
        let first = b"\x06\xff\xff\xff\0\0\x02\x09\x01\0\0\0";
        let bytes = [&first[..], time, b"a\xc6", time, b"b", b"\xc6c\xc6", time, b"d"].concat();
        let mut reader = reader();
        reader.set_chunk_size(1).unwrap();
        let bodies: Vec<_> =
            read(&mut reader, &[&bytes]).unwrap().into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [b"ab", b"cd"]);
    }

    #[test]
    fn the_extended_timestamp_ends_with_the_next_full_header() {
        let mut bytes = with_extended_time(b"a", 128, true);
        bytes.extend_from_slice(b"\x86\0\0\x01b\xc6c");
        let times: Vec<_> = read_one(&bytes).unwrap().iter().map(|(h, _)| h.timestamp).collect();
        assert_eq!(times, [0x0102_0304, 0x0102_0305, 0x0102_0306]);
    }

    #[test]
    fn messages_interleave() {
        let mut bytes = b"\x06\0\0\0\0\0\x82\x09\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&[1; 128]);
        bytes.extend_from_slice(b"\x04\0\0\x03\0\0\x01\x09\x01\0\0\0a\xc6\x01\x01");
        assert_eq!(
            read_one(&bytes),
            Ok(vec![(header(4, 3, 1), b"a".to_vec()), (header(6, 0, 130), vec![1; 130])])
        );
    }

    #[test]
    fn a_new_header_drops_the_partial_message() {
        for new in [&b"\x06\0\0\0\0\0\x01\x09\x01\0\0\0b"[..], b"\x46\0\0\0\0\0\x01\x09b"] {
            let mut bytes = b"\x06\0\0\0\0\0\xff\x09\x01\0\0\0".to_vec();
            bytes.extend_from_slice(&[1; 128]);
            bytes.extend_from_slice(new);
            let mut reader = reader();
            let messages = read(&mut reader, &[&bytes]);
            assert_eq!(messages, Ok(vec![(header(6, 0, 1), b"b".to_vec())]));
            assert_eq!(reader.partial_bytes(), 0);
        }
    }

    #[test]
    fn abort_drops_the_partial_message() {
        let mut reader = reader();
        let mut bytes = b"\x06\0\0\x01\0\0\xff\x09\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&[1; 128]);
        assert_eq!(read(&mut reader, &[&bytes]), Ok(vec![]));
        assert_eq!(reader.partial_bytes(), 128);
        reader.abort(csid(6));
        reader.abort(csid(9));
        assert_eq!(reader.partial_bytes(), 0);
        let (_, fragment) = reader.feed(b"\xc6\x02").unwrap();
        assert_eq!(fragment.map(|fragment| (fragment.offset, fragment.data)), Some((0, &[2][..])));
    }

    #[test]
    fn abort_within_a_chunk_of_that_stream_has_no_effect() {
        let mut reader = reader();
        reader.feed(b"\x06\0\0\x01\0\0\x02\x09\x01\0\0\0a").unwrap();
        reader.abort(csid(6));
        let (_, fragment) = reader.feed(b"b").unwrap();
        assert_eq!(fragment.map(|fragment| (fragment.offset, fragment.last)), Some((1, true)));
        assert_eq!(reader.partial_bytes(), 0);
    }

    #[test]
    fn an_empty_message_is_one_empty_fragment() {
        let bytes = b"\x06\0\0\x05\0\0\0\x09\x01\0\0\0\xc6";
        assert_eq!(
            read_one(bytes),
            Ok(vec![(header(6, 5, 0), vec![]), (header(6, 10, 0), vec![])])
        );
    }

    #[test]
    fn payload_comes_before_its_chunk_is_complete() {
        let mut reader = reader();
        let (used, fragment) = reader.feed(b"\x06\0\0\0\0\0\x05\x09\x01\0\0\0ab").unwrap();
        let Fragment { offset, data, last, .. } = fragment.unwrap();
        assert_eq!((used, offset, data, last), (14, 0, &b"ab"[..], false));
    }

    #[test]
    fn chunk_size_0_and_the_reserved_bit_are_invalid() {
        let mut reader = reader();
        for size in [0, 0x8000_0000, u32::MAX] {
            let value = u64::from(size);
            let error = Error::Invalid { what: "rtmp.chunk_size", value };
            assert_eq!(reader.set_chunk_size(size), Err(error));
        }
        assert_eq!(reader.set_chunk_size(0x7fff_ffff), Ok(()));
        assert_eq!(reader.chunk_size, CHUNK_SIZE_MAX);
        assert_eq!(reader.set_chunk_size(1), Ok(()));
        let messages = read(&mut reader, &[b"\x06\0\0\0\0\0\x02\x09\x01\0\0\0a\xc6b"]);
        assert_eq!(messages, Ok(vec![(header(6, 0, 2), b"ab".to_vec())]));
    }

    #[test]
    fn type_1_may_open_a_chunk_stream() {
        let bytes = b"\x42\0\0\x05\0\0\x01\x09a";
        let message = MessageHeader { msid: 0, ..header(2, 5, 1) };
        assert_eq!(read_one(bytes), Ok(vec![(message, b"a".to_vec())]));
    }

    #[test]
    fn types_2_and_3_may_not_open_a_chunk_stream() {
        for (bytes, value) in [(&b"\x86\0\0\0"[..], 2), (b"\xc6", 3)] {
            assert_eq!(read_one(bytes), Err(Error::Invalid { what: "rtmp.chunk.fmt", value }));
        }
    }

    #[test]
    fn chunk_streams_are_limited() {
        let mut reader = reader();
        let mut bytes = Vec::new();
        for id in 2..66 {
            frame_message(&header(id, 0, 0), &[], 128, &mut bytes);
        }
        assert_eq!(read(&mut reader, &[&bytes]).map(|messages| messages.len()), Ok(64));
        bytes.clear();
        frame_message(&header(66, 0, 0), &[], 128, &mut bytes);
        let error = Error::TooLarge { what: "rtmp.csids", value: 65, max: 64 };
        assert_eq!(read(&mut reader, &[&bytes]), Err(error));
    }

    #[test]
    fn message_length_is_limited() {
        let limits = ChunkLimits { message_bytes_max: 4, ..ChunkLimits::default() };
        let mut reader = ChunkReader::new(limits);
        let error = Error::TooLarge { what: "rtmp.message_bytes", value: 5, max: 4 };
        assert_eq!(read(&mut reader, &[b"\x06\0\0\0\0\0\x05\x09\x01\0\0\0"]), Err(error));
    }

    #[test]
    fn partial_bytes_are_limited_over_all_chunk_streams_as_received() {
        let limits = ChunkLimits { partial_bytes_max: 10 * 128, ..ChunkLimits::default() };
        let mut reader = ChunkReader::new(limits);
        let mut bytes = Vec::new();
        for id in 10..20 {
            // Declares 16 MB, sends one chunk.
            bytes.extend_from_slice(&[id, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]);
            bytes.extend_from_slice(&[0; 128]);
        }
        assert_eq!(read(&mut reader, &[&bytes]), Ok(vec![]));
        let error = Error::TooLarge { what: "rtmp.partial_bytes", value: 1281, max: 1280 };
        assert_eq!(reader.feed(b"\x15\0\0\0\xff\xff\xff\x09\x01\0\0\0a").unwrap_err(), error);
    }

    #[test]
    fn raised_limits_hold_at_once() {
        let tight = ChunkLimits { message_bytes_max: 4, ..ChunkLimits::default() };
        let mut reader = ChunkReader::new(tight);
        reader.set_limits(ChunkLimits::default());
        let messages = read(&mut reader, &[b"\x06\0\0\0\0\0\x05\x09\x01\0\0\0abcde"]);
        assert_eq!(messages.map(|messages| messages.len()), Ok(1));
    }
}
