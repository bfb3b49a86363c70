//! Tag bodies as a transport stream, for what is published that way.
//!
//! Limits: H.264, HEVC with NAL units whose lengths have 4 bytes, and the sound that a transport
//! stream carries; one track of each.

use std::iter::once;

use anyhow::{Context, Result, bail, ensure};
use codecs::flv::audio::{AudioPacket, AudioTagHeader};
use codecs::flv::video::{VideoPacket, VideoTagHeader};
use codecs::media::{Codec, DecoderConfig};
use codecs::mpegts::annex_b::{AnnexB, Layout};
use codecs::mpegts::es::HEAD_LEN_MAX;
use codecs::mpegts::{ElementaryStream, Framing, Muxer, PACKET_LEN, Unit};
use codecs::time::MediaTime;

use crate::piece::PieceKind;

#[derive(Debug)]
struct Track {
    codec: Codec,
    framing: Framing,
    stream: Option<ElementaryStream>,
}

/// The multiplexer of one stream.
#[derive(Debug, Default)]
pub(super) struct Multiplex {
    muxer: Muxer,
    video: Option<Track>,
    audio: Option<Track>,
    /// The time of the last frame, whose 32 bits wrap after 49 days.
    time_ms: i64,
}

/// A frame of a track.
#[derive(Clone, Copy)]
struct Frame<'a> {
    dts: MediaTime,
    cts: MediaTime,
    is_key: bool,
    payload: &'a [u8],
}

impl Multiplex {
    /// Appends the packets of a tag body; configuration makes none.
    ///
    /// # Errors
    /// If no transport stream of ours carries it.
    pub(super) fn put(
        &mut self,
        kind: PieceKind,
        timestamp_ms: u32,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let dts = self.time(timestamp_ms);
        match kind {
            PieceKind::Video => self.video(dts, body, out),
            PieceKind::Audio => self.audio(dts, body, out),
        }
    }

    fn video(&mut self, dts: MediaTime, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let head = VideoTagHeader::parse(body)?;
        let payload = body.get(head.header_len..).unwrap_or_default();
        ensure!(head.multitrack.is_none(), "several tracks in one are not published by SRT");
        match (head.packet, head.codec) {
            (VideoPacket::SequenceStart, Some(codec)) => {
                let at = match codec {
                    Codec::H264 => 4,
                    Codec::Hevc => 21,
                    _ => bail!("{codec:?} is not published by SRT"),
                };
                let lengths = payload.get(at).context("the configuration is cut off")?;
                ensure!(lengths & 3 == 3, "its NAL units have lengths of other than 4 bytes");
                self.video = Some(track(codec, payload)?);
                self.list();
                Ok(())
            }
            (VideoPacket::Coded { composition_time_ms }, Some(_)) => {
                let cts = MediaTime::from_millis(composition_time_ms.into());
                let is_key = head.frame_type.is_key();
                self.picture(Frame { dts, cts, is_key, payload }, out)
            }
            _ => Ok(()),
        }
    }

    fn audio(&mut self, dts: MediaTime, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let head = AudioTagHeader::parse(body)?;
        let payload = body.get(head.header_len..).unwrap_or_default();
        match (head.packet, head.codec) {
            (AudioPacket::SequenceStart, Some(codec)) => {
                self.audio = Some(track(codec, payload)?);
                self.list();
                Ok(())
            }
            (AudioPacket::Coded, Some(codec)) => {
                // Sound that needs no configuration is listed when it first comes.
                if self.audio.as_ref().is_none_or(|track| track.codec != codec) {
                    self.audio = Some(track(codec, &[])?);
                    self.list();
                }
                self.sound(Frame { dts, cts: MediaTime::ZERO, is_key: false, payload }, out)
            }
            _ => Ok(()),
        }
    }

    fn picture(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        let Self { muxer, video, .. } = self;
        let Track { codec, framing, .. } = video.as_ref().context("pictures come before SPS")?;
        let layout = Layout::of(*codec, once(frame.payload))?;
        let lead = framing.lead(frame.is_key && !layout.has_parameter_sets);
        let len = lead[0].len() + lead[1].len() + layout.len;
        let mut cut = Cut::begin(muxer, &frame, *codec, len, out)?;
        lead.into_iter().for_each(|piece| cut.put(piece));
        for piece in AnnexB::new(*codec, once(frame.payload)) {
            cut.put(piece?.bytes());
        }
        Ok(())
    }

    fn sound(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        let Self { muxer, audio, .. } = self;
        let Track { codec, framing, .. } = audio.as_ref().context("sound comes unannounced")?;
        muxer.see(*codec, frame.payload);
        let mut head = [0; HEAD_LEN_MAX];
        let written = framing.encode_head(frame.payload.len(), &mut head)?;
        let mut cut = Cut::begin(muxer, &frame, *codec, written + frame.payload.len(), out)?;
        cut.put(&head[..written]);
        cut.put(frame.payload);
        Ok(())
    }

    fn list(&mut self) {
        let stream = |track: &Option<Track>| track.as_ref().and_then(|track| track.stream);
        self.muxer.set_streams(stream(&self.video), stream(&self.audio));
    }

    fn time(&mut self, timestamp_ms: u32) -> MediaTime {
        let newer = timestamp_ms.wrapping_sub(self.time_ms as u32).cast_signed();
        self.time_ms += i64::from(newer);
        MediaTime::from_millis(self.time_ms)
    }
}

fn track(codec: Codec, record: &[u8]) -> Result<Track> {
    let config = DecoderConfig {
        codec,
        record: record.to_vec(),
        video: None,
        audio: None,
        codec_string: String::new(),
    };
    let framing = Framing::of(codec, Some(&config));
    let framing = framing.with_context(|| format!("{codec:?} is not published by SRT"))?;
    Ok(Track { codec, framing, stream: ElementaryStream::of(codec, Some(&config)) })
}

/// Cuts the bytes of a unit into packets.
struct Cut<'a> {
    muxer: &'a mut Muxer,
    out: &'a mut Vec<u8>,
    /// Bytes that the packet in hand still takes.
    room: usize,
}

impl<'a> Cut<'a> {
    /// Begins a unit of so many bytes; what is due of the clock comes before it.
    fn begin(
        muxer: &'a mut Muxer,
        frame: &Frame<'_>,
        codec: Codec,
        len: usize,
        out: &'a mut Vec<u8>,
    ) -> Result<Self> {
        let Frame { dts, cts, is_key, .. } = *frame;
        let unit = Unit { codec, dts, cts, random_access: is_key, join: is_key, len };
        let mut cut = Self { muxer, out, room: 0 };
        if is_key {
            cut.muxer.advance(&unit);
            while cut.head() {}
        }
        cut.muxer.begin(unit)?;
        Ok(cut)
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.room == 0 {
                assert!(self.head(), "the unit's length was counted before");
                continue;
            }
            let (now, later) = bytes.split_at(self.room.min(bytes.len()));
            self.out.extend_from_slice(now);
            self.room -= now.len();
            bytes = later;
        }
    }

    /// Writes the next head; false if there is none.
    fn head(&mut self) -> bool {
        let mut head = [0; PACKET_LEN];
        let Some(next) = self.muxer.next(&mut head) else { return false };
        self.out.extend_from_slice(&head[..next.len]);
        self.room = next.payload;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::PictureSize;
    use crate::mpegts::{Tr101290, UnitReader};
    use crate::source::{Source, SourceSettings};

    #[test]
    fn a_source_is_a_transport_stream_without_a_fault() {
        let size = PictureSize::parse("320x180").unwrap();
        let settings =
            SourceSettings { size, bitrate: 800_000, fps: 30, gop_frames: 30, audio: true };
        let mut source = Source::new(settings);
        let (mut multiplex, mut out) = (Multiplex::default(), Vec::new());
        multiplex.put(PieceKind::Video, 0, &source.video_config(), &mut out).unwrap();
        let audio = source.audio_config().unwrap();
        multiplex.put(PieceKind::Audio, 0, &audio, &mut out).unwrap();
        assert!(out.is_empty());
        while source.sequence() < 120 {
            let frame = source.frame(1);
            multiplex.put(frame.kind, frame.timestamp_ms, frame.body, &mut out).unwrap();
        }
        assert!(out.len().is_multiple_of(PACKET_LEN));
        let mut judge = Tr101290::default();
        judge.feed(&out);
        assert_eq!(judge.first_fault(), None);
        let (mut reader, mut rest) = (UnitReader::of_contents(), out.as_slice());
        let mut numbers = Vec::new();
        while let Some(unit) = reader.next(&mut rest, 5) {
            let stamp = unit.stamp.unwrap();
            assert_eq!(unit.content, Some(stamp.content));
            numbers.push(stamp.sequence);
        }
        assert!(numbers.iter().copied().eq(0..119), "the last one has none behind it: {numbers:?}");
    }
}
