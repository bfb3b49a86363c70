//! Playlists, as far as a player of live streams needs them.
//!
//! Spec: RFC 8216 4.3.

use anyhow::{Context, Result, bail, ensure};

/// A playlist of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// It names media playlists; this is the first of them.
    Multivariant(String),
    /// It names segments.
    Media(MediaPlaylist),
}

/// What a media playlist says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaPlaylist {
    /// No segment is longer, rounded to whole seconds.
    pub target_s: u64,
    /// The number of its first segment.
    pub media_sequence: u64,
    /// Its segments.
    pub segments: Vec<Segment>,
    /// No segment will be added.
    pub is_over: bool,
}

/// A segment of a playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Where it is, relative to the playlist.
    pub uri: String,
    /// How long it lasts.
    pub duration_s: f64,
}

impl Playlist {
    /// Reads it.
    ///
    /// # Errors
    /// If it is none, or names nothing to play.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        ensure!(lines.next() == Some("#EXTM3U"), "a playlist begins with #EXTM3U");
        let mut media = MediaPlaylist::default();
        let mut is_media = false;
        let mut is_variant = false;
        let mut duration_s = None;
        for line in lines {
            let Some(tag) = line.strip_prefix('#') else {
                if is_variant {
                    return Ok(Self::Multivariant(line.to_owned()));
                }
                let duration_s = duration_s.take().context("a segment without EXTINF")?;
                media.segments.push(Segment { uri: line.to_owned(), duration_s });
                continue;
            };
            match tag.split_once(':').unwrap_or((tag, "")) {
                ("EXT-X-STREAM-INF", _) => is_variant = true,
                ("EXT-X-TARGETDURATION", value) => {
                    media.target_s = value.parse().context("no target duration")?;
                    is_media = true;
                }
                ("EXT-X-MEDIA-SEQUENCE", value) => {
                    media.media_sequence = value.parse().context("no media sequence")?;
                }
                ("EXTINF", value) => {
                    let seconds = value.split(',').next().unwrap_or_default();
                    duration_s = Some(seconds.parse().context("no duration of a segment")?);
                }
                ("EXT-X-ENDLIST", _) => media.is_over = true,
                _ => {}
            }
        }
        if !is_media {
            bail!("a playlist with neither variants nor a target duration");
        }
        for Segment { uri, duration_s } in &media.segments {
            let rounded = duration_s.round();
            ensure!(
                rounded >= 0.0 && rounded <= media.target_s as f64,
                "{uri} lasts {duration_s} s, longer than the target of {} s",
                media.target_s
            );
        }
        Ok(Self::Media(media))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: &str = "#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-TARGETDURATION:4\r\n\
        #EXT-X-MEDIA-SEQUENCE:17\r\n#EXTINF:2.000,\r\na/17.ts\r\n#EXT-X-DISCONTINUITY\r\n\
        #EXTINF:4.49,title\r\na/18.ts?x=1\r\n";

    #[test]
    fn playlists_of_both_kinds_are_read() {
        let Playlist::Media(media) = Playlist::parse(MEDIA).unwrap() else { panic!("not media") };
        assert_eq!((media.target_s, media.media_sequence, media.is_over), (4, 17, false));
        let read: Vec<_> =
            media.segments.iter().map(|segment| (&*segment.uri, segment.duration_s)).collect();
        assert_eq!(read, [("a/17.ts", 2.0), ("a/18.ts?x=1", 4.49)]);
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\nmedia.m3u8\n";
        assert_eq!(Playlist::parse(text).unwrap(), Playlist::Multivariant("media.m3u8".to_owned()));
    }

    #[test]
    fn what_no_player_could_follow_is_an_error() {
        for text in [
            "",
            "<html>",
            "#EXTM3U\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n1.ts\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.6,\n1.ts\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:-1\n",
        ] {
            assert!(Playlist::parse(text).is_err(), "{text}");
        }
    }
}
