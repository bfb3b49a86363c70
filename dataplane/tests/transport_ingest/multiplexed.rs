//! What our own multiplexer writes comes back as it was.

use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::annex_b::{AnnexB, Layout};
use codecs::mpegts::clock::ORIGIN;
use codecs::mpegts::es::HEAD_LEN_MAX;
use codecs::mpegts::{self, ElementaryStream, Framing, Muxer, PACKET_LEN, PacketHead};
use codecs::time::MediaTime;

use super::bench::{Unit, all, configs, dropped, units};

const AVCC: &[u8] = include_bytes!("../../../codecs/testdata/avcc/ffmpeg_high_1080p.bin");
const HVCC: &[u8] = include_bytes!("../../../codecs/testdata/hvcc/ffmpeg_main_320x180.bin");
const ASC: &[u8] = include_bytes!("../../../codecs/testdata/asc/ffmpeg_lc_stereo.bin");

fn record(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::H264 => AVCC,
        Codec::Hevc => HVCC,
        Codec::Aac => ASC,
        _ => &[],
    }
}

/// The stream of a publisher's units.
fn multiplex(codecs: &[Codec], sent: &[Unit]) -> Vec<u8> {
    let config = |codec| DecoderConfig::parse(codec, record(codec)).unwrap();
    let listed = |kind| {
        let codec = codecs.iter().copied().find(|codec| codec.kind() == kind);
        codec.and_then(|codec| ElementaryStream::of(codec, Some(&config(codec))))
    };
    let mut muxer = Muxer::new();
    muxer.set_streams(listed(TrackKind::Video), listed(TrackKind::Audio));
    let mut out = Vec::new();
    for unit in sent {
        let framing = Framing::of(unit.codec, Some(&config(unit.codec))).unwrap();
        let bytes = framed(&framing, unit);
        let described = mpegts::Unit {
            codec: unit.codec,
            dts: MediaTime::from_millis(unit.dts),
            cts: MediaTime::from_millis(unit.cts),
            random_access: unit.keyframe,
            join: unit.keyframe && unit.codec.kind() == TrackKind::Video,
            len: bytes.len(),
        };
        muxer.begin(described).unwrap();
        let (mut left, mut head) = (&bytes[..], [0; PACKET_LEN]);
        while let Some(PacketHead { len, payload }) = muxer.next(&mut head) {
            let (now, later) = left.split_at(payload);
            out.extend_from_slice(&head[..len]);
            out.extend_from_slice(now);
            left = later;
        }
    }
    out
}

/// The elementary stream's bytes of a unit.
fn framed(framing: &Framing, unit: &Unit) -> Vec<u8> {
    if !matches!(framing, Framing::AnnexB { .. }) {
        let mut head = [0; HEAD_LEN_MAX];
        let len = framing.encode_head(unit.bytes.len(), &mut head).unwrap();
        return [&head[..len], &unit.bytes].concat();
    }
    let pieces = || unit.bytes.chunks(1_000);
    let layout = Layout::of(unit.codec, pieces()).unwrap();
    let mut bytes = framing.lead(unit.keyframe && !layout.has_parameter_sets).concat();
    for piece in AnnexB::new(unit.codec, pieces()) {
        bytes.extend_from_slice(piece.unwrap().bytes());
    }
    bytes
}

fn picture(codec: Codec, number: i64) -> Unit {
    let keyframe = number % 10 == 0;
    let head: &[u8] = match (codec, keyframe) {
        (Codec::Hevc, true) => &[0x26, 1, 0x80],
        (Codec::Hevc, false) => &[2, 1, 0x80],
        (_, true) => &[0x65, 0x88],
        (_, false) => &[0x41, 0x88],
    };
    let len = if keyframe { 90_000 } else { 300 + number as usize };
    let body = (head.len()..len).map(|at| (at % 200) as u8 + 4);
    let nal: Vec<u8> = head.iter().copied().chain(body).collect();
    let bytes = [&u32::try_from(nal.len()).unwrap().to_be_bytes()[..], &nal].concat();
    Unit { track: 0, codec, dts: number * 40, cts: 80, keyframe, bytes }
}

fn sound(codec: Codec, number: i64) -> Unit {
    let head: &[u8] = if codec == Codec::Mp3 { &[0xff, 0xfb, 0x90, 0x44] } else { &[] };
    let len = if codec == Codec::Mp3 { 417 } else { 200 + number as usize };
    let body = (head.len()..len).map(|at| (at % 200) as u8 + 4);
    let bytes = head.iter().copied().chain(body).collect();
    Unit { track: 0, codec, dts: number * 40 + 7, cts: 0, keyframe: true, bytes }
}

#[test]
fn every_mix_of_codecs_comes_back() {
    let mixes: [&[Codec]; 7] = [
        &[Codec::H264, Codec::Aac],
        &[Codec::Hevc, Codec::Aac],
        &[Codec::H264, Codec::Mp3],
        &[Codec::Aac],
        &[Codec::Mp3],
        &[Codec::H264],
        &[Codec::Hevc],
    ];
    for mix in mixes {
        let of = |codec: &Codec, number| match codec.kind() {
            TrackKind::Video => picture(*codec, number),
            _ => sound(*codec, number),
        };
        let sent: Vec<Unit> =
            (0..40).flat_map(|number| mix.iter().map(move |codec| of(codec, number))).collect();
        let told = all(&multiplex(mix, &sent));
        assert_eq!(dropped(&told), Vec::<&str>::new(), "{mix:?}");
        for codec in mix {
            let is_of = |unit: &&Unit| unit.codec == *codec;
            let moved = |unit: &Unit| {
                let mut unit = unit.clone();
                unit.dts += ORIGIN.as_millis();
                unit
            };
            let sent: Vec<Unit> = sent.iter().filter(is_of).map(moved).collect();
            let found: Vec<Unit> = units(&told).into_iter().filter(is_of).cloned().collect();
            assert_eq!(found, sent, "{mix:?} {codec:?}");
        }
        for (track, codec, found) in configs(&told) {
            assert_eq!(track, 0);
            let parse = |record| DecoderConfig::parse(codec, record).unwrap();
            let (found_config, sent) = (parse(found), parse(record(codec)));
            assert_eq!((found_config.video, found_config.audio), (sent.video, sent.audio));
            if codec == Codec::H264 {
                let sets = |record| {
                    let avcc = AvcDecoderConfigurationRecord::parse(record).unwrap();
                    (avcc.sps.len(), avcc.sps.concat(), avcc.pps.concat())
                };
                assert_eq!(sets(found), sets(AVCC));
            }
        }
    }
}
