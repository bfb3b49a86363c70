//! Decoder configuration records and the parameter sets inside; the first byte chooses the codec.
#![no_main]

use codecs::media::{Codec, DecoderConfig};
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 9] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Vvc,
    Codec::Av1,
    Codec::Vp9,
    Codec::Aac,
    Codec::Opus,
    Codec::Flac,
    Codec::Mp3,
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, record)) = data.split_first() else { return };
    let codec = CODECS[usize::from(choice) % CODECS.len()];
    let _ = DecoderConfig::parse(codec, record);
    let _ = codecs::av1::is_keyframe(record);
    codecs::nal::annex_b(record).for_each(|_| {});
});
