//! Readiness: when the first playlist of a publication can be served, told once.
//!
//! Segments may be packaged on demand only; what they need is that one of them is finished, which
//! is known for every stream, because cuts are decided all the time.

use codecs::media::TrackKind;

use super::Hub;
use crate::control::FirstPlaylist;
use crate::segment::Segment;

/// How far a publication is. Lives on: the home shard. Crosses by: never, but with its hub.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Readiness {
    /// No segment is finished.
    #[default]
    Pending,
    /// One is, and nobody was told.
    Due(FirstPlaylist),
    /// It was told.
    Told(FirstPlaylist),
}

impl Hub {
    /// A segment is finished.
    pub(super) fn segment_finished(&mut self, segment: &Segment) {
        if !matches!(self.readiness, Readiness::Pending) {
            return;
        }
        let video = self.tracks.chosen_of(TrackKind::Video, 0);
        let config = video.and_then(|track| track.config.as_ref()?.video);
        let lasts = segment.duration.as_nanos().max(1).unsigned_abs();
        let measured = u128::from(segment.pictures) * 1_000_000_000_000 / u128::from(lasts);
        let told = config.and_then(|video| video.fps_milli);
        let target_s = self.segments.target(segment);
        self.readiness = Readiness::Due(FirstPlaylist {
            width: config.map_or(0, |video| video.width),
            height: config.map_or(0, |video| video.height),
            fps_milli: told.unwrap_or(u32::try_from(measured).unwrap_or(0)),
            target_ms: target_s.saturating_mul(1_000),
        });
    }

    /// Another publication begins.
    pub(super) const fn begin_publication(&mut self) {
        self.readiness = Readiness::Pending;
    }

    /// The first playlist, once, when it can be served.
    pub const fn take_first_playlist(&mut self) -> Option<FirstPlaylist> {
        let Readiness::Due(first) = self.readiness else { return None };
        self.readiness = Readiness::Told(first);
        Some(first)
    }

    /// The first playlist, if it was told.
    pub const fn first_playlist(&self) -> Option<FirstPlaylist> {
        match self.readiness {
            Readiness::Told(first) => Some(first),
            Readiness::Pending | Readiness::Due(_) => None,
        }
    }
}
