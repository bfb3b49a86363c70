//! Hostile bytes: no parser of elementary streams or of HTTP may panic, whatever it is given.

use codecs::aac::{AdtsHeader, AudioSpecificConfig};
use codecs::h264::{self, AvcDecoderConfigurationRecord};
use codecs::hevc::{self, HevcDecoderConfigurationRecord};
use codecs::http1::{RequestLimits, parse_request, percent_decode, query_pairs};
use codecs::media::{Codec, DecoderConfig};
use codecs::opus::OpusHead;
use codecs::{av1, nal};
use proptest::prelude::*;

const RECORDS: [(Codec, &[u8]); 20] = [
    (Codec::H264, include_bytes!("../testdata/avcc/ffmpeg_baseline_320x180.bin")),
    (Codec::H264, include_bytes!("../testdata/avcc/ffmpeg_high_1080p.bin")),
    (Codec::H264, include_bytes!("../testdata/avcc/ffmpeg_high422_576i.bin")),
    (Codec::Hevc, include_bytes!("../testdata/hvcc/ffmpeg_main_320x180.bin")),
    (Codec::Hevc, include_bytes!("../testdata/hvcc/ffmpeg_main10_1080p.bin")),
    (Codec::Hevc, include_bytes!("../testdata/hvcc/ffmpeg_main444_high.bin")),
    (Codec::Av1, include_bytes!("../testdata/av1c/ffmpeg_main_320x180.bin")),
    (Codec::Av1, include_bytes!("../testdata/av1c/ffmpeg_main10_640x360.bin")),
    (Codec::Aac, include_bytes!("../testdata/asc/ffmpeg_lc_stereo.bin")),
    (Codec::Aac, include_bytes!("../testdata/asc/ffmpeg_lc_5_1.bin")),
    (Codec::Aac, include_bytes!("../testdata/asc/ffmpeg_lc_2_1_pce.bin")),
    (Codec::Aac, &[0xeb, 0x8a, 0x08, 0x00]),
    (Codec::Opus, include_bytes!("../testdata/opushead/ffmpeg_stereo.bin")),
    (Codec::Vp9, include_bytes!("../testdata/vpcc/ffmpeg_320x180.bin")),
    (Codec::Vp9, include_bytes!("../testdata/vp9/ffmpeg_320x180.bin")),
    (Codec::Vp8, include_bytes!("../testdata/vp8/ffmpeg_320x180.bin")),
    (Codec::Flac, include_bytes!("../testdata/streaminfo/ffmpeg_mono.bin")),
    (Codec::Ac3, include_bytes!("../testdata/ac3/ffmpeg_mono.bin")),
    (Codec::Eac3, include_bytes!("../testdata/eac3/ffmpeg_mono.bin")),
    (Codec::Mp3, include_bytes!("../testdata/mp3/ffmpeg_mono.bin")),
];

const CODECS: [Codec; 11] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Aac,
    Codec::Opus,
    Codec::Flac,
    Codec::Mp3,
    Codec::Ac3,
    Codec::Eac3,
];

const REQUEST: &[u8] = b"GET /live/a%20b.flv?key=%31&x HTTP/1.1\r\nHost: edge\r\n\
    Range: bytes=0-99\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";

/// Gives the bytes to every parser, and follows what they lend into the next one.
fn feed_all(bytes: &[u8]) {
    for codec in CODECS {
        if let Ok(mut config) = DecoderConfig::parse(codec, bytes) {
            assert!(config.record.len() <= bytes.len());
            let _ = config.learn(bytes);
        }
        if DecoderConfig::learns(codec) {
            let mut config = DecoderConfig::parse(codec, &[]).expect("it needs no record");
            let _ = config.learn(bytes);
            assert!(!config.learn(bytes), "the same is no news");
        }
    }
    if let Ok(avcc) = AvcDecoderConfigurationRecord::parse(bytes) {
        let _ = AvcDecoderConfigurationRecord::encode(&avcc.sps, &avcc.pps);
    }
    if let Ok(hvcc) = HevcDecoderConfigurationRecord::parse(bytes) {
        let units: Vec<_> = hvcc.units.iter().map(|(_, unit)| *unit).collect();
        let _ = HevcDecoderConfigurationRecord::encode(&units, &units, &units);
    }
    let _ = h264::Sps::parse(bytes);
    let _ = hevc::Sps::parse(bytes);
    let _ = av1::SequenceHeader::parse(bytes);
    let _ = av1::is_keyframe(bytes);
    let _ = AudioSpecificConfig::parse(bytes);
    let _ = OpusHead::parse(bytes);
    if let Ok(Some((header, header_len))) = AdtsHeader::parse(bytes) {
        assert!(header_len <= usize::from(header.frame_len));
    }
    for length_size in [1, 2, 4] {
        let units = nal::length_prefixed(bytes, length_size).expect("a legal size");
        assert!(units.flatten().map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
    for unit in nal::annex_b(bytes) {
        assert!(!unit.is_empty() && unit.last() != Some(&0));
    }
    feed_http(bytes);
}

fn feed_http(bytes: &[u8]) {
    if let Ok(Some((request, len))) = parse_request(bytes, &RequestLimits::default()) {
        assert!(len <= bytes.len());
        let _ = (request.keep_alive(), request.expects_body(), request.content_length());
        let _ = request.range().and_then(|range| range.resolve(7));
        let _ = percent_decode(request.path);
        for (key, value) in query_pairs(request.query.unwrap_or_default()) {
            let _ = (percent_decode(key), percent_decode(value));
        }
    }
}

#[test]
fn every_prefix_of_a_record_is_read_or_refused() {
    for (_, record) in RECORDS {
        for len in 0..=record.len() {
            feed_all(&record[..len]);
        }
    }
    for len in 0..=REQUEST.len() {
        feed_all(&REQUEST[..len]);
    }
}

#[test]
fn every_flipped_bit_is_read_or_refused() {
    for record in RECORDS.iter().map(|(_, record)| *record).chain([REQUEST]) {
        let mut bytes = record.to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            feed_all(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn parameter_sets_of_shifted_bytes_are_read_or_refused() {
    for (_, record) in RECORDS {
        for start in 0..record.len().min(60) {
            feed_all(&[&[0x67, 100, 0, 40][..], &record[start..]].concat());
            feed_all(&[&[0x42, 1][..], &record[start..]].concat());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed_all(&bytes);
    }

    #[test]
    fn any_damage_is_read_or_refused(
        which in 0..RECORDS.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = RECORDS[which].1.to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        feed_all(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        feed_all(&bytes);
    }

    #[test]
    fn any_damage_to_a_request_is_read_or_refused(
        damage in prop::collection::vec((0..REQUEST.len(), any::<u8>()), 1..4),
    ) {
        let mut bytes = REQUEST.to_vec();
        for (at, value) in damage {
            bytes[at] = value;
        }
        feed_http(&bytes);
    }

    #[test]
    fn a_parameter_set_of_any_bits_is_read_or_refused(
        tail in prop::collection::vec(
            prop_oneof![Just(0xff_u8), Just(0), Just(3), any::<u8>()],
            0..200,
        ),
        profile in prop::sample::select(&[66_u8, 100, 110, 244]),
    ) {
        let _ = h264::Sps::parse(&[&[0x67, profile, 0, 40][..], &tail].concat());
        let _ = hevc::Sps::parse(&[&[0x42, 1, 1][..], &[0; 12], &tail].concat());
        let _ = av1::SequenceHeader::parse(&tail);
    }
}
