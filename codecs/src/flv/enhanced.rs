//! What Enhanced RTMP adds to audio and video alike: `FourCC`s, modifiers and several tracks in
//! one tag.
//!
//! Spec: Enhanced RTMP v2, "Enhanced Audio" and "Enhanced Video".
//! Shape: packet type (4 bits), modifiers while it is 7, then either a `FourCC`, or a multitrack
//! kind and the tracks' packet type in one byte and a `FourCC` unless each track has its own.

use core::ops::Range;

use crate::Error;
use crate::media::Codec;
use crate::reader::Reader;

/// The packet type that announces a modifier, in audio and video.
const MOD_EX: u8 = 7;
/// The modifier that refines the timestamp.
const TIMESTAMP_OFFSET_NANO: u8 = 0;
/// Nanoseconds in a millisecond: a refinement is less.
const NANO_OFFSET_END: u32 = 1_000_000;

/// The `FourCC` of a codec, if Enhanced RTMP has one.
#[must_use]
pub const fn four_cc(codec: Codec) -> Option<[u8; 4]> {
    Some(*match codec {
        Codec::H264 => b"avc1",
        Codec::Hevc => b"hvc1",
        Codec::Vvc => b"vvc1",
        Codec::Av1 => b"av01",
        Codec::Vp8 => b"vp08",
        Codec::Vp9 => b"vp09",
        Codec::Aac => b"mp4a",
        Codec::Mp3 => b".mp3",
        Codec::Opus => b"Opus",
        Codec::Flac => b"fLaC",
        Codec::Ac3 => b"ac-3",
        Codec::Eac3 => b"ec-3",
        _ => return None,
    })
}

/// The codec of a `FourCC`.
#[must_use]
pub const fn codec_of(four_cc: [u8; 4]) -> Option<Codec> {
    Some(match &four_cc {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"vvc1" => Codec::Vvc,
        b"av01" => Codec::Av1,
        b"vp08" => Codec::Vp8,
        b"vp09" => Codec::Vp9,
        b"mp4a" => Codec::Aac,
        b".mp3" => Codec::Mp3,
        b"Opus" => Codec::Opus,
        b"fLaC" => Codec::Flac,
        b"ac-3" => Codec::Ac3,
        b"ec-3" => Codec::Eac3,
        _ => return None,
    })
}

/// How many tracks a tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultitrackKind {
    /// One.
    OneTrack,
    /// Several of one codec.
    ManyTracks,
    /// Several, each with its codec.
    ManyTracksManyCodecs,
}

/// The multitrack part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multitrack {
    /// How many tracks.
    pub kind: MultitrackKind,
    /// The track, if there is one; 0 for the other kinds, whose tracks [`Tracks`] lists.
    pub track_id: u8,
}

/// A track of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its id; 0 is the default track.
    pub track_id: u8,
    /// Its codec.
    pub codec: Codec,
    /// Composition time minus decoding time in milliseconds; 0 for audio.
    pub composition_time_ms: i32,
    /// Where its payload stands in the tag body.
    pub range: Range<usize>,
}

/// The part of a header that audio and video share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Preamble {
    pub(super) packet_type: u8,
    pub(super) codec: Option<Codec>,
    pub(super) multitrack: Option<Multitrack>,
}

impl Preamble {
    /// True if each track has a header of its own.
    pub(super) fn many(&self) -> bool {
        self.multitrack.is_some_and(|multitrack| multitrack.kind != MultitrackKind::OneTrack)
    }
}

/// Skips modifiers; returns the packet type behind them and the nanosecond offset.
pub(super) fn modifiers(reader: &mut Reader<'_>, packet_type: u8) -> Result<(u8, u32), Error> {
    let mut packet_type = packet_type;
    let mut nano_offset = 0;
    while packet_type == MOD_EX {
        let mut len = usize::from(reader.u8("flv.mod_ex.len")?) + 1;
        if len == 256 {
            len = usize::from(reader.u16("flv.mod_ex.len")?) + 1;
        }
        let data = reader.bytes(len, "flv.mod_ex")?;
        let types = reader.u8("flv.mod_ex.type")?;
        if types >> 4 == TIMESTAMP_OFFSET_NANO {
            nano_offset = Reader::new(data).u24("flv.mod_ex.nano_offset")?;
            if nano_offset >= NANO_OFFSET_END {
                let value = u64::from(nano_offset);
                return Err(Error::Invalid { what: "flv.mod_ex.nano_offset", value });
            }
        }
        packet_type = types & 0x0f;
    }
    Ok((packet_type, nano_offset))
}

/// Reads what follows the modifiers; `multitrack_type` is the medium's packet type for several
/// tracks.
pub(super) fn preamble(
    reader: &mut Reader<'_>,
    packet_type: u8,
    multitrack_type: u8,
) -> Result<Preamble, Error> {
    if packet_type != multitrack_type {
        let codec = Some(read_codec(reader)?);
        return Ok(Preamble { packet_type, codec, multitrack: None });
    }
    let types = reader.u8("flv.multitrack")?;
    let kind = match types >> 4 {
        0 => MultitrackKind::OneTrack,
        1 => MultitrackKind::ManyTracks,
        2 => MultitrackKind::ManyTracksManyCodecs,
        other => {
            let value = u64::from(other);
            return Err(Error::Unsupported { what: "flv.multitrack.kind", value });
        }
    };
    let packet_type = types & 0x0f;
    if packet_type == multitrack_type || packet_type == MOD_EX {
        let value = u64::from(packet_type);
        return Err(Error::Invalid { what: "flv.multitrack.packet_type", value });
    }
    let own = kind == MultitrackKind::ManyTracksManyCodecs;
    let codec = if own { None } else { Some(read_codec(reader)?) };
    let one = kind == MultitrackKind::OneTrack;
    let track_id = if one { reader.u8("flv.multitrack.track_id")? } else { 0 };
    Ok(Preamble { packet_type, codec, multitrack: Some(Multitrack { kind, track_id }) })
}

fn read_codec(reader: &mut Reader<'_>) -> Result<Codec, Error> {
    known_codec(reader.array("flv.four_cc")?)
}

fn known_codec(wire: [u8; 4]) -> Result<Codec, Error> {
    let value = u64::from(u32::from_be_bytes(wire));
    codec_of(wire).ok_or(Error::Unsupported { what: "flv.four_cc", value })
}

/// What a tag says of its tracks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) codec: Option<Codec>,
    pub(super) multitrack: Option<Multitrack>,
    /// The composition time of the only track.
    pub(super) composition_time_ms: i32,
    /// True if each of several tracks has a composition time.
    pub(super) timed: bool,
}

/// The tracks of a tag, whatever its kind.
///
/// A track of an unknown codec is an error and passed over; after any other the tracks end.
#[derive(Clone, Debug)]
pub struct Tracks<'a> {
    body_len: usize,
    reader: Reader<'a>,
    layout: Layout,
}

impl<'a> Tracks<'a> {
    /// Starts behind the header of a tag.
    pub(super) fn new(body: &'a [u8], header_len: usize, layout: Layout) -> Self {
        let reader = Reader::new(body.get(header_len..).unwrap_or_default());
        Self { body_len: body.len(), reader, layout }
    }

    fn track(&mut self) -> Result<Track, Error> {
        let Layout { codec, multitrack, composition_time_ms, timed } = self.layout;
        let multitrack =
            multitrack.unwrap_or(Multitrack { kind: MultitrackKind::OneTrack, track_id: 0 });
        let codec = match codec {
            Some(codec) => Ok(codec),
            // What is unknown is passed over once its length is known.
            None => known_codec(self.reader.array("flv.four_cc")?),
        };
        if multitrack.kind == MultitrackKind::OneTrack {
            let range = self.body_len - self.reader.remaining()..self.body_len;
            self.reader = Reader::new(&[]);
            let track_id = multitrack.track_id;
            return Ok(Track { track_id, codec: codec?, composition_time_ms, range });
        }
        let track_id = self.reader.u8("flv.multitrack.track_id")?;
        let len = self.reader.u24("flv.multitrack.len")? as usize;
        let mut payload = Reader::new(self.reader.bytes(len, "flv.multitrack.track")?);
        let codec = codec?;
        let timed = timed && has_composition_time(codec);
        let composition_time_ms = if timed { payload.i24("flv.multitrack.cts")? } else { 0 };
        let end = self.body_len - self.reader.remaining();
        Ok(Track { track_id, codec, composition_time_ms, range: end - payload.remaining()..end })
    }
}

impl Iterator for Tracks<'_> {
    type Item = Result<Track, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let track = self.track();
        if matches!(track, Err(Error::Truncated { .. })) {
            self.reader = Reader::new(&[]);
        }
        Some(track)
    }
}

/// True if coded frames of this codec may come out of order, and their packets tell it.
pub(super) const fn has_composition_time(codec: Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::Hevc | Codec::Vvc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_ccs_name_one_codec_each() {
        let names = [
            b"avc1", b"hvc1", b"vvc1", b"av01", b"vp08", b"vp09", b"mp4a", b".mp3", b"Opus",
            b"fLaC", b"ac-3", b"ec-3",
        ];
        for name in names {
            assert_eq!(codec_of(*name).and_then(four_cc), Some(*name));
        }
        assert_eq!((codec_of(*b"hev1"), four_cc(Codec::Speex)), (None, None));
    }
}
