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
    Repeated { matched: usize },
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
    /// Bytes that were taken for a repeated extended timestamp, but were something else; they
    /// come before the input.
    unread: [u8; 4],
    unread_len: usize,
    head: [u8; HEADER_LEN_MAX],
    head_len: usize,
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
                self.unread_len -= used;
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
                let pairs = bytes.iter().zip(&value[before..]);
                let used = pairs.take_while(|(byte, expected)| byte == expected).count();
                let matched = before + used;
                if matched == value.len() {
                    return Ok((used, self.begin_chunk()?));
                }
                if used == bytes.len() {
                    self.expect = Expect::Repeated { matched };
                    return Ok((used, None));
                }
                // Some encoders do not repeat it: all of this is payload, or what follows.
                self.unread.copy_within(..self.unread_len, before);
                self.unread[..before].copy_from_slice(&value[..before]);
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
            let missing = header_len(&self.head[..self.head_len]) - self.head_len;
            if missing == 0 {
                return (used, true);
            }
            let rest = &bytes[used..];
            let rest = &rest[..missing.min(rest.len())];
            if rest.is_empty() {
                return (used, false);
            }
            self.head[self.head_len..][..rest.len()].copy_from_slice(rest);
            self.head_len += rest.len();
            used += rest.len();
        }
    }

    fn header<'a>(&mut self) -> Result<Option<Fragment<'a>>, Error> {
        let head = self.head;
        let mut reader = Reader::new(&head[..self.head_len]);
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
            if self.streams[self.current].extended {
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
        self.partial_bytes += u64::from(len);
        let max = u64::from(self.limits.partial_bytes_max);
        if self.partial_bytes > max {
            let value = self.partial_bytes;
            return Err(Error::TooLarge { what: "rtmp.partial_bytes", value, max });
        }
        stream.received = Some(received);
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
        self.streams.push(ChunkStream { header, delta: 0, extended: false, received: None });
        Ok(index)
    }

    fn drop_partial(&mut self, index: usize) {
        let received = self.streams[index].received.take().unwrap_or_default();
        self.partial_bytes -= u64::from(received);
    }
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
