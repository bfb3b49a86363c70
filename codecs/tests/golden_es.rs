//! Real records of real encoders: what they say, and that ours come out byte for byte the same.

use codecs::aac::{AdtsHeader, AudioSpecificConfig};
use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::hevc::{HevcDecoderConfigurationRecord, NalType};
use codecs::media::{AudioFormat, Codec, DecoderConfig, VideoFormat};

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name, ".bin")).as_slice()
    };
}

const AVCC: [&[u8]; 3] = [
    golden!("avcc/ffmpeg_baseline_320x180"),
    golden!("avcc/ffmpeg_high_1080p"),
    golden!("avcc/ffmpeg_high422_576i"),
];

const HVCC: [&[u8]; 3] = [
    golden!("hvcc/ffmpeg_main_320x180"),
    golden!("hvcc/ffmpeg_main10_1080p"),
    golden!("hvcc/ffmpeg_main444_high"),
];

#[test]
fn video_records_tell_size_rate_and_codec() {
    let [baseline, high, high422] = AVCC;
    let [main, main10, main444] = HVCC;
    let av1 = golden!("av1c/ffmpeg_main_320x180");
    let av1_10 = golden!("av1c/ffmpeg_main10_640x360");
    let table = [
        (Codec::H264, baseline, (320, 180), Some(25_000), "avc1.42c00c"),
        (Codec::H264, high, (1920, 1080), Some(29_970), "avc1.640028"),
        (Codec::H264, high422, (720, 576), Some(25_000), "avc1.7a001e"),
        (Codec::Hevc, main, (320, 180), Some(25_000), "hvc1.1.6.L60.90"),
        (Codec::Hevc, main10, (1920, 1080), Some(60_000), "hvc1.2.4.L123.90"),
        (Codec::Hevc, main444, (320, 180), Some(24_000), "hvc1.4.10.H150.9e.8"),
        (Codec::Av1, av1, (320, 180), None, "av01.0.00M.08"),
        (Codec::Av1, av1_10, (640, 360), None, "av01.0.01M.10"),
    ];
    for (codec, record, (width, height), fps_milli, codec_string) in table {
        let config = DecoderConfig::parse(codec, record).unwrap();
        let video = VideoFormat { width, height, fps_milli, nal_length_size: 4 };
        assert_eq!(config.codec_string, codec_string);
        assert_eq!((config.video, config.audio), (Some(video), None), "{codec_string}");
        assert_eq!(config.record, record);
    }
}

#[test]
fn audio_records_tell_rate_channels_and_codec() {
    let aac = |sample_rate, channels| AudioFormat { sample_rate, channels, samples_per_unit: 1024 };
    let opus = AudioFormat { sample_rate: 48_000, channels: 2, samples_per_unit: 0 };
    let table = [
        (Codec::Aac, golden!("asc/ffmpeg_lc_stereo"), aac(44_100, 2), "mp4a.40.2"),
        (Codec::Aac, golden!("asc/ffmpeg_lc_5_1"), aac(48_000, 6), "mp4a.40.2"),
        (Codec::Aac, golden!("asc/ffmpeg_lc_mono_8k"), aac(8_000, 1), "mp4a.40.2"),
        (Codec::Aac, golden!("asc/ffmpeg_lc_2_1_pce"), aac(48_000, 3), "mp4a.40.2"),
        (Codec::Opus, golden!("opushead/ffmpeg_stereo"), opus, "opus"),
    ];
    for (codec, record, audio, codec_string) in table {
        let config = DecoderConfig::parse(codec, record).unwrap();
        assert_eq!((config.video, config.audio), (None, Some(audio)));
        assert_eq!(config.codec_string, codec_string);
    }
}

#[test]
fn records_and_units_of_the_codecs_of_enhanced_rtmp() {
    let size = |config: &DecoderConfig| config.video.map(|video| (video.width, video.height));
    let mut vp9 = DecoderConfig::parse(Codec::Vp9, golden!("vpcc/ffmpeg_320x180")).unwrap();
    assert_eq!((size(&vp9), vp9.codec_string.as_str()), (None, "vp09.00.11.08"));
    assert!(vp9.learn(golden!("vp9/ffmpeg_320x180")));
    assert_eq!((size(&vp9), vp9.codec_string.as_str()), (Some((320, 180)), "vp09.00.11.08"));
    let mut vp8 = DecoderConfig::parse(Codec::Vp8, &[]).unwrap();
    assert!(vp8.learn(golden!("vp8/ffmpeg_320x180")));
    assert_eq!(size(&vp8), Some((320, 180)));
    let flac = DecoderConfig::parse(Codec::Flac, golden!("streaminfo/ffmpeg_mono")).unwrap();
    let audio =
        |samples_per_unit| Some(AudioFormat { sample_rate: 48_000, channels: 1, samples_per_unit });
    assert_eq!((flac.audio, flac.codec_string.as_str()), (audio(1024), "fLaC"));
    let table = [
        (Codec::Ac3, golden!("ac3/ffmpeg_mono"), 1536, "ac-3"),
        (Codec::Eac3, golden!("eac3/ffmpeg_mono"), 1536, "ec-3"),
        (Codec::Mp3, golden!("mp3/ffmpeg_mono"), 1152, "mp4a.40.34"),
    ];
    for (codec, unit, samples, codec_string) in table {
        let mut config = DecoderConfig::parse(codec, &[]).unwrap();
        assert!(config.learn(unit));
        assert_eq!((config.audio, config.codec_string.as_str()), (audio(samples), codec_string));
    }
}

#[test]
fn avcc_is_rebuilt_byte_for_byte() {
    for record in AVCC {
        let avcc = AvcDecoderConfigurationRecord::parse(record).unwrap();
        let rebuilt = AvcDecoderConfigurationRecord::encode(&avcc.sps, &avcc.pps).unwrap();
        assert_eq!(rebuilt, record);
    }
}

#[test]
fn hvcc_is_rebuilt_byte_for_byte() {
    for record in HVCC {
        let hvcc = HevcDecoderConfigurationRecord::parse(record).unwrap();
        let units = |kind| hvcc.units_of(kind).collect::<Vec<_>>();
        let (vps, sps, pps) = (units(NalType::VPS), units(NalType::SPS), units(NalType::PPS));
        let rebuilt = HevcDecoderConfigurationRecord::encode(&vps, &sps, &pps).unwrap();
        assert_eq!(rebuilt, record);
    }
}

#[test]
fn adts_frames_follow_each_other() {
    let stream = golden!("adts/ffmpeg_lc_stereo");
    let (first, header_len) = AdtsHeader::parse(stream).unwrap().unwrap();
    assert_eq!((header_len, first.frame_len, first.blocks), (7, 345, 1));
    let (second, _) = AdtsHeader::parse(&stream[usize::from(first.frame_len)..]).unwrap().unwrap();
    assert_eq!((second.sample_rate, second.channels, second.object_type), (44_100, 2, 2));
    let config = AudioSpecificConfig::encode_lc(first.sample_rate, first.channels).unwrap();
    assert_eq!(config, &golden!("asc/ffmpeg_lc_stereo")[..2]);
}
