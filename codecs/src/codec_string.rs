//! Codec strings: how a playlist names what a player must decode.
//!
//! Spec: RFC 6381; ISO/IEC 14496-15 annex E for AVC and HEVC; for AC-3 and E-AC-3 ETSI TS 102 366
//! annex F; MP2 and MP3 as object types 33 and 34 of MPEG-4 audio, the form that browsers and
//! Apple's players know.
//! Most strings come from the decoder configuration: see [`DecoderConfig::codec_string`].

use crate::media::{Codec, DecoderConfig};

/// The codec string of a track; `None` if it cannot be told, and then a playlist must not list any.
#[must_use]
pub fn of_track(codec: Codec, config: Option<&DecoderConfig>) -> Option<&str> {
    match config {
        Some(config) if !config.codec_string.is_empty() => Some(&config.codec_string),
        _ => of_codec(codec),
    }
}

/// The codec string where no record decides it; `None` where one does.
#[must_use]
pub const fn of_codec(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::Mp2 => Some("mp4a.40.33"),
        Codec::Mp3 => Some("mp4a.40.34"),
        Codec::Opus => Some("opus"),
        Codec::Vp8 => Some("vp8"),
        Codec::Flac => Some("fLaC"),
        Codec::Ac3 => Some("ac-3"),
        Codec::Eac3 => Some("ec-3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_decides_where_there_is_one() {
        let aac = DecoderConfig::parse(Codec::Aac, &[0x12, 0x10]).unwrap();
        assert_eq!(of_track(Codec::Aac, Some(&aac)), Some("mp4a.40.2"));
        assert_eq!(of_track(Codec::Aac, None), None);
        assert_eq!(of_track(Codec::H264, None), None);
        assert_eq!(of_track(Codec::Mp3, None), Some("mp4a.40.34"));
        let ac3 = DecoderConfig::parse(Codec::Ac3, &[1, 2, 3]).unwrap();
        assert_eq!(of_track(Codec::Ac3, Some(&ac3)), Some("ac-3"));
    }
}
