//! What an audio tag body starts with.
//!
//! Spec: Adobe Flash Video File Format 10.1, annex E.4.2; Enhanced RTMP v2, "Enhanced Audio".
//! Shape: sound format (4 bits), rate (2), size (1), channels (1), then for AAC the packet type
//! (8); or, with sound format 9, the packet type (4), see [`enhanced`](super::enhanced).
//! In/Out: the payload is what follows `header_len` bytes; for several tracks,
//! [`AudioTagHeader::tracks`] finds each.
//! Not here: PCM, ADPCM and Nellymoser, which are unsupported.

use super::enhanced::{Layout, Multitrack, Tracks, four_cc, modifiers, preamble};
use crate::Error;
use crate::media::{Codec, TrackKind};
use crate::reader::Reader;
use crate::writer::Writer;

/// The longest header that [`encode_audio_header`] writes.
pub const AUDIO_HEADER_LEN_MAX: usize = 5;

const ENHANCED: u8 = 9;
const MULTITRACK: u8 = 5;

/// What an audio tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioPacket {
    /// The decoder configuration record.
    SequenceStart,
    /// An access unit.
    Coded,
    /// The end of the sequence.
    SequenceEnd,
    /// How the channels map to speakers.
    MultichannelConfig,
    /// Nothing, for as long as until the next tag: the body is empty.
    Silence,
}

/// The header of an audio tag body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioTagHeader {
    /// The codec; `None` for silence, and where each track has its own.
    pub codec: Option<Codec>,
    /// What the tag carries.
    pub packet: AudioPacket,
    /// True for the layout of Enhanced RTMP.
    pub enhanced: bool,
    /// True if a legacy header says so; AAC says it always, and its configuration decides.
    pub stereo: bool,
    /// Samples per second by a legacy header, which AAC and Speex ignore; 0 if enhanced.
    pub sample_rate: u32,
    /// Nanoseconds to add to the timestamp.
    pub nano_offset: u32,
    /// The tracks, if they are told.
    pub multitrack: Option<Multitrack>,
    /// Bytes of the header: the payload, or the first of several tracks, follows.
    pub header_len: usize,
}

impl AudioTagHeader {
    const SILENCE: Self = Self {
        codec: None,
        packet: AudioPacket::Silence,
        enhanced: false,
        stereo: false,
        sample_rate: 0,
        nano_offset: 0,
        multitrack: None,
        header_len: 0,
    };

    /// Reads the header from the first bytes of a tag body; an empty body is silence.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`] for an unknown packet type,
    /// [`Error::Unsupported`] for an unknown codec.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        if reader.is_empty() {
            return Ok(Self::SILENCE);
        }
        let first = reader.u8("flv.audio")?;
        let mut header = if first >> 4 == ENHANCED {
            Self::enhanced(&mut reader, first & 0x0f)?
        } else {
            Self::legacy(&mut reader, first)?
        };
        header.header_len = body.len() - reader.remaining();
        Ok(header)
    }

    fn legacy(reader: &mut Reader<'_>, first: u8) -> Result<Self, Error> {
        let format = first >> 4;
        let (codec, fixed_rate) = match format {
            2 => (Codec::Mp3, None),
            7 => (Codec::G711Alaw, Some(8000)),
            8 => (Codec::G711Mulaw, Some(8000)),
            10 => (Codec::Aac, None),
            11 => (Codec::Speex, Some(16_000)),
            14 => (Codec::Mp3, Some(8000)),
            _ => {
                return Err(Error::Unsupported {
                    what: "flv.audio.format",
                    value: u64::from(format),
                });
            }
        };
        let packet = if codec == Codec::Aac {
            match reader.u8("flv.audio.packet_type")? {
                0 => AudioPacket::SequenceStart,
                1 => AudioPacket::Coded,
                other => return Err(invalid_packet_type(other)),
            }
        } else {
            AudioPacket::Coded
        };
        let told_rate = 44_100 >> (3 - u32::from(first >> 2 & 3));
        Ok(Self {
            codec: Some(codec),
            packet,
            stereo: first & 1 != 0,
            sample_rate: fixed_rate.unwrap_or(told_rate),
            ..Self::SILENCE
        })
    }

    fn enhanced(reader: &mut Reader<'_>, first: u8) -> Result<Self, Error> {
        let (packet_type, nano_offset) = modifiers(reader, first)?;
        let preamble = preamble(reader, packet_type, MULTITRACK)?;
        let packet = match preamble.packet_type {
            0 => AudioPacket::SequenceStart,
            1 => AudioPacket::Coded,
            2 => AudioPacket::SequenceEnd,
            4 => AudioPacket::MultichannelConfig,
            other => return Err(invalid_packet_type(other)),
        };
        Ok(Self {
            codec: preamble.codec,
            packet,
            enhanced: true,
            nano_offset,
            multitrack: preamble.multitrack,
            ..Self::SILENCE
        })
    }

    /// The tracks of the whole tag body that this header was read from; one if it tells of none.
    #[must_use]
    pub fn tracks<'a>(&self, body: &'a [u8]) -> Tracks<'a> {
        let layout = Layout {
            codec: self.codec,
            multitrack: self.multitrack,
            composition_time_ms: 0,
            timed: false,
        };
        Tracks::new(body, self.header_len, layout)
    }
}

fn invalid_packet_type(wire: u8) -> Error {
    Error::Invalid { what: "flv.audio.packet_type", value: u64::from(wire) }
}

/// The first byte of a legacy header: the format with the flags that encoders send.
const fn legacy_flags(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Aac => Some(0xaf),
        Codec::Mp3 => Some(0x2f),
        Codec::G711Alaw => Some(0x72),
        Codec::G711Mulaw => Some(0x82),
        Codec::Speex => Some(0xb6),
        _ => None,
    }
}

/// The flags to write: an enhanced header alone tells of the end and of channels, and carries the
/// codecs of today; a legacy one alone carries G.711 and Speex.
const fn legacy_layout(codec: Codec, enhanced: bool, packet: AudioPacket) -> Option<u8> {
    let told = matches!(packet, AudioPacket::SequenceEnd | AudioPacket::MultichannelConfig);
    if (enhanced || told) && four_cc(codec).is_some() { None } else { legacy_flags(codec) }
}

/// Bytes that [`encode_audio_header`] writes.
#[must_use]
pub const fn audio_header_len(codec: Codec, enhanced: bool, packet: AudioPacket) -> usize {
    match (legacy_layout(codec, enhanced, packet), packet) {
        (_, AudioPacket::Silence) => 0,
        (None, _) => 5,
        (Some(_), _) if matches!(codec, Codec::Aac) => 2,
        (Some(_), _) => 1,
    }
}

/// Writes the header of a tag with one track: enhanced if asked for, or if the codec or the packet
/// has no legacy form. Silence has no header.
///
/// # Panics
/// If `codec` is no audio codec.
pub fn encode_audio_header(
    codec: Codec,
    enhanced: bool,
    packet: AudioPacket,
    writer: &mut Writer<'_>,
) {
    assert_eq!(codec.kind(), TrackKind::Audio, "an audio tag carries an audio codec");
    let packet_type = match packet {
        AudioPacket::SequenceStart => 0,
        AudioPacket::Coded => 1,
        AudioPacket::SequenceEnd => 2,
        AudioPacket::MultichannelConfig => 4,
        AudioPacket::Silence => return,
    };
    if let Some(flags) = legacy_layout(codec, enhanced, packet) {
        writer.u8(flags);
        if codec == Codec::Aac {
            writer.u8(packet_type);
        }
        return;
    }
    writer.u8(ENHANCED << 4 | packet_type);
    writer.put(&four_cc(codec).expect("a codec has flags or a FourCC"));
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::enhanced::{MultitrackKind, Track};
    use super::*;

    #[test]
    fn written_headers_hold_both_ways() {
        use AudioPacket::{Coded, MultichannelConfig, SequenceEnd, SequenceStart};
        let table: [(&[u8], Codec, bool, AudioPacket); 14] = [
            (b"\xaf\x00", Codec::Aac, false, SequenceStart),
            (b"\xaf\x01", Codec::Aac, false, Coded),
            (b"\x2f", Codec::Mp3, false, Coded),
            (b"\x72", Codec::G711Alaw, false, Coded),
            (b"\x82", Codec::G711Mulaw, true, Coded),
            (b"\xb6", Codec::Speex, true, Coded),
            (b"\x90mp4a", Codec::Aac, true, SequenceStart),
            (b"\x91mp4a", Codec::Aac, true, Coded),
            (b"\x92mp4a", Codec::Aac, false, SequenceEnd),
            (b"\x91.mp3", Codec::Mp3, true, Coded),
            (b"\x90Opus", Codec::Opus, false, SequenceStart),
            (b"\x91fLaC", Codec::Flac, false, Coded),
            (b"\x91ac-3", Codec::Ac3, true, Coded),
            (b"\x94ec-3", Codec::Eac3, true, MultichannelConfig),
        ];
        for (bytes, codec, enhanced, packet) in table {
            let mut out = [0; AUDIO_HEADER_LEN_MAX];
            let mut writer = Writer::new(&mut out);
            encode_audio_header(codec, enhanced, packet, &mut writer);
            let len = writer.written();
            assert_eq!(out[..len], *bytes);
            assert_eq!(len, audio_header_len(codec, enhanced, packet));
            let header = AudioTagHeader::parse(bytes).unwrap();
            assert_eq!(
                (header.codec, header.packet, header.header_len),
                (Some(codec), packet, len)
            );
            assert_eq!(header.enhanced, bytes[0] >> 4 == 9);
            for cut in 1..len {
                assert!(matches!(
                    AudioTagHeader::parse(&bytes[..cut]),
                    Err(Error::Truncated { .. })
                ));
            }
        }
    }

    #[test]
    fn an_empty_body_is_silence() {
        let header = AudioTagHeader::parse(&[]).unwrap();
        assert_eq!((header.codec, header.packet), (None, AudioPacket::Silence));
        assert_eq!(header.tracks(&[]).count(), 0);
        let mut writer = Writer::new(&mut []);
        encode_audio_header(Codec::Aac, true, AudioPacket::Silence, &mut writer);
        assert_eq!(audio_header_len(Codec::Aac, true, AudioPacket::Silence), writer.written());
    }

    #[test]
    fn legacy_flags_tell_rate_and_channels() {
        for (first, sample_rate, stereo) in
            [(0x22, 5512, false), (0x27, 11_025, true), (0x2a, 22_050, false), (0x2f, 44_100, true)]
        {
            let header = AudioTagHeader::parse(&[first]).unwrap();
            assert_eq!((header.sample_rate, header.stereo), (sample_rate, stereo));
        }
        let header = AudioTagHeader::parse(&[0xe2]).unwrap();
        assert_eq!((header.codec, header.sample_rate), (Some(Codec::Mp3), 8000));
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for bytes in [&b"\x3f"[..], b"\x6f", b"\xff", b"\x90XXXX"] {
            assert!(matches!(AudioTagHeader::parse(bytes), Err(Error::Unsupported { .. })));
        }
        for bytes in [&b"\xaf\x02"[..], b"\x93mp4a", b"\x96mp4a"] {
            assert!(matches!(AudioTagHeader::parse(bytes), Err(Error::Invalid { .. })));
        }
    }

    #[test]
    fn modifiers_and_tracks_come_before_the_payload() {
        let body = b"\x97\x02\0\0\x09\x05\x21Opus\0\0\0\x02abmp4a\x01\0\0\x01c";
        let header = AudioTagHeader::parse(body).unwrap();
        let kind = MultitrackKind::ManyTracksManyCodecs;
        assert_eq!((header.codec, header.nano_offset), (None, 9));
        assert_eq!(header.multitrack, Some(Multitrack { kind, track_id: 0 }));
        let track =
            |track_id, codec, range| Ok(Track { track_id, codec, composition_time_ms: 0, range });
        let tracks: Vec<_> = header.tracks(body).collect();
        assert_eq!(tracks, vec![track(0, Codec::Opus, 15..17), track(1, Codec::Aac, 25..26)]);
    }
}
