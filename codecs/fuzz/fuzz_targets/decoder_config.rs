//! Decoder configuration records and the parameter sets inside, and the starts of access units;
//! the first byte chooses the codec.
#![no_main]

use codecs::media::{Codec, DecoderConfig};
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 12] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Vvc,
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

fuzz_target!(|data: &[u8]| {
    let Some((&choice, record)) = data.split_first() else { return };
    let codec = CODECS[usize::from(choice) % CODECS.len()];
    for first in [record, &[]] {
        if let Ok(mut config) = DecoderConfig::parse(codec, first) {
            config.learn(record);
            assert!(!config.learn(record), "the same is no news");
        }
    }
    let _ = codecs::av1::is_keyframe(record);
    codecs::nal::annex_b(record).for_each(|_| {});
});
