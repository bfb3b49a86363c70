//! Synthetic media: the content of an access unit is a function of its number.

use codecs::aac::AdtsHeader;
use codecs::flv::audio::{AudioPacket, AudioTagHeader, encode_audio_header};
use codecs::flv::tag::{FileHeader, TagHeader, TagKind};
use codecs::flv::video::{VideoPacket, VideoTagHeader, encode_video_header};
use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::media::Codec;
use codecs::writer::Writer;

/// What a message or tag carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// AMF0 values, the name first.
    Data(Vec<u8>),
    /// avcC.
    VideoConfig(Vec<u8>),
    /// An `AudioSpecificConfig`.
    AudioConfig(Vec<u8>),
    Video(Frame),
    Audio(Frame),
}

/// One access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u32,
    pub(crate) keyframe: bool,
    pub(crate) cts_ms: i32,
    pub(crate) len: usize,
}

/// One message or tag as a player received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) ms: u32,
    pub(crate) content: Content,
    /// The bytes on the wire, headers included.
    pub(crate) wire: Vec<u8>,
}

impl Item {
    /// Reads the body of a message or tag of that type, and checks every byte of a frame.
    pub(crate) fn parse(kind: u8, ms: u32, body: &[u8], wire: Vec<u8>) -> Self {
        let content = match kind {
            8 => audio(body),
            9 => video(body),
            18 => Content::Data(body.to_vec()),
            other => panic!("type {other} is no media"),
        };
        Self { ms, content, wire }
    }

    pub(crate) fn video(&self) -> Option<Frame> {
        if let Content::Video(frame) = self.content { Some(frame) } else { None }
    }

    pub(crate) fn audio(&self) -> Option<Frame> {
        if let Content::Audio(frame) = self.content { Some(frame) } else { None }
    }

    pub(crate) fn frame(&self) -> Option<Frame> {
        self.video().or(self.audio())
    }
}

fn video(body: &[u8]) -> Content {
    let header = VideoTagHeader::parse(body).unwrap();
    let rest = &body[header.header_len..];
    match header.packet {
        VideoPacket::SequenceStart => Content::VideoConfig(rest.to_vec()),
        VideoPacket::Coded { composition_time_ms } => {
            let (length, nal) = rest.split_at(4);
            assert_eq!(length, u32::try_from(nal.len()).unwrap().to_be_bytes());
            let keyframe = header.frame_type.is_key();
            assert_eq!(nal[0], nal_header(keyframe), "the NAL unit is the flag's");
            let number = check(&nal[1..]);
            Content::Video(Frame { number, keyframe, cts_ms: composition_time_ms, len: body.len() })
        }
        other => panic!("a player got {other:?}"),
    }
}

fn audio(body: &[u8]) -> Content {
    let header = AudioTagHeader::parse(body).unwrap();
    let rest = &body[header.header_len..];
    match header.packet {
        AudioPacket::SequenceStart => Content::AudioConfig(rest.to_vec()),
        AudioPacket::Coded => {
            let number = check(rest);
            Content::Audio(Frame { number, keyframe: true, cts_ms: 0, len: body.len() })
        }
        other => panic!("a player got {other:?}"),
    }
}

impl Content {
    /// The picture of an access unit as a byte stream, and the parameter sets before it.
    pub(crate) fn of_byte_stream(bytes: &[u8], cts_ms: i32) -> (Self, Vec<Vec<u8>>) {
        let mut units = codecs::nal::annex_b_ranges(bytes);
        let delimiter = units.next().unwrap();
        assert_eq!(bytes[delimiter], [0x09, 0xf0], "a delimiter comes first");
        let mut sets = Vec::new();
        // The one slice goes to the end, whatever its content looks like.
        let unit = loop {
            let range = units.next().unwrap();
            match bytes[range.start] & 0x1f {
                7 | 8 => sets.push(bytes[range].to_vec()),
                _ => break &bytes[range.start..],
            }
        };
        let keyframe = unit[0] == nal_header(true);
        assert_eq!((unit[0], sets.is_empty()), (nal_header(keyframe), !keyframe));
        let number = check(&unit[1..]);
        let frame = Frame { number, keyframe, cts_ms, len: unit.len() + 9 };
        (Self::Video(frame), sets)
    }

    /// The sound of one ADTS frame.
    pub(crate) fn of_adts(bytes: &[u8]) -> Self {
        let (header, len) = AdtsHeader::parse(bytes).unwrap().unwrap();
        assert_eq!(usize::from(header.frame_len), bytes.len(), "one frame");
        Self::of_sound(&bytes[len..])
    }

    /// Sound as it was sent.
    pub(crate) fn of_sound(bytes: &[u8]) -> Self {
        Self::Audio(Frame { number: check(bytes), keyframe: true, cts_ms: 0, len: bytes.len() + 2 })
    }
}

const fn nal_header(keyframe: bool) -> u8 {
    if keyframe { 0x65 } else { 0x41 }
}

/// `len` bytes that tell their number in each place; at least its 4 bytes.
pub(crate) fn payload(number: u32, len: usize) -> Vec<u8> {
    let head = number.to_be_bytes();
    let filler = (4..len).map(|at| filler(number, at));
    head.into_iter().chain(filler).collect()
}

const fn filler(number: u32, at: usize) -> u8 {
    (number as usize).wrapping_mul(131).wrapping_add(at ^ (at >> 8)) as u8
}

/// The number of a payload, every byte of which must be as it was sent.
fn check(bytes: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*bytes.first_chunk().expect("a payload has its number"));
    let wrong = bytes.iter().enumerate().skip(4).find(|&(at, &byte)| byte != filler(number, at));
    assert_eq!(wrong, None, "content of number {number}");
    number
}

/// The body of a video message.
pub(crate) fn video_body(number: u32, keyframe: bool, cts_ms: i32, len: usize) -> Vec<u8> {
    let packet = VideoPacket::Coded { composition_time_ms: cts_ms };
    let mut body = header(|w| encode_video_header(Codec::H264, false, keyframe, packet, w));
    body.extend_from_slice(&u32::try_from(len + 1).unwrap().to_be_bytes());
    body.push(nal_header(keyframe));
    body.extend(payload(number, len));
    body
}

/// The body of an audio message.
pub(crate) fn audio_body(number: u32, len: usize) -> Vec<u8> {
    let mut body = header(|w| encode_audio_header(Codec::Aac, false, AudioPacket::Coded, w));
    body.extend(payload(number, len));
    body
}

/// The body of a video sequence header.
pub(crate) fn video_config_body(record: &[u8]) -> Vec<u8> {
    let packet = VideoPacket::SequenceStart;
    let mut body = header(|w| encode_video_header(Codec::H264, false, true, packet, w));
    body.extend_from_slice(record);
    body
}

/// The body of an audio sequence header.
pub(crate) fn audio_config_body(asc: &[u8]) -> Vec<u8> {
    let mut body =
        header(|w| encode_audio_header(Codec::Aac, false, AudioPacket::SequenceStart, w));
    body.extend_from_slice(asc);
    body
}

fn header(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = [0; 16];
    let mut writer = Writer::new(&mut bytes);
    encode(&mut writer);
    let len = writer.written();
    bytes[..len].to_vec()
}

/// avcC of a baseline stream of that size in macroblocks; `pps` tells records apart.
pub(crate) fn avcc(width_mbs: u32, height_mbs: u32, pps: u8) -> Vec<u8> {
    let mut bits = Bits::default();
    // Ids and types: parameter set 0, frame number and order count of 4 bits, one reference.
    for value in [0, 0, 0, 0, 1] {
        bits.ue(value);
    }
    bits.put(0, 1);
    bits.ue(width_mbs - 1);
    bits.ue(height_mbs - 1);
    // Frames only, 8x8 inference, no cropping, no usability information, then the stop bit.
    for bit in [1, 1, 0, 0, 1] {
        bits.put(bit, 1);
    }
    let sps: Vec<u8> = [0x67, 66, 0xc0, 30].into_iter().chain(bits.bytes()).collect();
    AvcDecoderConfigurationRecord::encode(&[&sps], &[&[0x68, 0xce, 0x3c, pps]]).unwrap()
}

/// An `AudioSpecificConfig`: AAC-LC stereo with that index of the sample rate.
pub(crate) const fn asc(rate_index: u8) -> [u8; 2] {
    [0x10 | rate_index >> 1, (rate_index & 1) << 7 | 0x10]
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn ue(&mut self, value: u32) {
        let bits = u32::BITS - (value + 1).leading_zeros();
        self.put(0, bits - 1);
        self.put(value + 1, bits);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at).copied().unwrap_or(false)))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// The number of the last frames of [`demo_clip`].
pub(crate) const DEMO_NUMBER: u32 = 7_777;

/// An FLV file of two pictures and two frames of sound, 80 ms long.
pub(crate) fn demo_clip() -> &'static [u8] {
    let mut file = header(|writer| FileHeader { audio: true, video: true }.encode(writer));
    for (timestamp_ms, kind, body) in [
        (0, TagKind::Video, video_config_body(&avcc(40, 30, 0x80))),
        (0, TagKind::Audio, audio_config_body(&asc(4))),
        (0, TagKind::Video, video_body(DEMO_NUMBER - 1, true, 0, 200)),
        (0, TagKind::Audio, audio_body(DEMO_NUMBER - 1, 50)),
        (40, TagKind::Video, video_body(DEMO_NUMBER, false, 0, 200)),
        (40, TagKind::Audio, audio_body(DEMO_NUMBER, 50)),
    ] {
        let data_len = u32::try_from(body.len()).unwrap();
        let tag = TagHeader { kind, data_len, timestamp_ms };
        file.extend(header(|writer| tag.encode(writer)));
        file.extend(body);
        file.extend(tag.previous_tag_size().to_be_bytes());
    }
    file.leak()
}
