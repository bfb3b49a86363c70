//! URIs: how playlists and segments are named, written and read in one place.
//!
//! Shape: `/NAME/index.m3u8` (multivariant), `/NAME/media.m3u8`, `/NAME/seg.NUMBER.ts`; playlists
//! name their children relative to themselves. A segment's name has a dot within, which no
//! stream's name has, so that it is never mistaken for the stream `NAME/NUMBER` as `/NAME.ts`.
//!
//! An application that is told of publications finds one as `/hls/NAME/ID/SIZE/live.m3u8`, with its
//! segments beside it: these addresses are of that publication alone.

use std::fmt::Write;

use crate::ids::{StreamId, StreamName};

const MULTIVARIANT: &str = "index.m3u8";
const MEDIA: &str = "media.m3u8";
const SEGMENT_PREFIX: &str = "seg.";
const SEGMENT_SUFFIX: &str = ".ts";
const PUBLICATIONS: &str = "hls/";
const LIVE: &str = "live.m3u8";
/// Bytes of the size in a publication's address at most.
const SIZE_BYTES_MAX: usize = 32;
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

/// Splits `hls/NAME/ID/SIZE/ASSET`, as it stands behind the first slash of a path.
///
/// The size is what the publication was told to have, `WIDTHxHEIGHT-FPS`: whoever keeps several
/// finds them apart by it, and here there is one.
#[must_use]
pub fn split_publication(path: &str) -> Option<(&str, StreamId, Asset)> {
    let (rest, asset) = path.strip_prefix(PUBLICATIONS)?.rsplit_once('/')?;
    let asset = match asset {
        LIVE => Asset::Media,
        _ => Asset::parse(asset).filter(|asset| matches!(asset, Asset::Segment(_)))?,
    };
    let (rest, size) = rest.rsplit_once('/')?;
    let (name, id) = rest.rsplit_once('/')?;
    is_size(size).then_some((name, StreamId::parse(id)?, asset))
}

/// True for `WIDTHxHEIGHT` and `WIDTHxHEIGHT-FPS`.
fn is_size(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (size, fps) = text.split_once('-').map_or((text, None), |(size, fps)| (size, Some(fps)));
    let pixels =
        size.split_once('x').is_some_and(|(width, height)| number(width) && number(height));
    text.len() <= SIZE_BYTES_MAX && pixels && fps.is_none_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_has_addresses_of_its_own() {
        const ID: &str = "0000019af0c3d2e100000007a1b2c3d4";
        let id = StreamId::parse(ID).unwrap();
        for (path, found) in [
            (format!("hls/cam7/{ID}/640x360-30/live.m3u8"), Some(("cam7", Asset::Media))),
            (format!("hls/news/1/{ID}/1x1/seg.7.ts"), Some(("news/1", Asset::Segment(7)))),
            (format!("hls/cam7/{ID}/640x360-30/index.m3u8"), None),
            (format!("hls/cam7/{ID}/640x360-30/media.m3u8"), None),
            (format!("hls/cam7/{ID}/640x360-/live.m3u8"), None),
            (format!("hls/cam7/{ID}/big/live.m3u8"), None),
            (format!("hls/cam7/{ID}/{}x1/live.m3u8", "1".repeat(40)), None),
            (format!("hls/cam7/{}/1x1/live.m3u8", ID.to_uppercase()), None),
            (format!("hls/cam7/{ID}/live.m3u8"), None),
            (format!("hls/{ID}/1x1/live.m3u8"), None),
            (format!("cam7/{ID}/1x1/live.m3u8"), None),
            (format!("/hls/cam7/{ID}/1x1/live.m3u8"), None),
        ] {
            let expected = found.map(|(name, asset)| (name, id, asset));
            assert_eq!(split_publication(&path), expected, "{path}");
        }
    }

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
