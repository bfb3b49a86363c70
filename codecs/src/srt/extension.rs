//! Extensions of a conclusion.
//!
//! Spec: draft-sharabayko-srt 3.2.1.1 to 3.2.1.4.
//! Shape: type (16 bits), length in words of 32 bits (16 bits), body.

use super::stream_id::turn_words;
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes before each body.
pub const EXTENSION_HEADER_BYTES: usize = 4;
/// Bytes of the handshake extension's body.
pub const HS_EXTENSION_BYTES: usize = 12;

/// What an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionType {
    /// What the caller can do.
    HsRequest,
    /// What the listener can do.
    HsResponse,
    /// The caller's key material.
    KmRequest,
    /// The same again, or why it was not taken.
    KmResponse,
    /// The stream id.
    StreamId,
    /// The name of the congestion control.
    Congestion,
    /// The configuration of the packet filter.
    Filter,
    /// The group that the connection belongs to.
    Group,
    /// Something else.
    Unknown(u16),
}

impl ExtensionType {
    const KNOWN: [(u16, Self); 8] = [
        (1, Self::HsRequest),
        (2, Self::HsResponse),
        (3, Self::KmRequest),
        (4, Self::KmResponse),
        (5, Self::StreamId),
        (6, Self::Congestion),
        (7, Self::Filter),
        (8, Self::Group),
    ];

    fn from_wire(wire: u16) -> Self {
        let known = Self::KNOWN.into_iter().find(|(code, _)| *code == wire);
        known.map_or(Self::Unknown(wire), |(_, kind)| kind)
    }

    fn to_wire(self) -> u16 {
        if let Self::Unknown(wire) = self {
            return wire;
        }
        let known = Self::KNOWN.into_iter().find(|(_, kind)| *kind == self);
        known.map_or(0, |(wire, _)| wire)
    }
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// What it is.
    pub kind: ExtensionType,
    /// What it says, a whole number of words.
    pub body: &'a [u8],
}

impl Extension<'_> {
    /// True if its text, a name of a few letters, is `text`.
    #[must_use]
    pub fn is_text(&self, text: &[u8]) -> bool {
        let padded = text.len().next_multiple_of(4);
        self.body.len() == padded
            && turn_words(self.body).zip(text.iter().copied().chain([0; 3])).all(|(a, b)| a == b)
    }
}

/// Reads extensions one after another; ends after the first error.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Starts behind the handshake.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<Extension<'a>, Error> {
        let mut reader = Reader::new(self.rest);
        let kind = ExtensionType::from_wire(reader.u16("srt.extension.type")?);
        let words = usize::from(reader.u16("srt.extension.length")?);
        let body = reader.bytes(words * 4, "srt.extension.body")?;
        self.rest = reader.rest();
        Ok(Extension { kind, body })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Appends an extension; its body is a whole number of words.
///
/// # Panics
/// If the body is longer than an extension can be, or no whole number of words: it is ours.
pub fn encode_extension(kind: ExtensionType, body: &[u8], writer: &mut Writer<'_>) {
    assert!(body.len().is_multiple_of(4), "a body of ours is filled up");
    writer.u16(kind.to_wire());
    writer.u16(u16::try_from(body.len() / 4).expect("a body of ours fits a datagram"));
    writer.put(body);
}

/// What a side can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HsExtension {
    /// The version of SRT, as `0x00MMmmpp`.
    pub version: u32,
    /// What it does.
    pub flags: HsFlags,
    /// The delay with which it wants to play what it receives.
    pub receiver_latency_ms: u16,
    /// The delay with which what it sends should be played at least.
    pub sender_latency_ms: u16,
}

/// What a side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HsFlags(pub u32);

impl HsFlags {
    /// It sends timestamps to play by.
    pub const TSBPD_SEND: Self = Self(0x01);
    /// It plays by timestamps.
    pub const TSBPD_RECEIVE: Self = Self(0x02);
    /// It knows encryption.
    pub const CRYPT: Self = Self(0x04);
    /// It drops what is too late.
    pub const TOO_LATE_DROP: Self = Self(0x08);
    /// It repeats its NAKs.
    pub const PERIODIC_NAK: Self = Self(0x10);
    /// It marks what it sends again.
    pub const RETRANSMIT_FLAG: Self = Self(0x20);
    /// It sends a stream of bytes, not messages.
    pub const STREAM: Self = Self(0x40);
    /// It knows packet filters.
    pub const PACKET_FILTER: Self = Self(0x80);

    /// True if all of `other` is in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl HsExtension {
    /// Reads the body of the extension.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        Ok(Self {
            version: reader.u32("srt.hs_extension.version")?,
            flags: HsFlags(reader.u32("srt.hs_extension.flags")?),
            receiver_latency_ms: reader.u16("srt.hs_extension.receiver_latency")?,
            sender_latency_ms: reader.u16("srt.hs_extension.sender_latency")?,
        })
    }

    /// Appends [`HS_EXTENSION_BYTES`].
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.version);
        writer.u32(self.flags.0);
        writer.u16(self.receiver_latency_ms);
        writer.u16(self.sender_latency_ms);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const HS: HsExtension = HsExtension {
        version: 0x0001_0501,
        flags: HsFlags(0xbf),
        receiver_latency_ms: 120,
        sender_latency_ms: 0,
    };

    #[test]
    fn extensions_are_read_and_written_alike() {
        let hs = b"\0\x01\0\x03\0\x01\x05\x01\0\0\0\xbf\0\x78\0\0";
        let congestion = b"\0\x06\0\x01evil";
        let empty = b"\0\x08\0\0";
        let other = b"\x12\x34\0\x01abcd";
        let bytes = [&hs[..], congestion, empty, other].concat();
        let read: Vec<_> = Extensions::new(&bytes).map(Result::unwrap).collect();
        let kinds: Vec<_> = read.iter().map(|extension| extension.kind).collect();
        let unknown = ExtensionType::Unknown(0x1234);
        let expected =
            [ExtensionType::HsRequest, ExtensionType::Congestion, ExtensionType::Group, unknown];
        assert_eq!(kinds, expected);
        assert_eq!(HsExtension::parse(read[0].body), Ok(HS));
        assert!(read[1].is_text(b"live") && !read[1].is_text(b"liv"));
        assert!(!read[2].is_text(b"live"));
        let mut written = [0; HS_EXTENSION_BYTES];
        HS.encode(&mut Writer::new(&mut written));
        let mut again = [0; 36];
        let mut writer = Writer::new(&mut again);
        encode_extension(ExtensionType::HsRequest, &written, &mut writer);
        for extension in &read[1..] {
            encode_extension(extension.kind, extension.body, &mut writer);
        }
        assert_eq!(again, *bytes);
    }

    #[test]
    fn a_length_beyond_the_datagram_is_refused() {
        let truncated = |what| Err(Error::Truncated { what });
        for (bytes, error) in [
            (&b"\0\x03\xff\xffabcdefgh"[..], truncated("srt.extension.body")),
            (b"\0\x05\0\x02abcd", truncated("srt.extension.body")),
            (b"\0\x05\0", truncated("srt.extension.length")),
            (b"\0", truncated("srt.extension.type")),
        ] {
            let read: Vec<_> = Extensions::new(bytes).collect();
            assert_eq!(read, [error]);
        }
        assert!(HsExtension::parse(&[0; 11]).is_err());
        assert!(HsFlags(0x0b).has(HsFlags::TOO_LATE_DROP.with(HsFlags::TSBPD_SEND)));
        assert!(!HsFlags(0x0b).has(HsFlags::CRYPT));
    }
}
