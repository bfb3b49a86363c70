//! URIs: how playlists and segments are named, written and read in one place.
//!
//! Shape: `/NAME/index.m3u8` (multivariant), `/NAME/media.m3u8`, `/NAME/seg.NUMBER.ts`; playlists
//! name their children relative to themselves. A segment's name has a dot within, which no
//! stream's name has, so that it is never mistaken for the stream `NAME/NUMBER` as `/NAME.ts`.

use std::fmt::Write;

use crate::ids::StreamName;

const MULTIVARIANT: &str = "index.m3u8";
const MEDIA: &str = "media.m3u8";
const SEGMENT_PREFIX: &str = "seg.";
const SEGMENT_SUFFIX: &str = ".ts";
/// Digits of a segment's number at most: more than any number has.
const DIGITS_MAX: usize = 19;

/// A piece of a stream's HLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asset {
    /// The playlist of renditions.
    Multivariant,
    /// The playlist of segments.
    Media,
    /// The segment with this number.
    Segment(u64),
}

impl Asset {
    /// Appends its URI, relative to every playlist of its stream.
    pub fn write(self, out: &mut String) {
        match self {
            Self::Multivariant => out.push_str(MULTIVARIANT),
            Self::Media => out.push_str(MEDIA),
            Self::Segment(number) => write!(out, "{SEGMENT_PREFIX}{number}{SEGMENT_SUFFIX}")
                .expect("a string takes any text"),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            MULTIVARIANT => Some(Self::Multivariant),
            MEDIA => Some(Self::Media),
            _ => {
                let digits = name.strip_prefix(SEGMENT_PREFIX)?.strip_suffix(SEGMENT_SUFFIX)?;
                let canonical = (1..=DIGITS_MAX).contains(&digits.len())
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                canonical.then(|| digits.parse().ok().map(Self::Segment))?
            }
        }
    }
}

/// Reads `NAME/ASSET`, as it stands behind the first slash of a path.
///
/// `None` is for everything else: another player's URL, or nobody's.
#[must_use]
pub fn parse(path: &str) -> Option<(StreamName, Asset)> {
    let (name, asset) = split(path)?;
    Some((StreamName::parse(name)?, asset))
}

/// Splits `NAME/ASSET`, for those who are tolerant about names.
#[must_use]
pub fn split(path: &str) -> Option<(&str, Asset)> {
    let (name, asset) = path.rsplit_once('/')?;
    Some((name, Asset::parse(asset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for asset in [Asset::Multivariant, Asset::Media, Asset::Segment(0), Asset::Segment(99)] {
            let mut uri = "a/b/".to_owned();
            asset.write(&mut uri);
            assert_eq!(parse(&uri), Some((StreamName::parse("a/b").unwrap(), asset)), "{uri}");
        }
    }

    #[test]
    fn one_segment_has_one_name() {
        for other in [
            "index.m3u8",
            "/index.m3u8",
            "a/7.ts",
            "a/seg.ts",
            "a/seg..ts",
            "a/seg.07.ts",
            "a/seg.-7.ts",
            "a/seg.+7.ts",
            "a/seg.7.TS",
            "a/seg.7.ts/",
            "a//seg.7.ts",
            "../seg.7.ts",
            "a/seg.99999999999999999999.ts",
            "a/seg.7",
            "a/index.m3u8x",
            "a/seg.7.ts?x",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
