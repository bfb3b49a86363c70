//! Multivariant playlists: the renditions of one stream.

use alloc::string::String;

use super::media::put;

/// Appends what stands before the first variant.
pub fn multivariant_head(out: &mut String) {
    out.push_str("#EXTM3U\n#EXT-X-VERSION:3\n");
}

/// One rendition of everything.
///
/// Spec: RFC 8216 4.3.4.2. What is not known is left out; a wrong attribute keeps players away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant<'a> {
    /// Bits per second of the largest run of segments.
    pub bandwidth: u64,
    /// Bits per second of all segments.
    pub average_bandwidth: Option<u64>,
    /// The codec string of every track, separated by commas; empty if one is not known.
    pub codecs: &'a str,
    /// Width and height as displayed.
    pub resolution: Option<(u32, u32)>,
    /// Pictures per second in thousandths.
    pub fps_milli: Option<u32>,
    /// Where its media playlist is, relative to this one.
    pub uri: &'a str,
}

impl Variant<'_> {
    /// Appends the variant and returns the offset behind its URI.
    pub fn encode(&self, out: &mut String) -> usize {
        put(out, format_args!("#EXT-X-STREAM-INF:BANDWIDTH={}", self.bandwidth));
        if let Some(average) = self.average_bandwidth {
            put(out, format_args!(",AVERAGE-BANDWIDTH={average}"));
        }
        if !self.codecs.is_empty() {
            put(out, format_args!(",CODECS=\"{}\"", self.codecs));
        }
        if let Some((width, height)) = self.resolution {
            put(out, format_args!(",RESOLUTION={width}x{height}"));
        }
        if let Some(fps) = self.fps_milli {
            put(out, format_args!(",FRAME-RATE={}.{:03}", fps / 1_000, fps % 1_000));
        }
        out.push('\n');
        out.push_str(self.uri);
        let behind = out.len();
        out.push('\n');
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Variant<'static> = Variant {
        bandwidth: 128_000,
        average_bandwidth: None,
        codecs: "",
        resolution: None,
        fps_milli: None,
        uri: "a.m3u8",
    };

    #[test]
    fn attributes_are_written_where_they_are_known() {
        let mut out = String::new();
        multivariant_head(&mut out);
        SOUND.encode(&mut out);
        let pictures = Variant {
            average_bandwidth: Some(2_000_000),
            codecs: "avc1.42c01e,mp4a.40.2",
            resolution: Some((1280, 720)),
            fps_milli: Some(29_970),
            uri: "media.m3u8",
            bandwidth: 2_500_000,
        };
        let behind = pictures.encode(&mut out);
        assert!(out[..behind].ends_with("\nmedia.m3u8"));
        assert_eq!(
            out,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=128000\na.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=2000000,\
             CODECS=\"avc1.42c01e,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970\nmedia.m3u8\n"
        );
    }
}
