//! Media playlists: the segments of one rendition.

use alloc::string::String;
use core::fmt::Write;

use crate::time::WallTime;

/// The media type of both kinds of playlists.
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";

/// What stands before the first segment.
///
/// Spec: RFC 8216 4.3.1, 4.3.3. Version 3 is the first with decimal durations, and nothing that is
/// written here needs a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPlaylist {
    /// No segment lasts longer, rounded to the nearest second; it never changes.
    pub target_duration_s: u32,
    /// The number of the first segment.
    pub media_sequence: u64,
    /// How many breaks lie before the first segment, its own not counted.
    pub discontinuity_sequence: u64,
    /// Every segment can be decoded without another one.
    pub independent_segments: bool,
}

impl MediaPlaylist {
    /// Appends the head.
    pub fn encode(&self, out: &mut String) {
        let Self { target_duration_s, media_sequence, discontinuity_sequence, .. } = self;
        out.push_str("#EXTM3U\n#EXT-X-VERSION:3\n");
        put(out, format_args!("#EXT-X-TARGETDURATION:{target_duration_s}\n"));
        put(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n"));
        put(out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n"));
        if self.independent_segments {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
    }
}

/// One segment.
///
/// Spec: RFC 8216 4.3.2. Units: microseconds, so that durations that were cut from one timeline
/// add up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSegment<'a> {
    /// How long it lasts.
    pub duration_us: u64,
    /// A break lies before it.
    pub discontinuity: bool,
    /// When its first picture or sound was live.
    pub program_date_time: Option<WallTime>,
    /// Where it is, relative to the playlist.
    pub uri: &'a str,
}

impl MediaSegment<'_> {
    /// Appends the segment and returns the offset behind its URI.
    pub fn encode(&self, out: &mut String) -> usize {
        if self.discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Some(moment) = self.program_date_time {
            put(out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{moment}\n"));
        }
        let (seconds, micros) = (self.duration_us / 1_000_000, self.duration_us % 1_000_000);
        if micros.is_multiple_of(1_000) {
            put(out, format_args!("#EXTINF:{seconds}.{:03},\n", micros / 1_000));
        } else {
            put(out, format_args!("#EXTINF:{seconds}.{micros:06},\n"));
        }
        out.push_str(self.uri);
        let behind = out.len();
        out.push('\n');
        behind
    }
}

/// Appends that no segment follows, ever.
pub fn end_list(out: &mut String) {
    out.push_str("#EXT-X-ENDLIST\n");
}

pub(super) fn put(out: &mut String, text: core::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_the_specification_shows_it() {
        let mut out = String::new();
        MediaPlaylist {
            target_duration_s: 4,
            media_sequence: 7_794,
            discontinuity_sequence: 2,
            independent_segments: true,
        }
        .encode(&mut out);
        let first = MediaSegment {
            duration_us: 2_002_000,
            discontinuity: false,
            program_date_time: Some(WallTime::from_unix_millis(0)),
            uri: "seg.7794.ts",
        };
        let behind = first.encode(&mut out);
        assert!(out[..behind].ends_with("seg.7794.ts") && &out[behind..] == "\n");
        let second = MediaSegment {
            duration_us: 1_966_667,
            discontinuity: true,
            program_date_time: None,
            uri: "seg.7795.ts",
        };
        second.encode(&mut out);
        end_list(&mut out);
        assert_eq!(
            out,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7794\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00.000Z\n#EXTINF:2.002,\nseg.7794.ts\n\
             #EXT-X-DISCONTINUITY\n#EXTINF:1.966667,\nseg.7795.ts\n#EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn what_is_not_true_is_not_said() {
        let mut out = String::new();
        let head = MediaPlaylist {
            target_duration_s: 10,
            media_sequence: 0,
            discontinuity_sequence: 0,
            independent_segments: false,
        };
        head.encode(&mut out);
        assert!(!out.contains("INDEPENDENT"), "{out}");
    }
}
